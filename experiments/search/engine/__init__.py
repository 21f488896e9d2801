"""Ask for the next trials, with the algorithm of the experiment.

The rows of an experiment are the truth: a proposal depends on the past trials, as they are seen under the current
search space, on the seed, and on nothing that a process remembers. So the same rows give the same proposals, whoever
asks. What an algorithm must know of its own proposals (CMA-ES: their generation) it writes into their `attrs`, which
are kept with the rows. A new algorithm is a function and an entry in ALGORITHMS.
"""

from .algorithms import ALGORITHMS, Algorithm
from .ask import forget, informs, learns, outside, propose
from .problem import Exhausted, Past, Problem, Proposal, inherited
from .selection import canonical, check_algorithm

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "Exhausted",
    "Past",
    "Problem",
    "Proposal",
    "canonical",
    "check_algorithm",
    "forget",
    "informs",
    "inherited",
    "learns",
    "outside",
    "propose",
]
