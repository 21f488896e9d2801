"""The actions that a page offers, by the table in `models/status.py`: likely ones as buttons, the rest in a menu."""

from __future__ import annotations

from dataclasses import dataclass, replace

from django.urls import reverse

from experiments.models import Experiment, ExperimentState, Queue, User, Workspace, status
from experiments.models.experiment.base import Visibility
from experiments.models.plain_sql import Statement
from experiments.permissions import missing

ICONS = {
    "enqueue": "queue",
    "dequeue": "dequeue",
    "edit": "edit",
    "update": "edit",
    "pause": "pause",
    "unpause": "play",
    "stop": "stop",
    "kill": "stop",
    "resume": "play",
    "reset": "reset",
    "publish": "lock",
    "clone": "clone",
    "delete": "trash",
}
QUEUE_ICONS = {"front": "up", "before": "up", "back": "down", "move_to": "queue"}  # on a queue's page
LIKELY = (
    "enqueue",
    "dequeue",
    "edit",
    "update",
    "unpause",
    "pause",
    "resume",
    "stop",
    "kill",
    "clone",
    "delete",
)
REST = ("move_to", "reset", "publish", "delete")
EDITS = {"edit", "update"}  # one page serves both
SHORTCUTS = {"edit": "e", "clone": "c", "stop": "s", "rerun": "r"}  # keys, by the last part of the URL
WITHOUT_CONFIRMATION = {"dequeue", "pause", "unpause", "front", "back"}  # can be undone


@dataclass(frozen=True, slots=True)
class Button:
    """One action as `components/_action.html` draws it."""

    label: str
    url: str
    icon: str = ""
    is_post: bool = False
    is_question: bool = False
    is_danger: bool = False
    is_primary: bool = False
    why_not: str = ""
    title: str = ""

    @property
    def shortcut(self) -> str:
        """The keyboard shortcut; blank for none."""
        return SHORTCUTS.get(self.url.rstrip("/").rpartition("/")[2], "")


def buttons(experiment: Experiment, user: User) -> tuple[list[Button], list[Button]]:
    """Return the buttons in the page head, and those in its menu.

    An action for which the user lacks the role is disabled and names that role. An action that the state forbids is in
    the menu, with a hint, if a single step would allow it.
    """
    likely = [button(experiment, verb, user) for verb in LIKELY if experiment.offers(verb)]
    more = [button(experiment, verb, user) for verb in REST if _is_listed(experiment, verb)]
    if experiment.offers("move_to") and not _may_move(experiment):
        reason = f"No other queue is available to {experiment.workspace.name}."
        more = [
            replace(action, why_not=action.why_not or reason)
            if action.icon == QUEUE_ICONS["move_to"]
            else action
            for action in more
        ]
    return likely, [*more, _export_button(experiment)]


def _export_button(experiment: Experiment) -> Button:
    url = reverse("experiment-export", args=[experiment.workspace.slug, experiment.public_id])
    return Button(label="Export", url=url, icon="download", is_question=True)


def schedule_button(experiment: Experiment, user: User) -> Button:
    """Return the link to the schedule that repeats the experiment."""
    url = reverse("experiment-schedule", args=[experiment.workspace.slug, experiment.public_id])
    return Button(
        label="Schedule",
        url=url,
        icon="clock",
        is_question=True,
        why_not=missing(user, "schedule", experiment),
    )


def share_button(experiment: Experiment, user: User) -> Button:
    """Return the link to the page that creates a share link for people without an account."""
    why_not = missing(user, "share", experiment)
    if experiment.visibility == Visibility.PRIVATE:
        why_not = why_not or "Private experiments can't be shared by a link."
    url = reverse("experiment-share", args=[experiment.workspace.slug, experiment.public_id])
    return Button(label="Share link", url=url, icon="link", why_not=why_not)


def pin_button(experiment: Experiment) -> Button:
    """Return the action that pins the experiment to the reader's Home, or unpins it."""
    verb, label = ("unpin", "Unpin from Home") if experiment.is_pinned else ("pin", "Pin to Home")
    url = reverse(f"experiment-{verb}", args=[experiment.workspace.slug, experiment.public_id])
    return Button(label=label, url=url, icon="pin", is_post=True)


def _may_move(experiment: Experiment) -> bool:
    """Return whether there is another queue to move it to."""
    return bool(_other_queues.rows(workspace=experiment.workspace_id, queue=experiment.queue_id or 0))


_other_queues = Statement(
    lambda workspace, queue: (
        Queue.objects.granted_to(Workspace(pk=workspace)).exclude(pk=queue).order_by().values_list("pk")[:1]
    ),
    workspace=-1_000_000_007,
    queue=-1_000_000_009,
)


def button(experiment: Experiment, verb: str, user: User) -> Button:
    """Return the button of one action for this user in the experiment's current state."""
    label = "Edit" if verb in EDITS else status.ACTIONS[verb].label
    where = [experiment.workspace.slug, experiment.public_id]
    url = (
        reverse("experiment-edit", args=where)
        if verb in EDITS
        else reverse("experiment-action", args=[*where, verb])
    )
    why_not = missing(user, verb, experiment)
    if not why_not and not experiment.offers(verb):
        state = status.EXPERIMENT_STATES[experiment.state].label
        why_not = f"{state}. {experiment.way_out(verb)}"
    if verb == "enqueue":
        why_not = why_not or experiment.why_not_started
    return Button(
        label=label,
        url=url,
        icon=(ICONS | QUEUE_ICONS)[verb],
        is_post=verb in WITHOUT_CONFIRMATION,
        is_question=verb not in WITHOUT_CONFIRMATION | EDITS,
        is_danger=verb == "delete",
        is_primary=verb == "enqueue",
        why_not=why_not,
    )


def _is_listed(experiment: Experiment, verb: str) -> bool:
    if verb == "delete":  # a button if possible; otherwise in the menu, with the reason
        return not experiment.offers(verb)
    if experiment.offers(verb):
        return True
    if verb == "move_to":
        return False
    return experiment.is_active and experiment.state != ExperimentState.PENDING
