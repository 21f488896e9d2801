"""Wilcoxon's signed-rank test."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

MOST_EXACT = 50  # differences; with more, the distribution of the rank sum is taken as normal


def signed_rank_p(differences: Sequence[float]) -> float:
    """Return the p value of the hypothesis that the differences are symmetric about zero, against the alternative that
    they tend to be less. Equal absolute values share their mean rank; half the ranks of zeros count as positive.

    As `scipy.stats.wilcoxon(differences, alternative="less", zero_method="zsplit")`, except that the distribution is
    exact for up to 50 differences: with ties, SciPy takes it as normal from 14 differences on.
    """
    sizes = [abs(difference) for difference in differences]
    count, ties = len(sizes), Counter(sizes)
    ranks, below = {}, 0
    for size in sorted(ties):
        ranks[size] = 2 * below + ties[size] + 1  # doubled, so that mean ranks are whole
        below += ties[size]
    if count <= MOST_EXACT:
        observed = sum(ranks[abs(difference)] for difference in differences if difference > 0)
        moved = [ranks[size] for size in sizes if size]
        ways = [1] + [0] * observed  # of reaching each sum up to the observed one by choosing signs
        for rank in moved:
            for total in range(observed, rank - 1, -1):
                ways[total] += ways[total - rank]
        return sum(ways) / 2 ** len(moved)
    positive = sum(ranks[abs(each)] * ((each > 0) + (each == 0) / 2) for each in differences) / 2
    mean = count * (count + 1) / 4
    variance = (count * (count + 1) * (2 * count + 1) - sum(tie**3 - tie for tie in ties.values()) / 2) / 24
    return math.erfc((mean - positive) / math.sqrt(2 * variance)) / 2
