"""Elementary functions that LLVM vectorises: free of branches, tables and calls."""

from __future__ import annotations

import math

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ._compile import helper

HALF_LOG_2PI = 0.9189385332046727

_ROUND = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to an integer held in the low bits
_LOG2_E = 1.4426950408889634
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10


@intrinsic
def _float_bits(typingctx, value):
    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), codegen


@intrinsic
def _bits_float(typingctx, value):
    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), codegen


@helper
def fast_exp(x):
    """exp(x) within 2 ulp; x below -708 gives 0, x above 709 gives exp(709)."""
    bounded = max(min(x, 709.0), -708.0)
    shifted = bounded * _LOG2_E + _ROUND
    n = shifted - _ROUND
    t = (bounded - n * _LN2_HIGH) - n * _LN2_LOW
    p = 1.6059043836821613e-10  # 1 / 13!
    p = p * t + 2.08767569878681e-09
    p = p * t + 2.505210838544172e-08
    p = p * t + 2.755731922398589e-07
    p = p * t + 2.7557319223985893e-06
    p = p * t + 2.48015873015873e-05
    p = p * t + 1.984126984126984e-04
    p = p * t + 1.388888888888889e-03
    p = p * t + 8.333333333333333e-03
    p = p * t + 4.1666666666666664e-02
    p = p * t + 1.6666666666666666e-01
    p = p * t + 0.5
    p = p * t + 1.0
    p = p * t + 1.0
    power = _bits_float((_float_bits(shifted) << 52) + 0x3FF0000000000000)
    return p * power if x > -708.0 else 0.0


@helper
def fast_log(x):
    """log(x) within 1 ulp for positive normal x (the method of FreeBSD's msun, e_log.c)."""
    # the exponent of x / sqrt(1/2), so that the mantissa lies in [sqrt(1/2), sqrt(2))
    bits = _float_bits(x) + 0x0009_5F61_9980_C433
    n = _bits_float(((bits >> 52) & 0x7FF) | 0x4330000000000000) - 4503599627371519.0
    mantissa = _bits_float((bits & 0x000FFFFFFFFFFFFF) + 0x3FE6A09E667F3BCD)
    f = mantissa - 1.0
    s = f / (2.0 + f)
    z = s * s
    p = 1.479819860511658591e-01
    p = p * z + 1.531383769920937332e-01
    p = p * z + 1.818357216161805012e-01
    p = p * z + 2.222219843214978396e-01
    p = p * z + 2.857142874366239149e-01
    p = p * z + 3.999999999940941908e-01
    p = p * z + 6.666666666666735130e-01
    half = 0.5 * f * f
    return n * _LN2_HIGH - ((half - (s * (half + p * z) + n * _LN2_LOW)) - f)


@helper
def log_ndtr(x):
    """Log of the standard normal distribution function, accurate in the lower tail."""
    if x > -5.0:
        return (
            math.log(0.5 * math.erfc(-x / math.sqrt(2.0)))
            if x < 0.0
            else math.log1p(-0.5 * math.erfc(x / math.sqrt(2.0)))
        )
    # Mills ratio by its continued fraction (Abramowitz and Stegun 26.2.14)
    tail = -x
    for step in range(60, 0, -1):
        tail = -x + step / tail
    return -0.5 * x * x - HALF_LOG_2PI - math.log(tail)
