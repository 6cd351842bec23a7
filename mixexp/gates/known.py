"""Gates whose probabilities are known before the fit, from columns of X or by a function of them.

Their classes have names: expert k belongs to the k-th column of the probabilities.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from ..kernels.links import IMPOSSIBLE
from ..kernels.reference import log_softmax
from ..kernels.rows import RowUnit
from .base import Gate
from .softmax import SoftmaxGate

SUM = 1e-5  # departure of a row's sum from one that is rounding, also of single precision
TOGETHER = 16  # rows at once on which a function is compared with itself on one row
REMEMBERED = 1 << 25  # entries of probabilities that are kept during a fit


class KnownGateParams(NamedTuple):
    """place (K,) int: the class of every expert. Nothing is estimated."""

    place: np.ndarray


class KnownGateStatistics(NamedTuple):
    """weight () = sum w."""

    weight: np.ndarray


def places(params) -> np.ndarray:
    """The classes as integers, also after steps between parameters."""
    return np.rint(params.place).astype(np.int64)


class KnownGate(Gate):
    """Base of gates that are not estimated: a family gives `probabilities` of rows."""

    known = True
    conditional = True
    own_design = True

    @abstractmethod
    def probabilities(self, X):
        """(n, K) probabilities, from the gate's columns (n, p), dense, in the user's units."""

    def for_starts(self):
        return SoftmaxGate()

    def design(self, X, columns, scaling):
        """(n, K) log probabilities; `IMPOSSIBLE` for a probability of zero."""
        part = X[:, columns]
        part = part.toarray() if sparse.issparse(part) else part
        prob = self.probabilities(np.ascontiguousarray(part, dtype=np.float64))
        return np.where(prob > 0, np.log(np.where(prob > 0, prob, 1.0)), IMPOSSIBLE)

    def initial(self, K, q):
        return KnownGateParams(np.arange(K))

    def log_prob(self, params, X):
        return log_softmax(X[:, places(params)])

    def statistics(self, params, X, resp, weight, log_prior=None):
        return KnownGateStatistics(np.asarray(weight.sum()))

    def m_step(self, params, stats):
        return params

    def gradient(self, params, stats):
        return np.zeros((*np.shape(stats.weight), 0))

    def penalty_value(self, params):
        return np.zeros(params.place.shape[:-1])

    def pack(self, params):
        return np.zeros((*params.place.shape[:-1], 0))

    def unpack(self, vector, params):
        place = places(params).reshape(-1, params.place.shape[-1])[0]
        return KnownGateParams(np.broadcast_to(place, (*vector.shape[:-1], len(place))).copy())

    def n_free(self, params):
        """None: nothing of the gate is chosen by y."""
        return 0

    def layout(self, params):
        return np.zeros((len(params.place), 0, 0), dtype=int)

    def row_unit(self, params, X) -> RowUnit:
        log_prob = self.log_prob(params, X)
        return RowUnit(log_prob, np.zeros((0, *log_prob.shape)), np.zeros((0, 0, *log_prob.shape)))

    def contrasts(self, params, names, reference):
        return [], np.zeros((0, 0))

    def shift(self, stats, step):
        return stats

    def split(self, params, k, share):
        """Not possible.

        Raises
        ------
        ValueError
        """
        raise ValueError(f"{type(self).__name__} has known classes; none of them can be split.")

    def flatten(self, params, share):
        return params

    def rescale(self, params, columns, old, new):
        return params

    def display(self, params, names):
        return {}

    def table(self, params, names):
        title = "Gate (known, not estimated: the experts are those of a fit given its classes)"
        return title, ["class"], places(params)[:, None]

    def _check_count(self, found, K, what):
        if found != K:
            raise ValueError(
                f"{type(self).__name__}: {what} {found} probabilities a row for {K} experts. Set "
                f"n_experts={found}, or give {K}."
            )


def _checked(prob, name, what):
    """The probabilities, or an error that names the first row that has none."""
    sums = prob.sum(axis=1)
    good = np.isfinite(prob).all(axis=1) & (prob >= 0).all(axis=1) & (np.abs(sums - 1) < SUM)
    if not good.all():
        row = int(np.argmin(good))
        raise ValueError(
            f"{name}: {what} must be probabilities >= 0 with a sum of one in every row; "
            f"{int((~good).sum())} of {len(prob)} rows are not, such as {prob[row].tolist()}."
        )
    return prob


class FixedGate(KnownGate):
    """pi_k(x) known row by row: the gate's columns of X are the probabilities.

    Expert k belongs to the k-th of the columns ``gate_features``, as many as there are experts.
    New rows bring their own probabilities, in the same columns. Nothing of the gate is estimated or
    counted among the free parameters; inference on the experts is likelihood theory given the
    probabilities.

    Raises
    ------
    ValueError
        If there are not as many columns as experts, or a row's values are not finite, negative, or
        do not sum to one.

    Examples
    --------
    >>> import numpy as np
    >>> from mixexp import FixedGate, MoERegressor
    >>> rng = np.random.default_rng(0)
    >>> x, first = rng.uniform(-1, 1, 200), rng.uniform(size=200)
    >>> y = np.where(rng.uniform(size=200) < first, 2 + x, -2 * x) + 0.1 * rng.normal(size=200)
    >>> X = np.column_stack([x, first, 1 - first])
    >>> model = MoERegressor(2, gate=FixedGate(), gate_features=[1, 2], expert_features=[0])
    >>> model.fit(X, y).coef_.round(1).ravel().tolist()
    [1.0, -2.0]
    """

    def for_columns(self, X, columns, weight, K):
        self._check_count(len(columns), K, "the gate's columns (gate_features=) are")
        return self

    def probabilities(self, X):
        return _checked(X, type(self).__name__, "the gate's columns")

    def table(self, params, names):
        title, rows, values = super().table(params, names)
        return title, [f"column of {', '.join(names)}"] if names else rows, values


class CallableGate(KnownGate):
    """pi_k(x) known: a function of the rows, or a fitted classifier of them.

    Known segments, the classes of another model, or the truth of a simulation. Expert k belongs to
    column k of the probabilities, which is the k-th of a classifier's ``classes_``
    (``gate_classes_`` of the fitted estimator). Nothing of the gate is estimated or counted among
    the free parameters; inference on the experts is likelihood theory given the probabilities.

    Parameters
    ----------
    function : callable or fitted classifier
        A function from the gate's columns, an array (n, p) in the user's units, to probabilities
        (n, K), row by row; or an object with ``predict_proba``, such as a fitted classifier of
        scikit-learn. It is asked once for every block of rows of a fit, is not copied by
        ``clone``, and is not written to a file of parameters: `save` refuses it by name, and
        ``pickle`` takes what it can import. A checkpoint is bound to its code and to what it
        encloses, not to what it reads elsewhere; see "Checkpoints" in the documentation.

    Raises
    ------
    ValueError
        If the values are not probabilities, not as many as the experts, or depend on the other
        rows; if the classifier is not fitted, or was fitted to columns of other names.
    """

    def __init__(self, function):
        self.function = function

    def __sklearn_clone__(self):
        return type(self)(self.function)  # a clone of a classifier would not be fitted

    @property
    def _classifies(self):
        return hasattr(self.function, "predict_proba")

    def check_names(self, names):
        own = getattr(self.function, "feature_names_in_", None)
        if own is not None and names is not None and list(own) != list(names):
            raise ValueError(
                f"CallableGate: the classifier was fitted to the columns {list(own)!r}, and the "
                f"gate sees {list(names)!r}. Set gate_features={list(own)!r}."
            )

    def for_columns(self, X, columns, weight, K):
        gate = type(self)(self.function)  # the user's own object remembers nothing
        if X.shape[0]:
            alone = np.exp(gate.design(X[:1], columns, None))
            self._check_count(alone.shape[1], K, "the function gives")
            first = np.exp(gate.design(X[:TOGETHER], columns, None))[:1]
            if not np.allclose(alone, first, atol=1e-6):
                raise ValueError(
                    "CallableGate: the function must treat rows one by one; the first row gets "
                    f"{alone[0].tolist()} alone and {first[0].tolist()} among others."
                )
        return gate

    @contextmanager
    def remembering(self):
        if hasattr(self, "_memory"):
            yield
            return
        self._memory: dict[bytes, np.ndarray] = {}
        try:
            yield
        finally:
            del self._memory

    def probabilities(self, X):
        memory = getattr(self, "_memory", None)
        if memory is None:
            return self._asked(X)
        key = hashlib.blake2b(X.tobytes(), digest_size=16).digest() + repr(X.shape).encode()
        if key not in memory:
            prob = self._asked(X)
            if sum(known.size for known in memory.values()) + prob.size > REMEMBERED:
                return prob
            memory[key] = prob
        return memory[key]

    def _asked(self, X):
        prob = np.asarray(self._raw(X), dtype=np.float64)
        if prob.ndim != 2 or len(prob) != len(X):
            raise ValueError(
                f"CallableGate: the function must turn columns of shape {X.shape} into "
                f"probabilities of shape ({len(X)}, K); it gave shape {prob.shape}."
            )
        return _checked(prob, "CallableGate", "the function's values")

    def _raw(self, X):
        if self._classifies:
            names = getattr(self.function, "feature_names_in_", None)
            if names is not None and len(names) == X.shape[1]:
                return self.function.predict_proba(pd.DataFrame(X, columns=names))
            return self.function.predict_proba(X)
        if not callable(self.function):
            raise ValueError(
                "CallableGate needs a function from columns (n, p) to probabilities (n, K), or a "
                f"fitted classifier with predict_proba; got {self.function!r}."
            )
        return self.function(X)

    def display(self, params, names):
        classes = getattr(self.function, "classes_", None)
        return {} if classes is None else {"gate_classes_": np.asarray(classes)[places(params)]}
