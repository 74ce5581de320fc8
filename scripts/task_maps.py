"""Measure one map for every task beside noise, rain and super-resolution; `results/tasks` has their page.

Run from the repository's root, with CEM_WEIGHTS set: `python scripts/task_maps.py`, or some of them,
`python scripts/task_maps.py blur mri`. Where no network of the zoo was trained for a task, a denoiser or a network of
several tasks stands in, and the page's last column says what it was trained for.
"""

import argparse

from cem_bench.run.launch import run

SCENE = ["scene=astronaut", "scene.crop=[80,176,64,64]", "scene.roi=[24,24,16,16]", "sampling=uniform", "sampling.n=2"]
# what the network of several tasks was trained on
LEVEL_HAZE = ["task.degradation.depth=level", "task.degradation.beta=0.6931471805599453"]
MAPS = {
    "low_light": ["model=IAT"],
    "jpeg": ["model=DnCNN-3"],
    "blur": ["model=SRResNet_mio_light"],
    "mri": ["model=DnCNN"],
    "haze": ["model=SRResNet_mio_light", *LEVEL_HAZE],
    "poisson_gaussian": ["model=DnCNN"],
    "tomography": ["model=DnCNN"],
    "motion": ["model=SRResNet_mio_light"],
    "mosaic": ["model=DnCNN"],
    "inpainting": ["model=DnCNN"],
    "physics": ["model=DnCNN"],
}


def main() -> int:
    """Measure the maps that the command line names; returns the largest exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", help=f"some of {', '.join(MAPS)}; all where none is named")
    tasks = parser.parse_args().tasks or list(MAPS)
    if unknown := sorted(set(tasks) - set(MAPS)):
        parser.error(f"unknown task {', '.join(unknown)}; expected some of {', '.join(MAPS)}")
    return max(run(["+experiment=tasks", f"task={task}", *MAPS[task], *SCENE]) for task in tasks)


if __name__ == "__main__":
    raise SystemExit(main())
