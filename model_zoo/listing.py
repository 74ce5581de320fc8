"""Which models of the zoo have the facts that somebody asks for."""

from dataclasses import dataclass

from model_zoo.cards import Card, card, list_models
from model_zoo.errors import ZooError
from model_zoo.weights import find

NONE, ANY = "none", "any"
HERE, MISSING = "here", "missing"


@dataclass(frozen=True)
class Wanted:
    """Facts that a model must have; a field that is None asks for nothing.

    Attributes:
        task: one of its tasks.
        reach: at most so many input pixels; networks that look at the whole image never qualify.
        statistics: "none" for networks that look at no statistics of the whole image, "any" for those that do, or a
            part of the kind's name, e.g. "channel attention".
        licence: a part of the licence of the weights, e.g. "MIT"; case makes no difference.
        weights: "here" where the checkpoint is found on this machine, "missing" where it is not.
    """

    task: str | None = None
    reach: int | None = None
    statistics: str | None = None
    licence: str | None = None
    weights: str | None = None

    def __post_init__(self) -> None:
        """Refuses a kind of statistics that no card has, and a reach that cannot be."""
        kinds = sorted({card(name).global_statistics for name in list_models()} - {""})
        asked = self.statistics
        if asked not in (None, NONE, ANY) and not any(_has(kind, asked) for kind in kinds):
            raise ZooError(
                f"no model has global statistics {asked!r}; expected none, any or a part of: {', '.join(kinds)}"
            )
        if self.reach is not None and self.reach < 0:
            raise ZooError(f"got a reach of {self.reach} px, expected 0 or more")

    def fits(self, entry: Card) -> bool:
        """Whether a card has every fact asked for."""
        return (
            self.task in (None, *entry.tasks)
            and (self.reach is None or (entry.reach is not None and entry.reach <= self.reach))
            and self._fits_statistics(entry.global_statistics)
            and (self.licence is None or _has(entry.licence, self.licence))
            and (self.weights is None or (find(entry) is not None) == (self.weights == HERE))
        )

    def _fits_statistics(self, kind: str) -> bool:
        if self.statistics in (None, NONE, ANY):
            return self.statistics is None or bool(kind) == (self.statistics == ANY)
        return _has(kind, self.statistics)


def _has(text: str, part: str | None) -> bool:
    return (part or "").casefold() in text.casefold()


def select(wanted: Wanted) -> list[Card]:
    """The cards that have the facts asked for, in the order of the card files."""
    return [entry for entry in map(card, list_models()) if wanted.fits(entry)]
