"""The explorer: a page on this machine in which a place is clicked and its Causal Effect Map appears."""
