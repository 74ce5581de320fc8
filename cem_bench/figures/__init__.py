"""Pictures of maps and tables in one style. No torch."""
