"""Information criteria: what a fit's summary says of how well it will predict."""

from mixexp.selection.criteria.information import AIC, AIC3, BIC, CAIC, ICL, AICc, Criterion
from mixexp.selection.criteria.overlap import NEC
from mixexp.selection.criteria.sparse import EBIC, ModifiedBIC
from mixexp.selection.criteria.table import criteria_table

__all__ = [
    "AIC",
    "AIC3",
    "BIC",
    "CAIC",
    "EBIC",
    "ICL",
    "NEC",
    "AICc",
    "Criterion",
    "ModifiedBIC",
    "criteria_table",
]
