"""Recordings: reading, resampling, spectrograms, filters and timbre."""
