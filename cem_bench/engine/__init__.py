"""Engines: the outputs of a network under interventions, exactly, with as little work as can be proven enough.

`prepare` is the one door. Every engine answers the same four questions (see `Engine`), so the instrument does not
know which one it uses; `Engine.reason` says what was chosen and why.
"""

from cem_bench.engine.base import Engine, EngineError
from cem_bench.engine.choose import prepare

__all__ = ["Engine", "EngineError", "prepare"]
