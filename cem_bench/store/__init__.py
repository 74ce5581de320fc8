"""Stored draws, what is read off them, and their archive. No torch."""
