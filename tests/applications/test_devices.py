"""The applications on an accelerator without float64 give what they give on the CPU."""

import copy

import pytest
import torch

from multipath.applications.audio.biquad import biquad, high_pass
from multipath.applications.audio.resampling import Resample
from multipath.applications.audio.timbre import brightness, centroid, flatness, loudness
from multipath.applications.distance.compare import compare
from multipath.applications.losses.multi_scale import mss_linear, mss_log, mss_revisited
from multipath.applications.losses.random_resolutions import mss_random
from multipath.applications.matching.module import SoundMatching
from multipath.applications.metrics.drums import DrumMetrics
from multipath.applications.resynthesis.search import Resynthesis
from multipath.applications.resynthesis.settings import ResynthesisSettings
from multipath.applications.synths.chirplet import ChirpletSynth
from multipath.applications.synths.granular import GranularSynth
from multipath.applications.synths.tr808 import TR808Synth
from multipath.transforms import Scattering1D
from tests.applications.tiny import TASKS
from tests.simulated_device import Remote, SimulatedDevice

SYNTHS = {
    "chirplet": lambda: ChirpletSynth(n_samples=1024, sample_rate=8192.0),
    "granular": lambda: GranularSynth(n_samples=1024, n_grains=4, grain_samples=256),
    "tr808": lambda: TR808Synth(n_samples=1024),
}
LOSSES = {
    "linear": lambda: mss_linear([64, 128]),
    "log": lambda: mss_log([64, 128]),
    "revisited": lambda: mss_revisited([67, 127]),
    "random": lambda: mss_random(1024),
}
SOUNDS = {
    "biquad": lambda x: biquad(x, x.new_tensor([1.0, -0.5, 0.1]), x.new_tensor([1.0, -1.8, 0.9])),
    "high pass": lambda x: high_pass(x, x.new_tensor(500.0), x.new_tensor(2.0), 8192.0),
    "loudness": lambda x: loudness(x, 8192.0),
    "brightness": lambda x: brightness(centroid(x, 8192.0)),
    "flatness": flatness,
}


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def here(x):
    return x.inner if isinstance(x, Remote) else x


def close(found, expected):
    return (here(found) - expected).abs().max() <= 1e-4 * expected.abs().max()


def both(make, function, x):
    """Value and gradient on the CPU, and on the device."""
    module = make()
    results = []
    for move in (lambda each: each, lambda each: each.to("meta")):
        with SimulatedDevice():
            moved = move(copy.deepcopy(module))
            leaf = move(x.clone()).detach().requires_grad_()
            value = function(moved, leaf)
            value.square().mean().backward()
            assert value.device == leaf.device
            results += [value.detach(), leaf.grad]
    return results


@pytest.mark.parametrize("name", SYNTHS)
def test_synthesizers(name):
    synth = SYNTHS[name]()
    theta = noise(2, len(synth.parameter_names)).sigmoid()
    nuisance = torch.tensor([[3, 5], [4, -2]]) if name == "tr808" else torch.tensor([3, 4])

    def render(moved, leaf):
        return moved(leaf, nuisance.to(leaf.device))

    value, gradient, there, gradient_there = both(SYNTHS[name], render, theta)
    assert close(there, value)
    assert close(gradient_there, gradient)


@pytest.mark.parametrize("name", SOUNDS)
def test_measurements_of_sounds(name):
    value, gradient, there, gradient_there = both(
        torch.nn.Identity, lambda _, leaf: SOUNDS[name](leaf), noise(2, 1024)
    )
    assert close(there, value)
    assert close(gradient_there, gradient)


def test_resampling():
    value, gradient, there, gradient_there = both(
        lambda: Resample(3, 2), lambda resample, leaf: resample(leaf), noise(2, 64)
    )
    assert close(there, value)
    assert close(gradient_there, gradient)


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    x, y = noise(2, 2, 1024)
    value, gradient, there, gradient_there = both(
        LOSSES[name], lambda loss, leaf: loss(leaf, y.to(leaf.device)), x
    )
    assert close(there, value)
    assert close(gradient_there, gradient)


def test_metrics():
    x, y = noise(2, 2, 4096)
    scattering = Scattering1D(4096, J=6, sample_rate=8000.0)
    options = {"frame_size": 512, "hop_size": 128, "decay_frames": 20}
    metrics = DrumMetrics(4096, 8000.0, scattering=scattering, **options)
    expected = metrics(x, y)
    with SimulatedDevice():
        found = metrics.to("meta")(x.to("meta"), y.to("meta"))
    assert all(close(found[name], expected[name]) for name in expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("loss", ["scrapl", "kpaths"])
def test_sound_matching(name, loss):
    torch.manual_seed(0)
    model = SoundMatching(TASKS[name].changed(loss=loss))
    model.encoder.eval()  # no dropout
    batch = model.batches.training_batch(0)
    expected = copy.deepcopy(model).training_step(batch, 0).detach()
    with SimulatedDevice():
        there = model.to("meta")
        optimizer = there.configure_optimizers()["optimizer"]
        moved = there.transfer_batch_to_device(batch, torch.device("meta"), 0)
        value = there.training_step(moved, 0)
        value.backward()
        optimizer.step()
        estimate = there.estimate("test")
        numbers = there.evaluate("test", estimate)
    assert close(value, expected)
    assert all(values.device.type == "cpu" for values in numbers.values())


@pytest.mark.slow
def test_distance_and_resynthesis():
    a, b = noise(2, 256)
    expected = compare(a, b, 256.0, transform="mrstft")
    settings = ResynthesisSettings.for_recording(256, 256, "scattering1d", J=4, steps=4, interval=2)

    def search(recording):
        found = Resynthesis(settings, recording)
        while not found.finished:
            found.advance()
        return found

    rows = search(a).rows
    with SimulatedDevice():
        found = compare(a.to("meta"), b.to("meta"), 256.0, transform="mrstft")
        there = search(a.to("meta"))
        again = Resynthesis(settings, a.to("meta"))
        again.load_state_dict(there.state_dict())
    assert found.distance == pytest.approx(expected.distance, rel=1e-4)
    assert found.path_losses == pytest.approx(expected.path_losses, rel=1e-3)
    assert [row["distance"] for row in there.rows] == pytest.approx(
        [row["distance"] for row in rows], rel=1e-2
    )
