"""Sound matching: train an encoder to find the parameters of a synthesizer."""
