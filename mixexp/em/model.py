"""`MoEModel`: a gate and an expert family over chosen columns; all of it pure functions."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from ..kernels.reference import log_softmax, log_sum_exp
from .params import MoEParams, PassResult, Statistics, stack, take, tree_map
from .rows import Rows, Scaling, design
from .starts.keys import hash_rows
from .threads import single_threaded_blas

MOST_HIDDEN = 50.0  # log of the rows that one row may stand for
PLACED = 8192  # units that suffice to place the classes of a gate
GIVEN_STEPS = 30  # M-steps at fixed responsibilities, at most


class MoEModel(NamedTuple):
    """p(y | x) = sum_k pi_k(x) f_k(y | x) on standardised columns.

    With a joint gate p(x, y) = sum_k p(x, k) f_k(y | x) is what a fit maximises.

    Attributes
    ----------
    gate, expert : Gate, Expert
    K : int
    gate_columns, expert_columns : int arrays
        Columns of X that each half uses.
    scaling : Scaling
    n_classes : int
        For a classification family; the rows of a batch may lack the last ones. 0: as many as
        the rows show.
    prior_likelihood : {"conditional", "evidential"} or None
        How a fit read `Rows.prior`; None without one.
    grouped : bool
        Whether the fit was to groups of rows that share one expert.
    """

    gate: Any
    expert: Any
    K: int
    gate_columns: np.ndarray
    expert_columns: np.ndarray
    scaling: Scaling
    n_classes: int = 0
    prior_likelihood: str | None = None
    grouped: bool = False

    def check_ungrouped(self, what: str):
        """Refuse what takes every row for a unit of its own."""
        if self.grouped:
            raise ValueError(
                f"{what} is for fits without groups=: it takes the rows for independent, and "
                "those of a group share one expert."
            )

    @property
    def kinked(self):
        """The gate or the experts where not `Part.smooth`; None for a model that is."""
        return next((part for part in (self.gate, self.expert) if not part.smooth), None)

    def check_without_prior(self, what: str):
        """Refuse what holds only where the fit maximised the likelihood without a prior."""
        if self.prior_likelihood is not None:
            raise ValueError(
                f"{what} is for fits without expert_prior=: with one another objective was "
                "maximised, whose derivatives are not those of log p(y | x). Refit without it."
            )

    # --- one parameter set, one block of rows -----------------------------------------------

    def gate_design(self, X):
        return self.gate.design(X, self.gate_columns, self.scaling)

    def expert_design(self, X):
        return design(X, self.expert_columns, self.scaling)

    def scaled_offset(self, rows: Rows):
        """(n, m) offset in the units of the standardised target, or None."""
        return None if rows.offset is None else rows.offset[:, None] / self.scaling.y_scale

    def initial(self, rows: Rows) -> MoEParams:
        """Neutral parameters: equal gate, every expert the intercept-only fit."""
        weight = np.ones(rows.n) if rows.weight is None else rows.weight
        y = self.scaling.target(rows.y)
        q = len(self.expert_columns) + 1
        classes = {"n_classes": self.n_classes} if self.expert.classifies else {}
        expert = self.expert.initial(self.K, q, y, weight, rows.offset, rows.trials, **classes)
        return MoEParams(self.gate.initial(self.K, len(self.gate_columns) + 1), expert)

    def log_gate(self, params, X):
        """(n, K) log gate probabilities."""
        return self.gate.log_prob(params.gate, self.gate_design(X))

    def log_joint(self, params, rows: Rows):
        """(U, K) log pi_k(x) prod f_k(y | x) of the units, in the user's units of y."""
        return self._log_joint(params, rows) - rows.unit_sums(self._log_y_unit(rows.y))[:, None]

    def _log_joint(self, params, rows):
        gate = self.log_gate(params, rows.unit_X)
        return gate + rows.unit_sums(self._log_density(params, rows))

    def _log_density(self, params, rows):
        """(n, K) log densities of the rows, in units of the standardised target."""
        return self.expert.log_density(
            params.expert,
            self.expert_design(rows.X),
            self.scaling.target(rows.y),
            self.scaled_offset(rows),
            rows.trials,
        )

    def log_prob(self, params, rows: Rows):
        """(U,) log p(y | x) of the units, in the user's units; given that they are in the data."""
        value = log_sum_exp(self.log_joint(params, rows))
        admitted = self._admitted(params, rows)
        return value if admitted is None else value - log_sum_exp(admitted)

    def _admitted(self, params, rows):
        """(n, K) log pi_k(x) P_k(the row is in the data); None where every row would be."""
        if not self.expert.truncates(rows.y):
            return None
        y, offset = self.scaling.target(rows.y), self.scaled_offset(rows)
        own = params.expert, self.expert_design(rows.X), y, offset, rows.trials
        return self.log_gate(params, rows.X) + self.expert.log_admitted(*own)

    def log_likelihood(self, params, rows: Rows):
        """(U,) the units' terms of the objective: log p(y | x), or log p(x, y) of a joint gate."""
        X_gate = self.gate_design(rows.unit_X)
        gate = log_sum_exp(self.gate.log_joint(params.gate, X_gate)) - self._log_x_unit
        if rows.prior is None:
            return self.log_prob(params, rows) + gate
        joint = self.log_joint(params, rows) + self._log_prior(rows)
        known = self._log_admitted(self.log_gate(params, rows.X), rows)
        return log_sum_exp(joint) - known + gate

    def _log_prior(self, rows: Rows):
        """(n, K) logarithms of the prior; -inf for an expert that a row excludes."""
        assert rows.prior is not None
        with np.errstate(divide="ignore"):
            return np.log(rows.prior)

    def _log_admitted(self, log_gate, rows: Rows):
        """(n,) what is known before y is seen: log sum_k omega_k pi_k(x), where conditioned on."""
        if self.prior_likelihood != "conditional":
            return np.zeros(rows.n)
        return log_sum_exp(log_gate + self._log_prior(rows))

    @property
    def _log_x_unit(self) -> float:
        """Log of the volume that a unit of the standardised gate columns has in the user's."""
        if not self.gate.joint:
            return 0.0
        scale = self.scaling.x_scale[self.gate_columns]
        return float(np.log(scale[np.isfinite(scale)]).sum())

    def _log_y_unit(self, y):
        """(n,) log of what a unit of the standardised target is in the user's; 0 where no density.

        The term of a row whose target is an interval is a probability, which has no unit.
        """
        return np.log(self.scaling.y_scale).sum() * np.broadcast_to(
            self.expert.has_density(y), len(y)
        )

    def log_units(self, rows: Rows) -> float:
        """What the objective of the rows loses from the standardised to the user's units."""
        weight = np.ones(rows.n) if rows.weight is None else rows.weight
        return float(weight @ self._log_y_unit(rows.y)) + rows.total_weight * self._log_x_unit

    def responsibilities(self, params, rows: Rows):
        """(n, K) posterior probabilities of the rows' experts, given their prior if any.

        Those of a group are the same in all of its rows.
        """
        joint = self.log_joint(params, rows)
        joint = joint if rows.prior is None else joint + self._log_prior(rows)
        return rows.spread(np.exp(log_softmax(joint)))

    def statistics(self, params, rows: Rows, resp=None) -> PassResult:
        """Log-likelihood and additive statistics of a block.

        ``resp`` (U, K), if given, replaces the units' responsibilities: how starts enter.
        """
        weight = rows.unit_weight
        X_gate = self.gate_design(rows.unit_X)
        X_expert = self.expert_design(rows.X)
        y, offset = self.scaling.target(rows.y), self.scaled_offset(rows)
        gate_terms = self.gate.log_joint(params.gate, X_gate)
        densities = self.expert.log_density(params.expert, X_expert, y, offset, rows.trials)
        joint = gate_terms + rows.unit_sums(densities)
        conditioned, hidden = {}, None
        admitted = self.expert.log_admitted(params.expert, X_expert, y, offset, rows.trials)
        if admitted is not None:
            log_p = log_sum_exp(joint) - log_sum_exp(gate_terms + admitted)
            hidden = weight[:, None] * _hidden(gate_terms, admitted)
            if self.gate.conditional:
                conditioned = {"log_prior": admitted}
        elif rows.prior is None:
            log_p = log_sum_exp(joint)
        else:
            joint = joint + self._log_prior(rows)
            log_p = log_sum_exp(joint) - self._log_admitted(gate_terms, rows)
            if self.prior_likelihood == "conditional":
                conditioned = {"log_prior": self._log_prior(rows)}
        if resp is None:
            resp = np.exp(log_softmax(joint))
        resp = resp * weight[:, None]
        loglik = weight @ log_p - self.log_units(rows)
        own = rows.spread(resp), rows.once(weight)
        more = {} if hidden is None else {"hidden": hidden}
        if hidden is None or conditioned:
            gate = self.gate.statistics(params.gate, X_gate, resp, weight, **conditioned)
        else:
            gate = self._gate_statistics_with(hidden, params, X_gate, resp, weight)
        expert = self.expert.statistics(
            params.expert, X_expert, y, *own, offset, rows.trials, **more
        )
        return PassResult(np.asarray(loglik), Statistics(gate, expert))

    def _gate_statistics_with(self, hidden, params, X_gate, resp, weight):
        """The gate's statistics of the rows and of those that truncation hid behind them.

        Per unit of weight they are still those of the rows in the data.
        """
        more = weight + hidden.sum(axis=1)
        stats = self.gate.statistics(params.gate, X_gate, resp + hidden, more)
        return stats._replace(weight=np.asarray(weight.sum()))

    # --- batched over parameter sets --------------------------------------------------------

    def m_step(self, params, stats) -> MoEParams:
        return MoEParams(
            self.gate.m_step(params.gate, stats.gate),
            self.expert.m_step(params.expert, stats.expert),
        )

    def penalty(self, params):
        """(S,) penalty per unit weight."""
        return self.gate.penalty_value(params.gate) + self.expert.penalty_value(params.expert)

    @property
    def sparse(self) -> bool:
        """Whether a penalty may set coefficients to zero."""
        return self.gate.sparse or self.expert.sparse

    def gradient(self, params, stats):
        """(S, d) gradient of the penalised objective per unit weight, in the order of `pack`.

        Under a sparse penalty: the smallest element of the subdifferential.
        """
        return np.concatenate(
            [
                self.gate.gradient(params.gate, stats.gate),
                self.expert.gradient(params.expert, stats.expert),
            ],
            axis=-1,
        )

    def pack(self, params):
        """(S, d) unconstrained vectors."""
        return np.concatenate(
            [self.gate.pack(params.gate), self.expert.pack(params.expert)], axis=-1
        )

    def unpack(self, vector, params) -> MoEParams:
        """Parameters from vectors; ``params`` gives the shapes. Bounds are enforced."""
        split = self.gate.pack(params.gate).shape[-1]
        return MoEParams(
            self.gate.unpack(vector[..., :split], params.gate),
            self.expert.unpack(vector[..., split:], params.expert),
        )

    def n_free(self, params) -> int:
        return self.gate.n_free(params.gate) + self.expert.n_free(params.expert)

    def shift(self, stats, params, new_params) -> Statistics:
        """Statistics taken at ``params``, re-expressed at ``new_params`` (for blending)."""
        step = tree_map(np.subtract, new_params, params)
        return Statistics(
            self.gate.shift(stats.gate, step.gate),
            self.expert.shift(stats.expert, params.expert, step.expert),
        )

    def rescale(self, params, old: Scaling) -> MoEParams:
        """Parameters of the same columns from another scaling to this model's."""
        return MoEParams(
            self.gate.rescale(params.gate, self.gate_columns, old, self.scaling),
            self.expert.rescale(params.expert, self.expert_columns, old, self.scaling),
        )

    def in_user_units(self, params) -> MoEParams:
        """Parameters as they are shown: of the columns and the target as the user gave them."""
        p, m = len(self.scaling.x_scale), len(self.scaling.y_scale)
        plain = self._replace(scaling=Scaling.identity(p, m)).rescale(params, self.scaling)
        return plain._replace(gate=self.gate.in_user_units(plain.gate))

    def from_responsibilities(self, rows: Rows, responsibilities) -> MoEParams:
        """Batch of parameters: the M-step of each (U, K) array of the units' responsibilities.

        Several guarded ones for experts whose M-step is far from exact.
        """
        # what truncation hides is asked after once there are experts
        rows = rows._replace(y=self.expert.without_truncation(rows.y))
        neutral = self.initial(rows)
        key = hash_rows(rows)[rows.first] if self.gate.has_places else None
        begin = [self._placed(neutral, rows, resp, key) for resp in responsibilities]
        fitted = zip(begin, responsibilities, strict=True)
        return stack([self._fitted_to(params, rows, resp) for params, resp in fitted])

    def _placed(self, params, rows, resp, key) -> MoEParams:
        """The parameters with the classes of the gate where the units of these classes are.

        The units are taken in the order of their hashes, which no order of the rows changes.
        """
        if key is None:
            return params
        weight = rows.unit_weight
        order = np.lexsort((weight, *resp.T, key))  # equal rows may have unequal labels
        some = order[:: max(1, rows.n_units // PLACED)]
        X = self.gate_design(rows.unit_X[some])
        gate = self.gate.initial_for(X, resp[some], weight[some])
        return params._replace(gate=gate)

    def _fitted_to(self, params, rows, resp) -> MoEParams:
        new = self._m_step_given(params, rows, resp)
        if not self.expert.newton_m_step:
            return new
        value = self._expert_value(params, rows, resp)
        enough = 1e-6 * rows.total_weight
        for _ in range(GIVEN_STEPS):
            share = 1.0
            while (reached := self._expert_value(new, rows, resp)) < value and share > 1e-3:
                share *= 0.5
                new = tree_map(lambda a, b: 0.5 * (a + b), params, new)
            if not reached > value + enough:
                return new if reached >= value else params
            params, value = new, reached
            new = self._m_step_given(params, rows, resp)
        return params

    def _m_step_given(self, params, rows, resp) -> MoEParams:
        stats = stack([self._given_statistics(params, rows, resp)])
        return take(self.m_step(stack([params]), stats), 0)

    def _expert_value(self, params, rows, resp) -> float:
        """Weighted sum of the experts' log densities under given responsibilities."""
        total, resp = 0.0, rows.spread(resp)
        for block in rows.blocks():
            part = rows.take(block)
            weight = np.ones(part.n) if part.weight is None else part.weight
            total += float((weight[:, None] * resp[block] * self._log_density(params, part)).sum())
        return total

    def _given_statistics(self, params, rows, resp) -> Statistics:
        """Statistics under given responsibilities, block by block."""
        resp = rows.spread(resp)
        with single_threaded_blas():
            parts = (rows.take(block) for block in rows.blocks())
            sums = (
                self.statistics(params, part, resp[block][part.first]).statistics
                for part, block in zip(parts, rows.blocks(), strict=True)
            )
            return functools.reduce(lambda total, part: tree_map(np.add, total, part), sums)


def _hidden(gate_terms, admitted):
    """(n, K) rows of every expert that truncation hides on average, for one that is in the data."""
    inside = np.exp(log_softmax(gate_terms + admitted))
    return inside * np.expm1(np.minimum(-admitted, MOST_HIDDEN))
