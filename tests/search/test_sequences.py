"""Sobol's and Halton's sequences, against SciPy's."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.stats import qmc

from experiments.search.engine.sequences import MOST_SOBOL, SEQUENCES, sobol


@pytest.mark.parametrize("index", [0, 1, 7, 4_000])
@pytest.mark.parametrize("scramble", [False, True])
@pytest.mark.parametrize("dimensions", [1, 2, 9, MOST_SOBOL])
@pytest.mark.parametrize(("name", "reference"), [("sobol", qmc.Sobol), ("halton", qmc.Halton)])
def test_the_points_are_scipys(
    name: str, reference: type, dimensions: int, scramble: bool, index: int
) -> None:
    """NNI-S2: the same numbers, from any point on: a search goes on as it began."""
    generator = reference(dimensions, scramble=scramble, rng=99)
    if index:
        generator.fast_forward(index)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Sobol's balance needs a power of 2 points
        expected = generator.random(33)
    points = SEQUENCES[name](dimensions, index, 33, seed=99, scramble=scramble)
    assert np.array_equal(points, expected)


def test_the_dimensions_beyond_the_table_are_random() -> None:
    """NNI-S2: points can still be computed on their own, and the first dimensions stay as they are."""
    points = sobol(MOST_SOBOL + 6, 0, 256, seed=1, scramble=True)
    assert points.shape == (256, MOST_SOBOL + 6) and points.min() >= 0 and points.max() < 1
    assert np.array_equal(points[:, :MOST_SOBOL], sobol(MOST_SOBOL, 0, 256, seed=1, scramble=True))
    assert np.array_equal(points[40:43], sobol(MOST_SOBOL + 6, 40, 3, seed=1, scramble=True))
    rest = points[:, MOST_SOBOL:]
    assert len(np.unique(rest)) == rest.size and abs(rest.mean() - 0.5) < 0.05
