"""What a model of routed layers costs, read off its routing."""

from .cost import ActiveCost, ParameterCount, count_active, count_parameters

__all__ = ["ActiveCost", "ParameterCount", "count_active", "count_parameters"]
