"""
How fast fits approach the truth
================================

Losses of maximum likelihood on draws of a known truth, as the sample grows. With the right number
of experts all parameters have the rate :math:`n^{-1/2}` (left). With one expert in excess the law
keeps it (middle), and so does the Voronoi loss, which takes the experts of one true expert together
and raises their errors to the powers that theory gives (right). The designs are small, and the
printed intervals say how rough their slopes are; the full ones are in :doc:`/theory`.
"""

import matplotlib.pyplot as plt

from mixexp import rate_study
from mixexp.plotting import plot_rates
from mixexp.theory import ggamoe, sgamoe

right = rate_study(sgamoe(), [300, 1000, 3000, 10_000], replicates=12, starts=["truth"])
excess = rate_study(sgamoe(3), [500, 2000, 8000], replicates=8, starts=["truth"])
localised = rate_study(ggamoe(), [316, 1000, 3162], replicates=8, starts=["truth"])

figure, axes = plt.subplots(1, 3, figsize=(13.5, 3.8))
panels = [(right, "voronoi"), (excess, "hellinger"), (localised, "voronoi")]
for axis, (study, loss) in zip(axes, panels, strict=True):
    plot_rates(study, loss, statistic="median", ax=axis)
    slope = study.slope(loss, statistic="median")
    print(f"{study.design:45s}{loss:10s} {slope.slope:.2f} ({slope.low:.2f} to {slope.high:.2f})")
figure.tight_layout()
plt.show()
