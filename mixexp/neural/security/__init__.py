"""Whether a model's answer for one row is the row's own affair."""

from .audit import audit_batch_dependence
from .finding import BatchDependence, LayerDependence

__all__ = ["BatchDependence", "LayerDependence", "audit_batch_dependence"]
