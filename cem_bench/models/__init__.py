"""What a network is to the method: a callable with a name, a value range, a scale and an identity."""
