"""`EM`: the driver that turns passes into a maximum, for one start or a batch of them.

Each pass gives the objective at the current point and, through the M-step, the EM map's image
of it. Anderson's mixing of the last images proposes the next point; a guard accepts it only if
the penalised objective does not fall, else the plain EM image is tried, then halvings towards
the last good point. Statistics are taken once per pass, whether accepted or not. Where all
is still, the remembered steps tell a maximum from a saddle, which the run leaves.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._component import Component
from ..kernels import small
from .accelerate import MOST_FAILURES, mix, nearer, off_saddle, remember
from .evaluate import evaluator
from .model import MoEModel
from .params import take
from .status import Status

ROUNDING = 1e-11  # relative fall of the objective that is rounding, not descent
MAX_HALVINGS = 40


class EMState(NamedTuple):
    """Everything the loop carries from one pass to the next, for S starts of d parameters.

    point (S, d) is to be evaluated next; anchor, objective and image belong to the last
    accepted point; history_step and history_residual (S, h, d) feed the acceleration; path holds
    the anchors' objectives; failures (S,) counts mixes rejected, less those accepted; code is 0
    while running, else an index into `OUTCOMES`.
    """

    n_pass: int
    point: np.ndarray
    accelerated: np.ndarray
    anchor: np.ndarray
    objective: np.ndarray
    image: np.ndarray
    residual: np.ndarray
    certificate: np.ndarray
    gain: np.ndarray
    halvings: np.ndarray
    failures: np.ndarray
    history_step: np.ndarray
    history_residual: np.ndarray
    code: np.ndarray
    path: tuple


OUTCOMES = (None, Status.CONVERGED, Status.STALLED, Status.MAX_PASSES, Status.INTERRUPTED)


class EMResult(NamedTuple):
    """What a run returns for each of S starts.

    params : MoEParams batch; objective (S,) penalised, per unit weight; path: list of (S,)
    arrays; status: list of Status; certificate (S,): largest absolute gradient per unit weight
    on the standardised scale; n_pass: passes over the rows.
    """

    params: Any
    objective: np.ndarray
    path: list
    status: list
    certificate: np.ndarray
    n_pass: int


class EM(Component):
    """Expectation-maximisation with a monotone guard and Anderson acceleration.

    Parameters
    ----------
    max_passes : int, default=2000
        Limit of passes over the rows.
    tol : float, default=1e-12
        Converged when the gain that one more Newton-like step promises, per unit weight, is
        below this...
    gradient_tol : float, default=1e-6
        ... and no component of the gradient of the penalised objective, per unit weight and on
        the standardised scale, exceeds this.
    acceleration : int, default=8
        How many past steps Anderson's mixing uses; 0 is plain EM.
    checkpoint : path-like or None
        File to which the state of a fit is written every ``checkpoint_every`` passes. A fit
        that was interrupted continues from it when the same fit is called again, and ends
        bit for bit where it would have ended.
    checkpoint_every : int, default=10
    resume : bool, default=True
        False ignores an existing checkpoint and overwrites it.

    References
    ----------
    Walker and Ni (2011), "Anderson acceleration for fixed-point iterations", SIAM J. Numer.
    Anal. 49; Henderson and Varadhan (2019), "Damped Anderson acceleration with restarts and
    monotonicity control for accelerating EM", J. Comput. Graph. Stat. 28.
    """

    def __init__(
        self,
        max_passes=2000,
        tol=1e-12,
        gradient_tol=1e-6,
        acceleration=8,
        checkpoint=None,
        checkpoint_every=10,
        resume=True,
    ):
        self.max_passes = max_passes
        self.tol = tol
        self.gradient_tol = gradient_tol
        self.acceleration = acceleration
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.resume = resume

    def run(self, model: MoEModel, params, engine, *, callback=None, state=None) -> EMResult:
        """Maximise from a batch of starts.

        Parameters
        ----------
        params : MoEParams batch
        engine : Engine
        callback : callable or None
            ``callback(state) -> bool`` after every pass; True stops.
        state : EMState or None
            Continue from a stored state instead of ``params``.
        """
        template = take(params, slice(0, 1))
        evaluate = evaluator(model, engine, template)
        sparse = model.sparse
        if state is None:
            state = self._first_state(model.pack(params))
        elif state.n_pass >= self.max_passes:  # stored by a run that ended there
            state = _stop(state, Status.MAX_PASSES)
        while not state.code.all():
            state = self._pass(state, evaluate, sparse)
            if callback is not None and callback(state):
                state = _stop(state, Status.INTERRUPTED)
            if state.n_pass >= self.max_passes:
                state = _stop(state, Status.MAX_PASSES)
        return EMResult(
            model.unpack(state.anchor, template),
            state.objective,
            list(state.path),
            [OUTCOMES[code] for code in state.code],
            state.certificate,
            state.n_pass,
        )

    def _first_state(self, point):
        S, d = point.shape
        h = self.acceleration
        return EMState(
            n_pass=0,
            point=point,
            accelerated=np.zeros(S, dtype=bool),
            anchor=point.copy(),
            objective=np.full(S, -np.inf),
            image=point.copy(),
            residual=np.zeros((S, d)),
            certificate=np.full(S, np.inf),
            gain=np.full(S, np.inf),
            halvings=np.zeros(S, dtype=int),
            failures=np.zeros(S, dtype=int),
            history_step=np.zeros((S, h, d)),
            history_residual=np.zeros((S, h, d)),
            code=np.zeros(S, dtype=int),
            path=(),
        )

    def _pass(self, state, evaluate, sparse):
        """One pass over the rows for all starts that still run."""
        if not state.code.any():
            new = self._advance(state, evaluate, sparse)
        else:
            running = np.flatnonzero(state.code == 0)
            part = _take_state(state, running)
            new = _put_state(state, running, self._advance(part, evaluate, sparse))
        return new._replace(n_pass=state.n_pass + 1, path=(*state.path, new.objective.copy()))

    def _advance(self, state, evaluate, sparse):
        point, objective, image, gradient = evaluate(state.point)
        residual = image - point
        first = state.objective == -np.inf
        slack = ROUNDING * (1 + np.abs(objective))
        accepted = (objective >= state.objective - slack) | first
        failed = np.where(accepted, -1, 1) * state.accelerated
        failures = (state.failures + failed).clip(0, MOST_FAILURES)
        proposal, *history = self._propose(
            state, accepted, accepted & ~first, point, residual, gradient
        )
        proposal = nearer(proposal, image, residual, failures)
        gain, certificate = small.gain_and_certificate(gradient, residual)
        done = (gain <= self.tol) & (certificate <= self.gradient_tol)
        for s in np.flatnonzero(done & accepted):
            step = off_saddle(history[0][s], history[1][s], gradient[s])
            if step is not None:
                done[s], proposal[s] = False, point[s] + step
                history[0][s], history[1][s] = 0, 0
        if sparse:
            # a mixture of images has the zeros of none of them
            proposal = np.where(image == 0, 0, proposal)
        accelerated = np.logical_or.reduce(proposal != image, axis=1)
        evaluated = state._replace(
            point=proposal,
            accelerated=accelerated,
            anchor=point,
            objective=objective,
            image=image,
            residual=residual,
            certificate=certificate,
            gain=gain,
            halvings=np.zeros_like(state.halvings),
            failures=failures,
            history_step=history[0],
            history_residual=history[1],
            code=done.astype(state.code.dtype),
        )
        return evaluated if accepted.all() else _retreat(state, evaluated, accepted)

    def _propose(self, state, accepted, kept, point, residual, gradient):
        """Next points and new histories; a rejected mix forgets its history."""
        steps, residuals = state.history_step, state.history_residual
        if self.acceleration == 0:
            return point + residual, steps, residuals
        steps, residuals = remember(
            steps,
            residuals,
            state.n_pass % self.acceleration,
            point - state.anchor,
            residual - state.residual,
            kept,
            ~accepted & state.accelerated,
        )
        return mix(point, residual, gradient, steps, residuals), steps, residuals


def _retreat(state, evaluated, accepted):
    """`evaluated` where accepted; elsewhere the anchor stays and the next point comes closer.

    A rejected mix is followed by the plain EM image, anything else by a halving.
    """
    keep = accepted[:, None]
    halvings = np.where(accepted | state.accelerated, 0, state.halvings + 1)
    nearer = np.where(state.accelerated[:, None], state.image, 0.5 * (state.anchor + state.point))
    return evaluated._replace(
        point=np.where(keep, evaluated.point, nearer),
        accelerated=accepted & evaluated.accelerated,
        anchor=np.where(keep, evaluated.anchor, state.anchor),
        objective=np.where(accepted, evaluated.objective, state.objective),
        image=np.where(keep, evaluated.image, state.image),
        residual=np.where(keep, evaluated.residual, state.residual),
        certificate=np.where(accepted, evaluated.certificate, state.certificate),
        gain=np.where(accepted, evaluated.gain, state.gain),
        halvings=halvings,
        code=np.where(accepted, evaluated.code, np.where(halvings > MAX_HALVINGS, 2, 0)),
    )


def _stop(state, status):
    return state._replace(code=np.where(state.code == 0, OUTCOMES.index(status), state.code))


_WHOLE = ("n_pass", "path")


def _take_state(state, index):
    return EMState(
        *(
            value if name in _WHOLE else value[index]
            for name, value in zip(state._fields, state, strict=True)
        )
    )


def _put_state(state, index, part):
    fields = {}
    for name, value in zip(state._fields, state, strict=True):
        if name not in _WHOLE:
            whole = value.copy()
            whole[index] = getattr(part, name)
            fields[name] = whole
    return state._replace(**fields)
