"""Pages from templates: `templates/*.md.j2` and `*.html.j2`, filled with tables and facts; every name is escaped."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

SPECIAL = re.compile(r"([\\`*\[\]|])")
NUMBER = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?( .*)?|[-?]?")
BAR = re.compile(r"(?<!\\)\|")
EDGE = re.compile(r"(?<![A-Za-z0-9_])_|_(?![A-Za-z0-9_])")  # an underscore inside a word is no emphasis


@dataclass(frozen=True)
class Markdown:
    """Text that is Markdown already, and is printed as it is; no `str`, which a table of pandas would make plain again.

    Attributes:
        text: one or more lines.
    """

    text: str

    def __str__(self) -> str:
        return self.text


def escaped(text: object) -> Markdown:
    """Return a text so that Markdown and HTML show it as it is, on one line.

    Args:
        text: a name, or whatever may hold one; Markdown is left alone.
    """
    if isinstance(text, Markdown):
        return text
    line = " ".join(str(text).split())
    line = EDGE.sub(r"\\_", SPECIAL.sub(r"\\\1", line))
    return Markdown(line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def code(text: object) -> Markdown:
    """Return a text for an indented line of code: on one line, all else as it is."""
    return Markdown(" ".join(str(text).split()))


def code_span(text: object) -> Markdown:
    """Return a text as a span of code, also where it holds backticks or the bar of a table."""
    line = str(code(text))
    fence = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    pad = " " if "`" in line else ""
    return Markdown(f"{fence}{pad}{line}{pad}{fence}".replace("|", "\\|"))


def link_path(path: object) -> Markdown:
    """Return a path for the round brackets of a link."""
    return Markdown(quote(str(path), safe="/.-_~#"))


def table(rows: pd.DataFrame) -> Markdown:
    """Return a table in Markdown, names escaped, numbers on the right.

    Args:
        rows: texts are escaped unless they are Markdown; the rest is printed by `str`.
    """
    if rows.empty:
        return Markdown("")
    numeric = [pd.api.types.is_numeric_dtype(rows[name]) or rows[name].map(_like_a_number).all() for name in rows]
    shown = rows.astype(object).map(_cell).rename(columns=_cell)
    aligned = ["right" if right else "left" for right in numeric]
    return Markdown(shown.to_markdown(index=False, disable_numparse=True, colalign=aligned))


def _cell(content: object) -> str:
    """Return what a cell of a table shows: no bar of it ends the cell."""
    return BAR.sub(r"\\|", str(escaped(content)))


def _like_a_number(text: object) -> bool:
    return NUMBER.fullmatch(str(text)) is not None


def prose(text: str) -> Markdown:
    """Return a text that people of the project wrote in Markdown."""
    return Markdown(" ".join(text.split()))


def listed(words: Sequence[object], last: str = "and") -> str:
    """Return words with commas, and a word before the last."""
    texts = [str(word) for word in words]
    return f" {last} ".join([", ".join(texts[:-1]), texts[-1]]) if len(texts) > 1 else "".join(texts)


def render(template: str, **context: Any) -> str:
    """Return a page.

    Args:
        template: name in `templates`, without `.md.j2`.
        context: what the template asks for; whatever is printed and is not Markdown is escaped.

    Raises:
        jinja2.UndefinedError: if the template asks for what is not given.
    """
    text = _environment().get_template(f"{template}.md.j2").render(**context)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def as_html(markdown: str, title: str) -> str:
    """Return a page in Markdown as a whole page in HTML; what the Markdown holds as HTML is shown, not obeyed.

    Args:
        markdown: of `render`.
        title: of the page.
    """
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    return render_html("page", title=title, body=Markup(body))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("cem_bench.report"),
        undefined=StrictUndefined,
        finalize=escaped,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # pages are Markdown: `finalize` escapes for it and for HTML
    )
    environment.filters |= {"code": code, "code_span": code_span, "path": link_path, "table": table, "prose": prose}
    environment.filters |= {"listed": listed}
    return environment


def render_html(template: str, **context: Any) -> str:
    """Return a page in HTML.

    Args:
        template: name in `templates`, without `.html.j2`.
        context: what the template asks for; whatever is printed and is no `Markup` is escaped.

    Raises:
        jinja2.UndefinedError: if the template asks for what is not given.
    """
    return _html_environment().get_template(f"{template}.html.j2").render(**context)


def asset(name: str) -> Markup:
    """Return a script or style sheet of `templates`, to be written into a page."""
    return Markup((resources.files("cem_bench.report") / "templates" / name).read_text(encoding="utf-8"))


def embedded(content: Any) -> Markup:
    """Return data as JSON that no text in it can end the script element of."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c"))


@cache
def _html_environment() -> Environment:
    return Environment(
        loader=PackageLoader("cem_bench.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )
