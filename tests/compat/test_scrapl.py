"""Users of scrapl-loss get the loss values and the optimizers that they had."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from multipath import StochasticLoss
from multipath._internal.state import pack, unpack
from multipath.compat import SCRAPLLoss
from multipath.compat.kymatio.torch import TimeFrequencyScattering
from multipath.errors import ConfigurationError, DrawError, InputError
from multipath.optim import PSAGA, PAdam
from tests.golden import load, noise
from tests.golden.scrapl_training import EVERY, MODES, SETTINGS, Training

SMALL = {"shape": 1024, "J": 6, "Q1": 4, "Q2": 1, "J_fr": 2, "Q_fr": 1}
HOOKS = {"clock", "seen", "unsampled", "parameters"}


@pytest.mark.parametrize(("log1p", "field"), [(False, "distances"), (True, "log1p_distances")])
@pytest.mark.slow
def test_every_path_has_the_value_that_it_had(log1p, field):
    golden = load("jtfs_small")
    settings = {**golden.settings, "shape": golden.settings["n_samples"]}
    settings["Q1"], settings["Q2"] = settings.pop("Q")
    del settings["n_samples"]
    criterion = SCRAPLLoss(**settings, use_rho_log1p=log1p)
    x, target = torch.from_numpy(golden.x), torch.from_numpy(noise(golden.target_seed, 4096))
    batch = torch.stack([x, target])[:, None], torch.stack([target, target])[:, None]
    expected = getattr(golden, field)
    with torch.no_grad():
        together = criterion.loss.path_losses(*batch, range(criterion.n_paths))[:, 0]
        np.testing.assert_allclose(together, expected, rtol=2e-5)
        for path in (0, 100, 254):  # the second item has distance 0: the mean is half of the first
            value = criterion(*batch, path_idx=path).item()
            assert 2 * value == pytest.approx(expected[path], rel=2e-5)


@pytest.mark.parametrize(
    "windows", [{"T": "global"}, {"F": "global"}, {"T": "global", "F": "global"}], ids=str
)
def test_global_averages_are_sums_over_the_padded_axes(windows):
    criterion = SCRAPLLoss(**SMALL, **windows)
    x = noise(0, 1024)
    # kymatio's classes are tested against kymatio, and scrapl-loss computes the same
    joint = TimeFrequencyScattering(
        J=6, J_fr=2, Q=(4, 1), shape=1024, **windows, out_type="dict", format="joint"
    )
    expected = joint(torch.from_numpy(x))
    transform = criterion.loss.transform
    for path, found in zip(transform.paths, transform(torch.from_numpy(x)), strict=True):
        wanted = expected[path.key]
        if "T" in windows:  # else kymatio drops frames
            assert found.shape[-1] == wanted.shape[-1] == 1
            found, wanted = found[: len(wanted)], wanted[: len(found)]
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5 * wanted.max().item())
        summed = "F" in windows and path.metadata["spin"] != 0
        assert (found.shape[0] == 1) == summed
    value = criterion(torch.from_numpy(x)[None, None], torch.zeros(1, 1, 1024), path_idx=7)
    assert value == pytest.approx(transform.coefficients(torch.from_numpy(x), [7])[0].norm().item())


@pytest.mark.parametrize("p", [1, 3])
def test_the_order_of_the_norm_may_be_another(p):
    criterion = SCRAPLLoss(**SMALL, p=p)
    x, y = torch.randn(2, 2, 1, 1024, generator=torch.Generator().manual_seed(0))
    transform = criterion.loss.transform
    (ours,), (theirs,) = (transform.coefficients(s[:, 0], [5]) for s in (x, y))
    expected = (ours - theirs).abs().pow(p).sum(dim=(1, 2)).pow(1 / p).mean()
    torch.testing.assert_close(criterion(x, y, path_idx=5), expected)


def test_a_draw_is_the_path_itself_whatever_its_probability(tmp_path):
    n_paths = SCRAPLLoss(**SMALL).n_paths
    probabilities = torch.arange(1.0, n_paths + 1)
    torch.save(probabilities / probabilities.sum(), tmp_path / "probs.pt")
    x, y = torch.randn(2, 2, 1, 1024, generator=torch.Generator().manual_seed(0))
    for options in ({}, {"probs_path": tmp_path / "probs.pt"}):
        criterion = SCRAPLLoss(**SMALL, **options, generator=3)
        value = criterion(x, y)
        path = int(criterion.last_draw.indices)
        assert value == criterion(x, y, path_idx=path)
        masses = probabilities.double() if options else torch.ones(n_paths).double()
        found = criterion.sampler.probabilities
        torch.testing.assert_close(found, masses / masses.sum(), rtol=1e-6, atol=0)
        criterion.eval()
        torch.testing.assert_close(criterion(x, y), criterion.loss(x, y))


@pytest.mark.parametrize(
    ("adam", "saga", "kind"),
    [
        (True, True, PSAGA),
        (True, False, PAdam),
        (False, True, PSAGA),
        (False, False, torch.optim.SGD),
    ],
)
def test_optimizers_are_those_that_the_flags_say(adam, saga, kind):
    criterion = SCRAPLLoss(
        **SMALL, use_p_adam=adam, use_p_saga=saga, grad_mult=100.0, p_adam_b1=0.8, generator=0
    )
    weight = torch.nn.Parameter(torch.ones(1024))
    optimizer = criterion.make_optimizer([weight], lr=1e-3, weight_decay=0.5)
    assert type(optimizer) is kind
    assert criterion._linked() is optimizer
    x = torch.randn(2, 1, 1024, generator=torch.Generator().manual_seed(0))
    criterion(x * weight, x).backward()
    weight.data.mul_(2.0)
    weight.grad.copy_(torch.linspace(1.0, 2.0, 1024))
    optimizer.step()
    gradient = torch.linspace(1.0, 2.0, 1024)
    # decay acts on the weights; the direction is a sign at P-Adam's first visit, else 100 gradients
    step = torch.ones(1024) if adam else 100.0 * gradient
    torch.testing.assert_close(weight.data, 2.0 * (1 - 1e-3 * 0.5) - 1e-3 * step)
    if adam:
        assert optimizer.defaults["betas"] == (0.8, 0.999)
        assert optimizer.defaults["eps"] == pytest.approx(1e-20)


def test_no_step_is_made_on_a_path_that_was_given():
    criterion = SCRAPLLoss(**SMALL, generator=0)
    weight = torch.nn.Parameter(torch.ones(1024))
    optimizer = criterion.make_optimizer([weight], lr=1e-3)
    x = torch.randn(2, 1, 1024, generator=torch.Generator().manual_seed(0))
    criterion(x * weight, 2 * x, path_idx=3).backward()
    with pytest.raises(DrawError, match="no draw"):
        optimizer.step()


def test_it_is_a_stochastic_loss_that_resumes():
    x = torch.randn(2, 2, 1, 1024, generator=torch.Generator().manual_seed(0))
    first, second = SCRAPLLoss(**SMALL, generator=0), SCRAPLLoss(**SMALL, generator=1)
    assert isinstance(first, StochasticLoss)
    second.load_state_dict(first.state_dict())
    assert [first(*x).item() for _ in range(4)] == [second(*x).item() for _ in range(4)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"T": "none"}, 'T must be "global" or a whole number'),
        ({"F": "all"}, 'F must be "global" or a whole number'),
        ({"grad_mult": 0.0}, "grad_mult must be positive, got 0.0"),
        ({"sample_all_paths_first": True}, r"needs exact=True; .*sampler=Reshuffle\(\)"),
        ({"exact": True, "grad_mult": 1.0}, r"exact P-Adam without log1p .* above 1, got 1\.0"),
        ({"p_adam_b1": 1.0}, r"p_adam_b1 must lie in \[0, 1\)"),
    ],
)
def test_what_is_not_supported_is_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        SCRAPLLoss(**SMALL, **options)


def test_calls_that_have_changed_name_what_takes_their_place():
    criterion = SCRAPLLoss(**SMALL, generator=0)
    x = torch.randn(1, 1, 1024, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ConfigurationError, match=r"use criterion\.make_optimizer\(params, lr"):
        criterion.attach_params([torch.nn.Parameter(x)])
    for call in (lambda: criterion(x, x, seed=3), lambda: criterion(x, x, 3)):
        with pytest.raises(ConfigurationError, match=r"seed=3 is not supported.*generator=seed"):
            call()
    assert criterion.curr_path_idx is None
    criterion(x, x)
    assert criterion.curr_path_idx == int(criterion.last_draw.indices)


def test_files_of_no_probabilities_are_refused(tmp_path):
    torch.save({"probs": 1.0}, tmp_path / "probs.pt")
    with pytest.raises(InputError, match=r"must hold a tensor of probabilities, .* got dict"):
        SCRAPLLoss(**SMALL, probs_path=tmp_path / "probs.pt")
    (tmp_path / "probs.pt").write_text("nothing")
    with pytest.raises(InputError, match="is no file of probabilities"):
        SCRAPLLoss(**SMALL, probs_path=tmp_path / "probs.pt")
    with pytest.raises(OSError, match="No such file"):
        SCRAPLLoss(**SMALL, probs_path=tmp_path / "none.pt")


# exact=True: the steps of scrapl-loss itself


def golden_training():
    with np.load(Path(__file__).parents[1] / "golden" / "scrapl_training.npz") as file:
        golden = dict(file)
    assert json.loads(str(golden["settings"])) == SETTINGS
    assert json.loads(str(golden["modes"])) == MODES
    return golden


def exact_loss(mode, golden, folder, **options):
    if mode["probabilities"]:
        torch.save(torch.from_numpy(golden["probabilities"]), folder / "probs.pt")
        options["probs_path"] = folder / "probs.pt"
    return SCRAPLLoss(**SETTINGS, **mode["loss"], **options, exact=True)


def close(found, golden):
    scale = np.linalg.norm(golden, axis=-1)
    return (np.linalg.norm(found - golden, axis=-1) <= 1e-5 * scale).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "number", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, len(MODES)))]
)
def test_exact_training_is_that_of_scrapl_loss(number, tmp_path):
    golden, mode, training = golden_training(), MODES[number], Training()
    criterion = exact_loss(mode, golden, tmp_path)
    criterion.attach_params(training.model.parameters())
    optimizer = torch.optim.SGD(training.model.parameters(), **mode["sgd"])
    torch.manual_seed(number)
    paths, losses, weights = [], [], []
    for step in range(mode["steps"]):
        losses.append(training.step(criterion, optimizer, step))
        paths.append(criterion.curr_path_idx)
        if step % EVERY == EVERY - 1:
            weights.append(training.weights())
    assert paths == golden[f"paths_{number}"].tolist()
    np.testing.assert_allclose(losses, golden[f"losses_{number}"], rtol=2e-5)
    assert close(np.stack(weights), golden[f"weights_{number}"])


def test_exact_steps_go_on_from_a_saved_state_on_given_paths(tmp_path):
    golden, mode = golden_training(), MODES[0]
    training, saved = Training(), {}
    for begin, end in ((0, 30), (30, EVERY)):
        # the second loss is a new one, attached to the same model
        criterion = exact_loss(mode, golden, tmp_path, generator=9)
        optimizer = criterion.make_optimizer(training.model.parameters(), **mode["sgd"])
        if begin:
            criterion.load_state_dict(saved)
        for step in range(begin, end):
            path = int(golden["paths_0"][step])
            training.step(criterion, optimizer, step, path_idx=path)
        saved = criterion.state_dict()
    assert close(training.weights(), golden["weights_0"][0])


def test_exact_draws_come_from_a_seed_or_go_through_all_paths_first():
    criterion = SCRAPLLoss(**SMALL, exact=True, generator=3, sample_all_paths_first=True)
    x = torch.randn(2, 1, 1024, generator=torch.Generator().manual_seed(0))
    drawn = []
    for _ in range(criterion.n_paths):
        criterion(x, 2 * x)
        drawn.append(criterion.curr_path_idx)
    assert sorted(drawn) == list(range(criterion.n_paths))
    again = SCRAPLLoss(**SMALL, exact=True)
    for seed in (5, 6):
        for training in (True, False):  # evaluation draws a path, too
            again.train(training)
            again(x, 2 * x, seed=seed)
            uniform = torch.ones(again.n_paths, dtype=torch.float64)
            generator = torch.Generator().manual_seed(seed)
            assert again.curr_path_idx == int(torch.multinomial(uniform, 1, generator=generator))


def test_exact_gradients_are_rewritten_in_training_only_and_of_attached_parameters(caplog):
    criterion = SCRAPLLoss(**SMALL, exact=True, generator=0)
    x = torch.randn(2, 1, 1024, generator=torch.Generator().manual_seed(0))
    weights = [torch.nn.Parameter(torch.ones(1024)) for _ in range(2)]

    def gradients(loss):
        for weight in weights:
            weight.grad = None
        loss(x * weights[0] * weights[1], 2 * x, path_idx=3).backward()
        return [weight.grad for weight in weights]

    plain = gradients(SCRAPLLoss(**SMALL, exact=True, generator=0))[0]
    assert "no parameters are attached" in caplog.text
    criterion.attach_params(weights[:1])
    copied = copy.deepcopy(criterion)
    first, second = gradients(criterion)
    torch.testing.assert_close(second, plain)
    # at a first visit the fresh share of the moments and their correction cancel
    torch.testing.assert_close(first, 1e8 * plain / (1e8 * plain.abs() + 1e-8))
    criterion.eval()
    torch.testing.assert_close(gradients(criterion)[0], plain)
    caplog.clear()
    torch.testing.assert_close(gradients(copied)[0], plain)
    assert "no parameters are attached" in caplog.text


def frozen(model):
    model.bias.requires_grad_(False)
    return model


@pytest.mark.parametrize(
    ("pick", "message"),
    [
        (lambda model: frozen(model).parameters(), r"at place 1, .* is frozen .*: leave out"),
        (lambda model: model.weight, r"\[parameter\], got torch.float32 of shape \(3, 3\)"),
        (lambda model: list(model.weight), "at place 0, .* is computed from other tensors"),
        (lambda model: [model.weight.detach().numpy()], "got ndarray at place 0"),
        (lambda model: model.weight.detach().numpy(), "got ndarray"),
        (lambda model: [model.weight, model.bias, model.weight], "at place 2, .* comes twice"),
        (lambda model: model, r"as model.parameters\(\), got Linear"),
        (lambda model: torch.nn.Sequential(model), "got Linear at place 0"),
        (lambda model: [{"params": list(model.parameters())}], "got dict at place 0"),
        (lambda model: {"params": list(model.parameters())}, "got dict"),
        (lambda model: model.named_parameters(), "got tuple at place 0"),
        (lambda _model: "weight", "got 'weight'"),
        (lambda _model: [None], "got None at place 0"),
        (lambda _model: None, "got None"),
    ],
)
def test_what_cannot_be_attached_is_refused_and_changes_nothing(pick, message):
    model = torch.nn.Linear(3, 3)
    criterion = SCRAPLLoss(**SMALL, exact=True, generator=0)
    hooks = criterion.hooks
    before = torch.nn.Parameter(torch.ones(3))
    criterion.attach_params([before])
    hooks.visit(3)
    with pytest.raises(ConfigurationError, match=message):
        criterion.attach_params(pick(model))
    assert (hooks.attached[0] is before, hooks.clock, hooks.seen) == (True, 1, {3})
    assert [len(each._backward_hooks or ()) for each in (before, *model.parameters())] == [1, 0, 0]
    # another attempt hooks once
    criterion.attach_params([model.weight])
    assert [len(each._backward_hooks or ()) for each in (before, model.weight)] == [0, 1]


def test_states_of_other_exact_training_are_refused():
    x = torch.randn(2, 1, 1024, generator=torch.Generator().manual_seed(0))
    weight = torch.nn.Parameter(torch.ones(1024))
    criterion = SCRAPLLoss(**SMALL, exact=True, generator=0)
    criterion.attach_params([weight])
    criterion(x * weight, 2 * x).backward()
    saved = criterion.state_dict()
    other = SCRAPLLoss(**SMALL, exact=True, generator=0)
    with pytest.raises(ConfigurationError, match="1 attached parameters and the loss has 0: call"):
        other.load_state_dict(saved)
    other.attach_params([torch.nn.Parameter(torch.ones(3))])
    with pytest.raises(InputError, match="mean of a path"):
        other.load_state_dict(saved)
    state = unpack(saved["hooks._extra_state"], criterion, HOOKS)
    path = criterion.curr_path_idx
    for entry, wrong, message in (
        ("square", -torch.ones(1024), "must not be negative"),
        ("last", 9, "the last visit of a path"),
        ("mean", torch.full((1024,), torch.nan), "mean of a path must be finite"),
    ):
        damaged = copy.deepcopy(state)
        damaged["parameters"][0][path][entry] = wrong
        with pytest.raises(InputError, match=message):
            criterion.load_state_dict({**saved, "hooks._extra_state": pack(damaged)})
    for name, wrong in (("seen", [99]), ("clock", -1), ("unsampled", 3), ("parameters", [3])):
        with pytest.raises(InputError):
            criterion.load_state_dict({**saved, "hooks._extra_state": pack({**state, name: wrong})})
    criterion.load_state_dict(saved)
