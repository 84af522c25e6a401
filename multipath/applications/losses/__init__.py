"""Losses that sound matching is compared with, and those of plug-ins."""
