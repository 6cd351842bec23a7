"""`NeuralMoERegressor`: a sparse or dense neural mixture of experts for a numeric target."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp, ndtr, ndtri
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_array

from ..._validation import refuse_text
from ..checks import check_option
from ._base import BaseNeuralMoE
from ._columns import moments
from ._heads import REGRESSION_HEADS

GRID_BLOCK = 2_000_000  # numbers of a block of densities on a grid
QUANTILE_STEPS = 60  # halvings of the bracket: a quantile is exact to rounding


class NeuralMoERegressor(RegressorMixin, BaseNeuralMoE):
    """Regression by neural experts on a table, mixed by a router.

    ``y = sum_e w_e(x) f_e(x)`` with multilayer perceptrons f_e and the weights w of any router;
    with ``head="density"`` every expert is a Gaussian and the model is the conditional density
    ``p(y | x) = sum_e w_e(x) N(y; m_e(x), s_e(x))``. Columns and target are standardised within.

    Parameters
    ----------
    n_experts : int
        Experts of each layer.
    router : str, Router, class or functools.partial
        A name of `ROUTERS`, a class or partial called as (dim, n_experts), or an instance of
        matching size, which is copied for every layer.
    head : {"mean", "density"}
        Squared error of the mixed output, or a mixture of Gaussians by maximum likelihood.
    d_expert, n_layers : int
        Width and number of the hidden layers of an expert.
    n_blocks, width : int
        Layers of experts; all but the last are residual blocks of this width.
    dropout : float
        Share of the inputs of each layer set to zero in training.
    numeric_embedding : None, str or part
        ``"piecewise_linear"``, ``"periodic"``, `PiecewiseLinearEmbedding` or `PeriodicEmbedding`.
    categorical_features : "auto", None, or columns by name, position or mask
        "auto" takes the columns of a frame that hold texts or categories. A missing value is a
        category of its own; a category that training did not see gets the mean embedding of
        those that it saw.
    training : Training, optional
        Epochs, batches, learning rate, early stopping and auxiliary losses.
    allow_batch_dependence : bool
        Whether to predict with routers whose answer for a row depends on the other rows.
    dtype : {"float32", "float64"}
    device : str or None
        None for the CPU, ``"auto"`` for a GPU where there is one, or a name of PyTorch's.
    random_state : int, Generator, RandomState or None
        None is 0: a fit is reproducible unless asked otherwise.

    Attributes
    ----------
    module_ : Module
    loss_curve_, validation_curve_ : list of float
        After every epoch, on the scale of the standardised target.
    best_epoch_ : int or None
        Epoch whose state was kept.
    n_iter_ : int
        Epochs done.

    References
    ----------
    Chernov, "(GG) MoE vs. MLP on tabular data", 2025; Jacobs, Jordan, Nowlan and Hinton,
    "Adaptive mixtures of local experts", 1991; Bishop, "Mixture density networks", 1994.

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> from mixexp.neural import NeuralMoERegressor, Training
    >>> X, y = make_friedman1(200, random_state=0)
    >>> model = NeuralMoERegressor(4, training=Training(max_epochs=5)).fit(X, y)
    >>> model.predict(X).shape, model.gate_proba(X).shape
    ((200,), (200, 4))
    """

    def partial_fit(self, X, y, sample_weight=None):
        """One epoch over more rows, at a constant learning rate and without validation.

        The first call fixes the standardisation, the bins and the categories.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        """
        return self._partial_fit(X, y, sample_weight)

    def _check_target(self, y, *, first):
        check_option("head", self.head, sorted(REGRESSION_HEADS))
        refuse_text(y, "NeuralMoEClassifier")
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y", estimator=self)
        if y.ndim > 2:
            raise ValueError(f"y must have shape (n,) or (n, m); got {y.shape}.")
        flat = y.ndim == 1
        y = y.reshape(len(y), -1)
        if first:
            self._flat, self._n_targets = flat, y.shape[1]
        elif y.shape[1] != self._n_targets:
            raise ValueError(f"y has {y.shape[1]} targets; the first batch had {self._n_targets}.")
        return y

    def _fit_target(self, target, weight):
        self._centre, spread, flat = moments(target, weight)
        self._scale = np.where(flat, 1.0, spread)

    def _coded(self, target):
        if target.ndim == 1:  # rows without a target, for predictions
            return target
        return (target - self._centre) / self._scale

    def _make_head(self):
        return REGRESSION_HEADS[self.head](self._n_targets)

    # --- predictions --------------------------------------------------------------------------

    def _shaped(self, values: np.ndarray) -> np.ndarray:
        """The last axis, of targets, dropped where y had one axis."""
        return values[..., 0] if self._flat else values

    def predict(self, X):
        """Conditional means, shape (n,) or (n, m)."""
        return self._shaped(self._plain_predictions(X))

    def _plain_predictions(self, X):
        found = self._answers(X)
        if "mean" in found:
            return self._centre + self._scale * found["mean"]
        return self._centre + self._scale * np.einsum("ne,nem->nm", found["gate"], found["means"])

    def predict_experts(self, X):
        """Mean of every expert of the top layer alone, shape (n, n_experts) or (n, n_experts, m).

        With several blocks the experts of earlier blocks act as in `predict`.
        """
        return self._shaped(self._centre + self._scale * super().predict_experts(X))

    def predict_variance(self, X):
        """Variance of the mixture, within and between experts, shape (n,) or (n, m)."""
        gate, means, scales = self._mixture(X)
        mean = np.einsum("ne,nem->nm", gate, means)
        spread = scales**2 + (means - mean[:, None]) ** 2
        return self._shaped(np.einsum("ne,nem->nm", gate, spread))

    def log_prob(self, X, y):
        """(n,) log density of targets; of all m where there are several."""
        gate, means, scales = self._mixture(X)
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        z = (y.reshape(len(means), 1, -1) - means) / scales
        log_density = _log_normal(z, scales).sum(axis=2)
        return logsumexp(log_density, b=gate, axis=1)

    def predict_density(self, X, grid):
        """Density of each row's predictive law at a common grid of targets.

        Parameters
        ----------
        X : array-like or data frame of shape (n, p)
        grid : array-like of shape (G,)
            Values of y.

        Returns
        -------
        (n, G), or (n, m, G) of each target on its own. `log_prob` gives one value a row.
        """
        grid = check_array(grid, ensure_2d=False, dtype=np.float64, input_name="grid").ravel()
        gate, means, scales = self._mixture(X)
        wide, spread = means[..., None], scales[..., None]
        step = max(1, GRID_BLOCK // max(means.size, 1))
        blocks = np.split(grid, range(step, len(grid), step))
        found = [
            np.einsum("ne,nemg->nmg", gate, np.exp(_log_normal((block - wide) / spread, spread)))
            for block in blocks
        ]
        shaped = np.concatenate(found, axis=2)
        return shaped[:, 0] if self._flat else shaped

    def predict_quantile(self, X, q):
        """Quantiles of the mixture: (n,) or (n, m); for several orders (n, len(q)) or (n, m, .)."""
        orders = np.atleast_1d(np.asarray(q, dtype=np.float64))
        if not ((orders > 0) & (orders < 1)).all():
            raise ValueError(f"q must lie strictly between 0 and 1; got {q!r}.")
        mixture = self._mixture(X)
        found = np.stack([_quantile(*mixture, order) for order in orders], axis=-1)
        found = found[:, 0] if self._flat else found
        return found[..., 0] if np.ndim(q) == 0 else found

    def predict_interval(self, X, level=0.9):
        """Equal-tailed predictive intervals: (n, 2), or (n, m, 2) for several targets.

        Raises
        ------
        ValueError
            Without ``head="density"``, which gives the model a distribution.
        """
        if not 0 < level < 1:
            raise ValueError(f"level must lie strictly between 0 and 1; got {level!r}.")
        tail = (1 - level) / 2
        return self.predict_quantile(X, [tail, 1 - tail])

    def _mixture(self, X) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Gate (n, E), means and standard deviations (n, E, m), on the user's scale."""
        found = self._answers(X)
        if "scales" not in found:
            raise ValueError(
                f'a model with head={self.head!r} has no density; fit one with head="density".'
            )
        means = self._centre + self._scale * found["means"]
        return found["gate"], means, self._scale * found["scales"]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        return tags

    # --- readings of the experts --------------------------------------------------------------

    def _reading_names(self, m):
        return ["prediction"] if self._flat else [f"prediction {j}" for j in range(m)]

    def _reading_loss(self, predictions, y):
        return float(np.mean((np.reshape(y, predictions.shape) - predictions) ** 2))


def _log_normal(z, scales) -> np.ndarray:
    """Log densities at standardised values."""
    return -(0.5 * z**2 + np.log(scales) + 0.5 * np.log(2 * np.pi))


def _quantile(gate, means, scales, order: float) -> np.ndarray:
    """(n, m) quantile of mixtures of Gaussians, by bisection of a bracket that holds it."""
    # the quantile of a mixture lies between those of its components
    own = means + scales * ndtri(order)
    absent = np.broadcast_to(gate[:, :, None] <= 0, own.shape)
    low = np.where(absent, np.inf, own).min(axis=1)
    high = np.where(absent, -np.inf, own).max(axis=1)
    for _ in range(QUANTILE_STEPS):
        middle = 0.5 * (low + high)
        below = np.einsum("ne,nem->nm", gate, ndtr((middle[:, None] - means) / scales)) < order
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return 0.5 * (low + high)
