"""What all synthesizers have in common: exact gradients, rows that do not mix, refusals."""

import pytest
import torch

from multipath.applications.synths.am_chirp import AMChirpRanges, AMChirpSynth
from multipath.applications.synths.chirplet import CHIRPLETS, ChirpletSynth
from multipath.applications.synths.drum import DrumRanges, DrumSynth
from multipath.applications.synths.granular import GranularSynth
from multipath.applications.synths.tr808 import TR808Synth
from multipath.errors import InputError

SHIFTS, SEEDS = torch.tensor([5, 0, -100]), torch.tensor([5, 9, 5])
SEEDS_AND_SHIFTS = torch.tensor([[5, 10], [9, 0], [5, -3]])
CASES = {
    name: (ChirpletSynth(name, n_samples=512, sample_rate=2048.0, f0=256.0), 1.0, SHIFTS)
    for name in CHIRPLETS
}
CASES["granular"] = (
    GranularSynth(
        n_samples=2048, sample_rate=2048.0, n_grains=8, grain_samples=512, f_min=64.0, f_max=512.0
    ),
    1.0,
    SEEDS,
)
CASES["am chirp"] = (
    AMChirpSynth(
        AMChirpRanges((128.0, 256.0), (4.0, 8.0), (4.0, 8.0)), n_samples=512, sample_rate=2048.0
    ),
    1.0,
    SHIFTS,
)
CASES["drum"] = (  # in ranges in which all parameters are heard: differences are of doubles
    DrumSynth(
        DrumRanges((250.0, 800.0), (0.02, 0.1), (0.02, 0.2), (0.1, 0.3)),
        n_samples=200,
        sample_rate=4096.0,
        modes=(3, 4),
    ),
    1.0,
    SHIFTS,
)
CASES["tr808"] = TR808Synth(n_samples=600), 0.3, SEEDS_AND_SHIFTS  # loud, not yet saturated


@pytest.fixture(params=CASES)
def case(request):
    """A synthesizer in double precision, three parameter vectors, and their nuisance."""
    synth, scale, nuisance = CASES[request.param]
    shape = 3, len(synth.parameter_names)
    generator = torch.Generator().manual_seed(0)
    return synth.double(), scale * torch.rand(shape, generator=generator).double(), nuisance


@pytest.mark.slow
def test_gradients_equal_finite_differences(case):
    synth, theta, nuisance = case
    generator = torch.Generator().manual_seed(1)
    probe = torch.randn(synth.n_samples, generator=generator, dtype=torch.float64)

    def projections(theta):
        return synth(theta, nuisance) @ probe

    theta.requires_grad_()
    assert torch.autograd.gradcheck(projections, (theta,), eps=1e-7, rtol=1e-4)
    assert torch.autograd.gradgradcheck(projections, (theta,), eps=1e-7, rtol=1e-3)


def test_a_row_depends_on_nothing_else_in_the_batch_nor_on_the_global_generator(case):
    synth, theta, nuisance = case
    before = torch.manual_seed(1).get_state()
    together = synth(theta, nuisance)
    for row in (slice(0, 1), slice(1, 2), slice(2, 3)):
        torch.testing.assert_close(together[row], synth(theta[row], nuisance[row]))
    assert torch.get_rng_state().equal(before)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda theta, nuisance: (theta[0], nuisance),
            r"theta must have shape \(batch, \d+\), got",
        ),
        (
            lambda theta, nuisance: (theta[:, 1:], nuisance),
            r"theta must have .*, got \(3, \d+\)",
        ),
        (lambda theta, nuisance: (theta, nuisance[1:]), r"each of the 3 .* got shape \(2,"),
        (lambda theta, nuisance: (theta, nuisance.float()), r"each of the 3 .* of torch.float32"),
    ],
)
def test_arguments_of_other_shapes_are_refused(case, spoil, message):
    synth, *arguments = case
    with pytest.raises(InputError, match=message):
        synth(*spoil(*arguments))


def test_print_tells_the_size(case):
    synth, *_ = case
    assert f"{synth.n_samples} samples at {synth.sample_rate:g} Hz" in repr(synth)
