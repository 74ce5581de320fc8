"""Training of the zoo's own matched families; degradations are passed in, so that the zoo stays below the method."""

from model_zoo.training.crops import Crops, Maker
from model_zoo.training.into_zoo import publish
from model_zoo.training.loop import Recipe, train
from model_zoo.training.scores import every_test, measure, pairs, score
from model_zoo.training.split import read_split
from model_zoo.training.warm_start import warm_start

__all__ = [
    "Crops",
    "Maker",
    "Recipe",
    "every_test",
    "measure",
    "pairs",
    "publish",
    "read_split",
    "score",
    "train",
    "warm_start",
]
