"""The unit of a time axis."""

import pytest

from experiments.charts.drawing.time_unit import time_unit

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("longest_s", "unit"),
    [
        (0, ("seconds", 1)),
        (180, ("seconds", 1)),
        (181, ("minutes", 60)),
        (3 * 3600, ("minutes", 60)),
        (4 * 86_400, ("hours", 3600)),
        (1e9, ("days", 86_400)),
    ],
)
def test_a_unit_fits_the_longest_time(longest_s, unit):
    """TD-C5: neither 0.0014 hours nor 90,000 seconds."""
    assert time_unit(longest_s) == unit
