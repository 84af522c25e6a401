"""The encoder and the features that it sees."""

from __future__ import annotations

import pytest
import torch

from multipath.applications.matching.cqt import LogCQT
from multipath.applications.matching.encoder import Encoder
from multipath.applications.matching.presets import preset
from multipath.errors import ConfigurationError, InputError


def test_the_picture_is_not_trained_and_finds_the_pitch():
    transform = LogCQT(sample_rate=2048.0, octaves=2, hop=32)
    assert not list(transform.parameters())
    time = torch.arange(4096) / 2048.0
    lowest = 0.4 * 2048.0 / 4
    for bin_ in (3, 12, 20):
        tone = torch.sin(2 * torch.pi * lowest * 2 ** (bin_ / 12) * time)
        assert int(transform(tone[None])[0, :, 64].argmax()) == bin_
    with pytest.raises(InputError, match=r"signals must have shape \(batch, n_samples\)"):
        transform(torch.zeros(4096))
    with pytest.raises(ConfigurationError, match="octaves must be positive, got 0"):
        LogCQT(sample_rate=2048.0, octaves=0)


def test_encoder_sizes_are_those_of_the_paper_and_the_quick_preset():
    paper = preset("paper")
    sizes = []
    for config in (paper, preset("quick")):
        settings = config.encoder
        encoder = Encoder(2, channels=settings.channels, embedding=settings.embedding)
        sizes.append(sum(weight.numel() for weight in encoder.parameters()))
    assert sizes[0] == 604_106
    assert 50_000 < sizes[1] < 60_000


def test_encoder_heads_are_separate_and_bounded():
    encoder = Encoder(3, channels=(4,), embedding=4, dropout=0.0, initialization="he")
    features = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(0))
    theta = encoder(features)
    assert ((theta > 0) & (theta < 1)).all()
    theta[:, 1].sum().backward()
    moved = [bool(head[0].weight.grad.abs().sum() > 0) for head in encoder.heads]
    assert moved == [False, True, False]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": (0,)}, "at least one parameter"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\), got 1.0"),
        ({"initialization": "zeros"}, 'initialization must be "torch" or "he"'),
    ],
)
def test_impossible_encoders_are_refused(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        Encoder(2, **changes)


def test_pictures_too_small_for_the_encoder_are_refused():
    with pytest.raises(
        InputError, match=r"at least 32 bins and 32 frames, got .* use more octaves"
    ):
        Encoder(2)(torch.zeros(1, 24, 129))
