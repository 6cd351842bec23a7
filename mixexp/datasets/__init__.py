"""Data: small real sets with their published sources, and simulated sets with a known truth.

Importing this package needs numpy only.
"""

from mixexp.datasets._localised import LocalisedTruth, make_localised_regression
from mixexp.datasets._real import (
    Dataset,
    list_datasets,
    load_betablocker,
    load_ethanol,
    load_fabric,
    load_faithful,
    load_geyser,
    load_patent,
    load_seizure,
    load_temperature,
    load_tone,
    path,
)
from mixexp.datasets._simulated import make_moe_classification, make_moe_regression
from mixexp.datasets._truth import MoETruth

__all__ = [
    "Dataset",
    "LocalisedTruth",
    "MoETruth",
    "list_datasets",
    "load_betablocker",
    "load_ethanol",
    "load_fabric",
    "load_faithful",
    "load_geyser",
    "load_patent",
    "load_seizure",
    "load_temperature",
    "load_tone",
    "make_localised_regression",
    "make_moe_classification",
    "make_moe_regression",
    "path",
]
