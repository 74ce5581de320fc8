"""The corrections for the number of blocks, by the names of scipy; loads nothing."""

CORRECTIONS = {"bh": "Benjamini-Hochberg", "by": "Benjamini-Yekutieli, for blocks that depend on each other in any way"}
