"""The corrections for the number of blocks, by the names of scipy; loads nothing."""

__all__ = ["CORRECTIONS"]

CORRECTIONS = {"bh": "Benjamini-Hochberg", "by": "Benjamini-Yekutieli, for blocks that depend on each other in any way"}
