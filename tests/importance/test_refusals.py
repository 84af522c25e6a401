"""What theta-importance refuses, and that it leaves everything as it was."""

import pytest
import torch
from torch import nn

from multipath import StochasticLoss
from multipath.errors import ConfigurationError, InputError
from multipath.importance import theta_importance
from multipath.testing import QuadraticLoss

from .cases import DTYPE, problem, seeded

X = torch.ones(3, 4, dtype=DTYPE) * torch.tensor([[0.5], [1.0], [-1.0]], dtype=DTYPE)


def encoder(*layers):
    return seeded(lambda: nn.Sequential(nn.Linear(4, 2), *layers).to(DTYPE))


class Changed(nn.Module):
    """An encoder whose theta goes through a function."""

    def __init__(self, change):
        super().__init__()
        self.linear = seeded(lambda: nn.Linear(4, 2).to(DTYPE))
        self.unused = None
        self.change = change

    def forward(self, x):
        return self.change(self.linear(x).tanh())


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return x


def importance(encoder=None, decoder=torch.tanh, batches=((X, X[:, :2]),), loss=None, **options):
    loss = QuadraticLoss(2) if loss is None else loss
    return theta_importance(loss, encoder or Changed(lambda t: t), decoder, batches, **options)


def with_unused():
    made = Changed(lambda t: t)
    made.unused = nn.Parameter(torch.zeros(3, dtype=DTYPE))
    return made


def frozen():
    made = Changed(lambda t: t)
    return made.requires_grad_(False)


