"""Rounds of draws until the rule is satisfied and the proof holds; what an engine cannot do, the next one does.

An engine that raises is replaced by plain forwards, from the last good draw on. One that the proof refutes is replaced
too, and every draw that it may have made leaves the store. An engine that was asked for by name is not replaced.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from cem_bench.engine.cost import Cost
from cem_bench.inputs.geometry import Rect
from cem_bench.measuring.cell import Cell
from cem_bench.measuring.opened import record_of
from cem_bench.measuring.prepared import Bench, Progress
from cem_bench.measuring.proof import AIM, CHECKS_S, CHECKS_SHARE, prove_draws, prove_draws_on_all
from cem_bench.measuring.refusals import KeepsStateError, MeasureError, Name, Refuted
from cem_bench.sampling.rules import Effects, Request, asked, labels_of
from cem_bench.stats.blocks import BlockTable
from cem_bench.store import maps
from cem_bench.store.draws import Store
from cem_bench.store.matrix import unit_of
from cem_bench.store.shards import ORDER

log = logging.getLogger(__name__)


class Beside:
    """Another ROI on the same forwards: takes every draw that comes next in its own store."""

    def __init__(self, bench: Bench, store: Store) -> None:
        self.bench, self.store = bench, store
        live = bench.status().ravel() == maps.MEASURED
        counts = store.rows["block"].value_counts()
        self.stored = {int(block): int(counts.get(block, 0)) for block in np.flatnonzero(live)}
        self.fresh: list[Name] = []

    def take(self, request: Request, outputs: Tensor) -> None:
        """Keep the draws of a request, unless they are stored or not wanted."""
        if self.stored.get(request.block) == request.first:
            self.store.append(self.bench.unit(request, outputs))
            self.stored[request.block] = request.last
            self.fresh += _names(request)


class Earlier:
    """What a store held before a session, and what its record says of it.

    Attributes:
        names: block and k (or block and target) of its rows.
        engines: kinds of engine that made them; empty where that is not known.
        proven: whether a proof stands for all of them.
    """

    def __init__(self, store: Store) -> None:
        self.names = _names_of(store)
        record = record_of(store)
        proof = record.get("proof", {})
        self.proven = bool(record) and proof.get("stands_for", len(self.names)) >= len(self.names)
        kinds = record.get("engines", [record["engine"]["kind"]] if "engine" in record else [])
        self.engines = set(kinds) if self.proven else set()

    @property
    def plain(self) -> bool:
        """Whether all of it is known to come from plain forwards."""
        return not self.names or self.engines == {"full"}


class Drawing:
    """One session on one cell: its bench, whose engine may change, what it drew and what it refuted.

    Attributes:
        bench: of the cell, with the engine that is at work.
        fresh: block and k of the draws of this session.
        refuted: engine, difference in dB and number of draws removed, for every refutation.
        drawn, fingerprint, proof: what the draws cost, and two of the checks.
    """

    def __init__(
        self, cell: Cell, store: Store, beside: Mapping[Rect, Store], progress: Progress, bench: Bench | None = None
    ) -> None:
        self.store, self.progress = store, progress
        self.earlier = Earlier(store)
        self.fresh: list[Name] = []
        self.refuted: list[dict[str, Any]] = []
        self.drawn, self.fingerprint, self.proof = Cost(), Cost(), Cost()
        self._unproven: list[Name] = []
        self._engines = set(self.earlier.engines)
        try:
            self.bench = Bench.of(cell, list(beside)) if bench is None else bench
        except Refuted as error:
            self._remove(error)
            raise
        self.beside = [Beside(self.bench.beside(roi), store_beside) for roi, store_beside in beside.items()]
        for text in self.bench.refuted:
            self._remove(Refuted(text, text.partition(":")[0], float("nan")))

    def until_proven(self) -> tuple[dict[int, Effects], dict[str, Any]]:
        """Draw and prove until both are done.

        Returns:
            The effects of the draws that the rule takes, by block, and the proof for the record.

        Raises:
            MeasureError: if the network fails on plain forwards, or an engine that was asked for fails.
        """
        while True:
            with self.drawn.counted():
                taken = self._rounds()
            try:
                with self.proof.counted():
                    return taken, self._proof()
            except Refuted as error:
                earlier = error.name in self.earlier.names
                self._remove(error)
                if not earlier:  # what another session drew is made again by the engine of this one
                    self.bench = self.bench.without(error)

    @property
    def stores(self) -> list[tuple[Bench, Store]]:
        """Stores of draws that others than the real network make, each with its bench."""
        return []

    @property
    def table(self) -> BlockTable | None:
        """Estimate, interval and verdict of every block; None where the draws of each say them."""
        return None

    def facts(self) -> dict[str, Any]:
        """Return what the record says of this kind of session alone."""
        return {}

    @property
    def costs(self) -> dict[str, Cost]:
        """What each check cost: yardstick, trial of the engine, fingerprint, proof of reach and draws."""
        yardstick, engine = self.bench.yardstick.cost, self.bench.engine.checks
        return {"yardstick": yardstick, "engine": engine, "fingerprint": self.fingerprint, "proof": self.proof}

    @property
    def engines(self) -> list[str]:
        """Kinds of engine that made the stored draws."""
        return sorted(self._engines | {self.bench.engine.kind})

    def _rounds(self) -> dict[int, Effects]:
        """Ask the rule for draws until it is satisfied; whatever happens, what was measured is written."""
        try:
            while True:
                live = np.flatnonzero(self.bench.status().ravel() == maps.MEASURED).tolist()
                taken, requests, expected = _asked(self.bench.cell, self.store, live)
                if not requests:
                    return taken
                self._draw(requests, len(self.store.rows) + expected)
        finally:
            for written in (self.store, *(beside.store for beside in self.beside)):
                written.flush()

    def _draw(self, requests: list[Request], known: int) -> None:
        """Make the draws of a round; where the engine raises, change it and leave the rest to the next round."""
        done = len(self.store.rows)
        for request in requests:
            outputs = self._outputs(lambda request=request: self.bench.run(request))
            if outputs is None:
                return
            self.store.append(self.bench.unit(request, outputs))
            for beside in self.beside:
                beside.take(request, outputs)
            self.fresh += _names(request)
            self._engines.add(self.bench.engine.kind)
            self._unproven += _names(request)
            done += request.draws
            self.progress(done, known, "drawing")

    def _outputs(self, run: Callable[[], Tensor]) -> Tensor | None:
        try:
            return run()
        except MeasureError:
            raise
        except Exception as error:  # noqa: BLE001 - a network may raise anything; the last engine makes it a refusal
            self.bench = self.bench.without(error)
            return None

    def _proof(self) -> dict[str, Any]:
        """Prove what is not proven yet."""
        drawn = self._unproven + ([] if self.earlier.proven else self.earlier.names)
        allowed = AIM * max(CHECKS_S, CHECKS_SHARE * self.drawn.cpu_seconds)
        left = allowed - sum(cost.cpu_seconds for cost in self.costs.values())
        try:
            proof = prove_draws(self.bench, self.store.rows, drawn, self.progress, left)
        except KeepsStateError:
            self.store.remove(self.fresh)
            for beside in self.beside:
                beside.store.remove(beside.fresh)
            raise
        return {**proof, "stands_for": len(self.store.rows)}

    def _remove(self, error: Refuted) -> None:
        """Take every draw that a refuted engine may have made out of the store, and say so."""
        names = self.fresh if self.earlier.plain else _names_of(self.store)
        removed = self.store.remove(names) if names else 0
        for beside in getattr(self, "beside", []):
            removed += beside.store.remove(beside.fresh) if beside.fresh else 0
            beside.fresh.clear()
        self.refuted.append({"engine": error.kind, "difference_db": error.difference, "removed_draws": removed})
        log.warning("cem_bench: %s %d draws were removed from the store.", error, removed)
        self._unproven.clear()
        stored = set(_names_of(self.store))
        self.fresh = [name for name in self.fresh if name in stored]
        if not self.earlier.plain:
            self.earlier.names, self.earlier.engines, self.earlier.proven = [], set(), True
        self._engines = set(self.earlier.engines)


def draw_matrix(bench: Bench, store: Store, draws: int, progress: Progress) -> tuple[Bench, int, dict[str, Any]]:
    """Draw and prove the blocks that a matrix lacks, the whole image as ROI, until both are done.

    Args:
        bench: of the cell.
        store: of the matrix.
        draws: per block.
        progress: called with blocks done, blocks wanted, and a word on the stage.

    Returns:
        The bench, with the engine that did it; the number of new blocks; the proof for the record.

    Raises:
        MeasureError: as `Drawing.until_proven`.
    """
    grid = bench.cell.scene.grid
    while True:
        missing = sorted(set(range(len(grid))) - set(store.rows["block"]))
        try:
            for done, block in enumerate(missing, len(grid) - len(missing) + 1):
                store.append(unit_of(block, bench.run_on_all(block, draws)))
                progress(done, len(grid), "all ROIs")
            if not missing:
                return bench, 0, {"draws": 0, "reason": "no new draw"}
            drawn = [(block, k) for block in missing for k in range(draws)]
            return bench, len(missing), prove_draws_on_all(bench, drawn, progress)
        except Refuted as error:
            removed = store.remove(_names_of(store))
            log.warning("cem_bench: %s %d pairs were removed from the store.", error, removed)
            bench = bench.without(error)
        except MeasureError:
            raise
        except Exception as error:  # noqa: BLE001 - a network may raise anything; the last engine makes it a refusal
            bench = bench.without(error)
        finally:
            store.flush()


def _names(request: Request) -> list[Name]:
    return [(request.block, k) for k in range(request.first, request.last)]


def _names_of(store: Store) -> list[Name]:
    rows: pd.DataFrame = store.rows[ORDER[store.kind]]
    return [(int(first), int(second)) for first, second in rows.itertuples(index=False)]


def _asked(cell: Cell, store: Store, live: list[int]) -> tuple[dict[int, Effects], list[Request], int]:
    """Return the stored draws that the rule takes, those it wants next, and how many it still expects in all."""
    labels = None if cell.pool.strata is None else store.strata(live)
    taken, wanted = asked(cell.sampling, store.effects(live, cell.options.outcome), labels)
    expected, needed = sum(request.draws for request in wanted), getattr(cell.sampling, "draws_needed", None)
    if wanted and needed is not None:  # the rule stops by precision: it judges by the measured variance
        expected = max(expected, int(sum(needed(taken, labels_of(taken, labels)).values())))
    return taken, wanted, expected
