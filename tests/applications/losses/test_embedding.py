"""Embedding losses: distances, frozen networks, resampling, networks imported by name."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly
from torch import nn

from multipath.applications.audio.resampling import Resample
from multipath.applications.losses.embedding import EmbeddingLoss, load_embedding
from multipath.errors import ConfigurationError, InputError


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Network(nn.Module):
    """Twelve samples to three features, and dropout that evaluation mode has to switch off."""

    sample_rate = 6

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(12, 3, dtype=torch.float64)
        self.drop = nn.Dropout(0.5)

    def forward(self, sounds):
        return self.drop(self.linear(sounds))


@settings(max_examples=40, deadline=None)
@given(
    source=st.integers(1, 60),
    target=st.integers(1, 60),
    n_samples=st.integers(1, 200),
)
def test_resampling_is_that_of_scipy(source, target, n_samples):
    x = noise(2, 1, n_samples, seed=source)
    resample = Resample(source, target)
    expected = resample_poly(x.numpy(), target, source, axis=-1)
    np.testing.assert_allclose(resample(x).numpy(), expected, rtol=1e-10, atol=1e-12)


def test_resampling_is_differentiable():
    assert torch.autograd.gradcheck(Resample(3, 5), noise(2, 20).requires_grad_())
    assert Resample(44100, 16000)(noise(1, 441).float()).dtype == torch.float32


@pytest.mark.parametrize("rates", [(0, 1), (1, -3), (44100, 22050.5)])
def test_rates_are_whole_numbers(rates):
    with pytest.raises(ConfigurationError, match="a sample rate must be a whole number of Hz"):
        Resample(*rates)


@pytest.mark.parametrize("x", [torch.zeros(3, dtype=torch.int64), torch.zeros(2, 0)])
def test_only_signals_are_resampled(x):
    with pytest.raises(InputError, match="expected floating-point signals"):
        Resample(1, 2)(x)


@pytest.mark.parametrize("distance", ["l2", "l1", "cosine"])
def test_distances(distance):
    network = Network()
    loss = EmbeddingLoss(network, distance=distance)
    x, y = noise(4, 12), noise(4, 12, seed=1)
    weight, bias = network.linear.weight.numpy(), network.linear.bias.numpy()
    a, b = (sounds.numpy() @ weight.T + bias for sounds in (x, y))
    expected = {
        "l2": np.sqrt(((a - b) ** 2).sum(1)),
        "l1": abs(a - b).sum(1),
        "cosine": 1 - (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1)),
    }[distance]
    np.testing.assert_allclose(loss(x, y, reduction="none").numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("distance", ["l2", "l1", "cosine"])
@pytest.mark.parametrize("sounds", [torch.zeros(2, 30), torch.ones(2, 30)])
def test_gradients_are_finite_at_equal_sounds_and_silence(distance, sounds):
    loss = EmbeddingLoss(lambda s: s.reshape(len(s), 3, 10), distance=distance)
    x = sounds.clone().requires_grad_()
    loss(x, sounds).backward()
    assert torch.isfinite(x.grad).all()


def test_frames_are_averaged_before_or_after():
    def frames(sounds):
        return sounds.reshape(len(sounds), 4, 3)

    x, y = noise(2, 12), noise(2, 12, seed=1)
    difference = (x - y).reshape(2, 4, 3)
    before = EmbeddingLoss(frames)(x, y, reduction="none")
    after = EmbeddingLoss(frames, frames="each")(x, y, reduction="none")
    torch.testing.assert_close(before, difference.mean(1).norm(dim=1))
    torch.testing.assert_close(after, difference.norm(dim=2).mean(1))


def test_sounds_reach_the_network_at_its_rate():
    network = Network()
    loss = EmbeddingLoss(network, sample_rate=2)
    x = noise(3, 4).requires_grad_()
    with torch.no_grad():
        expected = network.linear(torch.from_numpy(resample_poly(x.numpy(), 3, 1, axis=-1)))
    torch.testing.assert_close(loss.embed(x)[:, 0], expected)
    loss(x, noise(3, 4, seed=1)).backward()
    assert x.grad.abs().min() > 0


def test_the_network_is_frozen_whatever_the_mode():
    network = Network()
    loss = EmbeddingLoss(network)
    loss.train()
    assert loss.training
    assert not network.training
    assert not network.drop.training
    assert not any(parameter.requires_grad for parameter in loss.parameters())


def test_checkpoints_leave_the_network_out():
    model = nn.ModuleDict({"embedding": nn.Linear(2, 2)})  # not this one, whatever its name
    holder = nn.ModuleDict({"model": model, "criterion": EmbeddingLoss(Network())})
    state = holder.state_dict()
    assert {key.split(".")[0] for key in state} == {"model"}
    network = holder["criterion"].embedding.linear.weight.clone()
    holder.load_state_dict(state)
    assert torch.equal(holder["criterion"].embedding.linear.weight, network)
    names = r"\"model\.embedding\.weight\", \"model\.embedding\.bias\"\. $"
    with pytest.raises(RuntimeError, match=r"Missing key.* " + names):
        holder.load_state_dict({})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EmbeddingLoss(Network(), distance="l3"), '"l2", "l1" or "cosine".*got \'l3\''),
        (lambda: EmbeddingLoss(Network(), frames="max"), '"mean" or "each", got'),
        (lambda: EmbeddingLoss(3), "embedding must be a network or function .* got int"),
        (lambda: EmbeddingLoss(lambda x: x, sample_rate=8), "needs an attribute sample_rate"),
    ],
)
def test_settings_that_cannot_work(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        (lambda s: s[0], r"\(2, d\) or \(2, frames, d\), got \(12,\)"),
        (lambda s: s[:1], r"got \(1, 12\)"),
        (lambda s: [s], "got list"),
        (lambda s: s / 0, "NaN or infinite"),
    ],
)
def test_embeddings_that_are_none(embedding, message):
    with pytest.raises(InputError, match=message):
        EmbeddingLoss(embedding)(noise(2, 12), noise(2, 12))


def test_sounds_of_different_shape():
    loss = EmbeddingLoss(lambda s: s)
    with pytest.raises(InputError, match=r"same shape \(batch, samples\), got"):
        loss(noise(2, 12), noise(2, 13))
    lengths = iter([3, 4])
    loss = EmbeddingLoss(lambda s: s[:, : next(lengths)])
    with pytest.raises(InputError, match="differ in shape"):
        loss(noise(2, 12), noise(2, 12))


FILE = """
from torch import nn
NUMBER = 3
def load():
    network = nn.Linear(5, 2)
    network.sample_rate = 8000
    return network
