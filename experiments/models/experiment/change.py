"""Change an experiment as a whole: settings, description, user properties and queue in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from experiments.models.account.user import User
from experiments.models.compute.queue import Queue
from experiments.models.settings import Settings
from experiments.models.status import ExperimentState

from .creation import CreationVerbs


@dataclass(frozen=True)
class ChangeResult:
    """What changed: the settings (there is a new revision), the description, the user properties, the queue."""

    is_revised: bool = False
    is_described: bool = False
    is_annotated: bool = False
    is_moved: bool = False


class ChangeVerbs(CreationVerbs):
    """The method behind the page Edit and the request PATCH."""

    class Meta:
        abstract = True

    def change(
        self,
        *,
        by: User,
        settings: Settings | None = None,
        seen: int | None = None,
        note: str = "",
        stop_surplus: bool = False,
        apply_to_running: bool = False,
        description: dict[str, Any] | None = None,
        properties: dict[str, str] | None = None,
        queue: Queue | None = None,
    ) -> ChangeResult:
        """Apply all changes, or none. Arguments that are None change nothing.

        `settings` edit a draft and update an active experiment: see `edit` and `update`, also for `seen`, `note`,
        `stop_surplus` and `apply_to_running`. The default of `seen` is the current revision.
        `description` has the arguments of `describe`. Raise `Invalid`, `Refused`.
        """
        with self.locked():
            seen = self.revision.number if seen is None else seen
            is_revised = False
            if settings is None:
                self.check_seen(seen)
            elif self.state == ExperimentState.DRAFT:
                is_revised = self.edit(settings, by=by, seen=seen, note=note)
            else:
                is_revised = self.update(
                    settings,
                    by=by,
                    seen=seen,
                    note=note,
                    stop_surplus=stop_surplus,
                    apply_to_running=apply_to_running,
                )
            return ChangeResult(
                is_revised=is_revised,
                is_described=self.describe(by=by, **description) if description else False,
                is_annotated=properties is not None and self.annotate(by=by, properties=properties),
                is_moved=queue is not None and self._move(queue, by=by),
            )

    def _move(self, queue: Queue, *, by: User) -> bool:
        if self.state == ExperimentState.DRAFT:  # in no queue yet: nothing moves
            return self._change_queue(queue, by=by)
        return self.move_to(queue, by=by)
