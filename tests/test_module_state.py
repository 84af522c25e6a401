"""A criterion among modules: its state is one tensor, which whatever saves modules can handle."""

import copy
import logging

import pytest
import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_model, save_model
from torch.distributed.checkpoint.state_dict import get_model_state_dict, set_model_state_dict

from multipath import BalancedLoss, StochasticLoss
from multipath._internal.state import pack
from multipath.errors import ConfigurationError, InputError
from multipath.samplers import AdaptiveImportance, Energy, Reshuffle, Uniform
from multipath.testing import QuadraticLoss
from tests.runs_code import RunsCode

SAMPLERS = {
    "uniform": Uniform,
    "reshuffle": Reshuffle,
    "adaptive": AdaptiveImportance,
    "energy": lambda: Energy([4.0, 3.0, 2.0, 1.0]),
}


class Model(torch.nn.Module):
    """A network that holds its criterion, as many do."""

    def __init__(self, sampler="uniform", seed=0, power=1.0):
        super().__init__()
        self.layer = torch.nn.Linear(4, 4)
        loss = BalancedLoss(QuadraticLoss(4), [1.0, 2.0, 3.0, 4.0], power=power)
        self.criterion = StochasticLoss(loss, SAMPLERS[sampler](), n_draws=2, generator=seed)

    def train_for(self, n):
        x, y = torch.ones(2, 3, 4)
        paths = []
        for _ in range(n):
            self.criterion(self.layer(x), y).backward()
            paths.append(self.criterion.last_draw.indices.tolist())
        return paths


def through_safetensors(model, other, folder):
    save_model(model, folder / "model.safetensors")
    load_model(other, folder / "model.safetensors")


def through_weights_only(model, other, folder):
    torch.save(model.state_dict(), folder / "model.pt")
    other.load_state_dict(torch.load(folder / "model.pt", weights_only=True))


def through_distributed_checkpoint(model, other, folder):
    dcp.save(get_model_state_dict(model), checkpoint_id=folder / "checkpoint")
    state = get_model_state_dict(other)
    dcp.load(state, checkpoint_id=folder / "checkpoint")
    set_model_state_dict(other, state)


WAYS = [through_safetensors, through_weights_only, through_distributed_checkpoint]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.filterwarnings("ignore::UserWarning:torch.distributed")  # that there is one process
def test_a_saved_model_draws_on_bit_for_bit(way, sampler, tmp_path):
    model, other = Model(sampler), Model(sampler, seed=1, power=0.5)
    model.train_for(5)
    way(model, other, tmp_path)
    assert other.criterion.loss.path_weights.equal(model.criterion.loss.path_weights)
    assert other.train_for(6) == model.train_for(6)


def test_a_state_is_nothing_but_tensors():
    model = Model()
    before = {name: (value.shape, value.dtype) for name, value in model.state_dict().items()}
    model.train_for(3)
    average = copy.deepcopy(model.state_dict())
    for name, value in model.state_dict().items():  # as averages of weights do
        if value.dtype.is_floating_point:
            average[name].mul_(0.9).add_(value, alpha=0.1)
    assert sum(value.numel() for value in model.state_dict().values()) > 0
    assert {n: (v.shape, v.dtype) for n, v in model.state_dict().items()} == before
    model.load_state_dict(average)


def test_another_sampler_is_refused_with_a_way_out_or_left_out_with_a_warning(caplog):
    saved, other = Model("uniform"), Model("reshuffle", seed=3)
    expected = copy.deepcopy(other).train_for(4)
    with pytest.raises(ConfigurationError, match=r"saved with a Uniform .* drop criterion._extra"):
        other.load_state_dict(saved.state_dict())
    other = Model("reshuffle", seed=3)
    with caplog.at_level(logging.WARNING):
        other.load_state_dict(saved.state_dict(), strict=False)
    assert "saved with a Uniform sampler" in caplog.text
    assert other.layer.weight.equal(saved.layer.weight)
    assert other.train_for(4) == expected
    state = {key: value for key, value in saved.state_dict().items() if "criterion._e" not in key}
    Model("reshuffle").load_state_dict(state, strict=False)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda state: {"generator": 1}, "must be one vector of bytes, .* got dict"),
        (lambda state: torch.zeros(3), "must be one vector of bytes, .* got torch.float32"),
        (lambda state: state[None], "must be one vector of bytes"),
        (lambda state: state[:100], "is damaged; load another checkpoint, or drop its key"),
        (lambda state: torch.zeros_like(state), "is damaged"),
        (lambda state: state.flip(0), "is damaged"),
        (lambda state: state[:0], "is damaged"),
    ],
)
@pytest.mark.parametrize("part", ["criterion", "criterion.loss"])
def test_damaged_states_are_refused(part, damage, message):
    model = Model()
    state = model.state_dict()
    state[f"{part}._extra_state"] = damage(state[f"{part}._extra_state"])
    with pytest.raises(InputError, match=message):
        model.load_state_dict(state)


def test_a_state_of_other_content_is_refused():
    model = Model()
    state = model.state_dict()
    state["criterion._extra_state"] = state["criterion.loss._extra_state"]
    with pytest.raises(InputError, match="the extra state of StochasticLoss is damaged"):
        model.load_state_dict(state)


@pytest.mark.parametrize("sampler", [Uniform, Reshuffle, AdaptiveImportance])
def test_a_state_keeps_its_size(sampler):
    """Distributed checkpoints are read into tensors of the size that is there."""
    criterion = StochasticLoss(QuadraticLoss(10**4), sampler(), generator=0)
    x, y = torch.ones(1, 10**4, requires_grad=True), torch.zeros(1, 10**4)
    fresh = criterion.get_extra_state().numel()
    for _ in range(3):
        criterion(x, y).backward()
        assert criterion.get_extra_state().numel() == fresh


def test_a_state_that_runs_code_is_refused(tmp_path):
    model = Model()
    state = model.state_dict()
    state["criterion._extra_state"] = pack({"generator": RunsCode(tmp_path / "ran")})
    with pytest.raises(InputError, match="is damaged"):
        model.load_state_dict(state)
    assert not (tmp_path / "ran").exists()
