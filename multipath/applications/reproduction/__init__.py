"""The published tables and figures, made again: which runs they need, and what these show."""
