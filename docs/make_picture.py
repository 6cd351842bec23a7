"""Make docs/_static/ethanol.png, the picture of the README, from the ethanol example.

python docs/make_picture.py [file.png]
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import matplotlib

ROOT = Path(__file__).resolve().parents[1]


def main(target: Path) -> None:
    """Run the example and keep its figure."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    runpy.run_path(str(ROOT / "examples" / "plot_ethanol_regression.py"))
    target.parent.mkdir(parents=True, exist_ok=True)
    plt.gcf().savefig(target, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "_static" / "ethanol.png")
