"""The states of experiments and trials, the allowed transitions, and the actions offered in each state.

Only the database constraints repeat these lists.
"""

from collections.abc import Sequence
from dataclasses import dataclass


class Refused(Exception):
    """The action is not possible in this state. The text has the state and the next step (409)."""


class SwitchedOff(Refused):
    """AutoML is off in this workspace, so its experiments can neither be seen nor run (409)."""

    def __init__(self, workspace: object) -> None:
        self.workspace = workspace
        super().__init__(f"AutoML is turned off in the workspace {workspace}. An owner can turn it on.")


class Forbidden(Exception):
    """The user has no permission. The text says what is missing (403)."""


class Overtaken(Exception):
    """Another process was faster: the row is no longer in the state in which it was read."""


@dataclass(frozen=True)
class State:
    """A state and its appearance.

    `role` is the color role of the CSS tokens, `glyph` the symbol of the sprite (without `g-`).
    """

    word: str
    label: str
    role: str
    glyph: str

    def __str__(self) -> str:
        return self.word


class ExperimentState:
    """States of an experiment, as stored."""

    DRAFT = "draft"
    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    COMPLETED = "completed"
    FAILED = "failed"
    PUBLISHED = "published"


class TrialState:
    """States of a trial, as stored."""

    WAITING = "waiting"
    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    STOPPED = "stopped"
    EARLY_STOPPED = "early_stopped"
    FAILED = "failed"


E, T = ExperimentState, TrialState

EXPERIMENT_STATES: dict[str, State] = {
    state.word: state
    for state in (
        State(E.DRAFT, "Draft", "quiet", "draft"),
        State(E.PENDING, "Pending", "quiet", "pending"),
        State(E.RUNNING, "Running", "active", "running"),
        State(E.PAUSED, "Paused", "moving", "paused"),
        State(E.STOPPING, "Stopping", "moving", "stopping"),
        State(E.STOPPED, "Stopped", "quiet", "stopped"),
        State(E.COMPLETED, "Completed", "good", "completed"),
        State(E.FAILED, "Failed", "bad", "failed"),
        State(E.PUBLISHED, "Published", "good", "published"),
    )
}

TRIAL_STATES: dict[str, State] = {
    state.word: state
    for state in (
        State(T.WAITING, "Waiting", "quiet", "waiting"),
        State(T.RUNNING, "Running", "active", "running"),
        State(T.STOPPING, "Stopping", "moving", "stopping"),
        State(T.SUCCEEDED, "Succeeded", "good", "succeeded"),
        State(T.EARLY_STOPPED, "Stopped early", "cut", "early_stopped"),
        State(T.STOPPED, "Stopped", "quiet", "stopped"),
        State(T.FAILED, "Failed", "bad", "failed"),
    )
}

# States from which an experiment can be enqueued; a dequeue returns there.
ENQUEUED_FROM = (E.DRAFT, E.STOPPED, E.COMPLETED, E.FAILED)

EXPERIMENT_MAY_BECOME: dict[str, tuple[str, ...]] = {
    E.DRAFT: (E.PENDING,),
    E.PENDING: (E.RUNNING, E.STOPPING, *ENQUEUED_FROM),
    E.RUNNING: (E.PAUSED, E.STOPPING, E.COMPLETED, E.FAILED),
    E.PAUSED: (E.RUNNING, E.STOPPING, E.COMPLETED, E.FAILED),
    E.STOPPING: (E.STOPPED, E.FAILED),
    E.STOPPED: (E.PENDING, E.DRAFT, E.PUBLISHED),
    E.COMPLETED: (E.PENDING, E.DRAFT, E.PUBLISHED),
    E.FAILED: (E.PENDING, E.DRAFT, E.PUBLISHED),
    E.PUBLISHED: (),
}

TRIAL_MAY_BECOME: dict[str, tuple[str, ...]] = {
    T.WAITING: (T.RUNNING, T.STOPPED),
    T.RUNNING: (T.SUCCEEDED, T.FAILED, T.STOPPING),
    T.STOPPING: (T.STOPPED, T.EARLY_STOPPED, T.FAILED),
    T.SUCCEEDED: (),
    T.STOPPED: (),
    T.EARLY_STOPPED: (),
    T.FAILED: (),
}

ACTIVE = (E.PENDING, E.RUNNING, E.PAUSED, E.STOPPING)
UNDER_WAY = (E.RUNNING, E.PAUSED)
ENDED = (E.STOPPED, E.COMPLETED, E.FAILED)
UNPUBLISHED = tuple(state for state in EXPERIMENT_STATES if state != E.PUBLISHED)

TRIAL_ACTIVE = (T.WAITING, T.RUNNING, T.STOPPING)
TRIAL_ALIVE = (T.RUNNING, T.STOPPING)  # held by a worker
TRIAL_SETTLED = (T.SUCCEEDED, T.STOPPED, T.EARLY_STOPPED, T.FAILED)
TRIAL_INFORMS = (T.SUCCEEDED, T.EARLY_STOPPED)


