"""MS-CLAP: networks trained to bring sounds and their descriptions together.

The audio branch of 2023 (HTSAT) comes from the package ``msclap``, with its own download or a file
of weights; that of 2022 (Cnn14) needs the file alone. The file is found by argument or in the
environment variable ``MULTIPATH_CLAP``::

    multipath ... multipath.applications.networks.clap:load        # version 2023
    multipath ... multipath.applications.networks.clap:load_2022
"""

from __future__ import annotations

import os
from pathlib import Path

from torch import Tensor, nn

from multipath.errors import ConfigurationError

from ._weights import build_with_weights, read_weights, weights_file
from .panns import Cnn14

__all__ = ["AudioBranch", "Projection", "RepeatedTo", "load", "load_2022"]

VARIABLE = "MULTIPATH_CLAP"
BRANCH = "audio_encoder."
RATE = 44100
"""Hz, of version 2022."""


class RepeatedTo(nn.Module):
    """A network that wants sounds of one duration: shorter ones are repeated, longer ones cut.

    Args:
        network: From sounds (batch, n_samples) to embeddings, or to a tuple that starts with them.
        sample_rate: In Hz.
        n_samples: What the network wants.

    Example:
        >>> RepeatedTo(nn.Identity(), sample_rate=8000, n_samples=5)(Tensor([[1.0, 2.0]]))
        tensor([[1., 2., 1., 2., 1.]])
    """

    def __init__(self, network: nn.Module, sample_rate: int, n_samples: int) -> None:
        super().__init__()
        self.network, self.sample_rate, self.n_samples = network, sample_rate, n_samples

    def forward(self, sounds: Tensor) -> Tensor:
        """Embeddings (batch, features)."""
        times = -(-self.n_samples // sounds.shape[-1])
        found = self.network(sounds.repeat(1, times)[:, : self.n_samples])
        embedding: Tensor = found[0] if isinstance(found, tuple) else found
        return embedding


class Projection(nn.Module):
    """Into the space shared with text: two linear layers with a residual, normalised.

    Args:
        n_features: Width of the input.
        n_projected: Width of the output.
    """

    def __init__(self, n_features: int, n_projected: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(n_features, n_projected, bias=False)
        self.linear2 = nn.Linear(n_projected, n_projected, bias=False)
        self.layer_norm = nn.LayerNorm(n_projected)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (batch, n_projected)."""
        x = self.linear1(x)
        projected: Tensor = self.layer_norm(x + self.linear2(nn.functional.gelu(x)))
        return projected


class AudioBranch(nn.Module):
    """A network and its projection, named as in the published checkpoints.

    Args:
        base: Makes features.
        projection: Projects them.
    """

    def __init__(self, base: nn.Module, projection: nn.Module) -> None:
        super().__init__()
        self.base, self.projection = base, projection

    def forward(self, sounds: Tensor) -> Tensor:
        """Embeddings (batch, n_projected)."""
        embedding: Tensor = self.projection(self.base(sounds))
        return embedding


def load(weights: str | Path | None = None) -> RepeatedTo:
    """The audio encoder of version 2023, through the package ``msclap``.

    Args:
        weights: ``CLAP_weights_2023.pth``. Default: the environment variable ``MULTIPATH_CLAP``, or
            else what ``msclap`` downloads.

    Raises:
        ConfigurationError: If ``msclap`` is not installed, or the file is missing.
    """
    try:
        from msclap import CLAP
    except ImportError as error:
        raise ConfigurationError(
            f"version 2023 of MS-CLAP needs the package msclap ({error}): pip install msclap; "
            "version 2022 needs its weights alone, see load_2022"
        ) from error
    path = None
    if weights is not None or os.environ.get(VARIABLE):
        path = weights_file(weights, VARIABLE, "the weights of MS-CLAP 2023")
    wrapper = CLAP(model_fp=path, version="2023", use_cuda=False)
    rate = int(wrapper.args.sampling_rate)
    return RepeatedTo(wrapper.clap.audio_encoder, rate, rate * int(wrapper.args.duration)).eval()


def load_2022(weights: str | Path | None = None, seconds: float = 5.0) -> RepeatedTo:
    """The audio encoder of version 2022, Cnn14 at 44.1 kHz, from its weights alone.

    Args:
        weights: ``CLAP_weights_2022.pth``. Default: the environment variable ``MULTIPATH_CLAP``.
        seconds: Duration to which sounds are repeated or cut. Default that of its training.

    Raises:
        ConfigurationError: If the file is missing, unreadable or of another network.
    """
    path = weights_file(weights, VARIABLE, "the weights of MS-CLAP 2022")
    state = {
        key.removeprefix(BRANCH): value
        for key, value in read_weights(path).items()
        if key.startswith(BRANCH)
    }

    def build(state: dict[str, Tensor]) -> AudioBranch:
        sizes = {
            "width": "base.conv_block1.conv1.weight",
            "n_features": "base.fc1.weight",
            "n_classes": "base.fc_audioset.weight",
        }
        found = {size: len(state[name]) for size, name in sizes.items()}
        projection = Projection(found["n_features"], len(state["projection.linear1.weight"]))
        return AudioBranch(Cnn14(RATE, **found), projection)  # type: ignore[arg-type]

    branch = build_with_weights(build, state, path, "MS-CLAP 2022")
    return RepeatedTo(branch, RATE, int(seconds * RATE)).eval()
