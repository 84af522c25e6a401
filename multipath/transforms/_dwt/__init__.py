"""The discrete wavelet transform: border extension and filter banks."""
