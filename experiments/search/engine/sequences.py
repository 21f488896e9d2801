"""Sequences that cover a cube more evenly than random points: Sobol and Halton.

Point n can be computed without the points before it. The points equal those of `scipy.stats.qmc` for the same seed.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BITS = 30
# Joe and Kuo, "Constructing Sobol sequences with better two-dimensional projections", 2008: for each dimension after
# the first, a primitive polynomial (its bits are the coefficients) and the first direction numbers.
DIRECTIONS = """
3:1 7:1,3 11:1,3,1 13:1,1,1 19:1,1,3,3 25:1,3,5,13 37:1,1,5,5,17 41:1,1,5,5,5 47:1,1,7,11,19 55:1,1,5,1,1
59:1,1,1,3,11 61:1,3,5,5,31 67:1,3,3,9,7,49 91:1,1,1,15,21,21 97:1,3,1,13,27,49 103:1,1,1,15,7,5
109:1,3,1,15,13,25 115:1,1,5,5,19,61 131:1,3,7,11,23,15,103 137:1,3,7,13,13,15,69 143:1,1,3,13,7,35,63
145:1,3,5,9,1,25,53 157:1,3,1,13,9,35,107 167:1,3,1,5,27,61,31 171:1,1,5,11,19,41,61 185:1,3,5,3,3,13,69
191:1,1,7,13,1,19,1 193:1,3,7,5,13,19,59 203:1,1,3,9,25,29,41 211:1,3,5,13,23,1,55 213:1,3,7,3,13,59,17
229:1,3,1,3,5,53,69 239:1,1,5,5,23,33,13 241:1,1,7,7,1,61,123 247:1,1,7,9,13,61,49 253:1,3,3,5,3,55,33
285:1,3,1,15,31,13,49,245 299:1,3,5,15,31,59,63,97 301:1,3,1,11,11,11,77,249 333:1,3,1,11,27,43,71,9
351:1,1,7,15,21,11,81,45 355:1,3,7,3,25,31,65,79 357:1,3,1,1,19,11,3,205 361:1,1,5,9,19,21,29,157
369:1,3,7,11,1,33,89,185 391:1,3,3,3,15,9,79,71 397:1,3,7,11,15,39,119,27 425:1,1,3,1,11,31,97,225
451:1,1,1,3,23,43,57,177 463:1,3,7,7,17,17,37,71 487:1,3,1,5,27,63,123,213 501:1,1,3,5,11,43,53,133
529:1,3,5,5,29,17,47,173,479 539:1,3,3,11,3,1,109,9,69 545:1,1,1,5,17,39,23,5,343 557:1,3,1,5,25,15,31,103,499
563:1,1,1,11,11,17,63,105,183 601:1,1,5,11,9,29,97,231,363 607:1,1,5,15,19,45,41,7,383
617:1,3,7,7,31,19,83,137,221 623:1,1,1,3,23,15,111,223,83 631:1,1,5,13,31,15,55,25,161
637:1,1,3,13,25,47,39,87,257
"""
MOST_SOBOL = 1 + len(DIRECTIONS.split())  # dimensions; further ones are random

Points = NDArray[np.float64]


def sobol(dimensions: int, index: int, length: int, *, seed: int, scramble: bool) -> Points:
    """Return points number `index` to `index + length - 1` (length × dimensions), numbers from 0 to below 1.

    Scrambled by a random linear matrix and a digital shift (Matoušek 1998). The dimensions after the 64th are random.
    """
    even = min(dimensions, MOST_SOBOL)
    numbers = _direction_numbers(even)
    shift = np.zeros(even, dtype=np.int64)
    if scramble:
        random = _generator(seed)
        shift = random.integers(2, size=(even, BITS), dtype=np.uint32).astype(np.int64) @ 2 ** np.arange(BITS)
        matrices = np.tril(random.integers(2, size=(even, BITS, BITS), dtype=np.uint32)).astype(np.int64)
        matrices[:, np.arange(BITS), np.arange(BITS)] = 1
        high_first = numbers[:, :, None] >> np.arange(BITS - 1, -1, -1) & 1
        numbers = (high_first @ matrices.transpose(0, 2, 1) % 2) @ 2 ** np.arange(BITS - 1, -1, -1)
    ordinals = np.arange(index, index + length)
    points = np.broadcast_to(shift, (length, even)).copy()
    for bit in range(BITS):
        points ^= np.where((ordinals ^ ordinals >> 1)[:, None] >> bit & 1, numbers[:, bit], 0)
    rest = [np.random.default_rng([seed, int(ordinal)]).random(dimensions - even) for ordinal in ordinals]
    return np.hstack((points / 2**BITS, np.reshape(rest, (length, dimensions - even))))


def _direction_numbers(dimensions: int) -> NDArray[np.int64]:
    """Return the direction numbers (dimensions × bits), the highest bit first."""
    rows = [[1] * BITS]
    for text in DIRECTIONS.split()[: dimensions - 1]:
        polynomial, _, first = text.partition(":")
        bits, row = f"{int(polynomial):b}"[1:], [int(number) for number in first.split(",")]
        while len(row) < BITS:
            number = row[-len(bits)]
            for back, bit in enumerate(bits, start=1):
                if bit == "1":
                    number ^= row[-back] << back
            row.append(number)
        rows.append(row)
    return np.array(rows[:dimensions], dtype=np.int64) << np.arange(BITS - 1, -1, -1)


def halton(dimensions: int, index: int, length: int, *, seed: int, scramble: bool) -> Points:
    """Return points number `index` to `index + length - 1` (length × dimensions), numbers from 0 to below 1.

    Each dimension has a prime as its base. Scrambled by permutations of the digits (Owen 2017).
    """
    random = _generator(seed)
    columns = []
    for base in _primes(dimensions):
        permutations = np.repeat(np.arange(base)[None], math.ceil(54 / math.log2(base)) - 1, axis=0)
        if scramble:
            for permutation in permutations:
                random.shuffle(permutation)
        rest, weight, column = np.arange(index, index + length), 1.0, np.zeros(length)
        for permutation in permutations:
            weight /= base
            column += permutation[rest % base] * weight
            rest //= base
        columns.append(column)
    return np.stack(columns, axis=1)


def _generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed).spawn(1)[0]  # as SciPy does


def _primes(count: int) -> Sequence[int]:
    primes: list[int] = []
    number = 2
    while len(primes) < count:
        if all(number % prime for prime in primes if prime * prime <= number):
            primes.append(number)
        number += 1
    return primes


SEQUENCES = {"sobol": sobol, "halton": halton}
