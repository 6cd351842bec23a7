"""Scores of single rows and second derivatives, of the complete and of the observed likelihood.

The complete-data log-likelihood of row i under expert k is log pi_k(x_i) + log f_k(y_i | x_i). Its
derivatives come from the parts' row-level predictors; parts without such get central differences,
of their log densities for the scores and of their analytic gradients for the second derivatives.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ..em.model import MoEModel
from ..em.params import MoEParams, stack, take
from ..em.rows import Rows
from ..kernels.rows import weighted_hessian

STEP = 1e-5


class BlockDerivatives:
    """Derivatives of one block of rows, in the coordinates of `MoEModel.pack`.

    They are those of its U units: of the rows, or of the groups of rows that share one expert.

    Parameters
    ----------
    model, params : the model and one parameter set
    rows : Rows
    """

    def __init__(self, model: MoEModel, params: MoEParams, rows: Rows):
        self.model, self.params = model, params
        self.rows, self.weight = rows, rows.unit_weight
        self.trials = rows.trials
        self.X_gate = _dense(model.gate_design(rows.unit_X))
        self.X_expert = _dense(model.expert_design(rows.X))
        self.y, self.offset = model.scaling.target(rows.y), model.scaled_offset(rows)

    def gate_terms(self, gate):
        """(U, K) the gate's terms of the objective."""
        return self.model.gate.log_joint(gate, self.X_gate)

    def expert_terms(self, expert):
        """(n, K) log densities of the rows."""
        return self.model.expert.log_density(
            expert, self.X_expert, self.y, self.offset, self.trials
        )

    def joint(self):
        """(U, K) complete-data log-likelihoods, in standardised units."""
        gate = self.gate_terms(self.params.gate)
        return gate + self.rows.unit_sums(self.expert_terms(self.params.expert))

    def scores(self):
        """(U, K, d) derivatives of the complete-data log-likelihoods."""
        gate, expert = self.model.gate, self.model.expert
        own = _scores(
            expert, self.params.expert, self.X_expert, self._expert_unit, self.expert_terms
        )
        return np.concatenate(
            [
                _scores(gate, self.params.gate, self.X_gate, self._gate_unit, self.gate_terms),
                self.rows.unit_sums(own),
            ],
            axis=2,
        )

    def hessian(self, resp):
        """(d, d) sum of the complete-data second derivatives, weighted by resp (U, K)."""
        gate, expert = self.model.gate, self.model.expert
        own = self.rows.spread(resp)
        first = _hessian(
            gate,
            self.params.gate,
            self.X_gate,
            self._gate_unit,
            resp,
            lambda own: gate.statistics(own, self.X_gate, resp, resp.sum(axis=1)),
        )
        second = _hessian(
            expert,
            self.params.expert,
            self.X_expert,
            self._expert_unit,
            own,
            lambda moved: expert.statistics(
                moved, self.X_expert, self.y, own, own.sum(axis=1), self.offset, self.trials
            ),
        )
        out = np.zeros((len(first) + len(second),) * 2)
        out[: len(first), : len(first)] = first
        out[len(first) :, len(first) :] = second
        return out

    def _gate_unit(self):
        return self.model.gate.row_unit(self.params.gate, self.X_gate)

    def _expert_unit(self):
        return self.model.expert.row_unit(
            self.params.expert, self.X_expert, self.y, self.offset, self.trials
        )


def _dense(design):
    return design.toarray() if sparse.issparse(design) else design


def _scores(part, params, X, unit, terms):
    if part.own_derivatives:
        return part.row_derivatives(params, X)
    place = part.layout(params)
    if place is None:
        return _numeric_scores(part, params, terms)
    score = unit().score
    K = place.shape[0]
    out = np.zeros((X.shape[0], K, len(part.pack(params))))
    for k in range(K):
        for j in range(place.shape[1]):
            used = place[k, j] >= 0
            out[:, k, place[k, j][used]] = score[j, :, k, None] * X[:, used]
    return out


def _numeric_scores(part, params, terms):
    vector = part.pack(params)
    template = stack([params])
    out = []
    for j in range(len(vector)):
        h = STEP * (1 + abs(vector[j]))
        ends = []
        for sign in (1, -1):
            moved = vector.copy()
            moved[j] += sign * h
            ends.append(terms(take(part.unpack(moved[None], template), 0)))
        out.append((ends[0] - ends[1]) / (2 * h))
    return np.stack(out, axis=2)


def _hessian(part, params, X, unit, resp, statistics):
    if part.own_derivatives:
        return part.surrogate_hessian(params, X, resp)
    place = part.layout(params)
    if place is None:
        return _numeric_hessian(part, params, statistics)
    d, q = len(part.pack(params)), X.shape[1]
    blocks = weighted_hessian(X, unit().hessian, resp)  # (K, J, J, q, q)
    out = np.zeros((d, d))
    for k, block in enumerate(blocks):
        size = place.shape[1] * q
        flat, at = block.transpose(0, 2, 1, 3).reshape(size, size), place[k].ravel()
        used = at >= 0
        out[np.ix_(at[used], at[used])] += flat[np.ix_(used, used)]
    return out


def _numeric_hessian(part, params, statistics):
    """Central differences of the surrogate's gradient at fixed responsibilities."""
    vector, template = part.pack(params), stack([params])

    def gradient(moved):
        own = take(part.unpack(moved[None], template), 0)
        stats = statistics(own)
        return part.gradient(stack([own]), stack([stats]))[0] * float(stats.weight)

    out = np.empty((len(vector),) * 2)
    for j in range(len(vector)):
        h = STEP * (1 + abs(vector[j]))
        step = np.zeros(len(vector))
        step[j] = h
        out[j] = (gradient(vector + step) - gradient(vector - step)) / (2 * h)
    return 0.5 * (out + out.T)
