"""Whatever loop a criterion is dropped into, it draws and trains as in a plain one."""

import logging
import shutil
from itertools import product

import pytest
import torch
from accelerate import Accelerator
from lightning.fabric import Fabric
from lightning.pytorch import LightningModule, Trainer
from torch.utils.checkpoint import checkpoint

from multipath import StochasticLoss, TransformLoss
from multipath.optim import PSAGA, PAdam
from multipath.samplers import AdaptiveImportance, Energy, Mixture, Reshuffle, Uniform
from multipath.testing import QuadraticLoss
from multipath.transforms import MultiResolutionSTFT, Scattering1D, WaveletTransform

pytestmark = pytest.mark.slow  # they train

STEPS, SAMPLES = 10, 64

LOSSES = {
    "quadratic": lambda: QuadraticLoss(16),
    "scattering": lambda: TransformLoss(Scattering1D(SAMPLES, J=3, Q=(2, 1), T=8)),
    "groups of resolutions": lambda: TransformLoss(MultiResolutionSTFT([16, 32, 64])).grouped(
        [[0, 2], [1]]
    ),
    "some wavelets": lambda: TransformLoss(WaveletTransform("db2", level=3)).subset([3, 1, 0]),
}
SAMPLERS = {
    "uniform": Uniform,
    "reshuffled": Reshuffle,
    "energy": lambda: Energy.running(floor=0.2),
    "adaptive": lambda: AdaptiveImportance(decay=0.5),
    "mixture": lambda: Mixture([Reshuffle(), AdaptiveImportance(observes="losses")]),
}
OPTIMIZERS = {
    "SGD": lambda params, criterion: torch.optim.SGD(params, lr=1e-4),
    "AdamW": lambda params, criterion: torch.optim.AdamW(params, lr=1e-3),
    "PAdam": lambda params, criterion: PAdam(params, criterion, lr=1e-3),
    "PSAGA": lambda params, criterion: PSAGA(params, criterion, lr=1e-3),
}


def sounds():
    """Two equal halves a batch, so that what is learned of one half is learned of both."""
    generator = torch.Generator().manual_seed(1)
    halves = torch.randn(STEPS, 2, SAMPLES, generator=generator, dtype=torch.float64)
    return torch.cat([halves, halves], dim=1)


class Run:
    """A model, its criterion and optimizer, and what was drawn."""

    def __init__(self, loss, sampler, optimizer):
        generator = torch.Generator().manual_seed(0)
        self.model = torch.nn.Linear(SAMPLES, SAMPLES).double()
        with torch.no_grad():
            for weight in self.model.parameters():
                weight.normal_(std=0.1, generator=generator)
        self.criterion = StochasticLoss(LOSSES[loss](), SAMPLERS[sampler](), generator=0)
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters(), self.criterion)
        self.drawn = []

    def note(self):
        self.drawn.append(self.criterion.last_draw.indices.tolist())


def plain(run):
    for batch in sounds():
        run.optimizer.zero_grad()
        run.criterion(run.model(batch), batch).backward()
        run.note()
        run.optimizer.step()


def lightning(run):
    class Module(LightningModule):
        def __init__(self):
            super().__init__()
            self.model, self.criterion = run.model, run.criterion

        def configure_optimizers(self):
            return run.optimizer

        def on_train_start(self):
            if not isinstance(run.optimizer, PAdam | PSAGA):
                self.criterion.redraw_after(self.optimizers())

        def training_step(self, batch):
            value = self.criterion(self.model(batch), batch)
            run.note()
            return value

    off = ("enable_progress_bar", "enable_model_summary", "enable_checkpointing", "logger")
    trainer = Trainer(max_epochs=1, accelerator="cpu", devices=1, **dict.fromkeys(off, False))
    trainer.fit(Module(), torch.utils.data.DataLoader(sounds(), batch_size=None))


def fabric(run):
    fabric = Fabric(accelerator="cpu", devices=1)
    model, optimizer = fabric.setup(run.model, run.optimizer)
    link(run, optimizer)
    for batch in sounds():
        optimizer.zero_grad()
        fabric.backward(run.criterion(model(batch), batch))
        run.note()
        optimizer.step()


def accelerate(run):
    accelerator = Accelerator(cpu=True)
    model, optimizer = accelerator.prepare(run.model, run.optimizer)
    link(run, optimizer)
    for batch in sounds():
        with accelerator.accumulate(model):
            accelerator.backward(run.criterion(model(batch), batch))
            run.note()
            optimizer.step()
            optimizer.zero_grad()


