"""Standard errors of the reference collection, at its own parameters.

They are square roots of the diagonal of an inverse observed information that was found without
mixexp, by automatic differences of the log-likelihood in R; class 0 is the gate's reference.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from mixexp.em.status import Status
from mixexp.inference import FittedModel, infer
from tests.reference import cases as reference
from tests.reference.test_reference import CASES, frame_of

pytestmark = pytest.mark.reference
CURVED = 1e-5  # least eigenvalue of an information from which its inverse means something


def determined(case) -> bool:
    mle = case["mle"]
    least = mle.get("hessian_eig_min", np.inf)
    return reference.supported(case) and not mle["boundary"] and mle["regular"] and least > CURVED


def observed(case, frame):
    """Parameters' standard errors by name, at the stored maximum."""
    model, rows = reference.build(case, frame)
    params = reference.stored_params(case, model)
    names = [
        [name for name in case[f"{half}_columns"] if name != "(Intercept)"]
        for half in ("gate", "expert")
    ]
    fitted = FittedModel(model, params, rows, tuple(names), Status.CONVERGED, None)
    return infer(fitted, "observed", reference=0).bse


def stored(case):
    """The collection's standard errors under mixexp's names."""
    mle, K, out = case["mle"], case["K"], {}

    def terms(half):
        return [n.replace("(Intercept)", "(intercept)") for n in case[f"{half}_columns"]]

    for k in range(K - 1):
        for term, value in zip(terms("gate"), mle["gate_se"][k], strict=True):
            out[f"gate {k + 1} vs 0: {term}"] = value
    for k in range(K):
        own = np.array(mle["expert_se"][k]).reshape(-1, len(terms("expert")))
        for c, row in enumerate(own):
            inner = f", class {c + 1} vs 0" if case["family"] == "multinomial" else ""
            for term, value in zip(terms("expert"), row, strict=True):
                out[f"expert {k}{inner}: {term}"] = value
    for field, name in NAMES[case["family"]].items():
        for k, value in enumerate(mle[field]):
            out[f"expert {k}: log({name})"] = value
    return out


NAMES: dict[str, dict[str, str]] = {
    "gaussian": {"log_sigma_se": "std. deviation"},
    "gamma": {"log_shape_se": "shape"},
    "t": {"log_sigma_se": "scale", "log_nu_se": "df"},
    "poisson": {},
    "binomial": {},
    "multinomial": {},
}


def check(case, frame):
    got, wanted = observed(case, frame), stored(case)
    assert len(got) == len(wanted)
    assert_allclose([got[name] for name in wanted], list(wanted.values()), rtol=1e-5)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if determined(case)])
def test_standard_errors(name):
    check(CASES[name], frame_of(CASES[name]))


@pytest.mark.slow
def test_standard_errors_of_the_whole_collection(shared_reference):
    cases = json.loads((shared_reference / "reference.json").read_text())["cases"]
    cases = [case for case in cases if determined(case)]
    assert len(cases) > 40
    for case in cases:
        frame = pd.read_csv(shared_reference / case["data"], dtype={"Replicate": str})
        check(case, frame)
