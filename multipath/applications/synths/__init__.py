"""Differentiable synthesizers."""
