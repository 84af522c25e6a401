"""The metric of parameters against Hessians by brute force, and what it refuses."""

import itertools

import pytest
import torch
from torch import nn

from multipath import TermLoss, TransformLoss
from multipath.applications.losses.multi_scale import mss_log
from multipath.errors import ConfigurationError, InputError
from multipath.metric import parameter, parameter_metric
from multipath.testing import QuadraticLoss
from multipath.transforms import JTFS, MultiResolutionSTFT, Scattering1D
from tests.importance.cases import OpaqueLoss

DTYPE = torch.float64
N = 64
N_PARAMETERS = 3


def synth(theta, shift=None):
    """A decaying tone: pitch, loudness, decay."""
    time = torch.arange(N, dtype=theta.dtype)
    if shift is not None:
        time = time - shift[:, None]
    pitch, loudness, decay = theta[:, :, None].unbind(dim=1)
    window = torch.exp(-(((time - N / 2) / (10 + 30 * decay)) ** 2))
    return (0.5 + loudness) * window * torch.sin((0.3 + pitch) * time)


def some_theta(count=2, dtype=DTYPE):
    generator = torch.Generator().manual_seed(0)
    return 0.2 + 0.6 * torch.rand(count, N_PARAMETERS, generator=generator, dtype=dtype)


def uneven(count):
    weights = torch.rand(count, generator=torch.Generator().manual_seed(1), dtype=DTYPE)
    weights[1] = 0
    return weights / weights.sum()


def jtfs(**options):
    transform = JTFS(n_samples=N, J=4, Q=(2, 1), J_fr=2, Q_fr=1, T=16, F=2)
    return TransformLoss(transform, weights=uneven(len(transform.paths)), **options)


def stft(**options):
    return TransformLoss(MultiResolutionSTFT([8, 16, 32], [4, 8, 16], [8, 16, 32]), **options)


LOSSES = {
    "Scattering1D": lambda: TransformLoss(Scattering1D(N, 4, (2, 1), 16)),
    "JTFS, log1p": lambda: jtfs(rho="log1p", eps=0.1),
    "JTFS, one frame": lambda: TransformLoss(
        JTFS(n_samples=N, J=4, Q=(2, 1), J_fr=2, Q_fr=1, T="global", F="global")
    ),
    "STFT": stft,
    "STFT, relative": lambda: stft(normalize="target"),
    "subset of groups": lambda: jtfs().grouped(by="rate").subset([1, 0]),
    "cosh": lambda: stft(distance=lambda d: (d.cosh() - 1).flatten(1).sum(dim=1)),
}


def by_brute_force(loss, theta, weigh):
    """Half the Hessian of each item's weighted loss, backwards and one number at a time."""
    found = []
    for item in theta:
        target = synth(item[None])

        def value(t, target=target):
            return weigh(loss, synth(t[None]), target)

        found.append(torch.autograd.functional.hessian(value, item) / 2)
    return torch.stack(found)


