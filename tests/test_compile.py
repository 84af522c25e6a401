"""``torch.compile``: what it can follow compiles whole, everything else runs as it is written."""

import pytest
import torch
from torch._dynamo.utils import counters

from multipath import (
    BalancedLoss,
    CombinedLoss,
    SpectralLoss,
    StochasticLoss,
    TermLoss,
    TransformLoss,
)
from multipath.losses import FeatureLayers, SlicedWasserstein
from multipath.samplers import AdaptiveImportance
from multipath.testing import QuadraticLoss
from multipath.transforms import MultiResolutionSTFT, Scattering1D, WaveletTransform

from .transforms.cases import SMALL, small_signal

pytestmark = [
    pytest.mark.slow,  # they compile
    pytest.mark.filterwarnings("ignore"),  # the compiler warns of what it does itself
]


@pytest.fixture(autouse=True)
def afresh():
    torch.compiler.reset()
    counters.clear()


def compiled(function, **options):
    """By a backend that differentiates the graph that was traced, as the default one does."""
    return torch.compile(function, backend="aot_eager", **options)


def graphs():
    return counters["stats"]["unique_graphs"]


def value_and_gradient(loss, x, y):
    x = x.clone().requires_grad_()
    value = loss(x, y)
    value.backward()
    return value.detach(), x.grad


def spectra(n_resolutions):
    sizes = [64 * 2**i for i in range(n_resolutions)]
    return TransformLoss(MultiResolutionSTFT(sizes, [size // 4 for size in sizes], sizes))


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.slow
def test_a_compiled_loss_is_the_loss(name):
    loss = TransformLoss(SMALL[name]())
    whole = compiled(loss, fullgraph=loss.compilable)
    for batch, dtype in ((3, torch.float32), (6, torch.float32), (6, torch.float64)):
        x, y = (small_signal(name, seed, batch, dtype) for seed in (0, 1))
        found, expected = (value_and_gradient(f, 2 * x, y) for f in (whole, loss))
        torch.testing.assert_close(found, expected)


COMPILABLE = {
    "grouped": lambda: spectra(4).grouped([[0, 3], [1, 2]]),
    "subset": lambda: spectra(4).subset([3, 1]),
    "balanced": lambda: BalancedLoss.from_targets(spectra(3), torch.randn(4, 1024).double()),
    "combined": lambda: CombinedLoss.with_compression(spectra(3), torch.randn(4, 1024).double()),
    "evaluation": lambda: StochasticLoss(spectra(3)).eval(),
    "weights of 0": lambda: TransformLoss(WaveletTransform(level=2), weights=[0.5, 0.0, 0.5]),
    "quadratic": lambda: QuadraticLoss(6),
    "spectral": lambda: SpectralLoss(
        MultiResolutionSTFT([64, 128], sample_rate=8000.0, scale="mel", n_bins=10, weighting="A"),
        ["convergence", "log_l1", "phase"],
    ),
    "terms": lambda: TermLoss({"l1": lambda x, y: (x - y).abs().mean(1), "max": _largest}),
}


def _largest(x, y):
    return (x - y).square().amax(dim=1)


@pytest.mark.parametrize("name", COMPILABLE)
def test_one_graph_holds_the_whole_loss(name):
    loss = COMPILABLE[name]()
    x, y = torch.randn(2, 3, 1024, dtype=torch.float64).unbind()
    found, expected = (value_and_gradient(f, x, y) for f in (compiled(loss, fullgraph=True), loss))
    torch.testing.assert_close(found, expected)


def test_losses_of_any_number_of_paths_in_one_step():
    """Each traced once: more losses than the compiler recompiles one function for."""
    losses = [QuadraticLoss(n) for n in range(1, 11)]
    losses += [TransformLoss(WaveletTransform("db2", n)) for n in (1, 2, 3)]
    compare_steps(lambda x, y: sum(loss(x, y) for loss in losses), most=1)


@pytest.mark.parametrize("training", [True, False])
def test_what_is_left_alone_is_not_compiled_for_each_number_of_paths(training):
    network = torch.nn.Sequential(torch.nn.Linear(128, 8), torch.nn.ReLU()).double()
    losses = [TransformLoss(Scattering1D(128, J=n, Q=(2, 1))) for n in (1, 2, 3)]
    losses += [loss.grouped("order") for loss in losses]
    losses += [FeatureLayers(network, ["0", "1"])]
    criteria = [StochasticLoss(loss, generator=0).train(training) for loss in losses]
    criteria += [StochasticLoss(QuadraticLoss(n), eval_draws=2).eval() for n in range(1, 11)]

    def step(x, y):
        total = 0.0
        for criterion in criteria:
            total = total + criterion(x.tanh(), y)
        return total

    if training:
        program = compiled(step)
        for _ in range(3):
            value_and_gradient(program, *signals())
        assert graphs() <= 1
    else:
        compare_steps(step, most=3)


def signals():
    return torch.randn(2, 3, 128, dtype=torch.float64).unbind()


def compare_steps(step, most):
    x, y = signals()
    program = compiled(step)
    for _ in range(3):
        found, expected = (value_and_gradient(f, x, y) for f in (program, step))
        torch.testing.assert_close(found, expected)
    assert graphs() <= most


@pytest.mark.parametrize("sampler", [None, AdaptiveImportance()])
def test_a_criterion_draws_as_ever_inside_a_compiled_step(sampler):
    def made():
        return [StochasticLoss(spectra(3), n_draws=2, generator=seed) for seed in (0, 1)] + [
            StochasticLoss(QuadraticLoss(50), sampler and AdaptiveImportance(), generator=2)
        ]

    criteria, plain = made(), made()
    x, y = torch.randn(2, 3, 1024, dtype=torch.float64).unbind()
    program = compiled(lambda x, y: sum(criterion(x.tanh(), y) for criterion in criteria))
    for _ in range(12):
        found = value_and_gradient(program, x, y)
        expected = value_and_gradient(lambda x, y: sum(c(x.tanh(), y) for c in plain), x, y)
        torch.testing.assert_close(found, expected)
        for criterion, other in zip(criteria, plain, strict=True):
            assert criterion.last_draw.indices.tolist() == other.last_draw.indices.tolist()
    assert graphs() <= 4


def test_clouds_and_their_masses():
    clouds = torch.rand(2, 3, 7, 3)
    for masses in (False, True):
        loss = SlicedWasserstein(3 - masses, 5, masses=masses)
        found, expected = (
            value_and_gradient(f, *clouds) for f in (compiled(loss, fullgraph=not masses), loss)
        )
        torch.testing.assert_close(found, expected)
