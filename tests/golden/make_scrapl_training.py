"""Golden trajectories of training with scrapl-loss: the loss of each step, and weights on the way.

    python3.11 -m venv peers
    peers/bin/pip install torch==2.13.0 scrapl-loss==0.1.0
    peers/bin/python -m tests.golden.make_scrapl_training        # a minute

`scrapl_training.npz` holds `settings` and `modes`, JSON texts: the arguments of the transform, and
of each mode those of the loss, `lr` and `weight_decay` of SGD, its number of steps, and whether
draws follow `probabilities` (P,), which are not uniform. Of mode i: `paths_<i>` (steps,), drawn by
scrapl-loss after `torch.manual_seed(i)`; `losses_<i>` (steps,); `weights_<i>` (steps / EVERY,
weights), all parameters after each EVERY-th step.
"""

import json
import logging
import platform
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch

from tests.golden.scrapl_training import EVERY, MODES, SETTINGS, Training


def main():
    from scrapl import SCRAPLLoss

    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    arrays = {"settings": json.dumps(SETTINGS), "modes": json.dumps(MODES)}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "probs.pt"
        n_paths = SCRAPLLoss(**SETTINGS).n_paths
        masses = np.random.default_rng(5).uniform(0.1, 1.0, n_paths)
        arrays["probabilities"] = masses / masses.sum()
        torch.save(torch.from_numpy(arrays["probabilities"]), file)
        for number, mode in enumerate(MODES):
            criterion = SCRAPLLoss(**SETTINGS, **mode["loss"])
            if mode["probabilities"]:
                criterion.load_probs(str(file))  # the argument `probs_path` fails in 0.1.0
            training = Training()
            criterion.attach_params(training.model.parameters())
            optimizer = torch.optim.SGD(training.model.parameters(), **mode["sgd"])
            torch.manual_seed(number)
            paths, losses, weights = [], [], []
            for step in range(mode["steps"]):
                losses.append(training.step(criterion, optimizer, step))
                paths.append(criterion.curr_path_idx)
                if step % EVERY == EVERY - 1:
                    weights.append(training.weights())
            arrays[f"paths_{number}"] = np.array(paths, dtype=np.uint8)
            arrays[f"losses_{number}"] = np.array(losses, dtype=np.float32)
            arrays[f"weights_{number}"] = np.stack(weights)
            print(mode, losses[0], losses[-1], flush=True)
    peers = {"torch": version("torch"), "numpy": version("numpy")}
    try:
        peers["scrapl-loss"] = version("scrapl-loss")
    except PackageNotFoundError:
        peers["scrapl-loss"] = "0.1.0, unpacked"
    arrays["versions"] = json.dumps({**peers, "python": platform.python_version()})
    np.savez_compressed(Path(__file__).parent / "scrapl_training.npz", **arrays)


if __name__ == "__main__":
    main()
