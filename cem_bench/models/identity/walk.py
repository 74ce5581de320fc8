"""The walk over an object: every attribute becomes a part with a digest, named by where it was met first."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cem_bench.models.identity import libraries

Look = Callable[["Walk", Any, str], str]


def hashed(*texts: str) -> str:
    """Return one digest of several texts."""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


@dataclass
class Walk:
    """A walk under way.

    Attributes:
        looks: kinds of things, and how each kind is looked at; the first that fits counts.
        parts: part, as "network.body.0.weight", to its digest.
        libraries: name to version of every library met.
    """

    looks: Sequence[tuple[Callable[[Any], bool], Look]]
    parts: dict[str, str] = field(default_factory=dict)
    libraries: dict[str, str] = field(default_factory=dict)
    met: dict[int, str] = field(default_factory=dict)
    alive: list[object] = field(default_factory=list)  # an id names an object only as long as that lives

    def digest(self, thing: object, path: str) -> str:
        """Return the digest of a thing; what was met before, or is being looked at, is told by where it was met.

        Raises:
            UnseenError: if what it computes cannot be seen.
        """
        if id(thing) in self.met:
            return self.met[id(thing)]
        look = next(look for fits, look in self.looks if fits(thing))
        self.alive.append(thing)
        self.met[id(thing)] = hashed("met at", path)
        self.met[id(thing)] = look(self, thing, path)
        return self.met[id(thing)]

    def named(self, path: str, kind: str, items: Iterable[tuple[str, object]]) -> str:
        """Make a part of every attribute, in the order of their names; return what stands for their owner."""
        for name, value in sorted(items, key=lambda item: item[0]):
            place = f"{path}.{name}"
            while place in self.parts:
                place += "'"
            self.parts[place] = ""
            self.parts[place] = self.digest(value, place)
        return hashed(kind, path)

    def apart(self, thing: object) -> str:
        """Return a digest that does not depend on what was met before: for things whose order is not given."""
        walk = Walk(self.looks, libraries=self.libraries)
        return hashed(walk.digest(thing, "element"), *(text for part in sorted(walk.parts.items()) for text in part))

    def library(self, module: str | None) -> bool:
        """Note the library of a module; False for the user's own code."""
        owner = libraries.library(str(module))
        if owner and owner[1]:
            self.libraries[owner[0]] = owner[1]
        return owner is not None
