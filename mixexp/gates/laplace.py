"""Laplace gate: every class has a centre, and a row goes to near ones."""

from __future__ import annotations

from numbers import Real

import numpy as np
from sklearn.base import clone

from .._component import GATES, register
from .scores import ScoreDerivatives, ScoreGate, ScoreGateParams
from .transform import ColumnTransform


class LaplaceGateParams(ScoreGateParams):
    """coef (K, q): centred intercept, and the centre on the gate's standardised columns.

    extra (K, 0 or 1): log(1 / scale) where estimated, the same for all classes.
    """


@register(GATES, "laplace")
class LaplaceGate(ScoreGate):
    """pi_k(x) proportional to exp(a_k - d(x, c_k) / scale), with the Euclidean distance d.

    The distance is that of the standardised columns, d^2 = sum_j ((x_j - c_kj) / sd_j)^2 + h^2,
    with sd_j the standard deviation over the rows of the fit. Columns that are constant or linear
    combinations of those before them are left out. Log odds of two classes are bounded by
    the distance of their centres: far out the gate no longer changes along a direction, where a
    softmax gate becomes certain. A small ``smoothing`` h rounds the tip of the distance at the
    centre, where the likelihood would have a kink.

    Parameters
    ----------
    scale : float > 0 or "estimate", default=1.0
        Of the distance, in standard deviations, common to the classes: fixed, or by maximum
        likelihood, and then never below the likelihood that the same start reaches at one. In the
        literature it is one, in the units of x as they are.
    smoothing : float > 0, default=0.1
        h, in standard deviations. Scores differ by at most h / scale from those with h = 0.
    penalty : L2 or None
        Ridge on the centres, which draws them to the mean of the columns.
    ridge : float or None, default=None
        As for `SoftmaxGate`.
    columns : ColumnTransform or None
        Means and standard deviations of the columns: set in a fit.

    Notes
    -----
    The intercepts a_k are centred over the classes. Beyond the range of a single column a shift of
    a centre is a change of its intercept: centres that leave the rows are not determined, and the
    gate there is nearly that of a softmax. An estimated scale may fall to zero while centres meet:
    in that limit log odds are a function of the direction from a point alone. Such a fit says that
    the gate separates.

    References
    ----------
    Han, Nguyen, Harris, Ho and Saria (2024), "FuseMoE: mixture-of-experts transformers for
    fleximodal fusion", NeurIPS 37, arXiv:2402.03226, where W_k is the centre and a_k = 0.
    """

    own_design = True
    uses_distances = True
    has_predictors = False
    has_places = True
    largest_step = 1.0
    needs_independent_columns = True  # a copy would count twice
    params_class = LaplaceGateParams

    def __init__(self, scale=1.0, smoothing=0.1, penalty=None, ridge=None, columns=None):
        self.scale = scale
        self.smoothing = smoothing
        self.penalty = penalty
        self.ridge = ridge
        self.columns = columns

    # --- settings ---------------------------------------------------------------------------

    @property
    def estimates_scale(self) -> bool:
        return isinstance(self.scale, str) and self.scale == "estimate"

    @property
    def n_extra(self):
        return int(self.estimates_scale)

    def centred(self, q):
        return [0]

    def tied(self, q):
        return [q] if self.estimates_scale else []

    def for_rows(self, n_distinct):
        for name in ("smoothing",) if self.estimates_scale else ("scale", "smoothing"):
            value = getattr(self, name)
            number = isinstance(value, Real) and not isinstance(value, bool)
            if not (number and 0 < value < np.inf):
                also = " or scale='estimate'" if name == "scale" else ""
                raise ValueError(f"LaplaceGate needs {name} > 0{also}; got {value!r}.")
        return super().for_rows(n_distinct)

    def stages(self):
        return [(self._with(scale=1.0), None)] if self.estimates_scale else []

    def for_columns(self, X, columns, weight, K):
        fitted = ColumnTransform.of_rows(None, X, columns, weight)
        return clone(self).set_params(columns=fitted)

    def design(self, X, columns, scaling):
        return self.columns.design(X, columns)

    # --- scores -----------------------------------------------------------------------------

    def initial_for(self, X, resp, weight):
        """Centres at the means of the classes."""
        neutral = self.initial(resp.shape[1], X.shape[1])
        own = resp * weight[:, None]
        neutral.coef[:, 1:] = (X.T @ own).T[:, 1:] / (own.sum(axis=0) + 1e-300)[:, None]
        return neutral

    def _sharpness(self, params):
        """(K,) 1 / scale."""
        if self.estimates_scale:
            return np.exp(params.extra[:, 0])
        return np.full(len(params.coef), 1 / self.scale)

    def _distances(self, params, X):
        """(n, K, p) differences from the centres, and (n, K) distances."""
        apart = X[:, None, 1:] - params.coef[None, :, 1:]
        return apart, np.sqrt((apart**2).sum(axis=2) + self.smoothing**2)

    def scores(self, params, X):
        return params.coef[:, 0] - self._sharpness(params) * self._distances(params, X)[1]

    def derivatives(self, params, X):
        apart, distance = self._distances(params, X)
        sharp = self._sharpness(params)
        (n, K, p), E = apart.shape, self.n_extra
        first = np.empty((n, K, 1 + p + E))
        first[:, :, 0] = 1
        first[:, :, 1 : p + 1] = (sharp / distance)[:, :, None] * apart
        if E:
            first[:, :, p + 1] = -sharp * distance

        def sums(u):
            out = np.zeros((K, 1 + p + E, 1 + p + E))
            pull, turn = u * sharp / distance, u * sharp / distance**3
            for k in range(K):
                out[k, 1 : p + 1, 1 : p + 1] = (apart[:, k] * turn[:, k, None]).T @ apart[:, k]
            out[:, np.arange(1, p + 1), np.arange(1, p + 1)] -= pull.sum(axis=0)[:, None]
            if E:
                # log(1 / scale) multiplies the distance: its second derivatives are first ones
                across = np.einsum("nk,nkd->kd", u, first)
                across[:, 0] = 0
                out[:, p + 1, :] = out[:, :, p + 1] = across
            return out

        return ScoreDerivatives(first, sums)

    def separation(self, params, stats):
        """The steepest log odds, along any direction, and the information on them."""
        if not self.estimates_scale:
            return None
        K, q = params.coef.shape
        sharp = self._sharpness(params)[0]
        project = self._projector(K, q)
        own, rest = np.zeros(K * (q + 1)), project.copy()
        own.reshape(K, q + 1)[:, q] = 1
        rest = rest.reshape(K * (q + 1), K, q + 1)[:, :, :q].reshape(K * (q + 1), -1)
        across = own @ stats.convex @ rest
        inside = np.linalg.pinv(rest.T @ stats.convex @ rest, 1e-10, hermitian=True)
        left = max(own @ stats.convex @ own - across @ inside @ across, 0.0) / (2 * sharp) ** 2
        steepest = np.zeros((1, q - 1))
        steepest[0, :1] = 2 * sharp
        return steepest, left * np.eye(q)[None]

    def split(self, params, k, share):
        coef, extra = (np.concatenate([leaf, leaf[k : k + 1]]) for leaf in params)
        coef[k, 0] += np.log1p(-share)
        coef[-1, 0] += np.log(share)
        coef[:, 0] -= coef[:, 0].mean()
        return LaplaceGateParams(coef, extra)

    def flatten(self, params, share):
        """Centres drawn towards their mean."""
        coef = params.coef.copy()
        middle = coef[..., 1:].mean(axis=-2, keepdims=True)
        coef[..., 1:] = middle + share * (coef[..., 1:] - middle)
        return params._replace(coef=coef)

    def rescale(self, params, columns, old, new):
        return params  # of the gate's own columns, whatever the standardisation

    def in_user_units(self, params):
        unit = np.where(np.isfinite(self.columns.scale), self.columns.scale, 0.0)
        coef = params.coef.copy()
        coef[..., 1:] = self.columns.centre + unit * coef[..., 1:]
        return params._replace(coef=coef)

    # --- what users see -----------------------------------------------------------------------

    def contrasts(self, params, names, reference):
        K, q = params.coef.shape
        D = q + self.n_extra
        if K == 1:
            return [], np.zeros((0, D))
        names = list(map(str, names))[: q - 1]
        others = [k for k in range(K) if k != reference]
        labels = [f"gate {k} vs {reference}: (intercept)" for k in others]
        labels += [f"gate {k}: centre of {name}" for k in range(K) for name in names]
        labels += ["gate: log(scale)"] if self.estimates_scale else []
        forms = np.zeros((len(labels), K, D))
        for place, k in enumerate(others):
            forms[place, k, 0], forms[place, reference, 0] = 1, -1
        for place in range(K * (q - 1)):
            forms[K - 1 + place, place // (q - 1), 1 + place % (q - 1)] = 1
        if self.estimates_scale:
            forms[-1, :, q] = -1 / K
        return labels, forms.reshape(len(labels), K * D)

    def display(self, params, names):
        return {
            "gate_centres_": params.coef[:, 1:],
            "gate_intercept_": params.coef[:, 0],
            "gate_scale_": float(1 / self._sharpness(params)[0]),
            "gate_column_scales_": self.columns.scale,
        }

    def table(self, params, names):
        found = "estimated" if self.estimates_scale else "fixed"
        scale = 1 / self._sharpness(params)[0]
        title = f"Gate (centres of the classes, {found} scale {scale:.4g} standard deviations)"
        return title, ["(intercept)", *(f"centre of {name}" for name in names)], params.coef
