"""From a file to a complete study: read, prepare, fit, explain."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from joblib import cpu_count

from mixexp import __version__
from mixexp.estimators import MoEClassifier, MoERegressor
from mixexp.explain.explanation import explain
from mixexp.penalties import L1, L2, MCP, SCAD, GroupLasso
from mixexp.report.page import TableStudy
from mixexp.selection.merging.path import MergePath, merge_path
from mixexp.selection.study.result import StudyResult
from mixexp.selection.study.study import Progress, SelectionStudy
from mixexp.tables.model import TableModel
from mixexp.tables.prepare import Prepared, Roles, prepare
from mixexp.tables.reading import TableError, read_table

# Classes are often separated by a mixture, and then the likelihood has no finite maximum.
CLASS_PENALTY = 1e-3
DEFAULT_EXPERTS = (1, 2, 3, 4, 5, 6)
KINDS = {"l2": L2, "l1": L1, "mcp": MCP, "scad": SCAD, "group": GroupLasso}
PACKAGES = ("numpy", "scipy", "scikit-learn", "numba", "pandas", "joblib")


@dataclass(frozen=True)
class StudyPlan:
    """What to compare in the study of a table.

    Attributes
    ----------
    experts : sequence of int or None
        Numbers of experts; None is 1 to 6, or fewer where the rows do not suffice.
    criterion : str
        A name of `mixexp.selection.CRITERIA`, or "cv".
    one_se : bool
        With "cv": the simplest fit within one standard error.
    folds : int
        0 for no cross-validation.
    penalties, gate_penalties : sequence of (str, float) or None
        Kinds ("l2", "l1", "mcp", "scad", "group") and strengths of penalties to compare.
    gates, gate_covariances : sequence of str
        Gates to compare, and covariance structures of the Gaussian ones.
    degrees : sequence of int
        Degrees of Gaussian experts to compare.
    seed : int
    jobs : int
        Processes; 0 is one for each core.
    checkpoint : str or Path or None
        Folder of finished fits, from which an interrupted study continues.
    """

    experts: Sequence[int] | None = None
    criterion: str = "bic"
    one_se: bool = False
    folds: int = 5
    penalties: Sequence[tuple[str, float]] | None = None
    gate_penalties: Sequence[tuple[str, float]] | None = None
    gates: Sequence[str] = ("softmax",)
    gate_covariances: Sequence[str] = ("full",)
    degrees: Sequence[int] = (1,)
    seed: int = 0
    jobs: int = 0
    checkpoint: str | Path | None = None


def study_table(
    path: str | Path,
    roles: Roles,
    plan: StudyPlan | None = None,
    *,
    command: str = "",
    progress: Progress | None = None,
) -> TableStudy:
    """Study the table in a file.

    Parameters
    ----------
    path : str or Path
        CSV or Parquet file.
    roles : Roles
        What the columns are.
    plan : StudyPlan, optional
        What to compare.
    command : str
        The command that makes the study again, for the report.
    progress : callable, optional
        See `SelectionStudy`.

    Returns
    -------
    TableStudy
        What `write_report` writes.

    Raises
    ------
    ValueError
        If the file or the options cannot be used; the message is one clear line.
    """
    plan = plan or StudyPlan()
    table, read_notes = read_table(path)
    prepared = prepare(table, roles)
    experts, plan_notes = _experts(plan.experts, prepared)
    study = SelectionStudy(
        _template(prepared),
        _grid(prepared, plan, experts),
        plan.criterion,
        cv=plan.folds,
        one_se=plan.one_se,
        n_jobs=plan.jobs or cpu_count(),
        random_state=plan.seed,
        checkpoint=plan.checkpoint,
        progress=progress,
    ).fit(prepared.X, prepared.y, **prepared.inputs)
    model = TableModel(
        study.best_estimator_,
        prepared.preprocessor,
        roles.target,
        {k: v for k, v in roles.row_wise().items() if k not in ("weights", "groups")},
    )
    return TableStudy(
        result=study.result_,
        model=model,
        explanation=explain(model, prepared, random_state=plan.seed),
        merging=_merging(study.result_, prepared),
        target=roles.target,
        source=Path(path).name,
        family=study.best_params_.get("expert", prepared.families[0]),
        gate=study.best_params_.get("gate", "softmax"),
        degree=study.best_params_.get("expert__degree", 1),
        notes=(
            *read_notes,
            *prepared.notes,
            *_role_notes(roles),
            *plan_notes,
            *_penalty_notes(prepared, plan),
        ),
        command=command,
        versions=versions(),
        seed=plan.seed,
        data=_fingerprint(Path(path)),
        rows=[int(row) + 1 for row in prepared.rows],
    )


def _merging(result: StudyResult, prepared: Prepared) -> MergePath | None:
    """The merge path of the largest regular fit beside the winner; None where none can be merged.

    By the mixing measure for softmax gates and Gaussian experts, for which its theory is made,
    else by entropy.
    """
    table, settings = result.table, result.best_params_
    same = table["regular"] & (table["cell"] == table["cell"].iloc[result.chosen])
    sizes = table.loc[same, "n_experts"]
    if "groups" in prepared.inputs:
        return None  # merging takes the rows for independent
    own = settings.get("expert", prepared.families[0]) == "gaussian"
    measure = own and settings.get("gate", "softmax") == "softmax"
    if not len(sizes) or sizes.max() < (3 if measure else 4):
        return None
    model = result.models[int(sizes.idxmax())]
    method = "measure" if measure else "entropy"
    return merge_path(model, prepared.X, prepared.y, method=method, **prepared.inputs)


def _template(prepared: Prepared) -> Any:
    halves = {
        "gate_features": prepared.gate_features,
        "expert_features": prepared.expert_features,
    }
    if prepared.classifies:
        return MoEClassifier(**halves)
    return MoERegressor(expert=prepared.families[0], **halves)


def _grid(prepared: Prepared, plan: StudyPlan, experts: Sequence[int]) -> list[dict[str, Any]]:
    """The collection: families x gates, each with the settings that it has."""
    if tuple(plan.degrees) != (1,) and "gaussian" not in prepared.families:
        raise TableError(f"--degree is for Gaussian experts; here they are {prepared.families[0]}")
    return [
        {"n_experts": list(experts)}
        | _expert_settings(family, prepared, plan)
        | _gate_settings(gate, prepared, plan)
        for family in prepared.families
        for gate in plan.gates
    ]


def _expert_settings(family: str, prepared: Prepared, plan: StudyPlan) -> dict[str, Any]:
    settings: dict[str, Any] = {"expert": [family]} if len(prepared.families) > 1 else {}
    if family == "gaussian" and tuple(plan.degrees) != (1,):
        settings["expert__degree"] = list(plan.degrees)
    penalties = _penalties(plan.penalties, prepared)
    return settings if penalties is None else settings | {"expert__penalty": penalties}


def _gate_settings(gate: str, prepared: Prepared, plan: StudyPlan) -> dict[str, Any]:
    settings: dict[str, Any] = {} if tuple(plan.gates) == ("softmax",) else {"gate": [gate]}
    if gate == "gaussian":
        return settings | {"gate__covariance": list(plan.gate_covariances)}
    penalties = _penalties(plan.gate_penalties, prepared) if gate == "softmax" else None
    return settings if penalties is None else settings | {"gate__penalty": penalties}


def _penalties(asked: Sequence[tuple[str, float]] | None, prepared: Prepared) -> list[Any] | None:
    """Penalties to compare; None leaves the part without."""
    if asked is None:
        return [CLASS_PENALTY] if prepared.classifies else None
    return [KINDS[kind](alpha) if alpha > 0 else None for kind, alpha in asked]


def _penalty_notes(prepared: Prepared, plan: StudyPlan) -> list[str]:
    if not prepared.classifies or (plan.penalties is not None and plan.gate_penalties is not None):
        return []
    return [
        f"Experts and gate carry an L2 penalty of strength {CLASS_PENALTY:g} where none was given: "
        "it keeps coefficients finite where classes are separated. --penalty 0 --gate-penalty 0 "
        "gives plain maximum likelihood."
    ]


def _experts(asked: Sequence[int] | None, prepared: Prepared) -> tuple[list[int], list[str]]:
    """Numbers of experts that the rows can bear: one row for each coefficient at least."""
    n_rows, columns = prepared.X.shape
    used = columns if prepared.expert_features is None else len(prepared.expert_features)
    each = (used + 1) * (len(np.unique(prepared.y)) - 1 if prepared.classifies else 1)
    most = max(1, n_rows // each)
    if asked is None:
        experts = [k for k in DEFAULT_EXPERTS if k <= most]
        if len(experts) == len(DEFAULT_EXPERTS):
            return experts, []
        return experts, [
            f"At most {experts[-1]} experts were tried: {n_rows} rows for {each} coefficients each."
        ]
    if max(asked) > most:
        raise TableError(
            f"--experts up to {max(asked)} is beyond reason for {n_rows} rows: an expert has "
            f"{each} coefficients here, so at most {most} can be told apart"
        )
    return list(asked), []


def _role_notes(roles: Roles) -> list[str]:
    notes = [f"Column {name!r} holds the {role}." for role, name in roles.row_wise().items()]
    if roles.gate_columns:
        notes.append(f"The gate sees only {', '.join(roles.gate_columns)}.")
    if roles.expert_columns:
        notes.append(f"The experts see only {', '.join(roles.expert_columns)}.")
    if roles.drop:
        notes.append(f"Left out as asked: {', '.join(roles.drop)}.")
    return notes


def versions() -> dict[str, str]:
    """Versions of the software that made a report."""
    found = {"mixexp": __version__, "Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # vendored or installed without metadata
            continue
    return found


def _fingerprint(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return {"sha256": digest.hexdigest(), "bytes": path.stat().st_size}