@dataclass(frozen=True)
class Action:
    """An action: the states in which it is offered, and those in which it has already taken effect."""

    label: str
    offered: tuple[str, ...]
    already: tuple[str, ...] = ()


# Every action on an experiment (and on its trials), by its name in addresses, API and events.
ACTIONS: dict[str, Action] = {
    "edit": Action("Edit all settings", (E.DRAFT,)),
    "update": Action("Edit", UNDER_WAY),
    "describe": Action("Change name and description", UNPUBLISHED),
    "annotate": Action("Change user properties", UNPUBLISHED),
    "enqueue": Action("Enqueue", (E.DRAFT,), (E.PENDING,)),
    "dequeue": Action("Dequeue", (E.PENDING,)),
    "try_it": Action("Test run", (E.DRAFT,)),
    "move_to": Action("Move to another queue", (E.PENDING, *UNDER_WAY)),
    "front": Action("Move to the front", (E.PENDING, *UNDER_WAY)),
    "back": Action("Move to the back", (E.PENDING, *UNDER_WAY)),
    "before": Action("Move before another", (E.PENDING, *UNDER_WAY)),
    "pause": Action("Pause", (E.RUNNING,), (E.PAUSED,)),
    "unpause": Action("Unpause", (E.PAUSED,), (E.RUNNING,)),
    "stop": Action("Stop", (E.PENDING, E.RUNNING, E.PAUSED), (E.STOPPING, E.STOPPED)),
    "resume": Action("Resume", ENDED),
    "reset": Action("Reset to draft", ENDED, (E.DRAFT,)),
    "publish": Action("Publish", ENDED, (E.PUBLISHED,)),
    "clone": Action("Clone", tuple(EXPERIMENT_STATES)),
    "delete": Action("Delete", (E.DRAFT, *ENDED, E.PUBLISHED)),
    "rerun": Action("Rerun", UNDER_WAY),
    "stop_trial": Action("Stop trial", UNDER_WAY),
    "add_trial": Action("Add trial", UNDER_WAY),
    "kill": Action("Kill now", (E.STOPPING,)),
}

# Actions that an imported experiment, whose trials ran elsewhere, does not offer.
STARTS = ("resume", "reset")

# How the reason of a failed experiment begins when its search raised an error, rather than its trials.
SEARCH_BROKEN = "The search cannot continue"

# The next step that a refusal suggests, by state.
WAY_OUT: dict[str, str] = {
    E.DRAFT: "Enqueue it first.",
    E.PENDING: "Dequeue it first.",
    E.RUNNING: "Stop it first.",
    E.PAUSED: "Stop it first, or unpause it.",
    E.STOPPING: "Wait until it has stopped.",
    **dict.fromkeys(ENDED, "Resume it, reset it to a draft, or clone it."),
    E.PUBLISHED: "A published experiment is permanently read-only: clone it.",
}

# The next step of actions that need a worker to have taken the first trial, while the experiment is pending.
ONCE_RUNNING = "Wait until its first trial starts, or dequeue it first."
NEED_RUNNING = ("update", "pause", "unpause", "rerun", "add_trial")

# The next steps after the end of an experiment, in the order in which `WAY_OUT` has them.
AFTER_THE_END = {"resume": "resume it", "reset": "reset it to a draft", "clone": "clone it"}


def is_offered(action: str, state: str) -> bool:
    """Whether the action is offered for an experiment in `state`."""
    return state in ACTIONS[action].offered


def is_already_so(action: str, state: str) -> bool:
    """Whether the action has already taken effect for an experiment in `state`."""
    return state in ACTIONS[action].already


def way_out_of_end(offered: Sequence[str]) -> str:
    """Return the next step after the end of an experiment that still offers these of `AFTER_THE_END`.

    >>> way_out_of_end(["reset", "clone"])
    'Reset it to a draft, or clone it.'
    """
    *first, last = (AFTER_THE_END[verb] for verb in offered)
    steps = f"{', '.join(first)}, or {last}" if first else last
    return f"{steps[0].upper()}{steps[1:]}."


def refusal(action: str, state: str, *, way_out: str) -> str:
    """Return the sentence of a 409: the action, the state, the next step.

    >>> refusal("delete", "running", way_out="Stop it first.")
    'Delete is not possible while the experiment is running. Stop it first.'
    """
    shown = "a draft" if state == E.DRAFT else state
    return f"{ACTIONS[action].label} is not possible while the experiment is {shown}. {way_out}"


def check_transition(table: dict[str, tuple[str, ...]], before: str, after: str) -> None:
    """Raise `Refused` when the table does not allow the transition."""
    if after not in table[before]:
        raise Refused(f"The state cannot change from {before} to {after}.")