def mixed_precision(run):
    """Scaled losses; what multipath computes is not rounded by autocast."""
    link(run, run.optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for batch in sounds():
        run.optimizer.zero_grad()
        predicted = run.model(batch)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = run.criterion(predicted, batch)
        scaler.scale(value).backward()
        run.note()
        scaler.step(run.optimizer)
        scaler.update()


def accumulation(run):
    link(run, run.optimizer)
    for batch in sounds():
        run.optimizer.zero_grad()
        for half in batch.chunk(2):
            (run.criterion(run.model(half), half) / 2).backward()
        run.note()
        run.optimizer.step()


def checkpointing(use_reentrant):
    def loop(run):
        def forward(batch):
            return run.criterion(run.model(batch), batch)

        for batch in sounds():
            run.optimizer.zero_grad()
            leaf = batch.requires_grad_()  # a reentrant checkpoint has gradients for this alone
            checkpoint(forward, leaf, use_reentrant=use_reentrant).backward()
            run.note()
            run.optimizer.step()

    return loop


def compiled(run):
    model = torch.compile(run.model, backend="eager")
    link(run, run.optimizer)
    for batch in sounds():
        run.optimizer.zero_grad()
        run.criterion(model(batch), batch).backward()
        run.note()
        run.optimizer.step()


def compiled_step(run):
    @torch.compile(backend="eager")
    def forward(batch):
        return run.criterion(run.model(batch), batch)

    for batch in sounds():
        run.optimizer.zero_grad()
        forward(batch).backward()
        run.note()
        run.optimizer.step()


def link(run, optimizer):
    """Path-wise optimizers have linked themselves, to the optimizer inside of all wrappers."""
    if not isinstance(run.optimizer, PAdam | PSAGA):
        run.criterion.redraw_after(optimizer)


LOOPS = {
    "Lightning": lightning,
    "Fabric": fabric,
    "Accelerate": accelerate,
    "mixed precision": mixed_precision,
    "accumulation": accumulation,
    "checkpointing": checkpointing(use_reentrant=False),
    "reentrant checkpointing": checkpointing(use_reentrant=True),
    "compiled model": compiled,
    "compiled step": compiled_step,
}


# Each sampler with each optimizer, and each loss with each of both; all of them take minutes.
COMBINATIONS = [
    (list(LOSSES)[(i + j) % len(LOSSES)], sampler, optimizer)
    for (i, sampler), (j, optimizer) in product(enumerate(SAMPLERS), enumerate(OPTIMIZERS))
]


@pytest.mark.filterwarnings("ignore")  # frameworks warn of what they do themselves
@pytest.mark.parametrize(("loss", "sampler", "optimizer"), COMBINATIONS)
def test_draws_and_weights_are_those_of_the_plain_loop(loss, sampler, optimizer, caplog):
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    expected = Run(loss, sampler, optimizer)
    plain(expected)
    assert len({tuple(paths) for paths in expected.drawn}) > 1
    for name, loop in LOOPS.items():
        run = Run(loss, sampler, optimizer)
        loop(run)
        assert run.drawn == expected.drawn, name
        for own, theirs in zip(run.model.parameters(), expected.model.parameters(), strict=True):
            torch.testing.assert_close(own, theirs, rtol=1e-9, atol=1e-12, msg=name)
        learned = (r.criterion.sampler.state_dict() for r in (run, expected))
        torch.testing.assert_close(*learned, rtol=1e-9, atol=0.0, equal_nan=True, msg=name)
    assert not [record for record in caplog.records if record.name.startswith("multipath")]


class Matching(torch.nn.Module):
    """A model that knows its loss, as the trainer of Hugging Face wants it."""

    def __init__(self):
        super().__init__()
        run = Run("quadratic", "adaptive", "SGD")
        self.net, self.criterion = run.model.float(), run.criterion
        self.drawn = []

    def forward(self, sounds):
        value = self.criterion(self.net(sounds), sounds)
        if self.training:
            self.drawn.append(self.criterion.last_draw.indices.tolist())
        return {"loss": value}


@pytest.mark.filterwarnings("ignore")
def test_hugging_face_trainer(tmp_path):
    """Accumulated, saved by safetensors, and resumed."""
    transformers = pytest.importorskip("transformers")  # slow to import

    class Link(transformers.TrainerCallback):
        def on_train_begin(self, args, state, control, model, optimizer, **others):
            model.criterion.redraw_after(optimizer)

    def train(steps, **options):
        model = Matching()
        arguments = transformers.TrainingArguments(
            str(tmp_path),
            max_steps=steps,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
            save_steps=3,
            lr_scheduler_type="constant",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        )
        data = [{"sounds": sound} for batch in sounds().float() for sound in batch]
        trainer = transformers.Trainer(model, arguments, train_dataset=data, callbacks=[Link()])
        trainer.train(**options)
        return model

    whole = train(6)
    assert [whole.drawn[i] for i in range(0, 12, 2)] == [whole.drawn[i] for i in range(1, 12, 2)]
    assert len({tuple(paths) for paths in whole.drawn}) > 2
    for folder in tmp_path.glob("checkpoint-*"):
        if folder.name != "checkpoint-3":
            shutil.rmtree(folder)
    resumed = train(6, resume_from_checkpoint=True)
    assert resumed.drawn == whole.drawn[6:]
    for own, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(own, theirs)
