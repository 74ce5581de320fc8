"""Sampling rules: how many draws every block gets, and when to stop. No torch."""
