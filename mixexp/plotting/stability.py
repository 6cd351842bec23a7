"""Selection frequencies of stability selection."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixexp.plotting._style import INK, MUTED, axes, colour, end_labels, label, legend, plain
from mixexp.plotting.path import OTHERS, strong_left


def plot_stability(
    result: Any, kind: str = "path", part: str = "any", *, most: int | None = None, ax: Any = None
) -> Any:
    """How often columns were selected from halves of the rows.

    Parameters
    ----------
    result : StabilityResult
        From ``StabilitySelection``.
    kind : {"path", "bars"}
        Frequencies over the strength of the penalty, strong on the left (of a grid of two
        dimensions the largest over the gate's strengths); or the largest along the path as bars,
        with a dot for each expert and a diamond for the gate.
    part : {"any", "expert", "gate"}
        Selected anywhere, in any expert, or in the gate.
    most : int, optional
        Selected columns with a colour and a name (10 by default), or bars (15).
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        The dashed line is the threshold.
    """
    if kind not in ("path", "bars"):
        raise ValueError(f"kind must be 'path' or 'bars'; got {kind!r}.")
    chosen = result.selected(part)
    ax = axes(ax)
    if kind == "path":
        _lines(ax, result, part, chosen, 10 if most is None else min(most, 10))
    else:
        _bars(ax, result, part, chosen, 15 if most is None else most)
    return ax


def _lines(ax: Any, result: Any, part: str, chosen: list[str], most: int) -> None:
    x, shares = _over_experts(result, part)
    names = result.names[part]
    largest = dict(zip(names, shares.max(axis=0), strict=True))
    total = dict(zip(names, shares.sum(axis=0), strict=True))  # of two alike the earlier one
    ranked = sorted(chosen, key=lambda name: (-largest[name], -total[name]))
    tones = {name: colour(i) for i, name in enumerate(ranked[:most])}
    ax.axhline(
        result.threshold, color=INK, lw=1, ls=(0, (4, 3)), label=f"threshold {result.threshold:g}"
    )
    for name, line in zip(names, shares.T, strict=True):
        tone = tones.get(name, MUTED if name in chosen else OTHERS)
        if line.any():
            ax.plot(
                x, line, color=tone, lw=1.9 if name in tones else 0.8, label=f"_{name}",
                zorder=3 if name in chosen else 2,
            )  # fmt: skip
    ax.set_ylim(-0.02, 1.03)
    strong_left(ax, x)
    ends = [shares[-1, names.index(name)] for name in tones]
    end_labels(ax, list(tones), ends, list(tones.values()))
    label(ax, "log10 of the strength", "Share of halves that select", _title(result, part))
    legend(ax, loc="best")


def _over_experts(result: Any, part: str) -> tuple[Any, Any]:
    """log10 of the experts' strengths, strong first, and the frequencies there."""
    strength = result.strengths["alpha_expert"].to_numpy()
    levels = -np.unique(-strength)
    shares = [result.frequency[part][strength == level].max(axis=0) for level in levels]
    return np.log10(levels), np.array(shares)


def _bars(ax: Any, result: Any, part: str, chosen: list[str], most: int) -> None:
    table = result.table
    shown = table[table[part].notna()].sort_values(part, ascending=False, kind="stable").head(most)
    height = np.arange(len(shown))
    tones = [colour(0) if name in chosen else OTHERS for name in shown.index]
    ax.barh(height, shown[part], color=tones, height=0.62, alpha=0.75, zorder=2)
    _part_marks(ax, shown, height, part)
    ax.axvline(
        result.threshold, color=INK, lw=1, ls=(0, (4, 3)), label=f"threshold {result.threshold:g}"
    )
    ax.set_yticks(height)
    ax.set_yticklabels([plain(name, 20) for name in shown.index], parse_math=False)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.set_xlim(-0.015, 1.015)
    label(ax, "Largest share of halves along the path", title=_title(result, part))
    legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1.0))


def _part_marks(ax: Any, shown: Any, height: Any, part: str) -> None:
    """A dot for each expert and a diamond for the gate, below one another on the bars."""
    experts = [name for name in shown.columns if name.startswith("expert ")]
    marks = [(name, colour(k + 1), "o") for k, name in enumerate(experts)]
    marks = marks if len(experts) > 1 and part != "gate" else []
    if part == "any" and shown["gate"].notna().any():
        marks.append(("gate", "white", "D"))
    shifts = np.linspace(-0.2, 0.2, len(marks)) if len(marks) > 1 else np.zeros(len(marks))
    for (name, tone, marker), shift in zip(marks, shifts, strict=True):
        edge = INK if name == "gate" else "white"
        ax.plot(
            _positive(shown[name]), height + shift, marker, ms=4.5, color=tone, mec=edge, mew=0.7,
            ls="none", label=name, zorder=3, clip_on=False,
        )  # fmt: skip


def _positive(shares: Any) -> Any:
    """The shares that are not zero: marks at zero would only be in the way."""
    return np.where(shares > 0, shares, np.nan)


def _title(result: Any, part: str) -> str:
    where = {"any": "", "expert": " in experts", "gate": " in the gate"}[part]
    bound = result.bounds(part)["bound"].iloc[0]
    count = len(result.selected(part))
    return f"{count} selected{where}; at most {bound:.2g} expected by mistake"
