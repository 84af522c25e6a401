"""multipath inside other libraries; each module needs the library that it is named after.

- :mod:`multipath.integrations.lightning`: a callback that logs the draws of a training.
- :mod:`multipath.integrations.sklearn`: a transform as a step of a scikit-learn pipeline.

Nothing is imported before it is asked for.
"""
