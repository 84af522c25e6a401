"""What is matched: a synthesizer with its targets, its evaluation and its presets."""
