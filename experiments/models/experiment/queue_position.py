"""An experiment's position in its queue."""

from __future__ import annotations

from typing import Self

from experiments.models.account.user import User
from experiments.models.compute.queue import GAP, Queue
from experiments.models.event import Event
from experiments.models.status import Refused

from .base import ExperimentBase


class QueuePositionVerbs(ExperimentBase):
    """The methods that change an experiment's position; see `move_to` for another queue.

    Each locks the experiment and then the queue, so that concurrent moves run one after the other.
    """

    class Meta:
        abstract = True

    def front(self, *, by: User) -> bool:
        """Move to the front of the queue. Return False if it is already there."""
        with self.locked():
            self.allows("front")
            queue = self._own_queue()
            first = list(queue.active_experiments().values_list("pk", "position")[:1])
            if not first or first[0][0] == self.pk:
                return False
            return self._set_position(first[0][1] - GAP, by=by, verb="front")

    def back(self, *, by: User) -> bool:
        """Move to the back of the queue. Return False if it is already there."""
        with self.locked():
            self.allows("back")
            queue = self._own_queue()
            if queue.active_experiments().values_list("pk", flat=True).last() == self.pk:
                return False
            return self._set_position(queue.next_position(), by=by, verb="back")

    def before(self, other: Self, *, by: User) -> bool:
        """Move directly before `other`, which is in the same queue. Return False if it is already there."""
        try:
            return self._move_before(other, by=by)
        except _NoGap as no_gap:
            no_gap.queue.spread()
            return self._move_before(other, by=by)

    def _move_before(self, other: Self, *, by: User) -> bool:
        with self.locked():
            self.allows("before")
            queue = self._own_queue()
            positions = list(queue.active_experiments().values_list("pk", "position"))
            order = [pk for pk, _ in positions]
            if other.pk not in order or other.pk == self.pk:
                raise Refused(
                    f"The other experiment is no longer in the queue {self.queue}. Reload the page and try again."
                )
            rank = order.index(other.pk)
            if rank and order[rank - 1] == self.pk:
                return False
            end = positions[rank][1]
            start = positions[rank - 1][1] if rank else end - 2 * GAP
            if end - start < 2:
                raise _NoGap(queue)
            return self._set_position(
                (start + end) // 2, by=by, verb="before", why=f"position {rank + 1} of {self.queue}"
            )

    def _own_queue(self) -> Queue:
        if self.queue is None:
            raise Refused(f"The queue of {self} was deleted. Move the experiment to another one.")
        return self.queue.lock()

    def _set_position(self, position: int, *, by: User, verb: str, why: str = "") -> bool:
        self.position = position
        self.save(update_fields=["position"])  # before this transaction looks at the queue again
        Event.note(verb, self, by=by, why=why or f"queue {self.queue}")
        return True


class _NoGap(Exception):
    """No whole number is left between two positions of this queue."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