def close(found, wanted, tolerance=1e-6):
    scale = wanted.abs().max()
    torch.testing.assert_close(found / scale, wanted / scale, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.slow
def test_it_is_half_the_hessian(name):
    loss, theta = LOSSES[name](), some_theta(1)
    wanted = by_brute_force(loss, theta, lambda f, x, y: f(x, y, reduction="sum"))
    found = parameter_metric(loss, synth, theta)
    close(found, wanted)
    assert found.equal(found.mT)
    assert bool((torch.linalg.eigvalsh(found) > -1e-9 * found.abs().max()).all())
    indices = [len(loss.paths) - 1, 0]
    parts = parameter_metric(loss, synth, theta, indices)
    for index, part in zip(indices, parts, strict=True):
        close(
            part, by_brute_force(loss, theta, lambda f, x, y, i=index: f.evaluate(x, y, [i]).sum())
        )
    each = parameter_metric(loss, synth, theta, range(len(loss.paths)))
    close(torch.einsum("p,pbuv->buv", loss.path_weights, each), found, 1e-12)


@pytest.mark.parametrize("name", ["STFT", "STFT, relative"])
def test_forward_and_reverse_agree(name):
    loss, theta = LOSSES[name](), some_theta()
    forward, reverse = (
        parameter_metric(loss, synth, theta, derivatives=d) for d in ("forward", "reverse")
    )
    close(reverse, forward, 1e-9)


def test_single_precision_is_close_to_double():
    found = parameter_metric(stft(), synth, some_theta().float())
    assert found.dtype == torch.float32
    close(found.double(), parameter_metric(stft(), synth, some_theta()), 1e-3)


def test_losses_that_torch_func_cannot_see_through():
    def pulse(theta):
        return theta[:, :1] * torch.linspace(0, 1, 8, dtype=theta.dtype)

    loss, theta = OpaqueLoss(2), torch.ones(2, 1, dtype=DTYPE)
    assert not parameter_metric(loss, pulse, theta).any()  # cubic at the target


def test_random_paths_are_unbiased_by_enumeration():
    loss, theta = stft(weights=[0.5, 0.2, 0.3]), some_theta()
    whole = parameter_metric(loss, synth, theta)
    probabilities = torch.tensor([0.6, 0.3, 0.1], dtype=DTYPE)
    total = torch.zeros_like(whole)
    for pair in itertools.combinations_with_replacement(range(3), 2):  # two independent draws
        orders = len({pair, pair[::-1]})
        weights = loss.path_weights[list(pair)] / (2 * probabilities[list(pair)])
        estimate = parameter_metric(loss, synth, theta, pair) * weights[:, None, None, None]
        total += orders * probabilities[list(pair)].prod() * estimate.sum(dim=0)
    close(total, whole, 1e-12)


def test_the_order_of_a_batch_and_its_parts_do_not_matter():
    theta, order = some_theta(5), torch.tensor([3, 0, 4, 1, 2])
    whole = parameter_metric(stft(), synth, theta)
    close(parameter_metric(stft(), synth, theta[order], items_at_once=2), whole[order], 1e-12)


def test_channels_are_reduced_as_items_are():
    def stereo(theta):
        return torch.stack([synth(theta), 2 * synth(theta)], dim=1)

    one = parameter_metric(stft(), synth, some_theta())
    close(parameter_metric(stft(), stereo, some_theta()), 2.5 * one, 1e-9)
    close(parameter_metric(stft(reduction="sum"), stereo, some_theta()), 5 * one, 1e-9)


def test_common_random_numbers_come_as_context():
    def noisy(theta, seed):
        noise = [torch.randn(N, generator=torch.Generator().manual_seed(int(s))) for s in seed]
        return theta[:, :1] * torch.stack(noise).to(theta)

    theta, seeds = some_theta(3), torch.tensor([1, 2, 3])
    found = parameter_metric(stft(), noisy, theta, context=seeds)[:, 0, 0]
    alone = [
        parameter_metric(stft(), noisy, theta[i:][:1], context=seeds[i:][:1]) for i in range(3)
    ]
    torch.testing.assert_close(found, torch.cat(alone)[:, 0, 0])
    with pytest.raises(InputError, match="context must have the batch of theta first, 3 items"):
        parameter_metric(stft(), noisy, theta, context=seeds[:2])


def test_a_parameter_without_effect_is_named_and_has_zeros(caplog):
    def deaf(theta):
        return synth(torch.cat([theta[:, :2], torch.full_like(theta[:, :1], 0.5)], dim=1))

    found = parameter_metric(stft(), deaf, some_theta(), names=("pitch", "loudness", "decay"))
    assert "decay has no effect on the sounds" in caplog.text
    assert bool(found.isfinite().all())
    assert not found[:, 2].any()
    assert bool(found[:, 0, 0].all())


REFUSED = {
    "L1": ({"loss": lambda: stft(distance="l1")}, "has no second derivative at the target"),
    "L2": ({"loss": lambda: stft(distance="l2")}, "use a squared distance"),
    "L2, grouped": ({"loss": lambda: stft(distance="l2").grouped([[0], [1, 2]])}, "use a squared"),
    "a spectral loss": ({"loss": lambda: mss_log((8, 16), N)}, "has no second derivative"),
    "random": (
        {"synth": lambda theta: synth(theta) + torch.randn(N, dtype=theta.dtype)},
        "the synthesizer gave two answers to the same question",
    ),
    "dropout": (
        {"synth": nn.Sequential(nn.Linear(3, N, dtype=DTYPE), nn.Dropout())},
        "call synthesizer.eval",
    ),
    "detached": (
        {"synth": lambda theta: synth(torch.cat([theta[:, :1].detach(), theta[:, 1:]], dim=1))},
        r"not differentiable in theta\[0\]",
    ),
    "rounded": (
        {"synth": lambda theta: synth((100 * theta).round() / 100)},
        r"not differentiable in theta\[0\]",
    ),
    "joint sounds": ({"synth": lambda t: synth(t) - synth(t).mean(0)}, "items of a batch jointly"),
    "joint loss": (
        {"loss": lambda: TermLoss({"all": lambda x, y: (x - y).square().mean()})},
        "must treat the items of a batch one by one",
    ),
    "names": ({"names": ("a", "b")}, "theta has 3 parameters, but there are 2 names"),
    "no loss": ({"loss": lambda: nn.MSELoss()}, "must be a PathDecomposedLoss, got MSELoss"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    options, message = REFUSED[name]
    options = {"loss": stft, "synth": synth, **options}
    with pytest.raises(ConfigurationError, match=message):
        parameter_metric(options.pop("loss")(), options.pop("synth"), some_theta(), **options)


@pytest.mark.parametrize("theta", [torch.rand(3), torch.ones(2, 3, dtype=torch.int64), [[0.5]]])
def test_theta_is_a_batch_of_parameters(theta):
    with pytest.raises(InputError, match="theta"):
        parameter_metric(stft(), synth, theta)


@pytest.mark.parametrize("context", [None, [1, 2], torch.tensor(3.0), torch.ones(3)])
def test_context_has_the_batch_of_theta(context):
    with pytest.raises((ConfigurationError, InputError), match="context"):
        parameter_metric(stft(), synth, some_theta(), context=context)


@pytest.mark.parametrize("make", [stft, lambda: stft(rho="log1p", normalize="target")])
def test_the_default_device_is_not_asked(make):
    loss, theta = make(), some_theta()
    time = torch.arange(N, dtype=DTYPE)

    def tone(theta):
        return theta[:, :1] * torch.sin((0.3 + theta[:, 1:2]) * time) + theta[:, 2:] * time / N

    wanted = parameter_metric(loss, tone, theta)
    with torch.device("meta"):
        found = parameter_metric(loss, tone, theta)
    assert found.equal(wanted)


def test_a_slope_at_the_target_is_pointed_out(caplog):
    loss = QuadraticLoss(3)
    close(
        parameter_metric(loss, synth, some_theta()),
        by_brute_force(loss, some_theta(), lambda f, x, y: f(x, y, reduction="sum")),
    )
    assert "QuadraticLoss has a slope at the target" in caplog.text


def test_an_interrupted_call_goes_on(tmp_path, monkeypatch):
    theta, options = some_theta(4), {"items_at_once": 1, "journal": tmp_path / "j"}
    wanted = parameter_metric(stft(), synth, theta, items_at_once=1)
    calls, original = [], parameter.path_metrics

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(parameter, "path_metrics", interrupted)
    with pytest.raises(KeyboardInterrupt):
        parameter_metric(stft(), synth, theta, **options)
    assert parameter_metric(stft(), synth, theta, **options).equal(wanted)
    assert len(calls) == 3 + len(theta) - 2
    with pytest.raises(ConfigurationError, match="belongs to other work"):
        parameter_metric(stft(), synth, theta + 0.01, **options)
