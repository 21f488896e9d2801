"""The closed table of acts on an experiment: what each asks before it is done, how it is done, what is said then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from django import forms
from django.urls import reverse

from experiments.messages import duration, plural
from experiments.models import Experiment, Project, Queue, Settings, User, references, status
from experiments.web.compute import experiment_rows

from .forms import chosen_project


@dataclass(frozen=True)
class Question:
    """What is asked: consequences in numbers, the act's own words on the button, what stays on the way out."""

    heading: str
    said: list[str]
    action: str
    out: str = "Cancel"
    is_danger: bool = False
    review_url: str = ""  # where the answer can be looked at, and changed, before it is given


@dataclass(frozen=True)
class Verb:
    """One act. `do` returns False when it was already so; `said` is the message of what was done."""

    ask: Callable[[Experiment], Question]
    do: Callable[[Experiment, User, dict], object]
    said: Callable[[Experiment], str]
    form: type[forms.Form] | None = field(default=None)
    already: str = ""  # what is said when it was already so, where that is not the experiment's state


class ActionForm(forms.Form):
    """A form that knows its experiment, and who fills it in."""

    def __init__(self, data: object = None, *, experiment: Experiment, user: User) -> None:
        super().__init__(data)
        self.experiment, self.user = experiment, user
        self.prepare()

    def prepare(self) -> None:
        """Fits the fields to the experiment."""

    def answer(self) -> dict:
        """The arguments for the verb."""
        return self.cleaned_data


class QueueField(forms.ModelChoiceField):
    """The queues that the workspace may use; empty is the experiment's own, else `default`."""

    widget = forms.RadioSelect

    def __init__(self) -> None:
        super().__init__(Queue.objects.none(), required=False, empty_label=None, label="Queue")

    def prepare(self, experiment: Experiment) -> None:
        Queue.default()
        self.queryset = Queue.objects.granted_to(experiment.workspace)
        self.initial = experiment.queue_id or Queue.default().pk


class EnqueueForm(ActionForm):
    queue = QueueField()

    def prepare(self) -> None:
        self.fields["queue"].prepare(self.experiment)


class MoveToForm(ActionForm):
    """Another queue than its own."""

    queue = QueueField()

    def prepare(self) -> None:
        field = self.fields["queue"]
        field.prepare(self.experiment)
        field.queryset = field.queryset.exclude(pk=self.experiment.queue_id)
        field.required, field.initial = True, None
        field.error_messages["required"] = "Choose a queue."


class BeforeForm(ActionForm):
    """Another experiment of the same line, by its place."""

    other = forms.TypedChoiceField(
        coerce=int,
        label="Move before",
        error_messages={
            "required": "Choose an experiment.",
            "invalid_choice": "It does not stand in this queue any more. Choose another one.",
        },
    )

    def prepare(self) -> None:
        self.fields["other"].choices = [
            (one.experiment.pk, f"{one.place}. {one.label}")
            for one in experiment_rows.of_queue(self.experiment.queue, self.user)
            if one.experiment.pk != self.experiment.pk
        ]

    def answer(self) -> dict:
        return {"other": Experiment(pk=self.cleaned_data["other"])}


class CloneForm(ActionForm):
    name = forms.CharField(max_length=200, label="Name")
    project = forms.ModelChoiceField(
        Project.objects.none(),
        empty_label=None,
        label="Project",
        widget=forms.Select(attrs={"data-combo": "new_project"}),
    )
    new_project = forms.CharField(
        required=False, max_length=100, label="Create new", help_text="A new project's name, instead."
    )
    description = forms.CharField(
        required=False, label="Description", widget=forms.Textarea(attrs={"rows": 3}), max_length=100_000
    )

    def prepare(self) -> None:
        fields, experiment = self.fields, self.experiment
        fields["name"].initial = f"Clone of {experiment.name}"[:200]
        fields["project"].queryset = experiment.workspace.projects.all()
        fields["project"].initial = experiment.project_id
        fields["description"].initial = experiment.description

    def answer(self) -> dict:
        said = self.cleaned_data
        project = chosen_project(self.experiment.workspace, said)
        return {"name": said["name"], "project": project, "description": said["description"]}


