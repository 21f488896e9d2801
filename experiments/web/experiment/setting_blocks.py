"""Blocks of a draft's settings that are changed one by one: one form, one POST, one revision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render

from experiments.models import Experiment, Invalid, Refused, Settings
from experiments.permissions import require
from experiments.web.ui.requests import SignedInRequest

from .page import refused
from .settings_diff import changes, label_of


class BlockForm(forms.Form):
    """Some fields of a draft's settings, or an act on them. `reads` names the settings that it replaces: what somebody
    else changed beside them is no clash."""

    seen = forms.CharField(widget=forms.HiddenInput, required=False)

    heading: ClassVar[str]
    button: ClassVar[str] = "Save"
    reads: ClassVar[tuple[str, ...]] = ()
    verb: ClassVar[str] = "edit"
    is_danger: ClassVar[bool] = False
    is_full: ClassVar[bool] = False  # as wide as there is workspace

    def __init__(self, data: Mapping | None = None, *, experiment: Experiment) -> None:
        self.experiment, self.current = experiment, experiment.settings
        super().__init__(data, label_suffix="", initial={"seen": self.mark()})
        self.initial |= self.filled()
        self.prepare()

    def mark(self) -> str:
        """Says what is looked at: the number of the revision."""
        return str(self.experiment.revision.number)

    def filled(self) -> dict[str, object]:
        """What stands in the fields at first."""
        return {name: getattr(self.current, name) for name in self.fields if name in self.reads}

    def prepare(self) -> None:
        """Fits the fields to the experiment."""

    @property
    def said(self) -> list[str]:
        """What is said above the fields."""
        return []

    def clean(self) -> dict[str, object]:
        if not self.cleaned_data.get("seen"):
            self.add_error(None, "It is not known what you looked at. Look at the fields, and save again.")
        return self.cleaned_data

    def changed(self) -> dict[str, object]:
        """The settings as they shall be, by name."""
        return {name: value for name, value in self.cleaned_data.items() if name in self.reads}

    def of(self, settings: Settings) -> object:
        """What it shows of these settings. It clashes when this changed meanwhile."""
        return [getattr(settings, name) for name in self.reads]

    def keep(self, *, by: object) -> bool:
        """One revision. False when nothing differs. Raises `Refused`, `Invalid`."""
        with self.experiment.locked() as experiment:
            experiment.allows(self.verb)
            if self.theirs():
                raise Refused("Somebody changed this meanwhile. Look at what it is now, and save again.")
            return self.write(experiment, by=by)

    def write(self, experiment: Experiment, *, by: object) -> bool:
        """What `keep` does when nothing stands in the way."""
        settings = Settings.checked({**experiment.settings.document(), **self.changed()})
        return experiment.edit(settings, by=by, seen=experiment.revision.number)

    def theirs(self) -> Settings | None:
        """The settings that were looked at, when what the form shows of them has changed since."""
        number = self.cleaned_data["seen"]
        known = number.isdecimal() and len(number) < 9
        seen = self.experiment.revisions.filter(number=int(number)).first() if known else None
        if seen is None:
            return self.current
        now = self.experiment.revision.settings
        return seen.settings if self.of(seen.settings) != self.of(now) else None

    @property
    def saved(self) -> str:
        """What is said when it is kept."""
        return f"Saved as revision {self.experiment.revision.number}."

    def refuse(self, error: Invalid) -> None:
        """Says what `Invalid` says, each at its field; what is about another block names it."""
        for name, said in error.errors.items():
            if name in self.fields:
                self.add_error(name, said)
            else:
                self.add_error(None, [f"{label_of(name)}: {one}" for one in said])


def change(
    request: SignedInRequest,
    experiment: Experiment,
    kind: type[BlockForm],
    *,
    back: str,
    template: str = "execution/block.html",
    **given: object,
) -> HttpResponse:
    """GET shows the form, POST saves it. 403 for viewers; 409 in every state but draft, with what was typed."""
    require(request.user, kind.verb, experiment)
    if request.method != "POST":
        try:
            experiment.allows(kind.verb)
        except Refused as blank:
            return refused(request, experiment, str(blank), back=back)
        return _draw(request, kind(experiment=experiment, **given), back, template)
    form = kind(request.POST, experiment=experiment, **given)
    try:
        experiment.allows(kind.verb)
    except Refused as blank:
        return _draw(request, form, back, template, code=409, problem=str(blank))
    if not form.is_valid():
        return _draw(request, form, back, template, code=422 if form.errors else 200)
    try:
        kept = form.keep(by=request.user)
    except Invalid as error:
        form.refuse(error)
        return _draw(request, form, back, template, code=422)
    except Refused as refusal:
        return _clash(request, form, back, template, str(refusal))
    if kept:
        messages.success(request, form.saved)
    else:
        messages.info(request, "Nothing differs, so nothing was changed.")
    return redirect(back)


def _clash(request: SignedInRequest, form: BlockForm, back: str, template: str, problem: str) -> HttpResponse:
    """The typed text stays; what it would overwrite stands beside it, and saving again does overwrite it."""
    before = form.theirs()
    form.data = form.data.copy()
    form.data["seen"] = form.mark()
    theirs = changes(before, form.experiment.revision.settings) if before else []
    return _draw(request, form, back, template, code=409, problem=problem, theirs=theirs)


def _draw(
    request: SignedInRequest,
    form: BlockForm,
    back: str,
    template: str,
    *,
    code: int = 200,
    problem: str = "",
    theirs: list | None = None,
) -> HttpResponse:
    experiment = form.experiment
    context = {
        "workspace": experiment.workspace,
        "nav": "experiments",
        "experiment": experiment,
        "form": form,
        "back": back,
        "form_action": request.get_full_path(),
        "is_danger": form.is_danger,
        "is_wide": not form.is_danger,
        "problem": problem,
        "theirs": theirs or [],
    }
    return render(request, template, context, status=code)
