"""
When a temperature can be estimated
===================================

A temperature divides the scores of a gate, softmax(score / tau). Scores that are linear in the
columns absorb it: (a, b, tau) and (c a, c b, c tau) are the same gate, and the profile of the
likelihood over tau is flat. Behind a nonlinear function, softmax((tanh(a + b'x) + c) / tau), it is
a parameter like others. The figure has both profiles, on rows that were drawn with tanh scores and
tau = 0.8.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy import special

from mixexp import ActivationGate, MoERegressor, SoftmaxGate

rng = np.random.default_rng(0)
n, tau = 1500, 0.8
X = rng.uniform(-3, 3, (n, 1))
x = X[:, 0]
scores = np.column_stack([np.tanh(-2.5 * (x - 1.2)), np.tanh(2.5 * (x + 1.2))])
upper = rng.random(n) < special.softmax(scores / tau, axis=1)[:, 1]
y = np.where(upper, 4 + x, -4 - x) + 0.4 * rng.standard_normal(n)
start = upper.astype(int)


def profile(gate, temperatures):
    """Log-likelihoods of fits with these fixed temperatures."""
    return np.array(
        [
            MoERegressor(2, gate=gate(temperature=t), start=start).fit(X, y).loglik_
            for t in temperatures
        ]
    )


# %%
# The temperature by maximum likelihood, with its standard error.

free = MoERegressor(2, gate=ActivationGate(temperature="estimate"), start=start).fit(X, y)
print(free.summary())
print(free.inference(X, y).summary())

# %%
# Both profiles, from their own maxima.

temperatures = np.geomspace(0.5, 1.3, 17)
linear = profile(SoftmaxGate, temperatures)
curved = profile(ActivationGate, temperatures)
print(f"range over tau: linear scores {np.ptp(linear):.1e}, tanh scores {np.ptp(curved):.1f}")

fig, ax = plt.subplots(figsize=(6, 4), layout="constrained")
ax.plot(temperatures, linear - linear.max(), color="0.5", label="linear scores")
ax.plot(temperatures, curved - free.loglik_, color="tab:blue", label="tanh scores")
ax.plot(free.gate_temperature_, 0, "o", color="tab:blue", label="estimate")
ax.axvline(tau, color="0.7", linestyle=":", label="truth")
ax.set(xscale="log", xlabel="temperature", ylabel="profile log-likelihood, from its maximum")
ax.set_xticks([0.5, 0.8, 1.3], ["0.5", "0.8", "1.3"])
ax.minorticks_off()
ax.legend(loc="lower left")
plt.show()
