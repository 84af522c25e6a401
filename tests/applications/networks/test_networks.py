"""PANNs and MS-CLAP: published names of the weights, the front end, files that do not fit."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from multipath.applications.losses.embedding import EmbeddingLoss, load_embedding
from multipath.applications.networks import clap, panns
from multipath.errors import ConfigurationError, InputError


def norm(name, size):
    return {
        **{f"{name}.{part}": (size,) for part in ("weight", "bias", "running_mean", "running_var")},
        f"{name}.num_batches_tracked": (),
    }


def block(name, ins, outs, kernel):
    return {
        f"{name}.conv1.weight": (outs, ins, *kernel),
        f"{name}.conv2.weight": (outs, outs, *kernel),
        **norm(f"{name}.bn1", outs),
        **norm(f"{name}.bn2", outs),
    }


def published(width=64, fft=1024, n_features=2048, n_classes=527, wavegram=False):
    """Names and shapes in the published checkpoints, written down from the architecture."""
    shapes = {
        "spectrogram_extractor.stft.conv_real.weight": (fft // 2 + 1, 1, fft),
        "spectrogram_extractor.stft.conv_imag.weight": (fft // 2 + 1, 1, fft),
        "logmel_extractor.melW": (fft // 2 + 1, 64),
        **norm("bn0", 64),
        "fc1.weight": (n_features, 32 * width),
        "fc1.bias": (n_features,),
        "fc_audioset.weight": (n_classes, n_features),
        "fc_audioset.bias": (n_classes,),
    }
    ins = 1
    for number, outs in enumerate(width * 2**n for n in range(6)):
        doubled = 2 if wavegram and number == 1 else 1
        shapes |= block(f"conv_block{number + 1}", doubled * ins, outs, (3, 3))
        ins = outs
    if wavegram:
        shapes |= {"pre_conv0.weight": (64, 1, 11), **norm("pre_bn0", 64)}
        shapes |= block("pre_block1", 64, 64, (3,)) | block("pre_block2", 64, 128, (3,))
        shapes |= block("pre_block3", 128, 128, (3,)) | block("pre_block4", 4, width, (3, 3))
    return shapes


def checkpoint(path, **sizes):
    """Random weights of a narrow network under the published names; beside them, as published."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in published(**sizes).items():
        value = torch.randn(shape, generator=generator) / max(1, np.prod(shape[1:])) ** 0.5
        if name.endswith(("melW", "running_var")):  # these are positive
            value = value.abs() + 0.1
        state[name] = value if shape else torch.tensor(7)
    extra = {"indexes": np.arange(3), "pointer": np.int64(2)}
    torch.save({"model": state, "iteration": 600000, "sampler": extra}, path)
    return state


@pytest.mark.parametrize("wavegram", [False, True])
def test_names_and_shapes_of_the_published_checkpoints(wavegram):
    with torch.device("meta"):
        network = panns.Cnn14(wavegram=wavegram)
    found = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert found == published(wavegram=wavegram)


