"""Slopes along a regularisation path."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mixexp.plotting._style import INK, MUTED, axes, colour, end_labels, label

OTHERS = "#c3cad1"  # lines without a name
LARGEST_GRID = 3  # panels side by side


class Panel(NamedTuple):
    """Slopes of one expert (of one response or class), or of the gate.

    Attributes
    ----------
    title : str
    values : (T, p) ndarray
    names : list of str
    """

    title: str
    values: Any
    names: list[str]


def plot_path(
    result: Any,
    choice: Any = "bic",
    *,
    most: int = 8,
    standardised: bool = True,
    axs: Any = None,
) -> Any:
    """Slopes over the strength of the penalty, strong on the left: one panel for each part.

    Parameters
    ----------
    result : PathResult
        A path; of a grid of two dimensions the chain of the chosen fit is drawn.
    choice : str, Criterion or int
        The criterion or the line that is marked, as for ``PathResult.model``.
    most : int
        Columns with a colour and a name, the same in all panels: those with the largest slopes at
        the chosen fit, then at the end of the path.
    standardised : bool
        Slopes times the standard deviations of their columns, which can be compared.
    axs : sequence of Axes, optional
        Where to draw: one for each expert and one for the gate. With two experts the gate's
        slopes are those of the log odds of the second; with more, each expert has its own panel.

    Returns
    -------
    array of Axes
        Dots on the dashed line are the slopes of the chosen fit.
    """
    chosen = result.best(choice) if not isinstance(choice, int | np.integer) else int(choice)
    lines = chain_of(result, chosen)
    place = int(np.flatnonzero(lines == chosen)[0])
    panels = [panel._replace(values=panel.values[lines]) for panel in _panels(result, standardised)]
    axs = _layout(panels, axs)
    tones = _tones(panels, place, most)
    x = log_strength(result, lines)
    for ax, panel in zip(axs, panels, strict=True):
        _draw(ax, panel, x, place, tones)
    n_expert = len(_expert_titles(result))
    _common_heights(axs[:n_expert])
    _common_heights(axs[n_expert:])
    for ax, panel in zip(axs, panels, strict=True):
        _name_lines(ax, panel, tones)
        label(ax, "log10 of the strength", title=panel.title)
    label(axs[0], y="Standardised slope" if standardised else "Slope")
    return axs


def chain_of(result: Any, line: int) -> Any:
    """Numbers of the lines of the chain that a line belongs to."""
    chain = result.table["chain"].to_numpy()
    return np.flatnonzero(chain == chain[line])


def log_strength(result: Any, lines: Any) -> Any:
    """log10 of the experts' strengths."""
    return np.log10(result.table["alpha_expert"].to_numpy()[lines])


def strong_left(ax: Any, x: Any) -> None:
    """Limits from strong to weak, with room for a mark at either end."""
    if len(x) > 1:
        pad = 0.025 * (x[0] - x[-1])
        ax.set_xlim(x[0] + pad, x[-1] - pad)


def _expert_titles(result: Any) -> list[str]:
    """Titles of the experts' panels, expert by expert."""
    K = result.coef.shape[1]
    classes = getattr(result.model(0), "classes_", None)
    if result.coef.ndim == 3:
        outputs = [""]
    elif classes is None:
        outputs = [f", response {m + 1}" for m in range(result.coef.shape[2])]
    elif len(classes) == 2:
        outputs = [f": {classes[1]} against {classes[0]}"]
    else:
        outputs = [f": {name}" for name in classes]
    return [f"Expert {k + 1}{output}" for k in range(K) for output in outputs]


def _panels(result: Any, standardised: bool) -> list[Panel]:
    coef, gate = result.coef, result.gate_coef
    T, K, p = coef.shape[0], coef.shape[1], coef.shape[-1]
    if coef.ndim == 4 and coef.shape[2] == 2 and hasattr(result.model(0), "classes_"):
        coef = coef[:, :, 1] - coef[:, :, 0]  # log odds, as the two classes' slopes mirror
    scale = result.column_scale if standardised else {"gate": 1.0, "expert": 1.0}
    flat = coef.reshape(T, -1, p) * scale["expert"]
    names = {part: list(map(str, own)) for part, own in result.feature_names.items()}
    panels = [
        Panel(title, flat[:, j], names["expert"]) for j, title in enumerate(_expert_titles(result))
    ]
    gate = gate * scale["gate"] if gate.shape[-1] else gate
    if K == 2 and gate.shape[-1]:
        odds = gate[:, 1] - gate[:, 0]
        panels.append(Panel("Gate: expert 2 against 1", odds, names["gate"]))
    elif K > 2 and gate.shape[-1]:
        panels += [Panel(f"Gate: expert {k + 1}", gate[:, k], names["gate"]) for k in range(K)]
    return panels