NAN = torch.full((3, 2), torch.nan, dtype=DTYPE)
REFUSED = {
    "dropout": (
        ConfigurationError, r"encoder\.1 \(Dropout\) is in training mode, which makes",
        lambda: importance(encoder(nn.Dropout(0.1))),
    ),
    "batch norm": (
        ConfigurationError, r"encoder\.1 \(BatchNorm1d\) is in training mode, which mixes",
        lambda: importance(encoder(nn.BatchNorm1d(2))),
    ),
    "batch norm without statistics": (
        ConfigurationError, r"encoder\.1 \(BatchNorm1d\) has no running statistics",
        lambda: importance(encoder(nn.BatchNorm1d(2, track_running_stats=False)).eval()),
    ),
    "encoder that mixes": (
        ConfigurationError, "the encoder treats the items of a batch jointly",
        lambda: importance(Changed(lambda t: t - t.mean(dim=0))),
    ),
    "random encoder": (
        ConfigurationError, "the encoder gave two answers to the same question",
        lambda: importance(Changed(lambda t: t + torch.rand_like(t))),
    ),
    "random decoder": (
        ConfigurationError, "the decoder gave two answers.*fixed seed for each item",
        lambda: importance(decoder=lambda t: t + 1e-4 * torch.randn_like(t)),
    ),
    "decoder that mixes": (
        ConfigurationError, "the decoder treats the items of a batch jointly",
        lambda: importance(decoder=lambda t: t / t.norm()),
    ),
    "encoder with a counter": (
        ConfigurationError, r"the encoder changes its buffer '1\.calls' at each call",
        lambda: importance(encoder(Counting())),
    ),
    "weights without influence": (
        ConfigurationError, "does not depend on them: unused; leave them out of params",
        lambda: importance(with_unused()),
    ),
    "theta detached": (
        InputError, r"theta\[:, 0\] does not depend on any of the weights",
        lambda: importance(Changed(lambda t: t.detach())),
    ),
    "one parameter detached": (
        InputError, r"no path has any curvature along theta\[1\]: .* encoder does not detach it",
        lambda: importance(Changed(lambda t: torch.stack([t[:, 0], t[:, 1].detach()], 1))),
    ),
    "decoder that ignores a parameter": (
        InputError, r"theta\[1\] does not reach the loss",
        lambda: importance(decoder=lambda t: t[:, :1].expand(-1, 2)),
    ),
    "decoder that detaches": (
        InputError, r"theta\[0\] does not reach the loss", lambda: importance(decoder=torch.detach)
    ),
    "detaching, backwards": (
        InputError, "does not reach the loss",
        lambda: importance(decoder=torch.detach, derivatives="reverse"),
    ),
    "NaN in the inputs": (
        InputError, "the encoder returns values that are not finite",
        lambda: importance(batches=[(X * torch.nan, X[:, :2])]),
    ),
    "NaN in the targets": (
        InputError, "derivative of path 0 .* check the targets for NaN",
        lambda: importance(batches=[(X, NAN)]),
    ),
    "NaN from the decoder": (
        InputError, "the decoder returns values that are not finite",
        lambda: importance(decoder=lambda t: t.log() * torch.nan),
    ),
    "loss that bends infinitely": (
        InputError, "derivative of path 0 with respect to theta is not finite",
        lambda: importance(
            decoder=lambda t: (t - t.detach()).sqrt() + t, derivatives="reverse"
        ),
    ),
    "encoder that bends infinitely": (
        InputError, "curvature of the encoder is not finite at linear.weight, linear.bias: check",
        lambda: importance(Changed(lambda t: t + (t - t.detach()).abs().pow(1.5))),
    ),
    "encoder with an infinite gradient": (
        InputError, "gradient of the encoder is not finite at linear.weight",
        lambda: importance(Changed(lambda t: t + (t - t.detach()).sqrt())),
    ),
    "theta of three dimensions": (
        InputError, r"theta of shape \(batch, U\) = \(3, U\), got \(3, 2, 1\)",
        lambda: importance(Changed(lambda t: t[..., None])),
    ),
    "no theta": (
        InputError, r"got \(3, 0\)", lambda: importance(Changed(lambda t: t[:, :0]))
    ),
    "tuple from the encoder": (
        InputError, "got tuple", lambda: importance(Changed(lambda t: (t, t)))
    ),
    "number from the decoder": (
        InputError, "the decoder must return a tensor with the batch first, got",
        lambda: importance(decoder=lambda t: t.sum()),
    ),
    "no batches": (
        ConfigurationError, "batches is empty", lambda: importance(batches=[])
    ),
    "empty batch": (
        InputError, "at least one, got", lambda: importance(batches=[(X[:0], X[:0])])
    ),
    "items that do not pair": (
        InputError, r"same number of items.*got \[3, 2\]",
        lambda: importance(batches=[(X, X[:2])]),
    ),
    "one tensor": (
        ConfigurationError, r"got one tensor; pass \[x\]", lambda: importance(batches=X)
    ),
    "batch of numbers": (
        InputError, "batch 0 must be a tensor or a tuple", lambda: importance(batches=[1.0])
    ),
    "all frozen": (
        ConfigurationError, "no weights to train", lambda: importance(frozen())
    ),
    "frozen in params": (
        ConfigurationError, "require a gradient, linear.weight does not",
        lambda: importance(made := frozen(), params=made.parameters()),
    ),
    "half precision": (
        ConfigurationError, r"must be float32 or float64, w is torch\.bfloat16",
        lambda: importance(
            params={"w": torch.zeros(2, dtype=torch.bfloat16, requires_grad=True)}
        ),
    ),
    "two weights of one name": (
        ConfigurationError, "two different weights are named 'weight'",
        lambda: importance(
            params=[*nn.Linear(4, 2).named_parameters(), *nn.Linear(4, 2).named_parameters()]
        ),
    ),
    "function without params": (
        ConfigurationError, "no module that knows its parameters; pass params=",
        lambda: importance(lambda x: x),
    ),
    "stochastic loss": (
        ConfigurationError, r"got StochasticLoss; of a StochasticLoss pass criterion\.loss",
        lambda: importance(loss=StochasticLoss(QuadraticLoss(2), generator=0)),
    ),
    "method": (
        ConfigurationError, "method must be one of eigenvalue, hutchinson, gradient, gradient_ema",
        lambda: importance(method="power"),
    ),
    "derivatives": (
        ConfigurationError, "derivatives must be one of auto", lambda: importance(derivatives="up")
    ),
    "tolerance": (
        ConfigurationError, "tolerance must lie between 0 and 1", lambda: importance(tolerance=0.0)
    ),
    "max_products": (
        ConfigurationError, "max_products must be at least 1", lambda: importance(max_products=0)
    ),
    "items_at_once": (
        ConfigurationError, "items_at_once must be at least 1", lambda: importance(items_at_once=0)
    ),
    "names": (
        ConfigurationError, "theta has 2 parameters, but there are 1 names: AM",
        lambda: importance(names=["AM"]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_reason(name):
    error, message, call = REFUSED[name]
    with pytest.raises(error, match=message):
        call()


def test_a_loss_must_give_a_value_for_each_item():
    class Odd(QuadraticLoss):
        def path_losses(self, input, target, indices):
            return super().path_losses(input, target, indices)[:, :2]

    with pytest.raises(InputError, match="Odd must return one value for each item"):
        importance(loss=Odd(2))


# What is left behind


class Delicate(nn.Module):
    """Frozen and trained weights, a mode, buffers that a call may change, gradients."""

    def __init__(self):
        super().__init__()
        self.body = seeded(lambda: nn.Sequential(nn.Linear(64, 3), nn.BatchNorm1d(3)).to(DTYPE))
        self.head = seeded(lambda: nn.Linear(3, 2).to(DTYPE))
        self.body.requires_grad_(False).eval()
        self.head.weight.grad = torch.ones_like(self.head.weight)

    def forward(self, x):
        return self.head(self.body(x).tanh()).sigmoid()


def everything(module):
    return (
        [(n, w.detach().clone(), w.requires_grad, w.grad is None) for n, w in
         module.named_parameters()],
        [(n, b.clone()) for n, b in module.named_buffers()],
        [m.training for m in module.modules()],
        torch.get_rng_state(),
        torch.is_grad_enabled(),
    )  # fmt: skip


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_disturbed(fails):
    made = problem("quadratic", "mlp", 2, (2,))
    module = Delicate()
    before = everything(module)
    gradient = module.head.weight.grad
    calls = 0

    def decoder(theta, shift):
        nonlocal calls
        calls += 1
        if fails and calls > 5:
            raise RuntimeError("the decoder is out of order")
        noise = torch.randn(64, dtype=DTYPE, generator=torch.Generator().manual_seed(0))
        torch.rand(())  # a synthesizer may draw from the global generator, to no effect
        return made.decoder(theta, shift) + 0.01 * noise

    arguments = made.loss, module, decoder, made.batches
    if fails:
        with pytest.raises(RuntimeError, match="out of order"):
            theta_importance(*arguments)
    else:
        with torch.no_grad():
            found = theta_importance(*arguments)
        assert found.settings["weights"] == 8
    assert same(before, everything(module))
    assert module.head.weight.grad is gradient


def test_a_refused_encoder_has_its_buffers_back():
    module = encoder(Counting())
    with pytest.raises(ConfigurationError, match="changes its buffer"):
        importance(module)
    assert module[1].calls == 0


def test_randomness_of_a_small_parameter_beside_a_large_one_is_noticed():
    made = problem("quadratic", "shared")

    def encoder(x):
        theta = made.encoder(x)
        return torch.stack([440 + theta[:, 0], theta[:, 1] + 1e-3 * torch.rand(len(x))], dim=1)

    with pytest.raises(ConfigurationError, match="the encoder gave two answers"):
        importance(encoder=encoder, params=list(made.encoder.parameters()))


def test_one_tensor_is_no_list_of_weights():
    made = problem("quadratic", "shared")
    with pytest.raises(ConfigurationError, match=r"pass \[weight\]"):
        importance(encoder=made.encoder, params=next(made.encoder.parameters()))


def test_shuffling_batches_leaves_the_random_stream_alone():
    made = problem("quadratic", "shared")
    before = torch.get_rng_state()

    def batches():
        torch.rand(3)
        yield from made.batches

    theta_importance(*made.with_(batches=batches()).arguments)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_batches_of_inference_mode_serve():
    made = problem("quadratic", "shared")
    with torch.inference_mode():
        batches = [tuple(part.clone() for part in batch) for batch in made.batches]
        found = theta_importance(*made.with_(batches=batches).arguments)
    expected = theta_importance(*made.arguments)
    assert torch.equal(found.curvature, expected.curvature)