def broken():
    raise KeyError("weights")
def none():
    return None
"""


def test_networks_are_imported_by_name(tmp_path, monkeypatch):
    file = tmp_path / "my_network_of_tests.py"
    file.write_text(FILE)
    assert load_embedding(f"{file}:load").sample_rate == 8000
    monkeypatch.syspath_prepend(tmp_path)
    assert load_embedding("my_network_of_tests:load").sample_rate == 8000
    sys.modules.pop("my_network_of_tests")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("load", 'expected "MODULE:FUNCTION"'),
        ("module:", 'expected "MODULE:FUNCTION"'),
        ("no_such_module_at_all:load", "no_such_module_at_all cannot be imported .* installed"),
        ("nowhere.py:load", "nowhere.py: there is no such file"),
        ("{folder}/wrong.py:load", "wrong.py cannot be imported .SyntaxError"),
        ("{folder}/mine.py:missing", "has no missing; it has load, broken, none"),
        ("{folder}/mine.py:NUMBER", "must be a network or function .* got int"),
        ("{folder}/mine.py:broken", r"broken\(\) failed: KeyError: 'weights'"),
        ("{folder}/mine.py:none", r"none\(\) returns must be a network .* got NoneType"),
    ],
)
def test_names_that_lead_nowhere(tmp_path, name, message):
    (tmp_path / "mine.py").write_text(FILE)
    (tmp_path / "wrong.py").write_text("def")
    with pytest.raises(ConfigurationError, match=message):
        load_embedding(name.format(folder=tmp_path))
