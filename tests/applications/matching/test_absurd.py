"""Settings beyond reason end in one line, before any work is done."""

import pytest

from multipath.errors import ConfigurationError
from tests.applications.tiny import TINY, TINY_TR808


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        (TINY, {"learning_rate": 1e38}, r"learning_rate must be positive .* at most 1e\+06"),
        (TINY, {"n_targets": 10**20}, "n_targets must be at most 1000000"),
        (TINY_TR808, {"n_targets": 10**20}, "n_targets must be at most 1000000"),
        (TINY_TR808, {"n_targets": 10**6, "n_samples": 2**20}, "drums of 1048576 samples"),
        (TINY, {"n_samples": 10**18}, "n_samples must be at most"),
        (TINY, {"dropout": 5.0}, "dropout must lie in"),
        (TINY, {"channels": (10**12,)}, "channels must be at most"),
        (TINY, {"batch_size": "4"}, "batch_size must be a whole number"),
    ],
)
def test_absurd_settings_are_refused(config, changes, message):
    with pytest.raises(ConfigurationError, match=message):
        config.changed(**changes)
