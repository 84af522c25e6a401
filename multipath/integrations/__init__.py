"""multipath inside other libraries; each module is named after the library that it serves.

- :mod:`multipath.integrations.lightning`: a callback that logs the draws of a training run.
- :mod:`multipath.integrations.sklearn`: a transform as a step of a scikit-learn pipeline.

This package imports neither of them, so that neither library need be installed.
"""
