"""Numbers of a study in words."""

from __future__ import annotations

import numpy as np

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def strength(gap: float) -> str:
    """How decisive a difference on the deviance scale is (Kass and Raftery 1995)."""
    if gap < 2:
        return "practically a tie"
    if gap < 6:
        return "the evidence is moderate"
    return "the evidence is strong" if gap < 10 else "the evidence is decisive"


def cv_strength(gap: float, error: float) -> str:
    """How decisive a paired difference in cross-validated log-likelihood is."""
    if not np.isfinite(error):
        return "no standard error is available"
    if abs(gap) <= error:
        return "practically a tie"
    return "the evidence is moderate" if abs(gap) <= 2 * error else "the evidence is strong"


def describe_gap(gap: float) -> str:
    """A signed distance below the winner in words."""
    return f"{gap:.3g} lower" if gap >= 0 else f"{-gap:.3g} higher"


def joined(parts: list[str]) -> str:
    """Parts of a sentence: a, b and c."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
