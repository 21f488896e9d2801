"""The actions on an experiment: the confirmation of each, the model's verb, and the message afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.urls import reverse

from experiments.messages import duration, plural
from experiments.models import Experiment, Settings, User, references, status

from .forms.action_forms import ActionForm, BeforeForm, CloneForm, EnqueueForm, MoveToForm, ResumeForm


@dataclass(frozen=True)
class Question:
    """A confirmation: the effect in numbers, and the labels of the button and of Cancel."""

    heading: str
    sentences: list[str]
    action: str
    out: str = "Cancel"
    is_danger: bool = False
    review_url: str = ""  # a page where the new experiment can be reviewed before it is created


@dataclass(frozen=True)
class Verb:
    """One action. `do` returns False if the experiment was already in that state; `message` reports success."""

    ask: Callable[[Experiment], Question]
    do: Callable[[Experiment, User, dict[str, Any]], object]
    message: Callable[[Experiment], str]
    form: type[ActionForm] | None = field(default=None)
    already: str = ""  # completes "{name} … already"; by default "is" and the state


def _simple(
    heading: str, *sentences: str, action: str = "", out: str = "Cancel", is_danger: bool = False
) -> Callable[[Experiment], Question]:
    def ask(experiment: Experiment) -> Question:
        return Question(
            heading.format(name=experiment.name),
            list(sentences),
            action or heading.split()[0],
            out,
            is_danger,
        )

    return ask


def _ask_enqueue(experiment: Experiment) -> Question:
    budget = "without a limit" if experiment.max_trials is None else plural(experiment.max_trials, "trial")
    effect = (
        "The experiment goes to the end of the queue. Workers then start its trials: "
        f"{budget}, {experiment.concurrency:,} in parallel."
    )
    warnings = [*_lacks_code(experiment.settings), *references.missing_references(experiment)]
    return Question(f"Enqueue {experiment.name}", [effect, *warnings], "Enqueue")


def _lacks_code(settings: Settings) -> list[str]:
    """Return a warning if no source provides the script in the working directory."""
    if settings.command or settings.repository or settings.directory or settings.diff:
        return []
    return [
        f"No code to run: without a repository or working directory, trials look for {settings.script} in an empty "
        "folder and fail."
    ]


def _ask_stop(experiment: Experiment) -> Question:
    sentences = []
    if experiment.alive_count:
        grace = experiment.settings.stop_grace_s
        signals = f"SIGTERM, then SIGKILL after {duration(grace)}" if grace else "SIGKILL immediately"
        sentences.append(f"{plural(experiment.alive_count, 'running trial')} will end ({signals}).")
    else:
        sentences.append("No trial is running.")
    if experiment.waiting_count:
        sentences.append(f"{plural(experiment.waiting_count, 'waiting trial')} will not start.")
    sentences.append("Results are kept, and the experiment can be resumed.")
    return Question(f"Stop {experiment.name}?", sentences, "Stop experiment", "Keep running", is_danger=True)


def _ask_pause(experiment: Experiment) -> Question:
    alive, waiting = experiment.alive_count, experiment.waiting_count
    sentences = ["No new trials start."]
    if alive:
        sentences.append(
            f"{plural(alive, 'running trial finishes,running trials finish')}, and the results count."
        )
    if waiting:
        sentences.append(
            f"{plural(waiting, 'waiting trial starts,waiting trials start')} after the experiment is unpaused."
        )
    if experiment.settings.max_duration_s is not None:
        sentences.append("Paused time does not count toward the max duration.")
    return Question(f"Pause {experiment.name}?", sentences, "Pause", "Keep running")


def _ask_move_to(experiment: Experiment) -> Question:
    sentences = ["The experiment goes to the end of the other queue."]
    if experiment.alive_count:
        finishes = plural(experiment.alive_count, "running trial finishes,running trials finish")
        sentences.append(
            f"{finishes} on the current workers; new trials start on the workers of the other queue."
        )
    return Question(f"Move {experiment.name} to another queue", sentences, "Move")


def _ask_before(experiment: Experiment) -> Question:
    effect = f"The experiment at the front of {experiment.queue} gets the next free slots."
    return Question(f"Move {experiment.name} within its queue", [effect], "Move")


def _ask_kill(experiment: Experiment) -> Question:
    count = plural(experiment.stopping_count, "trial")
    sentences = [
        f"{count} in the grace period after SIGTERM will get SIGKILL immediately and cannot save anything."
    ]
    return Question(
        f"Kill the trials of {experiment.name} now?", sentences, "Kill now", "Wait", is_danger=True
    )


def _ask_resume(experiment: Experiment) -> Question:
    results = plural(experiment.succeeded_count + experiment.early_stopped_count, "result")
    effects = [f"The experiment is enqueued with its history: {results} will inform the search."]
    if interrupted := experiment.left_to_do().interrupted:
        trials = plural(interrupted, "interrupted trial is,interrupted trials are")
        effects.append(f"{trials} retried with the same values, without using the budget.")
    return Question(f"Resume {experiment.name}", effects, "Resume")


def _ask_reset(experiment: Experiment) -> Question:
    sentences = [
        f"{plural(trials_of(experiment), 'trial')} will go to the trash, and the budget is restored.",
        "All settings can then be edited. To keep the results, clone the experiment instead.",
    ]
    return Question(f"Reset {experiment.name} to a draft?", sentences, "Reset to draft", is_danger=True)


def _ask_publish(experiment: Experiment) -> Question:
    sentences = [
        f"The experiment and {plural(trials_of(experiment), 'trial')} become read-only: no resume, reset or rename. "
        "Publishing cannot be undone.",
        "Published experiments can still be cloned, and deleted by an owner.",
    ]
    return Question(f"Publish {experiment.name}?", sentences, "Publish")


def _ask_clone(experiment: Experiment) -> Question:
    parameters = plural(len(experiment.settings.space_document), "parameter")
    sentences = [
        f"Copies the command, search space ({parameters}), objective, algorithm and seed, budget, tags and queue of "
        f"revision {experiment.revision.number}, without trials. {experiment.name} does not change."
    ]
    new = reverse("experiment-new", args=[experiment.workspace.slug])
    return Question(
        f"Clone {experiment.name}",
        sentences,
        "Clone as draft",
        review_url=f"{new}?from={experiment.public_id}",
    )


def _ask_delete(experiment: Experiment) -> Question:
    trials = trials_of(experiment)
    trials_text = f" with its {plural(trials, 'trial')}, their values and logs" if trials else ""
    sentences = [
        f"Delete “{experiment.name}”{trials_text}?",
        "You will no longer be able to view or find it. Owners can restore it from the workspace's trash for 30 days; "
        "then it is deleted permanently.",
    ]
    return Question("Note", sentences, "Delete experiment", is_danger=True)


def trials_of(experiment: Experiment) -> int:
    """Return the number of trials in any state."""
    return sum(experiment.count(state) for state in status.TRIAL_STATES)


def _stop_message(experiment: Experiment) -> str:
    alive = experiment.alive_count
    return (
        f"Stopping {experiment.name}: waiting for {plural(alive, 'trial')} to end."
        if alive
        else f"Stopping {experiment.name}."
    )


VERBS: dict[str, Verb] = {
    "enqueue": Verb(
        ask=_ask_enqueue,
        do=lambda e, by, answer: e.enqueue(by=by, queue=answer["queue"]),
        message=lambda e: f"{e.name} is pending in queue {e.queue}.",
        form=EnqueueForm,
    ),
    "dequeue": Verb(
        ask=_simple(
            "Dequeue {name}?",
            "The experiment returns to its previous state. Proposals that no worker has started are dropped.",
        ),
        do=lambda e, by, _: e.dequeue(by=by),
        message=lambda e: f"{e.name} left the queue and is {e.state} again.",
    ),
    "front": Verb(
        ask=_simple(
            "Move {name} to the front?",
            "The experiment gets the next free slots.",
            action="Move",
        ),
        do=lambda e, by, _: e.front(by=by),
        message=lambda e: f"{e.name} is at the front of {e.queue}.",
        already="is at the front",
    ),
    "back": Verb(
        ask=_simple(
            "Move {name} to the back?", "All other experiments in the queue go first.", action="Move"
        ),
        do=lambda e, by, _: e.back(by=by),
        message=lambda e: f"{e.name} is at the back of {e.queue}.",
        already="is at the back",
    ),
    "before": Verb(
        ask=_ask_before,
        do=lambda e, by, answer: e.before(answer["other"], by=by),
        message=lambda e: f"{e.name} moved within {e.queue}.",
        form=BeforeForm,
        already="is at this position",
    ),
    "move_to": Verb(
        ask=_ask_move_to,
        do=lambda e, by, answer: e.move_to(answer["queue"], by=by),
        message=lambda e: f"{e.name} is at the end of {e.queue}.",
        form=MoveToForm,
        already="is in that queue",
    ),
    "pause": Verb(
        ask=_ask_pause,
        do=lambda e, by, _: e.pause(by=by),
        message=lambda e: (
            f"{e.name} is paused. {plural(e.alive_count, 'running trial finishes,running trials finish')}."
            if e.alive_count
            else f"{e.name} is paused."
        ),
    ),
    "unpause": Verb(
        ask=_simple("Unpause {name}?", "New trials start again."),
        do=lambda e, by, _: e.unpause(by=by),
        message=lambda e: f"{e.name} is running again.",
    ),
    "stop": Verb(ask=_ask_stop, do=lambda e, by, _: e.stop(by=by), message=_stop_message),
    "kill": Verb(
        ask=_ask_kill,
        do=lambda e, by, _: e.kill(by=by),
        message=lambda e: f"Killing {plural(e.stopping_count, 'trial')} of {e.name}.",
    ),
    "resume": Verb(
        ask=_ask_resume,
        do=lambda e, by, answer: e.resume(by=by, **answer),
        message=lambda e: f"{e.name} is pending in queue {e.queue}, with its history.",
        form=ResumeForm,
    ),
    "reset": Verb(
        ask=_ask_reset,
        do=lambda e, by, _: e.reset(by=by),
        message=lambda e: f"{e.name} is a draft again. Its trials are in the trash.",
    ),
    "publish": Verb(
        ask=_ask_publish, do=lambda e, by, _: e.publish(by=by), message=lambda e: f"{e.name} is published."
    ),
    "clone": Verb(
        ask=_ask_clone,
        do=lambda e, by, answer: e.clone(by=by, **answer),
        message=lambda e: f"This draft is a clone of {e.name}.",
        form=CloneForm,
    ),
    "delete": Verb(
        ask=_ask_delete,
        do=lambda e, by, _: e.delete_to_trash(by=by),
        message=lambda e: f"{e.name} is in the trash. An owner can restore it for 30 days.",
    ),
}