def _layout(panels: list[Panel], axs: Any) -> Any:
    if axs is None:
        import matplotlib.pyplot as plt

        n = len(panels)
        columns = n // 2 if n > LARGEST_GRID and n % 2 == 0 else min(n, LARGEST_GRID)
        columns = min(columns, LARGEST_GRID)
        rows = -(-n // columns)
        figure, grid = plt.subplots(
            rows, columns, figsize=(0.4 + 3.5 * columns, 3.2 * rows), squeeze=False
        )
        axs = grid.ravel()
        for ax in axs[n:]:
            figure.delaxes(ax)
        axs = axs[:n]
        # names of lines stand between the panels, where an automatic layout would not expect them
        figure.subplots_adjust(
            left=0.75 / (0.4 + 3.5 * columns), right=1 - 0.95 / (0.4 + 3.5 * columns),
            wspace=0.5, hspace=0.45, bottom=0.17 / rows, top=1 - 0.11 / rows,
        )  # fmt: skip
    axs = np.atleast_1d(np.asarray(axs, dtype=object)).ravel()
    if len(axs) != len(panels):
        raise ValueError(f"axs must be {len(panels)} axes, one for each panel; got {len(axs)}.")
    return np.array([axes(ax) for ax in axs], dtype=object)


def _tones(panels: list[Panel], place: int, most: int) -> dict[str, str]:
    """Colours of the columns that get a name."""
    chosen: dict[str, float] = {}
    end: dict[str, float] = {}
    for panel in panels:
        # a gate's slopes are on another scale than those of experts: each panel by its own largest
        for sizes, row in ((chosen, place), (end, -1)):
            values = np.abs(panel.values[row])
            for j in np.flatnonzero(values):
                share = values[j] / values.max()
                sizes[panel.names[j]] = max(share, sizes.get(panel.names[j], 0.0))
    ranked = sorted(chosen, key=lambda name: -chosen[name])
    ranked += [name for name in sorted(end, key=lambda name: -end[name]) if name not in chosen]
    return {name: colour(i) for i, name in enumerate(ranked[: min(most, 10)])}


def _draw(ax: Any, panel: Panel, x: Any, place: int, tones: dict[str, str]) -> None:
    ax.axhline(0, color=MUTED, lw=0.8, zorder=1, label="zero")
    used = np.flatnonzero((panel.values != 0).any(axis=0))
    for j in sorted(used, key=lambda j: panel.names[j] in tones):
        tone = tones.get(panel.names[j])
        ax.plot(
            x, panel.values[:, j], color=tone or OTHERS, lw=1.8 if tone else 0.8,
            zorder=3 if tone else 2, label=panel.names[j], solid_capstyle="round",
        )  # fmt: skip
        if tone and panel.values[place, j] != 0:
            ax.plot(x[place], panel.values[place, j], "o", color=tone, ms=4.5, zorder=4)
    ax.axvline(x[place], color=INK, lw=1, ls=(0, (4, 3)), label="chosen", zorder=2)
    strong_left(ax, x)


def _common_heights(axs: Any) -> None:
    """Experts, or gates, on one scale, so that their slopes can be compared."""
    if not len(axs):
        return
    drawn = [ax for ax in axs if any(len(line.get_xdata()) > 2 for line in ax.lines)]
    low = min((ax.get_ylim()[0] for ax in drawn), default=-1.0)
    high = max((ax.get_ylim()[1] for ax in drawn), default=1.0)
    for ax in axs:
        ax.set_ylim(low, high)


def _name_lines(ax: Any, panel: Panel, tones: dict[str, str]) -> None:
    ends = {panel.names[j]: panel.values[-1, j] for j in np.flatnonzero(panel.values[-1])}
    named = [name for name in tones if name in ends]
    end_labels(ax, named, [ends[name] for name in named], [tones[name] for name in named])
