"""CUDA sources of engine ``gpu``: what is done to every row, and to every entry of a design.

One thread handles a row (or an entry) at a time and shares nothing with the others, so that the
same text compiles as plain C++, where its numbers are compared with the numpy twins of
`gpu_twins`. Numbers of experts and classes, family and link are macros: arrays of one row then
live in registers.

Legend: n rows of a block, padded to whole tiles of m rows; K experts, C classes; q columns of a
design, the first of ones; T = q (q + 1) / 2 products. Sums over rows are products of matrices, and
their left factors lie as (tiles, J, m): entry (i, j) is at place + (i / m * J + j) * m + i % m.
"""

from __future__ import annotations

_COMMON = r"""
typedef long long ll;
typedef unsigned long long ull;
#define FIRST ((ll)blockIdx.x * blockDim.x + threadIdx.x)
#define LANES ((ll)gridDim.x * blockDim.x)
// the lane's entries (i, j) of a matrix, row by row: divisions of 64 bits are dear
#define ENTRIES(rows, columns, i, j) \
    for (ll i = FIRST / (columns), j = FIRST % (columns), i_step = LANES / (columns), \
            j_step = LANES % (columns); i < (rows); i += i_step, j += j_step, \
            i += j >= (columns) ? 1 : 0, j -= j >= (columns) ? (columns) : 0)
"""

DESIGNS = (
    _COMMON
    + r"""
extern "C" __global__ void standardise_rows(
    const REAL* __restrict__ X, ll row_stride, ll column_stride, const ll* __restrict__ columns,
    const double* __restrict__ centre, const double* __restrict__ inverse_scale, ll n, ll padded,
    ll q, double* __restrict__ design)
{
    ENTRIES(padded, q, i, a) {
        double value = i < n ? 1.0 : 0.0;
        if (i < n && a > 0) {
            double x = (double)X[i * row_stride + columns[a - 1] * column_stride];
            value = (x - centre[a - 1]) * inverse_scale[a - 1];
        }
        design[i * q + a] = value;
    }
}

extern "C" __global__ void column_products(
    const double* __restrict__ design, const ll* __restrict__ left, const ll* __restrict__ right,
    ll padded, ll q, ll T, REAL* __restrict__ products)
{
    ENTRIES(padded, T, i, t) {
        const double* row = design + i * q;
        products[i * T + t] = (REAL)(row[left[t]] * row[right[t]]);
    }
}

// weighted (tiles, J q, m): the columns of a row times each of its J left factors (tiles, J, m)
extern "C" __global__ void weighted_columns(
    const double* __restrict__ design, const REAL* __restrict__ left, ll padded, ll q, ll m, ll J,
    REAL* __restrict__ weighted)
{
    for (ll i = FIRST; i < padded; i += LANES) {
        ll tile = i / m, r = i % m;
        for (ll j = tile * J; j < (tile + 1) * J; j++) {
            double w = (double)left[j * m + r];
            for (ll a = 0; a < q; a++)
                weighted[(j * q + a) * m + r] = (REAL)(w * design[i * q + a]);
        }
    }
}

__device__ ull mixed(ull z)
{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}

extern "C" __global__ void hash_rows(
    const REAL* __restrict__ X, ll row_stride, ll column_stride, const ull* __restrict__ keys, ll n,
    ll p, ull* __restrict__ hashes)
{
    for (ll i = FIRST; i < n; i += LANES) {
        ull total = 0;
        for (ll a = 0; a < p; a++) {
            union { double value; ull bits; } x;
            x.value = (double)X[i * row_stride + a * column_stride] + 0.0;  // -0.0 as 0.0
            total += mixed(x.bits ^ keys[a]) - mixed(keys[a]);
        }
        hashes[i] = total;
    }
}
"""
)

