"""Wilcoxon's signed-rank test, against SciPy's and against all signs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, wilcoxon

from experiments.search.early_stopping.signed_rank import MOST_EXACT, signed_rank_p

DIFFERENT = st.lists(st.integers(-1_000, 1_000).filter(bool), min_size=2, max_size=120, unique_by=abs)
TIED = st.lists(st.integers(-4, 4), min_size=2, max_size=13).filter(any)
MANY_TIED = st.lists(st.integers(-9, 9), min_size=MOST_EXACT + 1, max_size=120).filter(any)


@given(st.one_of(DIFFERENT, TIED, MANY_TIED))
def test_the_p_value_is_scipys(differences: list[int]) -> None:
    """NNI-S2: exact without ties up to 50 differences, and with ties and zeros up to 13; normal above 50."""
    expected = wilcoxon(
        [float(each) for each in differences], alternative="less", zero_method="zsplit"
    ).pvalue
    assert signed_rank_p(differences) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(st.lists(st.integers(-3, 3), min_size=14, max_size=15).filter(any))
def test_with_ties_it_is_exact_where_scipys_is_not(differences: list[int]) -> None:
    """NNI-S2: the share of all choices of signs whose positive ranks add up to no more."""
    ranks = [
        rank for rank, each in zip(rankdata([abs(d) for d in differences]), differences, strict=True) if each
    ]
    positive = sum(r for r, each in zip(ranks, filter(None, differences), strict=True) if each > 0)
    sums = [0.0]
    for rank in ranks:
        sums += [total + rank for total in sums]
    assert signed_rank_p(differences) == pytest.approx(sum(total <= positive for total in sums) / len(sums))
