"""The readable account of a fitted neural estimator."""

from __future__ import annotations

from ..experts import ExpertBank
from ..routing import Router
from ._module import n_parameters


def summary_text(model) -> str:
    """Columns, sizes and training of a fit, a line each."""
    lines = [_head(model), _columns(model), _sizes(model.module_), _training(model)]
    return "\n".join(line for line in lines if line)


def _head(model) -> str:
    """What is mixed, and by what."""
    routers = dict.fromkeys(type(part).__name__ for part in _parts(model.module_, Router))
    head = getattr(model.module_, "head", None)  # parameters may have been set since the fit
    names = [type(part).__name__ for part in (head,) if part is not None]
    n_experts = model.module_.layers[0].router.n_experts
    return f"{type(model).__name__}: {n_experts} experts, {', '.join([*routers, *names])}"


def _columns(model) -> str:
    columns = model._columns
    return f"columns: {len(columns.numeric)} numeric, {len(columns.categorical)} categorical"


def _sizes(module) -> str:
    """Learned numbers by part."""
    experts = sum(map(n_parameters, _parts(module, ExpertBank)))
    # of a router around another one the outer has all
    inner = {id(part) for router in _parts(module, Router) for part in list(router.modules())[1:]}
    outer = (router for router in _parts(module, Router) if id(router) not in inner)
    routers, total = sum(map(n_parameters, outer)), n_parameters(module)
    return (
        f"parameters: {total:,}, of them experts {experts:,}, routers {routers:,}, "
        f"other {total - experts - routers:,}"
    )


def _training(model) -> str:
    epochs = f"{model.n_iter_} epoch{'s' * (model.n_iter_ != 1)}"
    line = f"training: {epochs}, loss {model.loss_curve_[-1]:.4g}"
    if model.best_epoch_ is None or not model.validation_curve_:
        return line
    best = model.validation_curve_[model.best_epoch_ - 1]  # epochs count from one
    return f"{line}; kept is epoch {model.best_epoch_}, of least validation loss {best:.4g}"


def _parts(module, kind) -> list:
    """The modules of a kind, each once."""
    return [part for part in module.modules() if isinstance(part, kind)]
