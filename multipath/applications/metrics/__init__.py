"""Distances between sounds, for evaluation."""
