"""Areas of caps against mpmath, from where they underflow to the whole sphere."""

import mpmath
import numpy as np
import pytest

from squbed_utils.estimators.baselines import LEAST_CHORD, log_cap_area


@pytest.mark.parametrize("d", [2, 3, 64, 512, 4096])
@pytest.mark.parametrize("chord", [LEAST_CHORD, 0.01, 0.3, 1.2, np.sqrt(2), 1.6, 1.99])
def test_agrees_with_the_incomplete_beta_function(d, chord):
    with mpmath.workdps(40):
        q = mpmath.mpf(float(chord)) ** 2
        x = q * (1 - q / 4)
        share = mpmath.betainc((d - 1) / mpmath.mpf(2), 0.5, 0, x, regularized=True) / 2
        share = share if chord**2 <= 2 else 1 - share
        sphere = 2 * mpmath.pi ** (mpmath.mpf(d) / 2) / mpmath.gamma(mpmath.mpf(d) / 2)
        expected = float(mpmath.log(share * sphere))
    found = log_cap_area(d, np.array([chord**2]))
    assert found == pytest.approx([expected], rel=1e-12, abs=1e-10)


def test_the_cap_of_opposite_points_is_the_sphere():
    assert log_cap_area(3, np.array([4.0])) == pytest.approx([np.log(4 * np.pi)])
