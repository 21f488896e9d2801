"""Resources that a trial needs and a worker has: devices, cores, memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from experiments.runner.memory_size import format_mebibytes


class Amount(NamedTuple):
    """An amount of each resource; `memory_mib` in MiB."""

    gpus: int = 0
    cores: int = 0
    memory_mib: int = 0

    @classmethod
    def needed_by(cls, row: object) -> Amount:
        """Return what each trial of an experiment, or with these settings, reserves; 0 where nothing is reserved."""
        return cls(*(getattr(row, name) or 0 for name in cls._fields))

    def fits(self, most: Amount) -> bool:
        return all(own <= other for own, other in zip(self, most, strict=True))

    def minus(self, used: Amount) -> Amount:
        return Amount(*(own - other for own, other in zip(self, used, strict=True)))

    def plus(self, more: Amount) -> Amount:
        return Amount(*(own + other for own, other in zip(self, more, strict=True)))

    def times_in(self, most: Amount, *, at_most: int) -> int:
        """Return how many times this amount fits into `most`, up to `at_most`."""
        return min([at_most, *(other // own for own, other in zip(self, most, strict=True) if own)])

    def beyond(self, all_: Iterable[Amount]) -> Amount:
        """Return the resources that none of these amounts has enough of."""
        most = [max(amounts) for amounts in zip(*all_, strict=True)]
        return Amount(*(own if own > other else 0 for own, other in zip(self, most, strict=True)))

    @property
    def description(self) -> str:
        """`2 GPUs, 1 core and 4 GiB of memory`."""
        amounts = [
            f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
            for number, noun in ((self.gpus, "GPU"), (self.cores, "core"))
            if number
        ]
        amounts += [f"{format_mebibytes(self.memory_mib)} of memory"] if self.memory_mib else []
        return " and ".join([", ".join(amounts[:-1]), amounts[-1]] if len(amounts) > 1 else amounts)


class Free(NamedTuple):
    """What a worker has available now: devices and cores by number, and memory."""

    gpus: Sequence[int] = ()
    cores: Sequence[int] = ()
    memory_mib: int = 0

    @property
    def amount(self) -> Amount:
        return Amount(len(self.gpus), len(self.cores), self.memory_mib)


NOTHING = Free()
