"""The page of the trained networks: every member on every test, what is missed, and what is not trained yet."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
from omegaconf import OmegaConf

from cem_bench.report.render import render

CONF = Path(__file__).parents[1] / "conf" / "train"
# dB of PSNR on a CPU, from the plan of the families; of rain above the rainy input
AIMS = {"cbsd68_dn50": 26.8, "set5_x4": 30.5}
ABOVE_INPUT = {"bsds500val_rain": 8.0}
# trainings planned; of others one
SEEDS = dict.fromkeys(("rcan_dn_ca", "rcan_dn_none", "rcan_sr_ca", "rcan_sr_none"), 3)
SEEDS |= dict.fromkeys(("rcan_dn_ca_128", "rcan_dn_none_128", "rcan_dn_window16_128"), 3)


def page(table: pd.DataFrame, unmeasured: Sequence[tuple[str, str]] = (), root: str = "") -> str:
    """Return the page.

    Args:
        table: the rows of trained.csv.
        unmeasured: networks and tests that have no row there yet.
        root: of the table.
    """
    gap = table["difference_db"].abs().max()
    return render(
        "trained",
        tests=[of_test(test, table) for test in dict.fromkeys(table["test"])],
        gap=f"{gap:.4f}",
        root=root,
        unmeasured=[f"{name} on {test}" for name, test in unmeasured],
        untrained=list(untrained({*table["name"], *(name for name, _ in unmeasured)})),
    )


def of_test(test: str, table: pd.DataFrame) -> dict[str, object]:
    """Return name, PSNR of the input, aim and table of one test."""
    rows = table[table["test"] == test]
    observed = rows["input_psnr"].iloc[0]
    aim = AIMS.get(test, observed + ABOVE_INPUT[test] if test in ABOVE_INPUT else None)
    members = rows.groupby(["family", "member"], sort=False)
    lines = [{"family": family, "member": name, **of_member(part, aim)} for (family, name), part in members]  # pyright: ignore
    shown = "" if aim is None else f"{aim:.2f}"
    return {"name": test, "input": f"{observed:.2f}", "aim": shown, "rows": pd.DataFrame(lines)}


def of_member(part: pd.DataFrame, aim: float | None) -> dict[str, str]:
    """Return the numbers of a member's trainings on one test, as they are shown."""
    psnr, first = part["psnr"], part.iloc[0]
    shown = {
        "parameters, M": f"{first['parameters'] / 1e6:.2f}",
        "reach, px": "whole image" if pd.isna(first["reach"]) else f"{first['reach']:.0f}",
        "minutes": f"{part['training_seconds'].mean() / 60:.0f}",
        "trainings": str(len(part)),
        "PSNR": f"{psnr.mean():.2f}" + (f" ({psnr.min():.2f} to {psnr.max():.2f})" if len(part) > 1 else ""),
        "SSIM": f"{part['ssim'].mean():.4f}",
        "above input": f"{psnr.mean() - first['input_psnr']:+.2f}",
    }
    if aim is None:
        return shown
    return shown | {"aim": "met" if psnr.mean() >= aim else f"missed by {aim - psnr.mean():.2f}"}


def untrained(names: set[str]) -> Iterator[str]:
    """Yield the members of conf/train, with their seeds, that have no weights."""
    for path in sorted(CONF.glob("*.yaml")):
        spec = OmegaConf.load(path)
        for seed in range(SEEDS.get(path.stem, 1)):
            if spec.get("weights", "") is not None and spec.name + (f"_seed{seed}" if seed else "") not in names:
                yield path.stem + (f" (seed {seed})" if seed else "")