class ResumeForm(ActionForm):
    """Asks for what is spent; what is not spent may be left as it is."""

    max_trials = forms.IntegerField(required=False, min_value=1, label="Max trials")
    max_duration_h = forms.FloatField(required=False, min_value=0.0001, label="Max duration")
    goal = forms.FloatField(required=False, label="Goal")
    rerun_failed = forms.BooleanField(required=False)
    queue = QueueField()

    def prepare(self) -> None:
        fields, experiment = self.fields, self.experiment
        settings = experiment.settings
        fields["queue"].prepare(experiment)
        fields["max_trials"].initial = experiment.max_trials
        if experiment.budget_left == 0:
            fields["max_trials"].initial = experiment.proposed_count + max(1, experiment.proposed_count // 2)
            fields[
                "max_trials"
            ].help_text = f"Spent: {experiment.proposed_count:,} of {experiment.max_trials:,} were proposed."
        if settings.max_duration_s is None:
            del fields["max_duration_h"]
        elif experiment.elapsed_s() < settings.max_duration_s:
            ran = duration(experiment.elapsed_s())
            fields["max_duration_h"].initial = round(settings.max_duration_s / 3600, 4)
            fields[
                "max_duration_h"
            ].help_text = f"In hours. {ran} of {duration(settings.max_duration_s)} are spent."
        else:
            spent = duration(settings.max_duration_s)
            fields["max_duration_h"].initial = round(settings.max_duration_s * 1.5 / 3600, 2)
            fields["max_duration_h"].help_text = f"In hours. The {spent} are spent."
        if settings.goal is None:
            del fields["goal"]
        elif not experiment.has_reached(settings.goal):
            fields["goal"].initial = settings.goal
            fields["goal"].help_text = "Not reached so far; empty: go on without a goal."
        else:
            fields["goal"].help_text = f"{settings.goal:g} is reached; empty: go on without a goal."
        if experiment.failed_count:
            fields["rerun_failed"].label = f"Rerun the failed trials ({experiment.failed_count:,})"
            fields[
                "rerun_failed"
            ].help_text = "Those without a success with the same values; free of the budget."
        else:
            del fields["rerun_failed"]

    def answer(self) -> dict:
        given = dict(self.cleaned_data)
        wanted = {"queue": given["queue"], "rerun_failed": given.get("rerun_failed", False)}
        if given["max_trials"] is not None and given["max_trials"] != self.experiment.max_trials:
            wanted["max_trials"] = given["max_trials"]
        hours, most_s = given.get("max_duration_h"), self.experiment.settings.max_duration_s
        is_spent = most_s is not None and self.experiment.elapsed_s() >= most_s
        if hours is not None and (is_spent or hours != self.fields["max_duration_h"].initial):
            wanted["max_duration_s"] = hours * 3600
        if "goal" in given and given["goal"] != self.experiment.settings.goal:
            wanted["goal"] = given["goal"]
        return wanted


def _simple(
    heading: str, *said: str, action: str = "", out: str = "Cancel", is_danger: bool = False
) -> Callable[[Experiment], Question]:
    def ask(experiment: Experiment) -> Question:
        return Question(
            heading.format(name=experiment.name), list(said), action or heading.split()[0], out, is_danger
        )

    return ask


def _ask_enqueue(experiment: Experiment) -> Question:
    budget = "without a limit" if experiment.max_trials is None else plural(experiment.max_trials, "trial")
    said = (
        "It goes to the end of the queue. A worker then starts its trials: "
        f"{budget}, {experiment.concurrency:,} at once."
    )
    lacks = [*_lacks_code(experiment.settings), *references.gone(experiment)]
    return Question(f"Enqueue {experiment.name}", [said, *lacks], "Enqueue")


def _lacks_code(settings: Settings) -> list[str]:
    """Warn of a script that no source brings to the trial's working directory."""
    if settings.command or settings.repository or settings.directory or settings.diff:
        return []
    return [
        f"There is no code to run: no repository and no working directory, so {settings.script} is looked for in a "
        "trial's own empty folder, and every trial fails."
    ]


def _ask_stop(experiment: Experiment) -> Question:
    said = []
    if experiment.alive_count:
        grace = experiment.settings.stop_grace_s
        how = f"SIGTERM, then SIGKILL after {duration(grace)}" if grace else "SIGKILL at once"
        said.append(f"{plural(experiment.alive_count, 'running trial')} will end ({how}).")
    else:
        said.append("No trial is running.")
    if experiment.waiting_count:
        waits = "waiting one will" if experiment.waiting_count == 1 else "waiting ones will"
        said.append(f"{experiment.waiting_count:,} {waits} not start.")
    said.append("Results so far are kept, and you can resume it.")
    return Question(f"Stop {experiment.name}?", said, "Stop experiment", "Keep running", is_danger=True)


def _ask_pause(experiment: Experiment) -> Question:
    alive, waiting = experiment.alive_count, experiment.waiting_count
    said = ["Nothing new starts."]
    if alive:
        said.append(
            f"{plural(alive, 'running trial goes,running trials go')} on to the end, and the results count."
        )
    if waiting:
        said.append(f"{plural(waiting, 'waiting trial starts,waiting trials start')} after Unpause.")
    if experiment.settings.max_duration_s is not None:
        said.append("The time that it is paused does not count against the max duration.")
    return Question(f"Pause {experiment.name}?", said, "Pause", "Keep going")


def _ask_move_to(experiment: Experiment) -> Question:
    said = ["It goes to the end of the other queue."]
    if experiment.alive_count:
        goes = plural(experiment.alive_count, "running trial goes,running trials go")
        said.append(f"{goes} on where they are; what starts from now on starts with that queue's workers.")
    return Question(f"Move {experiment.name} to another queue", said, "Move")


def _ask_before(experiment: Experiment) -> Question:
    said = f"What stands at the front of {experiment.queue} gets the next free slots."
    return Question(f"Move {experiment.name} in its queue", [said], "Move")


def _ask_kill(experiment: Experiment) -> Question:
    count = plural(experiment.stopping_count, "trial")
    said = [f"{count} still in the grace after SIGTERM will get SIGKILL at once, and cannot save anything."]
    return Question(f"Kill the trials of {experiment.name} now?", said, "Kill now", "Wait", is_danger=True)


def _ask_resume(experiment: Experiment) -> Question:
    known = experiment.succeeded_count + experiment.early_stopped_count
    said = f"It goes back into a queue with its history: {plural(known, 'result')} will inform the search."
    return Question(f"Resume {experiment.name}", [said], "Resume")


def _ask_reset(experiment: Experiment) -> Question:
    said = [
        f"{plural(trials_of(experiment), 'trial')} will go to the trash, and the budget is whole again.",
        "All its settings can then be edited. To keep the results, clone it instead.",
    ]
    return Question(f"Reset {experiment.name} to a draft?", said, "Reset to draft", is_danger=True)


def _ask_publish(experiment: Experiment) -> Question:
    said = [
        f"It becomes read-only for good, with its {plural(trials_of(experiment), 'trial')}: no resume, no reset, "
        "no new name. This cannot be taken back.",
        "It can still be cloned; an owner can delete it.",
    ]
    return Question(f"Publish {experiment.name}?", said, "Publish")


def _ask_clone(experiment: Experiment) -> Question:
    parameters = plural(len(experiment.settings.space_document), "parameter")
    said = [
        f"It copies the command, the search space ({parameters}), objective, algorithm and seed, budget, tags and "
        f"queue, as of revision {experiment.revision.number}. No trials are copied; {experiment.name} stays as it is."
    ]
    new = reverse("experiment-new", args=[experiment.workspace.slug])
    return Question(
        f"Clone {experiment.name}", said, "Clone as draft", review_url=f"{new}?from={experiment.public_id}"
    )


def _ask_delete(experiment: Experiment) -> Question:
    trials = trials_of(experiment)
    what = f" with its {plural(trials, 'trial')}, their values and logs" if trials else ""
    said = [
        f"Delete “{experiment.name}”{what}?",
        "You will no longer be able to view or find it. It stays in the workspace's trash for 30 days, where an "
        "owner can restore it; then it is gone.",
    ]
    return Question("Note", said, "Delete experiment", is_danger=True)


def trials_of(experiment: Experiment) -> int:
    """How many trials it has, in whatever state."""
    return sum(experiment.count(state) for state in status.TRIAL_STATES)


def _said_stop(experiment: Experiment) -> str:
    alive = experiment.alive_count
    return (
        f"Stopping {experiment.name}: {plural(alive, 'trial')} to end first."
        if alive
        else f"Stopping {experiment.name}."
    )


VERBS: dict[str, Verb] = {
    "enqueue": Verb(
        ask=_ask_enqueue,
        do=lambda e, by, answer: e.enqueue(by=by, queue=answer["queue"]),
        said=lambda e: f"{e.name} is pending in the queue {e.queue}.",
        form=EnqueueForm,
    ),
    "dequeue": Verb(
        ask=_simple(
            "Dequeue {name}?",
            "It goes back to the state it had before. Proposals that no worker has taken are dropped.",
        ),
        do=lambda e, by, _: e.dequeue(by=by),
        said=lambda e: f"{e.name} is out of the queue, and {e.state} again.",
    ),
    "front": Verb(
        ask=_simple("Move {name} to the front?", "It gets the next free slots of its queue.", action="Move"),
        do=lambda e, by, _: e.front(by=by),
        said=lambda e: f"{e.name} stands at the front of {e.queue}.",
        already="stands at the front",
    ),
    "back": Verb(
        ask=_simple("Move {name} to the back?", "All others of its queue come before it.", action="Move"),
        do=lambda e, by, _: e.back(by=by),
        said=lambda e: f"{e.name} stands at the back of {e.queue}.",
        already="stands at the back",
    ),
    "before": Verb(
        ask=_ask_before,
        do=lambda e, by, answer: e.before(answer["other"], by=by),
        said=lambda e: f"{e.name} has another place in {e.queue}.",
        form=BeforeForm,
        already="stands there",
    ),
    "move_to": Verb(
        ask=_ask_move_to,
        do=lambda e, by, answer: e.move_to(answer["queue"], by=by),
        said=lambda e: f"{e.name} stands at the end of {e.queue}.",
        form=MoveToForm,
        already="stands in that queue",
    ),
    "pause": Verb(
        ask=_ask_pause,
        do=lambda e, by, _: e.pause(by=by),
        said=lambda e: (
            f"{e.name} is paused. {plural(e.alive_count, 'running trial goes,running trials go')} on."
            if e.alive_count
            else f"{e.name} is paused."
        ),
    ),
    "unpause": Verb(
        ask=_simple("Unpause {name}?", "New trials start again."),
        do=lambda e, by, _: e.unpause(by=by),
        said=lambda e: f"{e.name} goes on.",
    ),
    "stop": Verb(ask=_ask_stop, do=lambda e, by, _: e.stop(by=by), said=_said_stop),
    "kill": Verb(
        ask=_ask_kill,
        do=lambda e, by, _: e.kill(by=by),
        said=lambda e: f"Killing {plural(e.stopping_count, 'trial')} of {e.name}.",
    ),
    "resume": Verb(
        ask=_ask_resume,
        do=lambda e, by, answer: e.resume(by=by, **answer),
        said=lambda e: f"{e.name} is pending in the queue {e.queue}, with its history.",
        form=ResumeForm,
    ),
    "reset": Verb(
        ask=_ask_reset,
        do=lambda e, by, _: e.reset(by=by),
        said=lambda e: f"{e.name} is a draft again. Its trials are in the trash.",
    ),
    "publish": Verb(
        ask=_ask_publish, do=lambda e, by, _: e.publish(by=by), said=lambda e: f"{e.name} is published."
    ),
    "clone": Verb(
        ask=_ask_clone,
        do=lambda e, by, answer: e.clone(by=by, **answer),
        said=lambda e: f"This draft is a clone of {e.name}.",
        form=CloneForm,
    ),
    "delete": Verb(
        ask=_ask_delete,
        do=lambda e, by, _: e.delete_to_trash(by=by),
        said=lambda e: f"{e.name} is in the trash for 30 days. An owner can restore it.",
    ),
}
