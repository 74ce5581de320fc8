"""The one error of the zoo."""


class ZooError(ValueError):
    """A model, card or checkpoint is not what it was taken for; the message says what to do."""
