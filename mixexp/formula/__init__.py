"""Mixtures of experts said by formulas, on data frames."""

from mixexp.formula.call import moe
from mixexp.formula.model import FormulaMoE

__all__ = ["FormulaMoE", "moe"]
