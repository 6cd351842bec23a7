"""Diagnostics and what is known of the rows' experts."""

from __future__ import annotations

from typing import Any

PRIORS = ("expert_prior", "possibilities")


def refuse_priors(what: str, inputs: dict[str, Any]) -> None:
    """Refuse a prior where the law of predictions is examined, which knows x alone."""
    for name in PRIORS:
        if inputs.get(name) is not None:
            raise ValueError(
                f"{what} takes no {name}=: it examines p(y | x), which predictions use, and that "
                "law knows nothing of the rows' experts beyond x. Leave it out."
            )
