"""Interrupted training goes on bit for bit, through every kind of checkpoint."""

import lightning
import pytest
import torch
from torch.utils.data import DataLoader

from multipath import StochasticLoss
from multipath.optim import PSAGA, PAdam
from multipath.samplers import Importance
from multipath.testing import QuadraticLoss

from .cases import OPTIMIZERS

DTYPES = [torch.float32, torch.float64, torch.bfloat16]


class Trainee(torch.nn.Module):
    """A layer and the criterion that trains it, saved together."""

    def __init__(self, dtype, seed):
        super().__init__()
        self.layer = torch.nn.Linear(3, 5, dtype=dtype)
        with torch.no_grad():
            for parameter in self.layer.parameters():
                parameter.copy_(torch.linspace(-1, 1, parameter.numel()).view_as(parameter))
        sampler = Importance(torch.tensor([0.4, 0.3, 0.2, 0.1]))
        self.criterion = StochasticLoss(QuadraticLoss(4), sampler, generator=seed)

    def forward(self, x):
        return self.criterion(self.layer(x), torch.zeros(len(x), 5, dtype=x.dtype))


def batch(step, dtype):
    return torch.randn(2, 3, generator=torch.Generator().manual_seed(step)).to(dtype)


def train(trainee, optimizer, steps, dtype):
    for step in steps:
        optimizer.zero_grad()
        trainee(batch(step, dtype)).backward()
        optimizer.step()


def equal(first, second):
    """Nested states, tensors bit for bit and of the same dtype."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[k], second[k]) for k in first)
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    return type(first) is type(second) and first == second


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.slow
def test_a_parent_module_is_one_checkpoint(name, dtype, tmp_path):
    kind, options = OPTIMIZERS[name]
    trainee = Trainee(dtype, seed=1)
    optimizer = kind(trainee.parameters(), trainee.criterion, lr=0.01, **options)
    train(trainee, optimizer, range(15), dtype)
    trainee(batch(15, dtype)).backward()  # interrupted between forward and step
    file = tmp_path / "checkpoint.pt"
    torch.save({"model": trainee.state_dict(), "optimizer": optimizer.state_dict()}, file)
    saved = torch.load(file, weights_only=True)
    train(trainee, optimizer, range(15, 40), dtype)

    other = Trainee(dtype, seed=2)
    resumed = kind(other.parameters(), other.criterion, lr=0.5)
    other.load_state_dict(saved["model"])
    resumed.load_state_dict(saved["optimizer"])
    assert equal(resumed.state_dict(), saved["optimizer"])
    train(other, resumed, range(15, 40), dtype)
    assert equal(other.state_dict(), trainee.state_dict())
    assert equal(resumed.state_dict(), optimizer.state_dict())


@pytest.mark.slow
def test_counters_survive_bfloat16_parameters():
    """257 is not a bfloat16 number, and steps beyond it must not become 256."""
    trainee = Trainee(torch.bfloat16, seed=1)
    optimizer = PAdam(trainee.parameters(), trainee.criterion)
    train(trainee, optimizer, range(259), torch.bfloat16)
    again = PAdam(trainee.parameters(), trainee.criterion)
    again.load_state_dict(optimizer.state_dict())
    for state in again.state.values():
        assert state["step"] == 259
        assert max(entry["last_step"] for entry in state["paths"].values()) == 259


def test_a_loaded_state_is_a_copy():
    trainee = Trainee(torch.float32, seed=1)
    optimizer = PSAGA(trainee.parameters(), trainee.criterion)
    train(trainee, optimizer, range(5), torch.float32)
    other = Trainee(torch.float32, seed=1)
    twin = PSAGA(other.parameters(), other.criterion)
    twin.load_state_dict(optimizer.state_dict())
    before = repr(optimizer.state_dict())
    train(other, twin, range(5), torch.float32)
    assert repr(optimizer.state_dict()) == before


class LightningTrainee(lightning.LightningModule):
    def __init__(self, name, seed):
        super().__init__()
        self.name = name
        self.trainee = Trainee(torch.float32, seed)

    def training_step(self, x, index):
        return self.trainee(x)

    def configure_optimizers(self):
        kind, options = OPTIMIZERS[self.name]
        return kind(self.trainee.parameters(), self.trainee.criterion, lr=0.01, **options)


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # Lightning's, about its own code
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.slow
def test_lightning_checkpoints(name, tmp_path):
    data = DataLoader([batch(step, torch.float32)[0] for step in range(12)], batch_size=2)

    def fit(seed, epochs, checkpoint=None):
        model = LightningTrainee(name, seed)
        trainer = lightning.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        trainer.fit(model, data, ckpt_path=checkpoint)
        return model, trainer

    whole, trainer = fit(seed=1, epochs=4)
    _, half = fit(seed=1, epochs=2)
    half.save_checkpoint(tmp_path / "half.ckpt")
    resumed, again = fit(seed=3, epochs=4, checkpoint=tmp_path / "half.ckpt")
    assert equal(resumed.state_dict(), whole.state_dict())
    assert equal(again.optimizers[0].state_dict(), trainer.optimizers[0].state_dict())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_state_can_be_loaded_more_than_once(name):
    kind, options = OPTIMIZERS[name]
    trainee = Trainee(torch.float32, seed=0)
    optimizer = kind(trainee.layer.parameters(), trainee.criterion, **options)
    train(trainee, optimizer, range(3), torch.float32)
    saved = optimizer.state_dict()
    for _ in range(2):
        optimizer.load_state_dict(saved)
    assert equal(optimizer.state_dict(), saved)
