"""Numerical parts that several transforms share."""