_FAMILIES = r"""
#define IMPOSSIBLE -1e30
#define HALF_LOG_2PI 0.9189385332046727

// value: log density less the row's own part; score and information: derivatives by the linear
// predictor times the dispersion factor; extra: the statistic of the dispersion
struct Unit { double value, score, information, extra; };

__device__ double nowhere()
{
    double zero = 0.0;
    return zero / zero;
}

__device__ double log_ndtr(double x)
{
    if (x > -5.0)
        return x < 0.0 ? log(0.5 * erfc(-x / sqrt(2.0))) : log1p(-0.5 * erfc(x / sqrt(2.0)));
    double tail = -x;  // Mills ratio by its continued fraction (Abramowitz and Stegun 26.2.14)
    for (int step = 60; step > 0; step--) tail = -x + step / tail;
    return -0.5 * x * x - HALF_LOG_2PI - log(tail);
}

__device__ void mean_and_slope(double eta, double* mean, double* slope)
{
#if LINK == 0
    *mean = eta;
    *slope = 1.0;
#elif LINK == 1
    *mean = *slope = exp(fmin(eta, 700.0));
#else
    *mean = eta > 0.0 ? 1.0 / eta : nowhere();
    *slope = eta > 0.0 ? -1.0 / (eta * eta) : nowhere();
#endif
}

__device__ void binomial_logs(double eta, double* log_p, double* log_q, double* log_slope)
{
#if LINK == 2
    double soft = log1p(exp(-fabs(eta)));
    *log_p = fmin(eta, 0.0) - soft;
    *log_q = -fmax(eta, 0.0) - soft;
    *log_slope = *log_p + *log_q;
#elif LINK == 3
    *log_p = log_ndtr(eta);
    *log_q = log_ndtr(-eta);
    *log_slope = -0.5 * eta * eta - HALF_LOG_2PI;
#elif LINK == 4
    double rate = exp(fmin(eta, 700.0));
    *log_p = rate > 1e-8 ? log(-expm1(-rate)) : eta - 0.5 * rate;
    *log_q = -rate;
    *log_slope = eta - rate;
#else
    double mean, slope;
    mean_and_slope(eta, &mean, &slope);
    bool inside = mean > 0.0 && mean < 1.0;
    *log_p = inside ? log(mean) : nowhere();
    *log_q = inside ? log1p(-mean) : nowhere();
    *log_slope = inside ? log(fabs(slope)) : nowhere();
#endif
}

__device__ Unit glm_unit(
    double eta, double y, double log_y, double trials, double dispersion, double constant)
{
    Unit unit;
#if FAMILY != 2
    double mean, slope;
    mean_and_slope(eta, &mean, &slope);
#endif
#if FAMILY == 0
    double residual = y - mean, scaled = residual / dispersion;
    unit.value = constant - 0.5 * scaled * scaled;
    unit.score = residual * slope;
    unit.information = slope * slope;
    unit.extra = residual * residual;
#elif FAMILY == 1
    double ratio = LINK == 1 ? 1.0 : slope / mean;
    double log_mean = LINK == 1 ? eta : mean > 0.0 ? log(mean) : nowhere();
    unit.value = y * log_mean - mean;
    unit.score = (y - mean) * ratio;
    unit.information = slope * ratio;
    unit.extra = 0.0;
#elif FAMILY == 2
    double log_p, log_q, log_slope, failures = trials - y;
    binomial_logs(eta, &log_p, &log_q, &log_slope);
    unit.value = y * log_p + failures * log_q;
    unit.score = y * exp(log_slope - log_p) - failures * exp(log_slope - log_q);
    unit.information = trials * exp(2.0 * log_slope - log_p - log_q);
    unit.extra = 0.0;
#else
    double relative = LINK == 1 ? 1.0 : slope / mean;
    double log_ratio = log_y - (LINK == 1 ? eta : mean > 0.0 ? log(mean) : nowhere());
    double share = exp(fmin(log_ratio, 600.0));
    unit.value = constant + dispersion * (log_ratio - share) - log_y;
    unit.score = (share - 1.0) * relative;
    unit.information = relative * relative;
    unit.extra = log_ratio - share + 1.0;
#endif
    if (!(unit.value - unit.value == 0.0)) {  // infinite or NaN: the row is impossible there
        unit.value = IMPOSSIBLE;
        unit.score = unit.information = unit.extra = 0.0;
    }
    return unit;
}
"""

