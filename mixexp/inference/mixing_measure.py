"""`MixingMeasure`: the experts of a mixture as weighted points of a parameter space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

Floats = NDArray[np.float64]

# The coordinates of an atom, by the kind of the mixture.
COORDINATES: dict[str, tuple[str, ...]] = {
    "softmax_gaussian": ("gate_slope", "intercept", "slope", "variance"),
    "gaussian_gate": ("gate_mean", "gate_covariance", "intercept", "slope", "variance"),
    "multinomial": ("gate_slope", "intercept", "slope"),
}


@dataclass(frozen=True, eq=False)
class MixingMeasure:
    """G = sum_k w_k delta_(theta_k): what a mixture of experts is, whatever the order of experts.

    Attributes
    ----------
    kind : {"softmax_gaussian", "gaussian_gate", "multinomial"}
        Gaussian experts behind a softmax gate, Gaussian experts behind a Gaussian gate, or
        multinomial experts behind a softmax gate.
    weights : ndarray of shape (K,)
        exp(gate intercept) behind a softmax gate, which a translation of the gate multiplies by
        a common factor; else the probabilities of the classes.
    atoms : mapping of str to ndarray of shape (K, ...)
        The coordinates of theta_k. ``gate_slope`` (K, p), ``intercept`` (K,) or (K, m),
        ``slope`` (K, q) or (K, m, q) and ``variance`` (K,), (K, m) or (K, m, m) behind a softmax
        gate; ``gate_mean`` (K, p) and ``gate_covariance`` (K, p, p) instead of the gate's slope
        behind a Gaussian one. Multinomial experts have coefficients ``intercept`` (K, C - 1) and
        ``slope`` (K, C - 1, q) relative to the last class, and no variance.

    Raises
    ------
    ValueError
        For an unknown kind, coordinates that are missing or not one an expert, weights that are
        negative or all zero, or numbers that are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from mixexp import MixingMeasure
    >>> measure = MixingMeasure(
    ...     "softmax_gaussian",
    ...     np.exp([-8.0, 0.0]),
    ...     {
    ...         "gate_slope": [[25.0], [0.0]],
    ...         "intercept": [15.0, -5.0],
    ...         "slope": [[-20.0], [20.0]],
    ...         "variance": [0.09, 0.16],
    ...     },
    ... )
    >>> measure.n_experts
    2
    """

    kind: str
    weights: Floats
    atoms: Mapping[str, Floats]

    def __post_init__(self) -> None:
        if self.kind not in COORDINATES:
            raise ValueError(f"kind must be one of {list(COORDINATES)}; got {self.kind!r}.")
        wanted = COORDINATES[self.kind]
        if set(self.atoms) != set(wanted):
            raise ValueError(
                f"kind={self.kind!r} needs the coordinates {list(wanted)}; "
                f"got {sorted(self.atoms)}."
            )
        weights = np.asarray(self.weights, dtype=np.float64)
        usable = weights.ndim == 1 and np.all(weights >= 0) and 0 < weights.sum() < np.inf
        if not usable:
            raise ValueError(
                f"weights must be K numbers of at least 0, not all 0; got {self.weights!r}."
            )
        atoms = {name: np.asarray(self.atoms[name], dtype=np.float64) for name in wanted}
        for name, values in atoms.items():
            if values.shape[:1] != weights.shape:
                raise ValueError(
                    f"{name} must have one entry for each of {len(weights)} experts; got shape "
                    f"{values.shape}."
                )
            if not np.all(np.isfinite(values)):
                raise ValueError(f"{name} must be finite; got {values}.")
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "atoms", atoms)

    @property
    def n_experts(self) -> int:
        """Number of atoms, K."""
        return len(self.weights)

    @classmethod
    def of(cls, model: Any) -> MixingMeasure:
        """The mixing measure of a fitted model or of the truth of simulated data.

        Parameters
        ----------
        model : fitted MoERegressor, MoEClassifier, GLoMERegressor or FormulaMoE; MoETruth; \
