"""Mixtures of experts said by formulas, on data frames."""

from mixexp.formula.model import FormulaMoE, moe

__all__ = ["FormulaMoE", "moe"]
