"""Edit: all settings of a draft; Update experiment, while it runs or is paused. With its consequences beforehand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from experiments import filters
from experiments.messages import consequences
from experiments.models import (
    Experiment,
    ExperimentState,
    Invalid,
    Queue,
    Refused,
    Revision,
    Settings,
    status,
)
from experiments.models.experiment.change import ChangeResult
from experiments.models.settings import LOCKED
from experiments.permissions import require
from experiments.scheduler.impact import Estimate, foresee
from experiments.search import early_stopping, engine
from experiments.web.ui.form_fields import QueueField
from experiments.web.ui.fragments import Live

from . import space_rows
from .forms import ExperimentForm, arguments_of, described, typed
from .index import try_it
from .page import find, refused, url_of
from .settings_diff import Change, changes, label_of, text_of
from .space_rows import SHAPES, Row

# What stands beside a locked setting; `LOCKED` says why a change of it is refused.
WHY_LOCKED = {
    "metric": "Every result so far is measured by it.",
    "direction": "Every result so far was ranked by it.",
    "algorithm": "What it has learnt belongs to it: another would begin anew.",
    "destination": "What its trials left is there already.",
}
SOON_S = 900  # what ends within this is told in minutes from now, not by the clock


class EditExperiment(ExperimentForm):
    """The form of an experiment that is there, filled with what it is, or with an earlier revision.

    What nobody touched is taken as it is, and not read back from what was shown of it.
    """

    queue = QueueField(None, required=False)
    stop_surplus = forms.BooleanField(
        required=False,
        label="Stop the surplus now",
        help_text="If fewer may run than run now, the newest end. Else they finish.",
    )
    apply_to_running = forms.BooleanField(
        required=False,
        label="Apply to running trials",
        help_text="Else the rule of their own revision goes on judging them.",
    )
    note = forms.CharField(
        required=False,
        max_length=200,
        label="Reason",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        help_text="Stands in the activity, beside the revision and in the charts.",
    )
    seen = forms.IntegerField(widget=forms.HiddenInput)
    seen_words = forms.CharField(widget=forms.HiddenInput, required=False)

    refusal = "Nothing was changed"

    def __init__(
        self, data: Mapping | None = None, *, experiment: Experiment, shown: Settings | None = None
    ) -> None:
        self.experiment = self.known = experiment
        self.current = experiment.settings
        self.is_under_way = experiment.state != ExperimentState.DRAFT
        kept = {name: getattr(self.current, name) for name in LOCKED} if self.is_under_way else {}
        self.shown = Settings.stored({**(shown or self.current).document(), **kept})
        initial = {
            **described(experiment),
            **typed(self.shown),
            **space_rows.view_of(self.shown.space),
            "seen": experiment.revision.number,
            "seen_words": words_of(experiment),
        }
        super().__init__(data, room=experiment.workspace, initial=initial)
        for name in LOCKED if self.is_under_way else ("stop_surplus", "apply_to_running"):
            self.fields.pop(name, None)
        self._offer_queues()
        self._mark_changes()

    def _offer_queues(self) -> None:
        """The others that it may move to. Empty is "where it is": a page that is old by now moves nothing back."""
        here, field = self.experiment.queue, self.fields["queue"]
        field.queryset = Queue.objects.granted_to(self.room)
        field.empty_label = f"{here} (as it is)" if here else "None yet"
        field.served = filters.served_queues()
        # A double click asks for the queue that the first click moved it to: not offered, but accepted.
        field.choices = [(key, label) for key, label in field.choices if here is None or key != here.pk]
        field.help_text = (
            "What has not started moves to its end." if self.is_under_way else "Where it will run."
        )

    @property
    def moves_to(self) -> Queue | None:
        """The other queue that was chosen."""
        chosen = self.cleaned_data.get("queue") if self.is_bound and self.is_checked else None
        return chosen if chosen != self.experiment.queue else None

    @property
    def is_stale(self) -> bool:
        """Did somebody change it since this page was drawn?"""
        seen = (self.data.get("seen"), self.data.get("seen_words"))
        return seen != (str(self.experiment.revision.number), words_of(self.experiment))

    @property
    def is_as_it_is(self) -> bool:
        """Does all that was typed stand there already?"""
        if not self.is_valid() or self.cleaned_data.get("new_project") or self.moves_to:
            return False
        is_same = self.settings == self.current
        return is_same and not any(self._is_touched(name) for name in described(self.experiment))

    def _told(self, cleaned: dict) -> dict:
        told = super()._told(cleaned)
        for name, value in self.shown.document().items():
            if name not in self.fields or self.is_unasked(name) or not self._is_touched(name):
                told[name] = value
        return told

    def clean(self) -> dict:
        for name in self.current.document():
            if name in self.errors and not self._is_touched(name):
                del self._errors[name]
        cleaned = super().clean()
        for name, reason in LOCKED.items() if self.is_under_way else ():
            if name in self.data and self.data[name] != getattr(self.current, name):
                self.add_error(None, f"{label_of(name)}: {reason}")
        if self.errors:
            self.settings = None
        return cleaned

    def _read_space(self) -> None:
        if self._is_space_touched():
            super()._read_space()
        else:
            self.space = self.shown.space

    def _is_touched(self, name: str) -> bool:
        if name == "space_document":
            return self._is_space_touched()
        given = self.fields[name].widget.value_from_datadict(self.data, self.files, self.add_prefix(name))
        return plain(given) != plain(self.initial.get(name))

    def _is_space_touched(self) -> bool:
        if self.is_json:
            return plain(self.data.get("space_document")) != plain(self.initial["space_document"])
        return _told_rows(self.rows) != _told_rows(self._first_rows())

    def _first_rows(self) -> list[Row]:
        return space_rows.rows_of(self.shown.space_document)

    def _mark_changes(self) -> None:
        """Says beside a field what it was."""
        if not self.is_bound and self.shown == self.current:
            return
        now = typed(self.current)
        for name, field in self.fields.items():
            if name in now and plain(self[name].value()) != plain(now[name]):
                field.is_changed = True
                was = text_of(name, getattr(self.current, name)).replace("\n", " ")
                self[name].help_text = f"Was {was[:60]}. {field.help_text}"  # as drawn: it is made once


def plain(value: object) -> object:
    """What a control was given, so that it can be compared with what it was drawn with."""
    if value is None:
        return ""
    return value if isinstance(value, bool) else str(value).replace("\r\n", "\n").replace("\r", "\n")


def words_of(experiment: Experiment) -> str:
    """A mark of name, project, description, tags and visibility: they have no revisions."""
    return hashlib.sha256(json.dumps(described(experiment)).encode()).hexdigest()[:16]


def _told_rows(rows: list[Row]) -> list[tuple[str, str, str]]:
    return [(row.name, row.type, row.values) for row in rows if not row.is_blank]


# --- the page --------------------------------------------------------------------------------------------------


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, workspace: str, public_id: str) -> HttpResponse:
    """GET is filled with the current values; POST shows the impact, or submits."""
    experiment = find(request, workspace, public_id)
    require(request.user, "update", experiment)
    restored = _restored(request, experiment)
    blank = _blank(experiment)
    if request.method != "POST":
        if blank:
            return refused(request, experiment, blank)
        return _draw(request, _form(None, experiment, restored), restored)
    form = _form(request.POST, experiment, restored)
    if not request.POST.keys() & {"submit", "try"}:
        return _draw(request, form, restored, problem=blank)
    if blank:
        return _draw(request, form, restored, problem=blank, code=409)
    if form.is_stale:
        return _clash(request, form, restored)
    if not form.is_valid():
        return _draw(request, form, restored, code=422)
    try:
        with transaction.atomic():
            done = _submit(request, form)
            tried = try_it(request, form.experiment, form) if "try" in request.POST else None
    except Invalid as invalid:
        form.refuse(invalid)
        return _draw(request, form, restored, code=422)
    except Refused as refusal:  # somebody was faster by a blink
        experiment = find(request, workspace, public_id)
        form = _form(request.POST, experiment, restored)
        if blank := _blank(experiment):
            return _draw(request, form, restored, problem=blank, code=409)
        if form.is_stale:
            return _clash(request, form, restored)
        return _draw(request, form, restored, problem=str(refusal), code=409)
    if tried:
        return redirect("trial", workspace, tried.public_id, 1)
    _tell(request, form.experiment, done)
    return redirect(url_of(experiment))


def _form(data: Mapping | None, experiment: Experiment, restored: Revision | None) -> EditExperiment:
    return EditExperiment(data, experiment=experiment, shown=restored.settings if restored else None)


def _restored(request: HttpRequest, experiment: Experiment) -> Revision | None:
    """The revision that the address asks for: its values are filled in."""
    asked = request.GET.get("restore")
    if asked is None:
        return None
    found = experiment.revisions.filter(number=int(asked)) if asked.isdecimal() and len(asked) < 9 else None
    revision = found.first() if found is not None else None
    if revision is None:
        raise Http404
    return revision


def _verb(experiment: Experiment) -> str:
    return "edit" if experiment.state == ExperimentState.DRAFT else "update"


def _blank(experiment: Experiment) -> str:
    """Why the matrix does not offer an edit now; empty: it does."""
    try:
        experiment.allows(_verb(experiment))
    except Refused as blank:
        return str(blank)
    return ""


def _submit(request: HttpRequest, form: EditExperiment) -> ChangeResult:
    """All or nothing. Raises `Invalid`, `Refused`."""
    experiment, values = form.experiment, form.cleaned_data
    with transaction.atomic(), experiment.locked():
        if form.is_stale:
            raise Refused(
                "Somebody changed this experiment meanwhile. Look at the new values and submit again."
            )
        return experiment.change(
            by=request.user,
            settings=form.settings,
            seen=values["seen"],
            note=values["note"],
            stop_surplus=values.get("stop_surplus", False),
            apply_to_running=values.get("apply_to_running", False),
            description=form.describes(),
            queue=form.moves_to,
        )


def _tell(request: HttpRequest, experiment: Experiment, done: ChangeResult) -> None:
    if done.is_moved:
        messages.success(request, f"It is in the queue {experiment.queue} now.")
    if done.is_revised:
        messages.success(
            request, f"Revision {experiment.revision.number} holds for all trials that start from now on."
        )
    elif done.is_described:
        messages.success(request, "Changed. The settings are as they were.")
    elif not done.is_moved:
        messages.info(request, "Nothing differs, so nothing was changed and no revision was made.")


def _clash(request: HttpRequest, form: EditExperiment, restored: Revision | None) -> HttpResponse:
    """Two people at once: who changed what, with what was typed still in the form."""
    experiment = form.experiment
    if form.is_as_it_is:  # a double click, or the same in two tabs
        messages.info(request, f"That is so already, by revision {experiment.revision.number}.")
        return redirect(url_of(experiment))
    seen = request.POST.get("seen", "")
    known = seen.isdecimal() and len(seen) < 9
    revisions = list(experiment.revisions.filter(number__gte=int(seen)).select_related("by")) if known else []
    theirs = []
    if revisions and revisions[0].number == int(seen):
        theirs = [
            {"by": _who(later), "number": later.number, "changes": changes(one.settings, later.settings)}
            for one, later in zip(revisions, revisions[1:], strict=False)
        ]
    before = revisions[0].settings if theirs and not restored else experiment.settings
    data = merged(request.POST, before=before, now=experiment)
    form = _form(data, experiment, restored)
    last = experiment.events.filter(verb="describe").select_related("by").first() if not theirs else None
    described_by = f"{last.who} changed {last.why} meanwhile." if last else ""
    return _draw(request, form, restored, code=409, theirs=theirs, described_by=described_by)


def merged(data: QueryDict, *, before: Settings, now: Experiment) -> QueryDict:
    """What was typed, on top of what is now: what the person had not touched takes the new values."""
    data, was, is_ = data.copy(), typed(before), typed(now.settings)
    data["seen"], data["seen_words"] = str(now.revision.number), words_of(now)
    for name in was.keys() - {"space_document", "passes_arguments"}:
        if name in data and plain(data[name]) == plain(was[name]):
            data[name] = plain(is_[name])
    if ("passes_arguments" in data) == before.passes_arguments:
        data.pop("passes_arguments", None)
        if now.settings.passes_arguments:
            data["passes_arguments"] = "on"
    if _told_rows(space_rows.typed(data)) == _told_rows(space_rows.rows_of(before.space_document)):
        for name in [name for name in data if name.startswith("space-")]:
            del data[name]
        for place, row in enumerate(space_rows.rows_of(now.settings.space_document)):
            for part in ("name", "type", "values"):
                data[f"space-{place}-{part}"] = getattr(row, part)
    if plain(data.get("space_document")) == plain(was["space_document"]):
        data["space_document"] = is_["space_document"]
    return data


def _who(revision: Revision) -> str:
    return revision.by.username if revision.by else "Trialdeck"


def _draw(
    request: HttpRequest,
    form: EditExperiment,
    restored: Revision | None,
    *,
    problem: str = "",
    code: int = 200,
    theirs: list[dict] | None = None,
    described_by: str = "",
) -> HttpResponse:
    experiment = form.experiment
    if form.is_bound:
        form.errors  # noqa: B018 (checks the form: what can be said of a faulty one is said)
    elif restored:
        form.settings = form.shown
    live = Live(request, fragments={"preview", "space"}, version="")
    return live.draw(
        "experiment/edit.html",
        {
            "workspace": experiment.workspace,
            "nav": "experiments",
            "experiment": experiment,
            "form": form,
            "problem": problem,
            "theirs": theirs or [],
            "described_by": described_by,
            "restored": restored,
            "not_restored": _not_restored(form, restored),
            "locked": _locked(form),
            "next_number": experiment.revision.number + 1,
            "types": SHAPES,
            "blank": Row(),
            "algorithms": _offers(engine.ALGORITHMS, None if not form.is_under_way else experiment.algorithm),
            "rules": _offers(early_stopping.EARLY_STOPPING, None),
            **_consequences(form),
        },
        status=code,
    )


def _offers(known: Mapping, only: str | None) -> list[tuple]:
    return [
        (name, one.summary, arguments_of(one.arguments))
        for name, one in known.items()
        if only in (None, name)
    ]


def _locked(form: EditExperiment) -> list[tuple[str, str, str]]:
    """Return (name, value, why it cannot be changed) of each locked field."""
    if not form.is_under_way:
        return []
    return [(label_of(name), text_of(name, getattr(form.current, name)), WHY_LOCKED[name]) for name in LOCKED]


def _not_restored(form: EditExperiment, restored: Revision | None) -> list[str]:
    """What of an earlier revision stays away, because it is locked now."""
    if not restored or not form.is_under_way:
        return []
    return [
        f"{label_of(name)} was {getattr(restored.settings, name)} and stays {getattr(form.current, name)}. {reason}"
        for name, reason in LOCKED.items()
        if getattr(restored.settings, name) != getattr(form.current, name)
    ]


def _consequences(form: EditExperiment) -> dict[str, object]:
    settings = form.settings
    if settings is None:
        if form.is_bound:
            return {"settings": None}
        settings = form.current
    differing, queue = changes(form.current, settings), form.moves_to
    moved = [Change("Queue", str(form.experiment.queue or ""), queue.name)] if queue else []
    told: dict[str, object] = {
        "settings": settings,
        "changes": [*differing, *moved],
        "is_revised": bool(differing),
    }
    if form.is_under_way and form.experiment.state in status.UNDER_WAY:
        coming = foresee(form.experiment, settings, queue=queue)
        told |= {
            "coming": coming,
            "before": _said(form.experiment, coming.before),
            "after": _said(form.experiment, coming.after),
            "consequences": consequences(
                form.experiment,
                settings,
                coming,
                moves_to=queue,
                stop_surplus=bool(form["stop_surplus"].value()),
                apply_to_running=bool(form["apply_to_running"].value()),
            ),
        }
    return told


def _said(experiment: Experiment, estimate: Estimate) -> dict[str, object]:
    """An estimate for the page: moments while it runs; spans when it is soon, or paused (then after Unpause)."""
    told: dict[str, object] = {"unknown": estimate.unknown, "compute": estimate.compute_s}
    is_soon = estimate.end_s is not None and estimate.end_s[1] < SOON_S
    if experiment.state == ExperimentState.PAUSED or is_soon:
        return {**told, "spans": estimate.end_s, "latest_span": estimate.latest_s}
    now = timezone.now()
    if estimate.end_s:
        told["moments"] = [now + timedelta(seconds=seconds) for seconds in estimate.end_s]
    if estimate.latest_s is not None:
        told["latest"] = now + timedelta(seconds=estimate.latest_s)
    return told
