"""Drop-in replacements for the classes of other libraries."""

from . import auraloss
from .scrapl import SCRAPLLoss

__all__ = ["SCRAPLLoss", "auraloss"]
