"""Effects with error bars: arrays in, estimate and interval out. No torch."""
