"""Laws of every registered penalty: value, proximal operator, majoriser, subgradient, centring.

The penalties are tested alone here, on small arrays (J members, p columns); whole fits follow in
`test_penalised_fits.py`.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import optimize
from sklearn.base import clone

import mixexp.penalties
from mixexp._component import PENALTIES

assert mixexp.penalties  # importing it fills the registry

J, P = 3, 4
ALPHA = 0.3
WEIGHTS = np.array([1.0, 0.0, 2.0, 0.5])
BY_SLOPE = np.array([[1.0, 0.0, 3.0, 0.5], [1.0, 0.3, 2.0, 0.0], [0.5, 0.0, 1.0, 0.4]])


def cases():
    """(id, penalty): each by itself, each with weights, and what a single one has besides."""
    out = []
    for name, cls in PENALTIES.items():
        out.append((name, cls(alpha=ALPHA)))
        if "weights" in cls().get_params():
            out.append((f"{name}-weights", cls(alpha=ALPHA, weights=WEIGHTS)))
        if cls().separable and cls().sparse:
            out.append((f"{name}-slopes", cls(alpha=ALPHA, weights=BY_SLOPE)))
    out += [
        ("adaptive_l1-initial", PENALTIES["adaptive_l1"](ALPHA, initial=[1.0, 0.2, -3.0, 0.5])),
        ("elastic_net-ridge", PENALTIES["elastic_net"](ALPHA, l1_ratio=0.0)),
        ("mcp-steep", PENALTIES["mcp"](0.8, gamma=1.05)),
        ("scad-steep", PENALTIES["scad"](0.8, gamma=2.05)),
        ("group_lasso-groups", PENALTIES["group_lasso"](ALPHA, groups=[[0, 2]])),
        ("group_lasso-within", PENALTIES["group_lasso"](ALPHA, groups=[[0, 2]], across=False)),
    ]
    return out


def by_id(selected):
    return pytest.mark.parametrize(
        "penalty", [part for _, part in selected], ids=[name for name, _ in selected]
    )


each = by_id(cases())
alike = by_id([case for case in cases() if not case[0].endswith("-slopes")])  # in every member
separable = by_id([case for case in cases() if case[1].separable])
softmax_cases = [case for case in cases() if getattr(case[1], "across", True)]
centred_ones = by_id(softmax_cases)
# the multiplier of a concave penalty need not exist: its proximal operator jumps
convex_centred = by_id([case for case in softmax_cases if case[1].name not in ("mcp", "scad")])
free_and_centred = pytest.mark.parametrize(
    ("penalty", "centred"),
    [(p, False) for _, p in cases()] + [(p, True) for _, p in softmax_cases],
    ids=[f"{n}-free" for n, _ in cases()] + [f"{n}-centred" for n, _ in softmax_cases],
)


def centre(values):
    return values - values.mean(axis=-2, keepdims=True)


def points(seed=0, centred=False, size=1.0):
    """Some slopes: all at zero, random ones, and ones with zeros among them."""
    rng = np.random.default_rng(seed)
    dense = size * rng.standard_normal((J, P))
    sparse = dense * [[1, 1, 0, 0], [1, 0, 0, 1], [1, 0, 0, 1]]
    out = [np.zeros((J, P)), dense, sparse]
    if not centred:
        return out
    support = sparse != 0
    mean = sparse.sum(axis=0) / np.maximum(support.sum(axis=0), 1)
    sparse = np.where(support & (support.sum(axis=0) > 1), sparse - mean, 0)
    return [out[0], centre(dense), sparse]


def loss(penalty, u, target, step=1.0):
    return 0.5 * np.sum((u - target) ** 2) + step * penalty.value(u)


def better(penalty, target, step, found, centred):
    """The least loss that searches from several points find, and random points around `found`."""
    project = centre if centred else np.asarray
    rng = np.random.default_rng(1)

    def flat(vector):
        return loss(penalty, project(vector.reshape(J, P)), target, step)

    values = [flat((found + s * rng.standard_normal((J, P))).ravel()) for s in np.logspace(-6, 0)]
    search = optimize.minimize(flat, target.ravel(), method="Powell", options={"maxiter": 6})
    return min(*values, search.fun)


@separable
@pytest.mark.parametrize("step", [0.2, 1.0, 4.0])
def test_prox_of_one_slope_is_the_minimiser_on_a_grid(penalty, step):
    targets = np.linspace(-3, 3, 41)[:, None, None]
    grid = np.linspace(-3.2, 3.2, 12801)[:, None, None]
    for column in range(P):
        one = penalty.take([column])
        if np.ndim(one.weights) > 1:
            one = clone(one).set_params(weights=one.weights[column % J])
        found = one.prox(targets, step)
        cost = step * one.value(grid)
        least = [np.min(0.5 * (grid[:, 0, 0] - t) ** 2 + cost) for t in targets.ravel()]
        ours = 0.5 * (found - targets)[:, 0, 0] ** 2 + step * one.value(found)
        assert np.all(ours <= np.array(least) + 1e-12)
        assert np.all(ours >= np.array(least) - 1e-6)  # the grid is as fine as that


@each
@pytest.mark.parametrize("seed", range(2))
def test_prox_is_a_minimiser(penalty, seed):
    target = points(seed, size=1.5)[1]
    found = penalty.prox(target, 0.7)
    assert loss(penalty, found, target, 0.7) <= better(penalty, target, 0.7, found, False) + 1e-9


@convex_centred
@pytest.mark.parametrize("seed", range(2))
def test_centred_prox_is_a_minimiser_among_centred_slopes(penalty, seed):
    target = centre(points(seed, size=1.5)[1])
    found = penalty.centred_prox(target, 0.7)
    assert_allclose(found.sum(axis=0), 0, atol=1e-12)
    assert loss(penalty, found, target, 0.7) <= better(penalty, target, 0.7, found, True) + 1e-9


@each
def test_leading_axes_are_batches(penalty):
    slopes = np.array(points(3))
    steps = np.array([0.3, 1.0, 2.0])[:, None, None]
    assert_allclose(penalty.value(slopes), [penalty.value(one) for one in slopes])
    one_by_one = [penalty.prox(s, float(t)) for s, t in zip(slopes, steps.ravel(), strict=True)]
    assert_allclose(penalty.prox(slopes, steps), one_by_one, rtol=1e-12)
    gradient = np.random.default_rng(4).standard_normal(slopes.shape)
    single = [penalty.subgradient(s, g) for s, g in zip(slopes, gradient, strict=True)]
    assert_allclose(penalty.subgradient(slopes, gradient), single)


@alike
def test_the_order_of_the_members_does_not_matter(penalty):
    slopes = points(5)[1]
    assert_allclose(penalty.value(slopes[::-1]), penalty.value(slopes))
    assert_allclose(penalty.prox(slopes[::-1], 1.0), penalty.prox(slopes, 1.0)[::-1])


@each
def test_no_slopes_cost_nothing_and_stay(penalty):
    zero = np.zeros((J, P))
    assert penalty.value(zero) == 0
    assert not penalty.prox(zero, 1.0).any()


@pytest.mark.parametrize("name", PENALTIES)
def test_a_part_without_columns_has_nothing_to_penalise(name):
    penalty, none = PENALTIES[name](alpha=ALPHA), np.zeros((J, 0))
    penalty.check(0)
    assert penalty.value(none) == 0
    assert penalty.prox(none, 1.0).shape == penalty.subgradient(none, none, True).shape == (J, 0)


@separable
@pytest.mark.parametrize("seed", range(3))
def test_the_majoriser_touches_and_lies_nowhere_below(penalty, seed):
    for at in points(seed):
        l1, l2 = penalty.majoriser(at)

        def above(b, l1=l1, l2=l2):
            return np.sum(l1 * np.abs(b) + 0.5 * l2 * b**2)

        gap = penalty.value(at) - above(at)
        for other in [*points(seed + 10), *points(seed + 20, size=0.2), at * 1.01, at * 0.99]:
            assert penalty.value(other) <= above(other) + gap + 1e-12
        assert np.all(l1 >= 0) and np.all(l2 >= 0)


@each
def test_where_smooth_the_subgradient_is_the_gradient(penalty):
    slopes, gradient = points(6)[1], points(7)[1]
    h, numeric = 1e-6, np.zeros((J, P))
    for index in np.ndindex(J, P):
        change = np.zeros((J, P))
        change[index] = h
        up, down = penalty.value(slopes + change), penalty.value(slopes - change)
        numeric[index] = gradient[index] - (up - down) / (2 * h)
    assert_allclose(penalty.subgradient(slopes, gradient), numeric, atol=1e-7)


def weak(penalty):
    """The penalty without steps in its proximal operator, whose every minimum is a fixed point."""
    return clone(penalty).set_params(gamma=3.7) if hasattr(penalty, "gamma") else penalty


@each
@pytest.mark.parametrize("seed", range(3))
def test_the_subgradient_is_zero_at_a_minimum_and_not_beside_it(penalty, seed):
    penalty, target = weak(penalty), points(seed, size=1.5)[1]
    best = penalty.prox(target, 1.0)
    assert_allclose(penalty.subgradient(best, target - best), 0, atol=1e-12)
    beside = best + 0.01 * points(seed + 1)[1]
    assert np.abs(penalty.subgradient(beside, target - beside)).max() > 1e-3


@centred_ones
@pytest.mark.parametrize("seed", range(3))
def test_the_centred_subgradient_is_zero_at_a_centred_minimum(penalty, seed):
    penalty, target = weak(penalty), centre(points(seed, size=1.5)[1])
    best = penalty.centred_prox(target, 1.0)
    if penalty.name in ("mcp", "scad"):
        # the fixed point of majorisation, each step of which is a centred Lasso
        best = target
        for _ in range(100):
            l1 = penalty.majoriser(best).l1
            best = centred_soft(target, l1)
    assert_allclose(penalty.subgradient(best, target - best, centred=True), 0, atol=1e-9)
    beside = best + 0.01 * centre(points(seed + 1)[1])
    assert np.abs(penalty.subgradient(beside, target - beside, centred=True)).max() > 1e-3


def centred_soft(target, l1):
    """Minimiser of ``|u - target|^2 / 2 + sum l1 |u|`` with columns that sum to zero."""
    out = np.empty_like(target)
    for j in range(target.shape[1]):

        def total(level, j=j):
            moved = target[:, j] - level
            return np.sum(np.sign(moved) * np.maximum(np.abs(moved) - l1[:, j], 0))

        level = optimize.brentq(total, -20, 20, xtol=1e-15)
        moved = target[:, j] - level
        out[:, j] = np.sign(moved) * np.maximum(np.abs(moved) - l1[:, j], 0)
    return out


@free_and_centred
def test_no_direction_rises_faster_than_the_subgradient_says(penalty, centred):
    """An element s of the superdifferential bounds the slope in every direction d by s d."""
    rng, h = np.random.default_rng(8), 1e-7
    gradient = centre(rng.standard_normal((J, P)))
    for at in points(9, centred):
        bound = penalty.subgradient(at, gradient, centred)
        for _ in range(50):
            direction = rng.standard_normal((J, P)) * (rng.random((J, P)) < 0.5)
            direction = centre(direction) if centred else direction
            rise = np.sum(gradient * direction)
            rise -= (penalty.value(at + h * direction) - penalty.value(at)) / h
            assert rise <= np.sum(bound * direction) + 1e-5


@free_and_centred
def test_the_path_begins_at_the_smallest_strength_that_holds_all_slopes(penalty, centred):
    gradient = np.random.default_rng(10).standard_normal((J, P))
    gradient = centre(gradient) if centred else gradient
    if getattr(penalty, "weights", None) is not None:
        weights = penalty.column_weights(P) if penalty.separable else WEIGHTS
        gradient[np.broadcast_to(weights == 0, (J, P))] = 0  # two free ones must agree
        if centred:
            gradient = np.where(weights == 0, 0, centre(gradient))
    zero, alpha = np.zeros((J, P)), penalty.zero_strength(gradient, centred)
    if penalty.name == "l2" or getattr(penalty, "l1_ratio", 1) == 0:
        assert alpha == np.inf
        return
    above, below = (penalty.with_strength(alpha * factor) for factor in (1.0001, 0.999))
    assert_allclose(above.subgradient(zero, gradient, centred), 0, atol=1e-14)
    assert np.abs(below.subgradient(zero, gradient, centred)).max() > 1e-5
    assert penalty.zero_strength(0 * gradient, centred) == 0


@each
def test_a_penalty_of_some_columns_is_that_of_the_others_at_zero(penalty):
    slopes = points(11)[1]
    taken = [0, 2]  # a group is taken whole
    rest = [1, 3]
    inside = slopes.copy()
    inside[:, rest] = 0
    assert_allclose(penalty.take(taken).value(slopes[:, taken]), penalty.value(inside))


@each
def test_a_strength_of_zero_is_no_penalty(penalty):
    none = penalty.with_strength(0)
    assert not none.active and not mixexp.penalties.is_sparse(none)
    assert none.value(points(12)[1]) == 0
    assert penalty.active


@each
def test_settings_are_those_of_scikit_learn(penalty):
    again = clone(penalty).set_params(alpha=0.7)
    assert again.alpha == 0.7 and penalty.alpha != 0.7
    assert repr(again) != repr(penalty)
    assert type(penalty.with_strength(0.7)) is type(penalty)


@pytest.mark.parametrize("alpha", [-0.1, np.nan, np.inf, "0.1", None, True], ids=str)
@pytest.mark.parametrize("name", PENALTIES)
def test_a_strength_is_a_finite_number_at_least_zero(name, alpha):
    penalty = PENALTIES[name](alpha=alpha)
    with pytest.raises(ValueError, match=r"needs a finite alpha >= 0; got alpha="):
        penalty.check(P)


@pytest.mark.parametrize("weights", [[1, 2], [1, 2, 3, -1], [1, 2, 3, np.nan]], ids=str)
@pytest.mark.parametrize("name", PENALTIES)
def test_weights_are_one_finite_number_a_column(name, weights):
    with pytest.raises(ValueError, match=r"4 (numbers|finite weights) >= 0"):
        PENALTIES[name](weights=weights).check(P)
