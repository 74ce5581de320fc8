"""What a proof refuted leaves the store at once, on disk, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cem_bench.store.draws import Store

IDENTITY = {"model": "A"}


def unit(block: int, first: int, last: int) -> dict[str, np.ndarray]:
    """Draws first to last - 1 of a block."""
    k = np.arange(first, last)
    columns = {"block": np.full(len(k), block), "k": k, "donor": k, "stratum": 0 * k}
    return columns | {"psnr": 30.0 - k / 10, "psnr_untouched": np.full(len(k), 30.0)}


def names(store: Store) -> list[tuple[int, int]]:
    return list(store.rows[["block", "k"]].itertuples(index=False, name=None))


def test_refuted_draws_leave_the_store_at_once(tmp_path: Path) -> None:
    store = Store(tmp_path, IDENTITY)
    store.append(unit(3, 0, 4))
    store.flush()
    store.append(unit(5, 0, 2))
    store.append(unit(3, 4, 6))
    assert store.remove([(3, 4), (3, 5), (5, 0)]) == 4  # draw 1 of block 5 goes with draw 0
    expected = [(3, 0), (3, 1), (3, 2), (3, 3)]
    assert names(store) == expected
    assert names(Store(tmp_path, IDENTITY)) == expected
    store.append(unit(5, 0, 1))
    store.flush()
    assert names(Store(tmp_path, IDENTITY)) == [*expected, (5, 0)]
    assert store.remove([]) == 0 and store.remove([(9, 0)]) == 0
    assert store.remove((block, 0) for block in (3, 5)) == 5
    assert names(Store(tmp_path, IDENTITY)) == []


def test_rows_of_a_matrix_leave_by_name(tmp_path: Path) -> None:
    store = Store(tmp_path, IDENTITY, kind="matrix")
    store.append({"block": np.array([1, 1, 2]), "target": np.array([0, 1, 2]), "variance": np.zeros(3)})
    assert store.remove([(1, 0), (1, 1)]) == 2
    assert Store(tmp_path, IDENTITY, kind="matrix").rows["block"].tolist() == [2]
