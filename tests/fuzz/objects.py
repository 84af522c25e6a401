"""Public classes built from random settings, and what they compute compared with itself."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from multipath import BalancedLoss, PathDecomposedLoss, StochasticLoss, TermLoss, TransformLoss
from multipath.losses import SlicedWasserstein
from multipath.optim import PSAGA, PAdam
from multipath.samplers import (
    AdaptiveImportance,
    Energy,
    Importance,
    Mixture,
    Reshuffle,
    Sampler,
    Stratified,
    Uniform,
)
from multipath.testing import QuadraticLoss
from multipath.transforms import (
    JTFS,
    MultiResolutionSTFT,
    Scattering1D,
    Scattering2D,
    Transform,
    WaveletPacket,
    WaveletTransform,
)

from .values import ABSURD, one_of, real, whole


def scattering1d(random: Random) -> tuple[Transform, tuple[int, ...]]:
    n = random.choice([64, 100, 256])
    transform = Scattering1D(
        one_of(random, n, n, n),
        J=whole(random, 1, 6),
        Q=one_of(random, (1, 1), (4, 1), (3, 2), 2),
        T=one_of(random, None, 1, 8, 16, 32, "global", "none"),
        sampling=one_of(random, "exact", "reduced"),
        stride=one_of(random, None, None, 1, 4),
        border=one_of(random, "reflect", "periodic", "zero"),
    )
    return transform, (n,)


def jtfs(random: Random) -> tuple[Transform, tuple[int, ...]]:
    n = random.choice([128, 200])
    transform = JTFS(
        one_of(random, n, n, n),
        J=whole(random, 2, 5),
        Q=one_of(random, (2, 1), (3, 1), (2, 2)),
        J_fr=whole(random, 1, 3),
        Q_fr=whole(random, 1, 2),
        T=one_of(random, None, 4, 16, 32, "global", "none"),
        F=one_of(random, None, 1, 2, 4, "global", "none"),
        sampling=one_of(random, "exact", "reduced"),
        orders=one_of(random, (2,), (0, 1, 2), (1, 2)),
        border=one_of(random, "reflect", "periodic", "zero"),
    )
    return transform, (n,)


def scattering2d(random: Random) -> tuple[Transform, tuple[int, ...]]:
    shape = random.choice([(8, 8), (16, 9), (12, 20)])
    transform = Scattering2D(
        one_of(random, shape, shape),
        J=whole(random, 1, 3),
        L=whole(random, 1, 4),
        max_order=whole(random, 1, 2),
        border=one_of(random, "reflect", "periodic", "zero"),
        T=one_of(random, None, "global"),
    )
    return transform, shape


def stft(random: Random) -> tuple[Transform, tuple[int, ...]]:
    sizes = [whole(random, 4, 64) for _ in range(random.randint(1, 3))]
    transform = MultiResolutionSTFT(
        one_of(random, sizes, sizes, sizes),
        hop_sizes=one_of(random, None, whole(random, 1, 4), [2] * len(sizes)),
        window=one_of(random, "hann", "hamming", "boxcar"),
    )
    return transform, (random.choice([40, 64, 100]),)


def wavelet(random: Random) -> tuple[Transform, tuple[int, ...]]:
    kind = random.choice([WaveletTransform, WaveletPacket])
    dims = one_of(random, 1, 1, 2)
    transform = kind(
        one_of(random, "haar", "db2", "sym4"),
        level=whole(random, 1, 3),
        mode=one_of(random, "periodization", "symmetric", "zero"),
        signal_ndim=dims,
    )
    return transform, (random.randint(9, 40),) * transform.signal_ndim


TRANSFORMS = [scattering1d, jtfs, scattering2d, stft, stft, wavelet, wavelet]


def make_loss(random: Random) -> tuple[PathDecomposedLoss, tuple[int, ...]]:
    """A loss, and the shape of one item."""
    kind = random.randrange(10)
    if kind == 0:
        dim = random.randint(1, 4)
        return SlicedWasserstein(
            one_of(random, dim, dim), whole(random, 1, 9), p=one_of(random, 1, 2, 1.5)
        ), (random.randint(1, 9), dim)
    if kind == 1:
        terms = {"l1": lambda x, y: (x - y).abs().mean(dim=1), "top": _top}
        return TermLoss(terms, weights=one_of(random, None, [1.0, 0.0], {"l1": 2, "top": 1})), (8,)
    if kind == 2:
        return QuadraticLoss(whole(random, 1, 12)), (random.randint(1, 5),)
    transform, shape = random.choice(TRANSFORMS)(random)
    n_paths = len(transform.paths)
    weights = [random.choice([0.0, 1.0, 2.0]) for _ in range(n_paths)]
    loss: PathDecomposedLoss = TransformLoss(
        transform,
        rho=one_of(random, None, "log1p", "identity"),
        distance=one_of(random, "squared_l2", "l2", "l1"),
        eps=real(random, 1e-4, 1.0),
        weights=one_of(random, None, None, weights),
        normalize=one_of(random, None, None, "target"),
    )
    wrapped = random.random()
    if wrapped < 0.15:
        order = random.sample(range(n_paths), n_paths)
        cut = random.randint(0, n_paths)
        loss = loss.grouped([part for part in (order[:cut], order[cut:]) if part])
    elif wrapped < 0.3:
        loss = loss.subset(random.sample(range(n_paths), random.randint(1, n_paths)))
    elif wrapped < 0.4:
        sizes = [random.random() for _ in range(n_paths)]
        loss = BalancedLoss(loss, one_of(random, sizes, sizes), power=real(random, 0, 1))
    return loss, shape


def _top(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).square().amax(dim=1)


def make_sampler(random: Random, n_paths: int, nested: bool = False) -> Sampler:
    scores = [random.random() + 0.01 for _ in range(n_paths)]
    probabilities = [score / sum(scores) for score in scores]
    floor, replacement = real(random, 0, 1), one_of(random, True, True, False)
    match random.randrange(7 - nested):
        case 0:
            return Uniform(replacement=replacement)
        case 1:
            return Importance(one_of(random, probabilities, scores), replacement=replacement)
        case 2:
            return Energy(one_of(random, scores, scores), floor, power=real(random, 0, 2))
        case 3:
            return AdaptiveImportance(decay=real(random, 0, 0.99), floor=floor)
        case 4:
            return Reshuffle()
        case 5:
            cut = random.randint(0, n_paths)
            parts = [list(range(cut)), list(range(cut, n_paths))]
            return Stratified([part for part in parts if part])
    return Mixture([make_sampler(random, n_paths, True) for _ in range(random.randint(1, 3))])


def forward(random: Random, folder: Path) -> str:
    """Build, compute, draw and step."""
    loss, shape = make_loss(random)
    n_paths = len(loss.paths)
    assert "(" in repr(loss)
    x, y = signals(random, shape)
    alike = type(x) is type(y) and getattr(x, "dtype", None) == getattr(y, "dtype", None)
    if isinstance(loss, TermLoss) and not alike:
        return "right"  # what terms take is for them to say
    every = loss.evaluate(x, y, range(n_paths))
    scale = every.abs().max() + 1e-30
    tolerance = {"rtol": 1e-3, "atol": 1e-4 * float(scale)}
    if x.dtype == torch.float64:
        tolerance = {"rtol": 1e-7, "atol": 1e-9 * float(scale)}
    assert every.shape == (n_paths, len(x)), every.shape
    assert bool(torch.isfinite(every).all() and (every >= 0).all()), "not a finite loss"
    some = random.choices(range(n_paths), k=random.randint(1, 3))
    torch.testing.assert_close(loss.evaluate(x, y, some), every[some], **tolerance)
    item = random.randrange(len(x))
    alone = loss.evaluate(x[item : item + 1], y[item : item + 1], range(n_paths))
    torch.testing.assert_close(alone[:, 0], every[:, item], **tolerance)
    whole_loss = (loss.path_weights.to(every) @ every).mean()
    torch.testing.assert_close(loss(x, y, reduction="mean"), whole_loss, **tolerance)
    return step(random, loss, x, y, tolerance)


def step(
    random: Random, loss: PathDecomposedLoss, x: Tensor, y: Tensor, tolerance: dict[str, Any]
) -> str:
    """A training step by the estimate, compared with the draw by hand."""
    sampler = make_sampler(random, len(loss.paths))
    pathwise = random.random() < 0.3
    criterion = StochasticLoss(
        loss,
        sampler,
        n_draws=1 if pathwise else whole(random, 1, 3),
        reweight=random.random() < 0.8,
        generator=whole(random, 0, 10**6),
        eval_draws=one_of(random, None, None, 2),
    )
    weight = torch.nn.Parameter(x.clone())
    lr = real(random, 0, 0.1)
    if pathwise:
        kind = random.choice([PAdam, PSAGA])
        optimizer: torch.optim.Optimizer = kind([weight], criterion, lr=lr)
    else:
        optimizer = torch.optim.SGD([weight], lr=1e-6)
        criterion.redraw_after(optimizer)
    for _ in range(2):
        optimizer.zero_grad()
        value = criterion(weight, y)
        draw = criterion.last_draw
        assert draw is not None
        assert bool((loss.path_weights[draw.indices] > 0).all()), "a path of weight 0 was drawn"
        by_hand = draw.weights.to(x) @ loss.evaluate(weight, y, draw.indices)
        torch.testing.assert_close(value, by_hand.mean(), **tolerance)
        if not bool(torch.isfinite(value)):
            return "right"  # a rate as large as that
        value.backward()
        assert weight.grad is not None
        assert bool(torch.isfinite(weight.grad).all()), "a gradient is not finite"
        optimizer.step()
    law = criterion.sampler.probabilities
    assert abs(float(law.sum()) - 1) < 1e-9, "probabilities do not sum to 1"
    assert not bool((law < 0).any())
    state = criterion.state_dict()
    criterion.load_state_dict(state)
    return "right"


def signals(random: Random, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Two batches as a rule, now and then of the wrong kind or shape."""
    generator = torch.Generator().manual_seed(random.randrange(2**32))
    dtype = random.choice([torch.float32, torch.float64])
    x, y = torch.randn(2, random.randint(1, 3), *shape, generator=generator, dtype=dtype).unbind()
    x, y = (part * 10.0 ** random.choice([-2, -1, 0, 0, 1]) for part in (x, y))
    silent = random.random()
    if silent < 0.05:
        x = torch.zeros_like(x)
    elif silent < 0.1:
        y = torch.zeros_like(y)
    strange: list[Any] = [x.numpy(), x.tolist(), x.long(), x.to(torch.complex64), x[..., :1], x[0]]
    if random.random() < 0.03:
        x = random.choice(strange + ABSURD)
    elif random.random() < 0.03:
        y = random.choice(strange + ABSURD)
    return x, y
