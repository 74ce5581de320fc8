"""The page of an experiment: what its template shows, as tables and facts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cem_bench.report import joint_tables, printed
from cem_bench.report.ablations import agreement, is_by_size, varied
from cem_bench.report.coloured import FEW, coloured_table
from cem_bench.report.columns import PSNR, UNKNOWN
from cem_bench.report.experiment import Experiment
from cem_bench.report.render import Markdown, code_span, escaped, listed, render
from cem_bench.report.tables import admission, is_ablation, uneven
from cem_bench.stats.corrections import CORRECTIONS
from cem_bench.store import maps
from cem_bench.store.roots import marked

CAPTIONS = {
    "masses": "PSNR of the ROI above the models' mean on the scene against the two sums; bars: 95 % over images.",
    "radius": "Radius of 90 % of the effect against theoretical reach, equal ones side by side; bars: 95 %.",
    "decay": "Mean |effect| of a block by its distance to the ROI (cross-fit); bands: 95 % over images; dotted: tol.",
    "decay_paired": "Pairs on the scenes both have: curves, and first minus second; band: 95 % for the whole curve.",
    "joint": "Joint effect of each ring of blocks by its distance; bands: 95 % over images.",
    "verdicts": "Mean share of blocks of each verdict; plain grey: undecided because all draws of a block are equal.",
    "setting": "The map's numbers against the varied setting; bands: 95 %, differences between images taken out.",
    "multitask": "Shares of blocks with a mean effect of tol or more (pie; grey: sign not kept), PSNR, mean range.",
    "lam_against_cem": "Diffusion index of LAM against the share of LAM on blocks that harm the ROI.",
}
SCENE_CAPTIONS = {
    "scene": "restored images, effect maps (pie: positive, negative, none; bar: range), verdicts and counts",
    "difference": "two models and their paired difference",
    "lam": "LAM above CEM",
}


def page(experiment: Experiment, figures: Sequence[Path], stay: Sequence[str]) -> str:
    """Return the Markdown of an experiment's page.

    Args:
        experiment: tables and cells.
        figures: files beside the page.
        stay: names of those that an earlier report drew.
    """
    options, commits = experiment.options, set(experiment.table["commit"])
    return render(
        "experiment",
        name=experiment.name,
        question=experiment.settings["question"],
        root=marked(experiment.root_sha256),
        note=options.get("note", ""),
        hypotheses=experiment.hypotheses,
        setting=setting(experiment),
        summary=printed.summary(experiment.summary, options, outcome=experiment.outcome),
        ablation=is_ablation(experiment.table),
        unknown=UNKNOWN,
        verdicts=bool(options.get("verdicts")),
        uneven=uneven(experiment.summary) and not options.get("verdicts"),
        few=FEW.n,
        refused=_refused(experiment),
        **_tables(experiment),
        missing=missing(experiment),
        earlier=len(experiment.earlier),
        stay=_staying(stay),
        figures=[{"path": path.name, "caption": caption(path.stem)} for path in figures if path.suffix == ".png"],
        hours=experiment.table.drop_duplicates("run_key")["seconds"].sum() / 3600,
        commits=commits.pop() if len(commits) == 1 else Markdown(f"{len(commits)} commits (`commit` in `cells.csv`)"),
        machines=_machines(experiment),
    )


def _tables(experiment: Experiment) -> dict[str, pd.DataFrame | None]:
    """Return the tables behind the summary, None where the experiment has no such one."""
    options = experiment.options
    pairs = agreement(experiment.cells, ends_only=is_by_size(options)) if varied(options) else pd.DataFrame()
    tables = {
        "coloured": printed.coloured(coloured_table(experiment.cells)) if options.get("verdicts") else None,
        "agreement": printed.agreement(pairs),
        "areas": printed.areas(_areas(experiment)) if varied(options) and pairs.empty else None,
        "ranks": printed.ranks(experiment.table) if options.get("networks") else None,
        "joint": joint_tables.printed_sets(experiment.joint, experiment.outcome),
        "joint_rings": joint_tables.printed_rings(experiment.joint, experiment.outcome),
        "lam": printed.lam(experiment.lam),
        "paired": printed.paired(experiment.paired, experiment.outcome),
        "rings": printed.rings(experiment.paired_decay),
    }
    return {name: rows if rows is not None and len(rows) else None for name, rows in tables.items()}


def _refused(experiment: Experiment) -> list[str]:
    """Return the networks that restore worse than their input, with their task."""
    rows = admission(experiment.table)
    failed = rows[~rows["admitted"].astype(bool)].to_dict("records")
    return [f"{row['model']} in {row['task']} ({row['better']} of {row['images']} images better)" for row in failed]


def _areas(experiment: Experiment) -> pd.DataFrame:
    """Return the area of the blocks that hold part of the ROI, px, a row a cell."""
    rows = [
        {"block": cell.grid.block, "area": float((cell.status == maps.ROI).sum() * cell.grid.block**2)}
        for cell in experiment.cells
    ]
    return pd.DataFrame(rows)


def setting(experiment: Experiment) -> dict[str, str]:
    """Return what was measured on what, by name."""
    entry, table, cells = experiment.cells[0].entry, experiment.table, experiment.cells
    corrections = {cell.entry.get("fdr", "bh") for cell in cells} - {"bh"}
    facts = {
        "networks": str(table["model"].nunique()),
        "scenes": f"{table['scene'].nunique()} of {table['image'].nunique()} images (the clusters of every interval)",
        "task": ", ".join(dict.fromkeys(table["task"])),
        "image": f"{entry['size'][0]}x{entry['size'][1]} px",
        "ROI": f"{entry['roi'][2]}x{entry['roi'][3]} px, its blocks left as they are",
        "sampling": joined_rules([cell.rule.describe() for cell in cells]),
        "donors": ", ".join(dict.fromkeys(str(cell.entry["donors"]["source"]) for cell in cells)),
        "tol": f"{entry['tol']:g} {experiment.outcome.unit}",
    }
    if experiment.outcome != PSNR:
        facts["outcome"] = f"{experiment.outcome.meaning}; a positive effect helps"
    if corrections:
        facts["verdicts of some cells by"] = CORRECTIONS[corrections.pop()]
    facts["cells by engine"] = ", ".join(f"{kind} {count}" for kind, count in table["engine"].value_counts().items())
    proof = max((cell.entry["proof"].get("max_abs_db", 0.0) for cell in cells), default=0.0)
    facts["engine against full forward"] = f"at most {proof:.1e} dB apart on the proof draws"
    if not experiment.options.get("verdicts") and (halves := printed.halves(experiment.summary)):
        facts["even against odd draws of a map"] = halves
    return facts


def joined_rules(rules: Sequence[str]) -> str:
    """Return each sampling rule once; those that differ in one number as one, with their numbers in rising order."""
    by_form: dict[str, set[str]] = {}
    for rule in rules:
        by_form.setdefault(re.sub(r"\d+", "#", rule), set()).add(rule)
    joined = []
    for form, same in by_form.items():
        if form.count("#") != 1:
            joined += sorted(same)
            continue
        numbers = sorted(int(re.findall(r"\d+", rule)[0]) for rule in same)
        joined.append(form.replace("#", listed(numbers, "or")))
    return "; ".join(joined)


def _machines(experiment: Experiment) -> list[str]:
    made = [cell.entry["provenance"] for cell in experiment.cells]
    return sorted({f"{entry['machine']}, torch {entry['torch']}" for entry in made})


def _staying(stay: Sequence[str]) -> list[str]:
    whole = [stem for stem in stay if "_shipped_" not in stem]
    return [*whole, *([f"{len(stay) - len(whole)} of scenes"] if len(stay) > len(whole) else [])]


def missing(experiment: Experiment) -> list[Markdown]:
    """Return what the sweep asks for and this table does not hold, a line each."""
    stored = {"model": set(experiment.table["model"]), "scene": set(experiment.table["scene"])}
    lines = absent(experiment.plan, stored)
    expected = experiment.plan.get("cells", 0)
    if expected > len(experiment.table):
        text = f"{len(experiment.table)} cells are in the table; the sweep that ran here asks for {expected}"
        lines.append(Markdown(text))
    return lines


def absent(plan: Mapping[str, Any], stored: Mapping[str, set[str]]) -> list[Markdown]:
    """Return a line for what is asked for and not stored, by key and reason, and for every failure."""
    by_reason: dict[tuple[str, Markdown], list[str]] = {}
    for key, reasons in plan.get("missing", {}).items():
        for value, reason in reasons.items():
            by_reason.setdefault((key, escaped(reason)), []).append(value)
    for key, values in plan.get("left_out", {}).items():
        here = [value for value in values if value not in stored.get(key, set())]
        remedy = f"could run here, left out of the last command; add {code_span(key + '=' + ','.join(here))}"
        by_reason[key, Markdown(remedy)] = here
    lines = []
    for (key, reason), values in by_reason.items():
        left = [code_span(value) for value in values if value not in stored.get(key, set())]
        names = f"{key if len(left) == 1 else key + 's'} {', '.join(map(str, left))}"
        lines += [Markdown(f"{names}: {reason}")] if left else []
    return [*lines, *(Markdown(f"failed: {escaped(text)}") for text in plan.get("failed", []))]


def page_without_cells(name: str, question: str, plan: Mapping[str, Any]) -> str:
    """Return the page of an experiment of which nothing could run."""
    return render("not_measured", name=name, question=question, missing=absent(plan, {}))


def caption(stem: str) -> str:
    """Return the caption of a figure by its file's stem."""
    kind, _, scene = stem.partition("_shipped_")
    if kind not in SCENE_CAPTIONS or not scene:
        return CAPTIONS.get(stem, stem)
    return f"{scene.replace('_part', ', part ')}: {SCENE_CAPTIONS[kind]}."
