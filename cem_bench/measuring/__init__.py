"""From a cell to its map: outcomes, the prepared cell, draws, proof, record."""
