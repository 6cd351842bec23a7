"""Theory made visible: rates of convergence on known truths, and the order that theory asks for."""

from mixexp.theory.designs import RateDesign, ggamoe, multinomial, sgamoe
from mixexp.theory.hellinger import hellinger
from mixexp.theory.order import (
    OptimalOrder,
    OrderSelection,
    optimal_order,
    select_order_and_degree,
)
from mixexp.theory.rate_result import RateSlope, RateStudy
from mixexp.theory.rates import rate_study

__all__ = [
    "OptimalOrder",
    "OrderSelection",
    "RateDesign",
    "RateSlope",
    "RateStudy",
    "ggamoe",
    "hellinger",
    "multinomial",
    "optimal_order",
    "rate_study",
    "select_order_and_degree",
    "sgamoe",
]
