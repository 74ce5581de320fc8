"""Starting a training from weights of the zoo, and saying so in its record."""

from torch import nn

from model_zoo.cards import card
from model_zoo.errors import ZooError
from model_zoo.loading import load


def warm_start(network: nn.Module, name: str) -> dict[str, str | None]:
    """Give a network the weights of a card; what is averaged or stepped later starts from them.

    Args:
        network: of the same tensors as the card's, by name and shape; its weights are replaced.
        name: a card's name or alias.

    Returns:
        For the record: name of the card, sha256 of its weights.

    Raises:
        ZooError: for an unknown card, weights that are missing or damaged, or tensors that are not the network's.
    """
    source = load(name).state_dict()
    shapes = {key: tuple(value.shape) for key, value in source.items()}
    own = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    differ = sorted(key for key in own.keys() | shapes.keys() if own.get(key) != shapes.get(key))
    if differ:
        raise ZooError(
            f"warm_start: {name} has {shapes.get(differ[0])} as {differ[0]}, expected {own.get(differ[0])} (and "
            f"{len(differ) - 1} more differ); name weights of the same architecture, or null to start from nothing"
        )
    network.load_state_dict(source)
    return {"name": card(name).name, "sha256": card(name).sha256}
