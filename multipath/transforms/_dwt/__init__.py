"""The engine of discrete wavelet transforms: extension at the borders, and filter banks."""
