"""Derive the polynomials of the kernels with 50 digits, and print their module.

After a change of a degree:
``python tests/derive_polynomials.py > numba_symexp/kernels/polynomials.py``.
``test_polynomials.py`` holds the module against this script.
"""

import mpmath

mpmath.mp.dps = 50

HEADER = '''"""Polynomial coefficients, constant term first, and pi in parts.

Written by ``tests/derive_polynomials.py``, which derives them; do not edit. LLVM vectorizes
polynomials and leaves calls of the mathematical library scalar; besides, products and sums round
alike on every processor, so equal tables give equal bytes everywhere.
"""
'''

TURN = (mpmath.pi / 2) ** 2
"""Upper end of r*r after the half angle is reduced to |r| <= pi/2."""


def half_angle_over_sine(w):
    """``acos(w) / sqrt(1 - w*w)``, analytic on [0, 1]: pi/2 at w = 0 and 1 at w = 1."""
    return mpmath.acos(w) / mpmath.sqrt(1 - w * w) if w < 1 else mpmath.mpf(1)


def cosine_of_root(u):
    """``cos(sqrt(u))``."""
    return mpmath.cos(mpmath.sqrt(u))


def sinc_of_root(u):
    """``sin(sqrt(u)) / sqrt(u)``."""
    root = mpmath.sqrt(u)
    return mpmath.sin(root) / root if u > 0 else mpmath.mpf(1)


FITS = (
    ("HALF_ANGLE_OVER_SINE_F4", half_angle_over_sine, 1, 13, "acos(w)/sqrt(1-w^2) on [0, 1]"),
    ("HALF_ANGLE_OVER_SINE_F8", half_angle_over_sine, 1, 17, "acos(w)/sqrt(1-w^2) on [0, 1]"),
    ("COSINE", cosine_of_root, TURN, 9, "cos(r) in u = r^2 for |r| <= pi/2"),
    ("SINC", sinc_of_root, TURN, 9, "sin(r)/r in u = r^2 for |r| <= pi/2"),
)


def fit(function, upper, degree):
    """Chebyshev fit on [0, upper]: float64 coefficients, constant term first, and its error."""
    coefficients, error = mpmath.chebyfit(function, [0, upper], degree + 1, error=True)
    return tuple(float(c) for c in reversed(coefficients)), float(error)


def pi_parts():
    """Pi as three float64 whose first two have 33 bits: k * part is exact for k < 2**20."""
    parts = []
    rest = +mpmath.pi
    for _ in range(2):
        exponent = mpmath.floor(mpmath.log(rest, 2))
        unit = mpmath.mpf(2) ** (exponent - 32)
        part = mpmath.floor(rest / unit) * unit
        parts.append(float(part))
        rest -= part
    return (*parts, float(rest))


def module_text():
    """Text of ``numba_symexp/kernels/polynomials.py``."""
    lines = [HEADER]
    for name, function, upper, degree, meaning in FITS:
        coefficients, error = fit(function, upper, degree)
        lines += [f"{name} = (", *(f"    {c!r}," for c in coefficients), ")"]
        lines += [f'"""{meaning}, degree {degree}, off by at most {error:.1e}."""', ""]
    lines += ["PI_PARTS = (", *(f"    {part!r}," for part in pi_parts()), ")"]
    lines += ['"""Pi in three parts; k times each of the first two is exact for k < 2**20."""', ""]
    return "\n".join(lines)


if __name__ == "__main__":
    print(module_text(), end="")
