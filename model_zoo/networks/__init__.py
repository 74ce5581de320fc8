"""The networks, one file a family; nothing is imported until a card asks for it."""
