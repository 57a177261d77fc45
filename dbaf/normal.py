"""The inverse normal distribution function, bit for bit the same on every platform."""

import math


def normal_quantile(u: float) -> float:
    """Inverse CDF of the standard normal distribution for u in (0, 1), the same binary64 on every platform.

    Source: algorithm AS 241, PPND16 (M. J. Wichura, Applied Statistics 37(3), 1988), relative error about 1e-15.
    `statistics.NormalDist().inv_cdf` is the same algorithm, but its C version may be compiled with fused
    multiply-adds and calls the platform's `log`, both of which move last bits. Here every step is one Python
    operation of + - * /, `frexp` or `sqrt`, which IEEE 754 rounds in one way only.
    """
    q = u - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        return q * _polynomial(_CENTRE_TOP, r) / _polynomial(_CENTRE_BOTTOM, r)
    r = math.sqrt(-_log_of_tail(min(u, 1.0 - u)))
    if r <= 5.0:
        x = _polynomial(_MIDDLE_TOP, r - 1.6) / _polynomial(_MIDDLE_BOTTOM, r - 1.6)
    else:
        x = _polynomial(_FAR_TOP, r - 5.0) / _polynomial(_FAR_BOTTOM, r - 5.0)
    return -x if q < 0.0 else x


def _log_of_tail(u: float) -> float:
    """Natural logarithm of u in (0, 1) from exactly rounded operations only: 2 artanh((m - 1) / (m + 1)) + e ln 2."""
    mantissa, exponent = math.frexp(u)
    if mantissa < 0.7071067811865476:
        mantissa, exponent = 2.0 * mantissa, exponent - 1
    s = (mantissa - 1.0) / (mantissa + 1.0)  # |s| < 0.172, so 12 terms reach 1e-19
    return 2.0 * s * _polynomial(_ARTANH, s * s) + exponent * 0.6931471805599453


def _polynomial(coefficients: tuple[float, ...], x: float) -> float:
    """Horner's rule, highest power first."""
    value = 0.0
    for coefficient in coefficients:
        value = value * x + coefficient
    return value


_ARTANH = tuple(1.0 / (2 * k + 1) for k in reversed(range(12)))
# fmt: off
_CENTRE_TOP = (
    2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4,
    1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080e0,
)
_CENTRE_BOTTOM = (
    5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4,
    5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0,
)
_MIDDLE_TOP = (
    7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e0,
    3.64784832476320460504e0, 5.76949722146069140550e0, 4.63033784615654529590e0, 1.42343711074968357734e0,
)
_MIDDLE_BOTTOM = (
    1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
    6.89767334985100004550e-1, 1.67638483018380384940e0, 2.05319162663775882187e0, 1.0,
)
_FAR_TOP = (
    2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2,
    2.96560571828504891230e-1, 1.78482653991729133580e0, 5.46378491116411436990e0, 6.65790464350110377720e0,
)
_FAR_BOTTOM = (
    2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4,
    1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0,
)
# fmt: on
