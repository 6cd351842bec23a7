"""The model itself: fitted lines, gate regions and partial effects."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixexp.plotting._style import (
    GRID,
    INK,
    MUTED,
    axes,
    categories,
    colour,
    drawn_from,
    label,
    legend,
    plain,
)


def plot_fit_lines(line: Any, target: str = "prediction", ax: Any = None) -> Any:
    """Prediction along one column, with the experts and the predictive interval.

    Parameters
    ----------
    line : Line
        From `mixexp.explain.fit_line`.
    target : str
        Name of the target, for the axis.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        Expert lines are drawn stronger where their gate probability is larger; points have the
        colour of the expert most responsible for them. For classes: class probabilities.
    """
    drawn_from(line, "grid", "mixexp.explain.fit_line")
    ax = axes(ax)
    if line.classes:
        _class_lines(ax, line.grid, line.mean, line.classes, line.categorical)
        label(ax, line.name, "Class probability")
        return ax
    draw = _category_lines if line.categorical else _number_lines
    draw(ax, line)
    label(ax, line.name, target)
    legend(ax)
    return ax


def _number_lines(ax: Any, line: Any) -> None:
    _points(ax, line)
    ax.fill_between(
        line.grid, line.lower, line.upper, color=MUTED, alpha=0.16, lw=0,
        label=f"{100 * line.level:g} % interval",
    )  # fmt: skip
    for k in range(line.gate.shape[1] if line.gate.shape[1] > 1 else 0):
        _fading(ax, line.grid, line.experts[:, k], line.gate[:, k], colour(k))
        ax.plot([], [], color=colour(k), lw=2, label=f"expert {k + 1}")
    ax.plot(line.grid, line.mean, color=INK, lw=1.5, ls=(0, (5, 2)), label="mean")
    _limit(ax, line)


def _points(ax: Any, line: Any) -> None:
    if line.y is None:
        return
    x, y = np.asarray(line.x, dtype=float), np.asarray(line.y, dtype=float)
    own = np.zeros(len(y), int) if line.component is None else np.asarray(line.component)
    ax.scatter(
        x, y, s=16 if len(y) < 500 else 5, c=[colour(k) for k in own], lw=0, zorder=2,
        alpha=0.4 if line.held else 0.6,
        rasterized=len(y) > 2000,
    )  # fmt: skip


def _fading(ax: Any, x: Any, y: Any, strength: Any, line_colour: str) -> None:
    """A line that fades where the gate gives the expert little."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgb

    points = np.column_stack([x, y])
    segments = np.stack([points[:-1], points[1:]], axis=1)
    alpha = np.clip((strength[:-1] + strength[1:]) / 2, 0.06, 1.0)
    rgba = np.column_stack([np.tile(to_rgb(line_colour), (len(alpha), 1)), alpha])
    ax.add_collection(LineCollection(list(segments), colors=rgba, linewidths=2), autolim=False)


def _limit(ax: Any, line: Any) -> None:
    """The range of points and intervals; what lies far outside the points is cut."""
    flat = np.concatenate([line.lower, line.upper])
    flat = flat[np.isfinite(flat)]
    low, high = (flat.min(), flat.max()) if len(flat) else (0.0, 1.0)
    if line.y is not None:
        y = np.asarray(line.y, dtype=float)
        reach = np.ptp(y)
        low = min(y.min(), max(low, y.min() - reach))
        high = max(y.max(), min(high, y.max() + reach))
    if high > low:
        ax.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))


def _category_lines(ax: Any, line: Any) -> None:
    position = np.arange(len(line.grid))
    if line.y is not None:
        order = {str(name): i for i, name in enumerate(line.grid)}
        found = [(order[str(v)], t) for v, t in zip(line.x, line.y, strict=True) if str(v) in order]
        if found:
            x, y = np.array(found, dtype=float).T
            shift = (np.arange(len(x)) * 0.618 % 1 - 0.5) * 0.3
            ax.scatter(x + shift, y, s=8, color=MUTED, alpha=0.35, lw=0)
    ax.errorbar(
        position, line.mean, [line.mean - line.lower, line.upper - line.mean], fmt="o", color=INK,
        capsize=4, lw=1.2, label=f"mean and {100 * line.level:g} % interval",
    )  # fmt: skip
    for k in range(line.gate.shape[1] if line.gate.shape[1] > 1 else 0):
        ax.scatter(
            position, line.experts[:, k], s=20 + 100 * line.gate[:, k], marker="_",
            color=colour(k), lw=2.5, label=f"expert {k + 1}",
        )  # fmt: skip
    categories(ax, line.grid)
    _limit(ax, line)


def _class_lines(ax: Any, grid: Any, proba: Any, classes: Any, categorical: bool) -> None:
    x = np.arange(len(grid)) if categorical else grid
    for c, name in enumerate(classes[:10]):
        ax.plot(
            x, proba[:, c], "o" if categorical else "-", color=colour(c), lw=1.8,
            label=plain(name, 22),
        )  # fmt: skip
    if categorical:
        categories(ax, grid)
    ax.set_ylim(-0.03, 1.03)
    legend(ax)


