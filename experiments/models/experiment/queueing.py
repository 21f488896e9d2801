"""An experiment's place in the line of its queue."""

from __future__ import annotations

from typing import Self

from experiments.models.event import Event
from experiments.models.queue import GAP, Queue
from experiments.models.status import Refused
from experiments.models.user import User

from .base import ExperimentBase


class QueueingVerbs(ExperimentBase):
    """The verbs with which an experiment changes its place; see `move_to` for another queue.

    Each is the experiment's turn and, in it, the queue's: two moves at once happen one after the other.
    """

    class Meta:
        abstract = True

    def front(self, *, by: User) -> bool:
        """To the front of its queue. False: it stands there."""
        with self.locked():
            self.allows("front")
            queue = self._own_queue()
            line = list(queue.in_line().values_list("pk", "position")[:1])
            if not line or line[0][0] == self.pk:
                return False
            return self._stand_at(line[0][1] - GAP, by=by, verb="front")

    def back(self, *, by: User) -> bool:
        """To the back of its queue. False: it stands there."""
        with self.locked():
            self.allows("back")
            queue = self._own_queue()
            if queue.in_line().values_list("pk", flat=True).last() == self.pk:
                return False
            return self._stand_at(queue.next_position(), by=by, verb="back")

    def before(self, other: Self, *, by: User) -> bool:
        """Directly before `other`, which stands in the same queue. False: it stands there."""
        try:
            return self._stand_before(other, by=by)
        except _NoRoom as no_room:
            no_room.queue.spread()
            return self._stand_before(other, by=by)

    def _stand_before(self, other: Self, *, by: User) -> bool:
        with self.locked():
            self.allows("before")
            queue = self._own_queue()
            line = list(queue.in_line().values_list("pk", "position"))
            order = [pk for pk, _ in line]
            if other.pk not in order or other.pk == self.pk:
                raise Refused(
                    f"What it should stand before is not in the queue {self.queue} any more. Look at it again."
                )
            place = order.index(other.pk)
            if place and order[place - 1] == self.pk:
                return False
            end = line[place][1]
            start = line[place - 1][1] if place else end - 2 * GAP
            if end - start < 2:
                raise _NoRoom(queue)
            return self._stand_at(
                (start + end) // 2, by=by, verb="before", why=f"place {place + 1} of {self.queue}"
            )

    def _own_queue(self) -> Queue:
        if self.queue is None:
            raise Refused(f"The queue of {self} was deleted. Move it to another one.")
        return self.queue.locked()

    def _stand_at(self, position: int, *, by: User, verb: str, why: str = "") -> bool:
        self.position = position
        self.save(
            update_fields=["position"]
        )  # the next look at the queue, in this transaction, must find it there
        Event.note(verb, self, by=by, why=why or f"queue {self.queue}")
        return True


class _NoRoom(Exception):
    """No whole number is left between two places of this queue."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
