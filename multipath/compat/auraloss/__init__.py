"""For users of auraloss: the same modules and classes, values and gradients.

``from multipath.compat import auraloss`` stands in for ``import auraloss``. Values are those of its
development version of 2023 (after 0.4.0) wherever that works, and what its documentation says where
it does not. :doc:`/migrating_auraloss` lists what is different.
"""

from . import freq, perceptual, time

__all__ = ["freq", "perceptual", "time"]
