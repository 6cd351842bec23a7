"""Figures as inline pictures: drawn without a display, with safe text."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable
from typing import Any

from mixexp.report.html import esc

SIZE = (5.2, 3.7)
SETTINGS: dict[Any, Any] = {
    "text.parse_math": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "mixexp",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.linewidth": 0.8,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
    "savefig.dpi": 160,
}


def figure(draw: Callable[[Any], Any], alt: str, caption: str = "") -> str:
    """An HTML figure with an SVG picture inside.

    Parameters
    ----------
    draw : callable
        Draws on the axes it is given.
    alt : str
        What the picture shows, for those who cannot see it.
    caption : str
        Text below the picture.
    """
    data = base64.b64encode(svg(draw)).decode("ascii")
    below = f"<figcaption>{esc(caption)}</figcaption>" if caption else ""
    return f'<figure><img src="data:image/svg+xml;base64,{data}" alt="{esc(alt)}">{below}</figure>'


def svg(draw: Callable[[Any], Any]) -> bytes:
    """The picture's bytes, the same in every run."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(SETTINGS), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; the tables show it right.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        picture = Figure(figsize=SIZE, layout="constrained")
        FigureCanvasAgg(picture)
        draw(picture.add_subplot())
        stream = io.BytesIO()
        picture.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def grid(figures: list[str]) -> str:
    """Figures side by side where the screen is wide enough."""
    return f'<div class="figures">{"".join(figures)}</div>' if figures else ""
