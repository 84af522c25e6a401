"""Helpers that several parts of multipath share."""
