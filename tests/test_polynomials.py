"""The constants of the kernels: as derived, and as accurate as the poses need."""

import math
from pathlib import Path

import numpy as np
import pytest
from inside import (
    cosine_and_sine,
    from_euler_zyz,
    polar_angle,
    polynomial,
    polynomials,
    within_half_turn,
)


@pytest.mark.filterwarnings("ignore:Descending:DeprecationWarning")
def test_module_is_what_the_script_derives():
    derive = pytest.importorskip("derive_polynomials", reason="mpmath is not installed")
    assert Path(polynomials.__file__).read_text() == derive.module_text()


@pytest.mark.parametrize(
    ("coefficients", "bound"),
    [(polynomials.HALF_ANGLE_OVER_SINE_F4, 2e-11), (polynomials.HALF_ANGLE_OVER_SINE_F8, 2e-14)],
)
def test_angle_of_a_quaternion(coefficients, bound):
    """2 acos(w) by polynomial is off by no more than twice the fit, times sin <= 1."""
    angles = np.linspace(0, math.pi, 2001)
    for angle in angles:
        w, sine = math.cos(angle / 2), math.sin(angle / 2)
        assert abs(2 * polynomial(w, coefficients) * sine - angle) <= 2 * bound + 1e-15


def test_cosine_and_sine_up_to_a_common_sign():
    for angle in np.concatenate([np.linspace(-20, 20, 999), [0.0, math.pi / 2, 1e5, -123456.0]]):
        cosine, sine = cosine_and_sine(float(angle))
        sign = 1 if cosine * math.cos(angle) + sine * math.sin(angle) > 0 else -1
        assert sign * cosine == pytest.approx(math.cos(angle), abs=6e-16)
        assert sign * sine == pytest.approx(math.sin(angle), abs=6e-16)


def test_polar_angle_is_atan2():
    coefficients = polynomials.HALF_ANGLE_OVER_SINE_F8
    for angle in np.linspace(-math.pi, math.pi, 721):
        for radius in (1.0, 1e-8, 0.3):
            x, y = radius * math.cos(angle), radius * math.sin(angle)
            assert polar_angle(x, y, coefficients) == pytest.approx(math.atan2(y, x), abs=1e-13)
    assert polar_angle(0.0, 0.0, coefficients) == 0


def test_half_turns_are_kept():
    for angle, wrapped in ((0, 0), (180, 180), (-180, -180), (181, -179), (-359, 1), (360, 0)):
        assert within_half_turn(float(angle)) == wrapped


def test_euler_quaternion_has_length_one():
    q = np.array(from_euler_zyz(-721.0, 33.0, 1234.5))
    assert np.linalg.norm(q) == pytest.approx(1, abs=1e-15)