_SOFTMAX = r"""
#define PAIRS (K * (K - 1) / 2)

// absurd information, for which float32 has no room, stays finite: its step is short all the same
__device__ GRAM gram(double value) { return (GRAM)(sizeof(GRAM) == 4 ? fmin(value, 1e30) : value); }

// predictors[j] = sum_a coef[j * q + a] row[a]
__device__ void linear(const double* row, const double* coef, ll q, int count, double* predictors)
{
    for (int j = 0; j < count; j++) predictors[j] = 0.0;
    for (ll a = 0; a < q; a++) {
        double x = row[a];
        for (int j = 0; j < count; j++) predictors[j] += coef[j * q + a] * x;
    }
}

// values become probabilities; returns the logarithm of the sum of their exponentials
__device__ double softmax(double* values, int count)
{
    double top = values[0], total = 0.0;
    for (int j = 1; j < count; j++) top = fmax(top, values[j]);
    for (int j = 0; j < count; j++) {
        values[j] = exp(values[j] - top);
        total += values[j];
    }
    for (int j = 0; j < count; j++) values[j] /= total;
    return top + log(total);
}

// the row's responsibilities from gate logits and log densities, and what is summed of them:
// sums[0 .. 3 + K] gain w log p, soft and hard entropy (where asked for), and the masses.
// Afterwards logit holds the gate's probabilities and density the responsibilities.
__device__ void responsibilities(
    double* logit, double* density, double w, ll entropies, double* sums)
{
    for (int k = 0; k < K; k++) density[k] += logit[k];
    double gate_total = softmax(logit, K);
    double log_p = softmax(density, K);
    sums[0] += w * (log_p - gate_total);
    for (int k = 0; k < K; k++) sums[3 + k] += w * density[k];
    if (entropies) {
        double largest = 0.0;
        for (int k = 0; k < K; k++) {
            largest = fmax(largest, density[k]);
            if (density[k] > 0.0) sums[1] -= w * density[k] * log(density[k]);
        }
        sums[2] -= w * log(largest);
    }
}
"""

GLM = (
    _COMMON
    + _FAMILIES
    + _SOFTMAX
    + r"""
// partial (3 + 2 K, lanes): w log p, soft and hard entropy, masses, extras
extern "C" __global__ void softmax_glm_rows(
    const double* __restrict__ gate_design, const double* __restrict__ expert_design,
    const double* __restrict__ y, const double* __restrict__ weight,
    const double* __restrict__ offset, const double* __restrict__ trials,
    const double* __restrict__ params, ll n, ll padded, ll qg, ll qe, ll m,
    ll u_gate, ll u_gate_rows, ll u_expert, ll u_expert_rows,
    ll v_gate, ll v_gate_rows, ll v_expert, ll v_expert_rows, ll entropies,
    double* __restrict__ U, GRAM* __restrict__ V, double* __restrict__ partial)
{
    const double *coef = params + K * qg, *dispersion = coef + K * qe, *constant = dispersion + K;
    double sums[3 + 2 * K];
    for (int j = 0; j < 3 + 2 * K; j++) sums[j] = 0.0;
    for (ll i = FIRST; i < padded; i += LANES) {
        ll tile = i / m, r = i % m;
        double* u_g = U + u_gate + tile * u_gate_rows * m + r;
        double* u_e = U + u_expert + tile * u_expert_rows * m + r;
        GRAM* v_g = V + v_gate + tile * v_gate_rows * m + r;
        GRAM* v_e = V + v_expert + tile * v_expert_rows * m + r;
        if (i >= n) {
            for (int k = 0; k < K; k++) u_g[k * m] = u_e[k * m] = 0.0;
            for (int k = 0; k < K; k++) v_e[k * m] = (GRAM)0.0;
            for (int pair = 0; pair < PAIRS; pair++) v_g[pair * m] = (GRAM)0.0;
            continue;
        }
        double logit[K], density[K], score[K], information[K], extra[K];
        double w = weight ? weight[i] : 1.0, count = trials ? trials[i] : 1.0;
        double shift = offset ? offset[i] : 0.0, log_y = FAMILY == 3 ? log(y[i]) : 0.0;
        linear(gate_design + i * qg, params, qg, K, logit);
        linear(expert_design + i * qe, coef, qe, K, score);
        for (int k = 0; k < K; k++) {
            Unit unit = glm_unit(score[k] + shift, y[i], log_y, count, dispersion[k], constant[k]);
            density[k] = unit.value;
            score[k] = unit.score;
            information[k] = unit.information;
            extra[k] = unit.extra;
        }
        responsibilities(logit, density, w, entropies, sums);
        for (int k = 0, pair = 0; k < K; k++) {
            double resp = w * density[k];
            sums[3 + K + k] += resp * extra[k];
            u_g[k * m] = resp - w * logit[k];
            u_e[k * m] = resp * score[k];
            v_e[k * m] = gram(resp * information[k]);
            for (int l = k + 1; l < K; l++, pair++)
                v_g[pair * m] = (GRAM)(w * logit[k] * logit[l]);
        }
    }
    for (int j = 0; j < 3 + 2 * K; j++) partial[j * LANES + FIRST] = sums[j];
}
"""
)

