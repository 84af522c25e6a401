"""Training on drawn paths with Hugging Face Accelerate: accumulation, processes, checkpoints.

    pip install accelerate .
    python examples/accelerate_training.py
    accelerate launch --cpu --num_processes 2 examples/accelerate_training.py

A filter learns to undo another one. The comments say all that multipath and Accelerate need to know
about each other.
"""

import argparse
import tempfile

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

from multipath import StochasticLoss, TransformLoss
from multipath.optim import PSAGA
from multipath.transforms import Scattering1D

N_SAMPLES = 512


def make_optimizer(name, model, criterion):
    if name == "psaga":  # path-wise optimizers need no `redraw_after`
        return PSAGA(model.parameters(), criterion, lr=3e-3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    criterion.redraw_after(optimizer)  # one draw for all micro-batches of a step
    return optimizer


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--optimizer", choices=["adamw", "psaga"], default="adamw")
    parser.add_argument("--epochs", type=int, default=6)
    options = parser.parse_args(arguments)

    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    set_seed(0)
    clean = torch.randn(64, 1, N_SAMPLES).cumsum(dim=-1) / 20
    kernel = torch.tensor([[[0.5, 1.0, 0.5]]])
    dull = torch.nn.functional.conv1d(clean, kernel, padding=1)
    data = torch.utils.data.TensorDataset(dull, clean)
    loader = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True)
    model = torch.nn.Conv1d(1, 1, 9, padding=4)

    loss = TransformLoss(Scattering1D(N_SAMPLES, J=5, Q=(2, 1), T=64))
    # the seed does not depend on the rank, so all processes draw the same paths
    criterion = StochasticLoss.for_training(loss, clean[:16], n_draws=4, generator=0)
    if options.optimizer == "psaga":
        criterion = StochasticLoss(loss, criterion.sampler, generator=0)
    optimizer = make_optimizer(options.optimizer, model, criterion)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    criterion.to(accelerator.device)  # it has no parameters, so it is moved and not wrapped
    accelerator.register_for_checkpointing(criterion)  # saves the stream of draws

    def error():
        model.eval(), criterion.eval()  # evaluates all paths and uses up no draw
        with torch.no_grad():
            x, y = (each.to(accelerator.device) for each in (dull, clean))
            value = criterion(model(x), y)
        model.train(), criterion.train()
        return value.item()

    before, draws = error(), []
    for _ in range(options.epochs):
        for x, y in loader:
            with accelerator.accumulate(model):  # micro-batches of a step share their paths
                accelerator.backward(criterion(model(x), y))
                optimizer.step()
                optimizer.zero_grad()
            draws.append(criterion.last_draw.indices.tolist())
    after = error()

    with tempfile.TemporaryDirectory() as folder:
        accelerator.save_state(folder)
        expected = criterion.new_draw().indices
        accelerator.load_state(folder)
        resumed = torch.equal(criterion.new_draw().indices, expected)
    accelerator.print(f"error {before:.3g} -> {after:.3g}; resumed exactly: {resumed}")
    return before, after, draws, resumed


if __name__ == "__main__":
    main()
