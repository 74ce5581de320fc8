"""The zoo: restoration networks by name, loaded strictly, with one card of facts for each checkpoint."""

from model_zoo.cards import Card, card, configured, list_models
from model_zoo.errors import ZooError
from model_zoo.foreign import load_file
from model_zoo.loading import build, load

__all__ = ["Card", "ZooError", "build", "card", "configured", "list_models", "load", "load_file"]
