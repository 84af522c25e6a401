"""Timings and memory of multipath, side by side with the libraries a user would otherwise take.

``python -m benchmarks.run`` measures, ``python -m benchmarks.report`` renders; see README.md here.
Only the worker processes import torch: the process that times them stays out of their way.
"""