@pytest.mark.parametrize(
    ("sizes", "rate"), [({}, 32000), ({"fft": 512}, 16000), ({"wavegram": True}, 32000)]
)
def test_weights_are_loaded_and_used(tmp_path, monkeypatch, sizes, rate):
    file = tmp_path / "narrow.pth"
    state = checkpoint(file, width=2, n_features=6, n_classes=3, **sizes)
    monkeypatch.setenv("MULTIPATH_PANNS", str(file))
    network = load_embedding("multipath.applications.networks.panns:load")
    assert network.sample_rate == rate
    assert not network.training
    assert all(torch.equal(network.state_dict()[name], value) for name, value in state.items())
    sounds = torch.randn(2, rate // 2, generator=torch.Generator().manual_seed(1))
    x = sounds.clone().requires_grad_()
    assert network(x).shape == (2, 6)
    loss = EmbeddingLoss(network, sample_rate=rate)
    loss(x, 0.1 * sounds).backward()
    assert torch.isfinite(x.grad).all()
    assert x.grad.any()


def test_the_front_end_is_a_log_mel_spectrogram():
    network = panns.Cnn14(width=1)
    x = torch.randn(2, 12000, generator=torch.Generator().manual_seed(0))
    power = network.spectrogram_extractor(x)
    window = torch.hann_window(1024)
    expected = torch.stft(x, 1024, 320, window=window, return_complex=True).abs().square()
    torch.testing.assert_close(power[:, 0].mT, expected, rtol=1e-3, atol=1e-2)
    mel = network.logmel_extractor.melW
    centres = (mel * torch.linspace(0, 16000, 513)[:, None]).sum(0) / mel.sum(0)
    assert 50 < centres[0] < centres[-1] < 14000
    torch.testing.assert_close(
        network.logmel_extractor(power), 10 * torch.log10(power @ mel), rtol=1e-5, atol=1e-4
    )
    assert (network.logmel_extractor(0 * power) == -100).all()


def test_short_sounds_and_silence():
    network = panns.Cnn14(width=1).eval()
    with pytest.raises(InputError, match="at least 9920 samples at 32000 Hz, got 9919"):
        network(torch.zeros(1, 9919))
    x = torch.zeros(1, 9920, requires_grad=True)
    network(x).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_files_that_do_not_fit(tmp_path, monkeypatch):
    monkeypatch.delenv("MULTIPATH_PANNS", raising=False)
    with pytest.raises(ConfigurationError, match=r"no weights: .* variable MULTIPATH_PANNS"):
        panns.load()
    with pytest.raises(ConfigurationError, match=r"no\.pth: there is no such file"):
        panns.load(tmp_path / "no.pth")
    file = tmp_path / "weights.pth"
    file.write_bytes(b"not a checkpoint")
    with pytest.raises(ConfigurationError, match="not a readable checkpoint"):
        panns.load(file)
    torch.save([1, 2], file)
    with pytest.raises(ConfigurationError, match='state dict, or one under the key "model"'):
        panns.load(file)
    torch.save({"conv_block1.conv1.weight": torch.zeros(1, 1, 3, 3)}, file)
    with pytest.raises(ConfigurationError, match="these are not weights of Cnn14"):
        panns.load(file)
    with pytest.raises(ConfigurationError, match="not weights of MS-CLAP 2022"):
        clap.load_2022(file)


def test_clap_2022_from_its_weights_alone(tmp_path):
    file = tmp_path / "clap.pth"
    base = checkpoint(file, width=1, n_features=6, n_classes=2)
    generator = torch.Generator().manual_seed(1)
    first, second = (torch.randn(size, generator=generator) for size in ((4, 6), (4, 4)))
    weights = {
        "audio_encoder.projection.linear1.weight": first,
        "audio_encoder.projection.linear2.weight": second,
        "audio_encoder.projection.layer_norm.weight": torch.ones(4),
        "audio_encoder.projection.layer_norm.bias": torch.zeros(4),
        **{f"audio_encoder.base.{name}": value for name, value in base.items()},
        "caption_encoder.base.weight": torch.zeros(2),
    }
    torch.save({"model": weights}, file)
    encoder = clap.load_2022(file, seconds=0.5)
    assert encoder.sample_rate == 44100
    sounds = torch.randn(2, 7000, generator=generator)
    with torch.no_grad():
        features = encoder.network.base(sounds.repeat(1, 4)[:, :22050])
        projected = features @ first.T
        projected = projected + nn.functional.gelu(projected) @ second.T
        expected = nn.functional.layer_norm(projected, (4,))
        torch.testing.assert_close(encoder(sounds), expected)


def test_clap_2023_through_its_package(tmp_path, monkeypatch):
    asked = {}

    class FakeEncoder(nn.Module):
        def forward(self, sounds):
            return sounds[:, :3], "classes"

    def fake_clap(model_fp, version, use_cuda):
        asked.update(model_fp=model_fp, version=version, use_cuda=use_cuda)
        clap = SimpleNamespace(audio_encoder=FakeEncoder())
        return SimpleNamespace(clap=clap, args=SimpleNamespace(sampling_rate=10, duration=2))

    package = ModuleType("msclap")
    package.CLAP = fake_clap
    monkeypatch.setitem(sys.modules, "msclap", package)
    monkeypatch.delenv("MULTIPATH_CLAP", raising=False)
    encoder = load_embedding("multipath.applications.networks.clap:load")
    assert asked == {"model_fp": None, "version": "2023", "use_cuda": False}
    assert (encoder.sample_rate, encoder.n_samples) == (10, 20)
    sounds = torch.arange(10.0).reshape(2, 5)
    assert torch.equal(encoder(sounds), sounds[:, :3])
    file = tmp_path / "weights.pth"
    file.touch()
    clap.load(file)
    assert asked["model_fp"] == file
    with pytest.raises(ConfigurationError, match=r"no\.pth: there is no such file"):
        clap.load(tmp_path / "no.pth")
    monkeypatch.setitem(sys.modules, "msclap", None)
    with pytest.raises(ConfigurationError, match="needs the package msclap"):
        clap.load()
