"""Propose parameter values for the next trials with the experiment's algorithm.

Proposals are a pure function of stored rows: they depend on the past trials, as they fit the current search space, and
on the seed, never on the memory of a process. The same rows give the same proposals in every process. An algorithm
that must remember something about its own proposals (CMA-ES: their generation) stores it in their `attrs`, which are
saved with the rows. To add an algorithm, write a function and add an entry to ALGORITHMS.
"""

from .algorithm_choice import canonical, check_algorithm, received, received_names, written_names
from .algorithms import ALGORITHMS, Algorithm
from .problem import Exhausted, Past, PastTrial, Problem, Proposal, StoredTrial, inherited_attrs
from .proposals import (
    clear_caches,
    count_informing,
    count_outside,
    is_exhausted,
    learns_from_results,
    needs_past,
    propose,
)
from .tried_keys import tried_keys

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "Exhausted",
    "Past",
    "PastTrial",
    "Problem",
    "Proposal",
    "StoredTrial",
    "canonical",
    "check_algorithm",
    "clear_caches",
    "count_informing",
    "count_outside",
    "inherited_attrs",
    "is_exhausted",
    "learns_from_results",
    "needs_past",
    "propose",
    "received",
    "received_names",
    "tried_keys",
    "written_names",
]