def plot_gate_regions(regions: Any, kind: str = "gate", ax: Any = None) -> Any:
    """Where each expert works: gate probabilities along a line or over a plane.

    Parameters
    ----------
    regions : Line, PartialEffect or Surface
        From `mixexp.explain.gate_surface`.
    kind : {"gate", "level"}
        For a `Surface`: the likeliest expert (stronger colour: surer), or the predicted level.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        The drawing.
    """
    drawn_from(regions, "grid", "mixexp.explain.gate_surface")
    ax = axes(ax)
    if hasattr(regions, "points"):
        return (_gate_plane if kind == "gate" else _level_plane)(ax, regions)
    if regions.categorical:
        _gate_bars(ax, regions)
    else:
        colours = [colour(k) for k in range(regions.gate.shape[1])]
        names = [f"expert {k + 1}" for k in range(regions.gate.shape[1])]
        ax.stackplot(regions.grid, regions.gate.T, colors=colours, labels=names, alpha=0.85)
        ax.set_xlim(np.min(regions.grid), np.max(regions.grid))
    ax.set_ylim(0, 1)
    label(ax, regions.name, "Gate probability")
    ax.set_ylim(0, 1.0)
    legend(ax, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, borderpad=0.1)
    return ax


def _gate_bars(ax: Any, regions: Any) -> None:
    bottom = np.zeros(len(regions.grid))
    for k in range(regions.gate.shape[1]):
        share = regions.gate[:, k]
        ax.bar(
            np.arange(len(share)), share, bottom=bottom, color=colour(k), alpha=0.85, width=0.7,
            label=f"expert {k + 1}",
        )  # fmt: skip
        bottom = bottom + share
    categories(ax, regions.grid)


def _gate_plane(ax: Any, surface: Any) -> Any:
    from matplotlib.colors import to_rgb

    tones = np.array([to_rgb(colour(k)) for k in range(surface.gate.shape[2])])
    picture = 0.35 * surface.gate @ tones + 0.65
    ax.imshow(
        np.clip(picture, 0, 1).transpose(1, 0, 2), origin="lower", extent=_extent(surface),
        aspect="auto", interpolation="bilinear",
    )  # fmt: skip
    for k in range(surface.gate.shape[2]):
        own = surface.component == k
        ax.scatter(
            *surface.points[own].T, s=20, color=colour(k), edgecolor="white", lw=0.4,
            label=f"expert {k + 1}", rasterized=len(own) > 2000,
        )  # fmt: skip
    label(ax, *surface.names)
    legend(ax, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, borderpad=0.1)
    return ax


def _level_plane(ax: Any, surface: Any) -> Any:
    first, second = surface.grid
    if surface.best_class is not None:
        _class_plane(ax, surface)
    else:
        low, high = surface.level.min(), surface.level.max()
        if surface.y_range is not None:
            # beyond the observed targets a log link may run away; those parts get the end colours
            reach = surface.y_range[1] - surface.y_range[0]
            low = max(low, surface.y_range[0] - 0.25 * reach)
            high = min(high, surface.y_range[1] + 0.25 * reach)
        levels = np.linspace(low, high, 13) if high > low else 12
        drawn = ax.contourf(
            first, second, surface.level.T, levels=levels, cmap="cividis", extend="both"
        )
        bar = ax.figure.colorbar(drawn, ax=ax)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=8.5, colors=MUTED, labelcolor=INK)
        ax.scatter(*surface.points.T, s=5, color="white", alpha=0.7, lw=0)
    label(ax, *surface.names)
    return ax


def _class_plane(ax: Any, surface: Any) -> None:
    from matplotlib.colors import to_rgb

    tones = np.array([to_rgb(colour(c)) for c in range(len(surface.classes))])
    strength = np.clip(surface.level, 0, 1)[..., None] * 0.6
    picture = tones[surface.best_class] * strength + (1 - strength)
    ax.imshow(
        picture.transpose(1, 0, 2), origin="lower", extent=_extent(surface), aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    for c, name in enumerate(surface.classes[:10]):
        ax.scatter([], [], color=colour(c), label=plain(name, 18))
    legend(ax, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, borderpad=0.1)


def _extent(surface: Any) -> tuple[float, float, float, float]:
    first, second = surface.grid
    return first[0], first[-1], second[0], second[-1]


def plot_partial_effects(effect: Any, target: str = "prediction", ax: Any = None) -> Any:
    """Average prediction when one column is set to each of its values in every row.

    Parameters
    ----------
    effect : PartialEffect
        From `mixexp.explain.partial_effects`.
    target : str
        Name of the target, for the axis.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        Class probabilities for a classification model.
    """
    drawn_from(effect, "mean", "mixexp.explain.partial_effects")
    ax = axes(ax)
    if effect.classes:
        _class_lines(ax, effect.grid, effect.mean, effect.classes, effect.categorical)
        label(ax, effect.name, "Average class probability")
        return ax
    if effect.categorical:
        ax.plot(np.arange(len(effect.grid)), effect.mean, "o", color=colour(0), ms=7)
        ax.grid(axis="y", color=GRID)
        categories(ax, effect.grid)
    else:
        ax.plot(effect.grid, effect.mean, color=colour(0), lw=2)
    label(ax, effect.name, f"Average {plain(target, 28)}")
    return ax