LocalisedTruth; or MixingMeasure
            Gaussian experts with the identity link, or multinomial experts behind a softmax or
            constant gate. The means of a `LocalisedTruth` must be affine.

        Returns
        -------
        MixingMeasure
            On the user's scale of columns and target.

        Raises
        ------
        ValueError
            For other gates and experts.
        """
        if isinstance(model, cls):
            return model
        if hasattr(model, "centres") and hasattr(model, "means"):
            return cls._of_localised(model)
        if hasattr(model, "gate_coef") and hasattr(model, "intercept"):
            return cls._of_truth(model)
        if not hasattr(model, "fit"):
            raise ValueError(
                "a mixing measure is read from a fitted estimator, a MoETruth, a LocalisedTruth "
                f"or a MixingMeasure; got {type(model).__name__}."
            )
        check_is_fitted(model)
        return cls._of_estimator(getattr(model, "estimator_", model))

    @classmethod
    def _of_estimator(cls, model: Any) -> MixingMeasure:
        gate, expert = getattr(model._model_.gate, "name", None), model._model_.expert
        softmax = gate in ("softmax", "constant")
        slope, intercept = np.asarray(model.coef_), np.asarray(model.intercept_)
        if softmax and expert.name == "multinomial":
            return cls._multinomial(model.gate_intercept_, model.gate_coef_, intercept, slope)
        gaussian = expert.name == "gaussian" and expert.link_name == "identity"
        if not (gaussian or expert.name == "multivariate_gaussian"):
            raise ValueError(
                "a mixing measure needs Gaussian experts with the identity link, or multinomial "
                f"ones; got {expert!r}."
            )
        variance = model.dispersion_**2 if gaussian else np.asarray(model.covariances_)
        experts = {"intercept": intercept, "slope": slope, "variance": variance}
        if softmax:
            return cls._softmax(model.gate_intercept_, model.gate_coef_, experts)
        if not hasattr(model, "gate_means_"):
            raise ValueError(
                "a mixing measure needs a softmax, constant or Gaussian gate; got "
                f"{model._model_.gate!r}."
            )
        if gaussian:
            variance = _diagonal(variance)
        if slope.ndim == 2:  # one response
            intercept, slope = intercept[:, None], slope[:, None, :]
        return cls(
            "gaussian_gate",
            model.gate_weights_,
            {
                "gate_mean": model.gate_means_,
                "gate_covariance": _class_covariances(model),
                "intercept": intercept,
                "slope": slope,
                "variance": variance,
            },
        )

    @classmethod
    def _of_truth(cls, truth: Any) -> MixingMeasure:
        if truth.expert == "multinomial":
            return cls._multinomial(
                truth.gate_intercept, truth.gate_coef, truth.intercept, truth.coef
            )
        if truth.expert != "gaussian":
            raise ValueError(
                f"a mixing measure needs gaussian or multinomial experts; got {truth.expert!r}."
            )
        experts = {
            "intercept": truth.intercept,
            "slope": truth.coef,
            "variance": truth.scale**2,
        }
        return cls._softmax(truth.gate_intercept, truth.gate_coef, experts)

    @classmethod
    def _of_localised(cls, truth: Any) -> MixingMeasure:
        residual = truth.residual_covariances
        lines = [_affine(mean, truth.n_features) for mean in truth.means]
        return cls(
            "gaussian_gate",
            truth.weights,
            {
                "gate_mean": truth.centres,
                "gate_covariance": truth.covariances,
                "intercept": np.array([line[0] for line in lines]),
                "slope": np.array([line[1] for line in lines]),
                "variance": residual[:, None, None] if residual.ndim == 1 else residual,
            },
        )

    @classmethod
    def _softmax(
        cls, gate_intercept: Any, gate_slope: Any, experts: Mapping[str, Any]
    ) -> MixingMeasure:
        # a common factor of the weights is a translation of the gate
        weights = np.exp(gate_intercept - np.max(gate_intercept))
        return cls("softmax_gaussian", weights, {"gate_slope": gate_slope, **experts})

    @classmethod
    def _multinomial(
        cls, gate_intercept: Any, gate_slope: Any, intercept: Any, slope: Any
    ) -> MixingMeasure:
        weights = np.exp(gate_intercept - np.max(gate_intercept))
        relative = {
            "intercept": intercept[:, :-1] - intercept[:, -1:],
            "slope": slope[:, :-1] - slope[:, -1:],
        }
        return cls("multinomial", weights, {"gate_slope": gate_slope, **relative})


def _class_covariances(model: Any) -> Floats:
    """(K, p, p) covariances of x in the classes; those of an inverse regression are low rank."""
    if hasattr(model, "gate_covariances_"):
        return model.gate_covariances_
    loadings = model.gate_loadings_
    return _diagonal(model.gate_scales_**2) + loadings @ np.swapaxes(loadings, 1, 2)


def _diagonal(variance: Any) -> Floats:
    """(K, m, m) covariances from variances (K,) or (K, m)."""
    variance = variance[:, None] if variance.ndim == 1 else variance
    return variance[:, :, None] * np.eye(variance.shape[1])


def _affine(mean: Any, p: int) -> tuple[Floats, Floats]:
    """Intercept (m,) and slopes (m, p) of a mean function that is affine.

    Raises
    ------
    ValueError
        If it is not.
    """
    points = np.vstack([np.zeros(p), np.eye(p), -2.0 * np.eye(p), np.full(p, 3.0)])
    values = np.reshape(mean(points), (len(points), -1))
    intercept, slope = values[0], (values[1 : p + 1] - values[0]).T
    if not np.allclose(values, intercept + points @ slope.T, rtol=1e-8, atol=1e-8):
        raise ValueError(
            "a mixing measure has affine means; this LocalisedTruth has others. Compare densities."
        )
    return intercept, slope
