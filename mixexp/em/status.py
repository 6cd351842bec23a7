"""How a fit ended; the value of each member is the sentence the user reads."""

from __future__ import annotations

from enum import Enum


class Status(Enum):
    """Outcome of a fit. ``CONVERGED`` and ``SEPARATED`` are usable maxima."""

    CONVERGED = "Converged: the objective is stationary and its gradient is zero to tolerance."
    SEPARATED = (
        "Converged, but the gate separates: some slopes grow without bound and are kept finite "
        "by a tiny ridge. Probabilities and the likelihood are valid; the slopes' size is not. "
        "A small penalty of the gate, penalty=L2(1e-3), gives finite slopes and a smoother gate."
    )
    MAX_PASSES = (
        "Not converged: the limit of passes was reached. Raise EM(max_passes=...) or scale the "
        "problem down."
    )
    STALLED = (
        "Not converged: no step raises the objective any more although its gradient is not zero "
        "to tolerance; the point is the best one found."
    )
    JUMP = (
        "At a jump: the likelihood of this gate falls at once where rows change their experts, and "
        "no step of EM from here raises it. The experts are stationary given the gate; the gate is "
        "the best one found, and its gradient need not be zero."
    )
    DEGENERATE = (
        "Degenerate: an expert leans on the lower bound of its scale or holds too few rows. "
        "Use fewer experts or a penalty."
    )
    ONLINE = (
        "Online: the parameters follow mini-batches with a decaying step; no maximum is claimed. "
        "The log-likelihood is that of the batches as they came."
    )
    EPOCHS = (
        "Online: the epochs over mini-batches are done; no maximum is claimed. The log-likelihood "
        "is that of all rows at the end. Fit again with start=model and solver=EM() for a maximum."
    )
    AGGREGATED = (
        "Aggregated: the parameters combine those of local fits; the likelihood of all rows was "
        "not maximised."
    )
    INTERRUPTED = "Interrupted by a callback; the best point so far is kept."

    def __str__(self) -> str:
        return str(self.value)

    def said_of(self, gate) -> str:
        """The sentence, with the class of the fitted gate where it advises a penalty."""
        own = f"A small penalty, gate={type(gate).__name__}(penalty=L2(1e-3)),"
        return str(self).replace("A small penalty of the gate, penalty=L2(1e-3),", own)

    @property
    def converged(self) -> bool:
        return self in (Status.CONVERGED, Status.SEPARATED, Status.DEGENERATE)
