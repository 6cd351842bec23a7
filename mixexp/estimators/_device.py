"""Where the rows of an estimator are when passes run: on the host, or on a CUDA device."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from ..em.device import GPU, DeviceMatrix, array_module, on_device, placed, to_host
from ..em.engines.gpu import check_device
from ..em.online_em import OnlineEM
from ..em.wide import is_wide
from ._settings import resolve_expert


def gpu_settings(engine) -> GPU | None:
    """The settings of engine ``gpu``, where it is asked for by name or by an instance."""
    if isinstance(engine, GPU):
        return engine
    return GPU() if isinstance(engine, str) and engine == "gpu" else None


class DeviceMixin:
    """What estimators do with CuPy arrays, and with ``engine="gpu"``."""

    engine: Any
    expert: Any
    solver: Any
    engine_: str
    takes_device = False  # True for an estimator that may be fitted where the rows are

    def _as_placed(self, X, y, sample_weight, inputs):
        """X as a `DeviceMatrix` where it is on a device and may stay; all else on the host.

        Raises
        ------
        ValueError
            Where X is on a device and the estimator, or its engine, needs it on the host.
        """
        inputs = {name: to_host(value) for name, value in inputs.items()}
        y, sample_weight = to_host(y), to_host(sample_weight)
        if not on_device(X):
            return X, y, sample_weight, inputs
        settings = gpu_settings(self.engine)
        bring = "bring X to the host by cupy.asnumpy(X)."
        if settings is None and self.engine != "auto":
            raise ValueError(
                f"engine={self.engine!r} needs X on the host; got an array on a CUDA device. Use "
                f"engine='auto', or {bring}"
            )
        if not self.takes_device:
            raise ValueError(
                f"{type(self).__name__} needs X on the host; got an array on a CUDA device: {bring}"
            )
        if resolve_expert(self.expert).degree > 1:
            raise ValueError(
                "Monomials of columns (degree > 1) are made on the host; got an array on a CUDA "
                f"device. Add the columns to X there, or use engine='gpu' and {bring}"
            )
        return _matrix(X, settings or GPU()), y, sample_weight, inputs

    def _on_engine(self, model, rows, X):
        """The rows where passes run; refuses, before any work, what the device has no pass for.

        ``X`` is what the user gave, as `_as_placed` returns it: few rows are merged on the host.
        """
        on_it = isinstance(X, DeviceMatrix)
        settings = X.settings if on_it else gpu_settings(self.engine)
        if settings is None:
            return rows
        self.engine_ = "gpu"
        check_device(model, rows)
        if sparse.issparse(rows.X):
            raise ValueError(
                "engine='gpu' takes dense columns; got a sparse matrix of X. Use engine='memory', "
                "or X.toarray() where it fits."
            )
        if isinstance(self.solver, OnlineEM):
            raise ValueError(
                "solver=OnlineEM() takes its batches on the host. Use EM() with engine='gpu', or "
                "engine='memory'."
            )
        if is_wide(model):
            raise ValueError(
                "engine='gpu' has no working sets, which sparse penalties on so many columns "
                "need. Use engine='memory'."
            )
        return placed(rows, settings)


def _matrix(X, settings):
    """Checked shape and type of an array on a device."""
    xp = array_module()
    X = xp.asarray(X)
    if X.ndim != 2 or 0 in X.shape:
        raise ValueError(f"X must be (n, p) with n and p of at least 1; got shape {X.shape}.")
    if X.dtype.kind not in "biuf":
        raise ValueError(f"X must be real numbers; got values of type {X.dtype}.")
    if X.dtype not in (np.float32, np.float64):
        X = X.astype(np.float64)
    if settings.stream:
        raise ValueError(
            "GPU(stream=True) leaves X on the host; got an array on a CUDA device. Use GPU()."
        )
    return DeviceMatrix(X, settings, xp)
