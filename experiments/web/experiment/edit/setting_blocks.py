"""Blocks of a draft's settings, each edited on its own: one form, one POST, one revision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render

from experiments.models import Experiment, Invalid, Refused, Settings, User
from experiments.permissions import require
from experiments.web.experiment.page import refused
from experiments.web.ui.requests import SignedInRequest
from experiments.web.ui.setting_labels import label_of

from .settings_diff import Change, changes


class BlockForm(forms.Form):
    """Some fields of a draft's settings, or an action on them. `reads` names the settings that it replaces; a change
    of other settings by someone else is no conflict."""

    seen = forms.CharField(widget=forms.HiddenInput, required=False)

    heading: str
    button: ClassVar[str] = "Save"
    reads: ClassVar[tuple[str, ...]] = ()
    verb: ClassVar[str] = "edit"
    is_danger: ClassVar[bool] = False
    is_full: ClassVar[bool] = False  # uses the full width
    is_checked_by_server: ClassVar[bool] = True  # a rejected form is rendered again with the typed values

    def __init__(self, data: Mapping[str, Any] | None = None, *, experiment: Experiment) -> None:
        self.experiment, self.current = experiment, experiment.settings
        super().__init__(data, label_suffix="", initial={"seen": self.mark()})
        self.initial.update(self.filled())
        self.prepare()

    def mark(self) -> str:
        """Return the number of the revision that the page was rendered from."""
        return str(self.experiment.revision.number)

    def filled(self) -> dict[str, object]:
        """Return the initial values of the fields."""
        return {name: getattr(self.current, name) for name in self.fields if name in self.reads}

    def prepare(self) -> None:
        """Adapt the fields to the experiment."""

    @property
    def sentences(self) -> list[str]:
        """The text above the fields."""
        return []

    def clean(self) -> dict[str, Any]:
        if not self.cleaned_data.get("seen"):
            self.add_error(None, "The page is incomplete. Check the fields and save again.")
        return self.cleaned_data

    def changed(self) -> dict[str, object]:
        """Return the new settings by name."""
        return {name: value for name, value in self.cleaned_data.items() if name in self.reads}

    def of(self, settings: Settings) -> object:
        """Return the part of the settings that the form shows. A change of it by someone else is a conflict."""
        return [getattr(settings, name) for name in self.reads]

    def keep(self, *, by: User) -> bool:
        """Save one revision. Return False when nothing differs. Raises `Refused` or `Invalid`."""
        with self.experiment.locked() as experiment:
            experiment.allows(self.verb)
            if self.seen_settings():
                raise Refused("Someone else saved changes first. Review the new values and save again.")
            return self.write(experiment, by=by)

    def write(self, experiment: Experiment, *, by: User) -> bool:
        """Write the settings; `keep` has checked for conflicts."""
        settings = Settings.checked({**experiment.settings.document(), **self.changed()})
        return experiment.edit(settings, by=by, seen=experiment.revision.number)

    def seen_settings(self) -> Settings | None:
        """Return the settings that the page was rendered from, if the part in the form has changed since."""
        number = self.cleaned_data["seen"]
        is_number = number.isdecimal() and len(number) < 9
        seen = self.experiment.revisions.filter(number=int(number)).first() if is_number else None
        if seen is None:
            return self.current
        now = self.experiment.revision.settings
        return seen.settings if self.of(seen.settings) != self.of(now) else None

    @property
    def saved(self) -> str:
        """The message after a save."""
        return f"Saved as revision {self.experiment.revision.number}."

    def add_errors(self, error: Invalid) -> None:
        """Add each error to its field; an error of another block names its setting."""
        for name, sentences in error.errors.items():
            if name in self.fields:
                self.add_error(name, sentences)
            else:
                self.add_error(None, [f"{label_of(name)}: {sentence}" for sentence in sentences])


def change(
    request: SignedInRequest,
    experiment: Experiment,
    kind: type[BlockForm],
    *,
    back: str,
    template: str = "execution/block.html",
    **arguments: Any,
) -> HttpResponse:
    """GET shows the form, POST saves it. 403 for viewers; 409 in every state but draft, with the typed values."""
    require(request.user, kind.verb, experiment)
    if request.method != "POST":
        try:
            experiment.allows(kind.verb)
        except Refused as blank:
            return refused(request, experiment, str(blank), back=back)
        return _draw(request, kind(experiment=experiment, **arguments), back, template)
    form = kind(request.POST, experiment=experiment, **arguments)
    try:
        experiment.allows(kind.verb)
    except Refused as blank:
        return _draw(request, form, back, template, code=409, problem=str(blank))
    if not form.is_valid():
        return _draw(request, form, back, template, code=422 if form.errors else 200)
    try:
        saved_block = form.keep(by=request.user)
    except Invalid as error:
        form.add_errors(error)
        return _draw(request, form, back, template, code=422)
    except Refused as refusal:
        return _conflict_page(request, form, back, template, str(refusal))
    if saved_block:
        messages.success(request, form.saved)
    else:
        messages.info(request, "No changes to save.")
    return redirect(back)


def _conflict_page(
    request: SignedInRequest, form: BlockForm, back: str, template: str, problem: str
) -> HttpResponse:
    """Show the conflict with the typed values kept. Saving again overwrites the other change."""
    before = form.seen_settings()
    data = request.POST.copy()
    data["seen"] = form.mark()
    form.data = data
    their_changes = changes(before, form.experiment.revision.settings) if before else []
    return _draw(request, form, back, template, code=409, problem=problem, their_changes=their_changes)


def _draw(
    request: SignedInRequest,
    form: BlockForm,
    back: str,
    template: str,
    *,
    code: int = 200,
    problem: str = "",
    their_changes: list[Change] | None = None,
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
        "their_changes": their_changes or [],
    }
    return render(request, template, context, status=code)
