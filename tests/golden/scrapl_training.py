"""The training that `make_scrapl_training.py` runs with scrapl-loss, and the tests with ours."""

import math

import numpy as np
import torch
from torch import nn

SETTINGS = {"shape": 512, "J": 5, "Q1": 4, "Q2": 1, "J_fr": 2, "Q_fr": 1}
EVERY = 50


def mode(probabilities=False, lr=1e-2, weight_decay=0.0, steps=100, **loss):
    return {
        "steps": steps,
        "loss": loss,
        "sgd": {"lr": lr, "weight_decay": weight_decay},
        "probabilities": probabilities,
    }


PLAIN = {"use_p_adam": False, "use_p_saga": False}
MODES = [
    mode(weight_decay=0.01, steps=300),
    mode(probabilities=True, p_adam_b1=0.8, p_adam_b2=0.9, p_adam_eps=0.1, grad_mult=1e6),
    mode(use_p_saga=False, use_rho_log1p=True, grad_mult=1.0, sample_all_paths_first=True),
    mode(use_p_adam=False, grad_mult=10.0, lr=1e-1, weight_decay=0.1),
    mode(**PLAIN, grad_mult=100.0, lr=1e-1, probabilities=True),
]


class Training:
    """A network that finds the loudness of four tones from their phases and levels."""

    def __init__(self):
        random = np.random.default_rng(7)
        n_samples = SETTINGS["shape"]
        self.model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
        with torch.no_grad():
            for parameter in self.model.parameters():
                drawn = random.standard_normal(parameter.shape)
                parameter.copy_(torch.from_numpy(drawn / math.sqrt(parameter.shape[-1])))
        self.cues = torch.from_numpy(random.standard_normal((300, 4, 6)).astype(np.float32))
        mixing = torch.from_numpy(random.standard_normal((6, 4)).astype(np.float32))
        self.levels = torch.sigmoid(self.cues @ mixing)
        time = np.arange(n_samples) / n_samples
        tones = [
            np.sin(2 * np.pi * (f * time + s * time**2)) * (1 + np.cos(2 * np.pi * a * time))
            for f, s, a in ((20, 5, 2), (50, -15, 3), (90, 30, 8), (150, 0, 17))
        ]
        self.tones = torch.from_numpy(np.array(tones, dtype=np.float32))

    def step(self, criterion, optimizer, number, **options):
        """One step of training; returns the loss."""
        optimizer.zero_grad()
        sounds = torch.sigmoid(self.model(self.cues[number])) @ self.tones
        targets = self.levels[number] @ self.tones
        loss = criterion(sounds[:, None], targets[:, None], **options)
        loss.backward()
        optimizer.step()
        return loss.item()

    def weights(self):
        """All parameters in one vector."""
        return torch.cat([p.detach().flatten() for p in self.model.parameters()]).numpy().copy()
