"""Drop-in replacements for the classes of other libraries."""

from .scrapl import SCRAPLLoss

__all__ = ["SCRAPLLoss"]