MULTINOMIAL = (
    _COMMON
    + _SOFTMAX
    + r"""
// partial (3 + K, lanes): w log p, soft and hard entropy, masses; y holds codes of classes
extern "C" __global__ void softmax_multinomial_rows(
    const double* __restrict__ gate_design, const double* __restrict__ expert_design,
    const double* __restrict__ y, const double* __restrict__ weight,
    const double* __restrict__ params, ll n, ll padded, ll qg, ll qe, ll m,
    ll u_gate, ll u_gate_rows, ll u_expert, ll u_expert_rows,
    ll v_gate, ll v_gate_rows, ll v_expert, ll v_expert_rows, ll entropies,
    double* __restrict__ U, GRAM* __restrict__ V, double* __restrict__ partial)
{
    const double* coef = params + K * qg;
    double sums[3 + K];
    for (int j = 0; j < 3 + K; j++) sums[j] = 0.0;
    for (ll i = FIRST; i < padded; i += LANES) {
        ll tile = i / m, r = i % m;
        double* u_g = U + u_gate + tile * u_gate_rows * m + r;
        double* u_e = U + u_expert + tile * u_expert_rows * m + r;
        GRAM* v_g = V + v_gate + tile * v_gate_rows * m + r;
        GRAM* v_e = V + v_expert + tile * v_expert_rows * m + r;
        if (i >= n) {
            for (int k = 0; k < K; k++) u_g[k * m] = 0.0;
            for (int j = 0; j < K * C; j++) u_e[j * m] = 0.0;
            for (int j = 0; j < K * (C * (C - 1) / 2); j++) v_e[j * m] = (GRAM)0.0;
            for (int pair = 0; pair < PAIRS; pair++) v_g[pair * m] = (GRAM)0.0;
            continue;
        }
        double logit[K], density[K], prob[K * C], w = weight ? weight[i] : 1.0;
        int code = (int)y[i];
        linear(gate_design + i * qg, params, qg, K, logit);
        for (int k = 0; k < K; k++) {
            linear(expert_design + i * qe, coef + k * C * qe, qe, C, prob + k * C);
            double own = prob[k * C + code];
            density[k] = own - softmax(prob + k * C, C);
        }
        responsibilities(logit, density, w, entropies, sums);
        for (int k = 0, pair = 0, among = 0; k < K; k++) {
            double resp = w * density[k];
            const double* p = prob + k * C;
            u_g[k * m] = resp - w * logit[k];
            for (int c = 0; c < C; c++) {
                u_e[(k * C + c) * m] = resp * ((c == code ? 1.0 : 0.0) - p[c]);
                for (int d = c + 1; d < C; d++, among++)
                    v_e[among * m] = (GRAM)(resp * p[c] * p[d]);
            }
            for (int l = k + 1; l < K; l++, pair++)
                v_g[pair * m] = (GRAM)(w * logit[k] * logit[l]);
        }
    }
    for (int j = 0; j < 3 + K; j++) partial[j * LANES + FIRST] = sums[j];
}
"""
)
