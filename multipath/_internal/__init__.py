"""Helpers that several parts of multipath share; they import nothing above them."""
