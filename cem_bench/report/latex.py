"""Tables for a paper, floats of one column's width (`table`) or of two (`table*`); they need the package booktabs."""

from __future__ import annotations

import pandas as pd

from cem_bench.store.roots import marked

ESCAPES = {"_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#", "$": r"\$", "~": r"\textasciitilde{}"}


def escaped(text: str) -> str:
    """Return a text as LaTeX prints it."""
    return "".join(ESCAPES.get(sign, sign) for sign in text)


def latex(table: pd.DataFrame, *, caption: str, label: str, wide: bool, root: str = "") -> str:
    """Return a table in a float that fits a paper's column, or both.

    Args:
        table: as it is printed.
        caption: above it, without LaTeX commands.
        label: of the float, after `tab:`.
        wide: over two columns.
        root: of the draws: its head stands in the caption, the whole of it in a comment above the table.
    """
    numbers = len(table.columns) - sum(pd.api.types.is_string_dtype(table[name]) for name in table.columns[:2])
    shown = table.rename(columns=str).astype(str)
    style = shown.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    text = style.to_latex(
        environment="table*" if wide else "table",
        position="t",
        position_float="centering",
        hrules=True,
        column_format="l" * (len(table.columns) - numbers) + "r" * numbers,
        caption=escaped(f"{caption} Root of the draws: {root[:16]}." if root else caption),
        label=f"tab:{label}",
    ).replace(r"\centering", "\\centering\n\\footnotesize\n\\setlength{\\tabcolsep}{3pt}", 1)
    return f"% {marked(root)}\n{text}" if root else text
