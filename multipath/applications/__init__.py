"""Ready-made uses of multipath: sound matching and the comparison of recordings.

They are clients of the public interface like any other, and need the ``applications`` extra:
``pip install 'multipath-loss[applications]'``.
"""
