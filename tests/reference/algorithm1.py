"""Algorithm 1 of SCRAPL, transcribed slowly: dictionaries per path, loops over weights, float64.

    g_cur  = m_hat / sqrt(eps + v_hat)       with P-Adam, the raw gradient g without
    g_avg  = sum of g_hat over Gamma / max(1, |Gamma|)         (Gamma: visited before this step)
    w     <- w - lr * wd * w - lr * (c * (g_cur - a * g_hat_p) + a * g_avg)       with P-SAGA
    w     <- w - lr * wd * w - lr * c * g_cur                                     without

`c` is 1 in the paper; an importance weight, where draws are reweighted. Where the loss weighs its
paths, `path_weights`, the mean over Gamma is the weighted one. `alpha`, a, is 1 in the paper. Time
runs at `rates[p]` passes a step in the exponents of path p: 1/P in the paper.
"""

import math


class Algorithm1:
    def __init__(
        self,
        weights,
        n_paths,
        *,
        lr,
        betas=(0.9, 0.999),
        eps=0.0,
        weight_decay=0.0,
        adam=True,
        saga=True,
        path_weights=None,
        alpha=1.0,
        rates=None,
    ):
        self.w = [float(value) for value in weights]
        self.lr, self.betas, self.eps = lr, betas, eps
        self.weight_decay, self.adam, self.saga = weight_decay, adam, saga
        self.path_weights = path_weights or [1.0] * n_paths
        self.alpha, self.rates = alpha, rates or [1 / n_paths] * n_paths
        self.k = 0
        self.tau, self.m, self.v, self.g_hat = {}, {}, {}, {}
        self.gamma = set()

    def step(self, p, gradient, c=1.0):
        self.k += 1
        g_cur = self.p_adam(p, gradient) if self.adam else list(gradient)
        update = self.p_saga(p, g_cur, c) if self.saga else [c * g for g in g_cur]
        for i, u in enumerate(update):
            self.w[i] = self.w[i] - self.lr * self.weight_decay * self.w[i] - self.lr * u

    def p_adam(self, p, gradient):
        beta1, beta2 = self.betas
        nothing = [0.0] * len(gradient)
        m, v = self.m.get(p, nothing), self.v.get(p, nothing)
        elapsed = (self.k - self.tau.get(p, 0)) * self.rates[p]
        keep1, keep2 = beta1**elapsed, beta2**elapsed
        self.m[p] = [keep1 * m_i + (1 - keep1) * g for m_i, g in zip(m, gradient, strict=True)]
        self.v[p] = [keep2 * v_i + (1 - keep2) * g * g for v_i, g in zip(v, gradient, strict=True)]
        self.tau[p] = self.k
        m_hat = [m_i / (1 - beta1 ** (self.k * self.rates[p])) for m_i in self.m[p]]
        v_hat = [v_i / (1 - beta2 ** (self.k * self.rates[p])) for v_i in self.v[p]]
        return [m_i / math.sqrt(self.eps + v_i) for m_i, v_i in zip(m_hat, v_hat, strict=True)]

    def p_saga(self, p, g_cur, c):
        update = []
        divisor = sum(self.path_weights[q] for q in self.gamma) if self.gamma else 1.0
        for i, g in enumerate(g_cur):
            g_avg = sum(self.path_weights[q] * self.g_hat[q][i] for q in self.gamma) / divisor
            memory = self.g_hat[p][i] if p in self.gamma else 0.0
            update.append(c * (g - self.alpha * memory) + self.alpha * g_avg)
        self.g_hat[p] = list(g_cur)
        self.gamma = self.gamma | {p}
        return update
