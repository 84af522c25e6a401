"""Whatever comes in place of a tensor of signals, each class says what it expected."""

import numpy as np
import pytest
import torch
from torch import nn

from multipath import (
    BalancedLoss,
    CombinedLoss,
    FeatureLayers,
    SlicedWasserstein,
    SpectralLoss,
    StochasticLoss,
    TermLoss,
    TransformLoss,
)
from multipath.applications.losses.embedding import EmbeddingLoss
from multipath.applications.losses.random_resolutions import RandomResolutionLoss
from multipath.errors import InputError
from multipath.samplers import Energy
from multipath.testing import QuadraticLoss
from multipath.transforms import MultiResolutionSTFT
from tests.transforms.cases import SMALL, small_signal

pytestmark = pytest.mark.slow  # over a thousand cases


def stft():
    return TransformLoss(MultiResolutionSTFT([16, 32]))


def layers():
    return FeatureLayers(nn.Sequential(nn.Flatten(), nn.Linear(128, 2)), ["1"])


LOSSES = {
    **{name: lambda make=make: TransformLoss(make()) for name, make in SMALL.items()},
    "combined": lambda: CombinedLoss({"a": stft()}),
    "balanced": lambda: BalancedLoss(stft(), [1.0, 2.0]),
    "groups": lambda: stft().grouped(by=[[0], [1]]),
    "subset": lambda: stft().subset([1]),
    "criterion": lambda: StochasticLoss(stft(), generator=0),
    "criterion, evaluated": lambda: StochasticLoss(stft(), generator=0).eval(),
    "criterion, learning": lambda: StochasticLoss(stft(), Energy(), generator=0),
    "layers": layers,
    "spectral": lambda: SpectralLoss(MultiResolutionSTFT([16, 32]), ["log_l1", "phase"]),
    "quadratic": lambda: QuadraticLoss(3),
    "sliced": lambda: SlicedWasserstein(3),
    "embedding": lambda: EmbeddingLoss(nn.Linear(128, 2)),
    "random resolutions": lambda: RandomResolutionLoss(16, 32),
}


def signal(name):
    if name == "sliced":
        return torch.ones(2, 4, 3)
    return small_signal(name, 0, dtype=torch.float32)


WRONG = {
    "numpy": (lambda x: x.numpy(), "expected a torch.Tensor, got numpy.ndarray; .*from_numpy"),
    "a number": (lambda x: np.float32(0), "expected a torch.Tensor, got numpy.float32"),
    "a list": (lambda x: x.tolist(), "expected a torch.Tensor, got list; .*torch.tensor"),
    "a tuple": (lambda x: tuple(x), "expected a torch.Tensor, got tuple; .*torch.stack"),
    "nothing": (lambda x: None, "expected a torch.Tensor, got None"),
    "a string": (lambda x: "sound", "expected a torch.Tensor, got str"),
    "integers": (lambda x: x.to(torch.int16), "torch.int16"),
    "booleans": (lambda x: x > 0, "torch.bool"),
    "complex": (lambda x: x + 0j, "torch.complex64"),
    "sparse": (
        lambda x: x.to_sparse(),
        "got one of layout torch.sparse_coo; .*to_dense",
    ),
    "no dimensions": (lambda x: x.sum(), r"\(\)"),
    "no items": (lambda x: x[:0], r"\(0, "),
    "no samples": (lambda x: x[..., :0], r", 0\)"),
}
EMPTY = ("no dimensions", "no items", "no samples")


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("which", ["input", "target", "both"])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_name_what_is_wrong(name, which, wrong):
    loss, right = LOSSES[name](), signal(name)
    spoil, message = WRONG[wrong]
    given = {"input": right, "target": right}
    for argument in given if which == "both" else [which]:
        given[argument] = spoil(right)
    if wrong not in EMPTY and name != "sliced":
        message = f"{'target' if which == 'target' else 'input'}: .*{message}"
    if wrong in EMPTY:
        message = "shape|same batch size"
    with pytest.raises(InputError, match=message):
        loss(
            given["input"].requires_grad_() if given["input"] is right else given["input"],
            given["target"],
        )


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("method", ["coefficients", "forward", "pairs", "pairs'", "prepare"])
@pytest.mark.parametrize("name", SMALL)
def test_transforms_say_what_they_expected(name, method, wrong):
    transform, right = SMALL[name](), signal(name)
    spoil, message = WRONG[wrong]
    spoilt = spoil(right)
    calls = {
        "coefficients": lambda: transform.coefficients(spoilt, [0]),
        "forward": lambda: transform(spoilt),
        "pairs": lambda: transform.coefficient_pairs(spoilt, right, [0]),
        "pairs'": lambda: transform.coefficient_pairs(right, spoilt, [0]),
        "prepare": lambda: transform.prepare(spoilt),
    }
    with pytest.raises(InputError, match=message):
        calls[method]()


@pytest.mark.parametrize("wrong", ["numpy", "nothing", "a string"])
@pytest.mark.parametrize("name", LOSSES)
def test_targets_that_are_no_tensors_cannot_be_measured(name, wrong):
    loss, (spoil, _) = LOSSES[name](), WRONG[wrong]
    if not hasattr(loss, "target_norms"):
        return
    spoilt = spoil(signal(name))
    with pytest.raises(InputError, match=r"expected a torch\.Tensor, got"):
        loss.target_norms(spoilt, [0])
    with pytest.raises(InputError, match=r"expected a torch\.Tensor, got"):
        StochasticLoss.for_training(loss, spoilt)


def test_terms_take_anything():
    loss = TermLoss({"a": lambda x, y: torch.tensor(float(len(x)))})
    assert loss([1, 2], None) == 2


@pytest.mark.parametrize("name", SMALL)
def test_a_transform_is_no_loss(name):
    x = signal(name)
    with pytest.raises(InputError, match=r"no loss: wrap it, TransformLoss\(transform\)\(x, y\)"):
        SMALL[name]()(x, x)
