"""Blocks of the Configuration tab: hyperparameter groups, user properties, configuration objects."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from django import forms
from django.contrib.auth.decorators import login_required
from django.forms.utils import ErrorDict
from django.http import Http404, HttpResponse
from django.views.decorators.http import require_http_methods

from experiments.messages import plural
from experiments.models import Experiment, Settings, User, secret
from experiments.models.settings.execution import fault_of_value
from experiments.query_parameters import text
from experiments.web.ui import key_value_rows
from experiments.web.ui.key_value_rows import Pair
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest

from .edit.setting_blocks import BlockForm, change
from .page import get_experiment, url_of

GROUPS = ("Args", "Environment", "General", "TF_DEFINE")  # offered; any other name is as good
TYPES = ("int", "float", "bool", "str", "list", "dict")  # likewise


class RowsForm(BlockForm):
    """Rows of name and value, which buttons of the form add and remove."""

    has_secrets: ClassVar[bool] = False
    is_rows = True

    def __init__(self, data: Mapping[str, Any] | None = None, *, experiment: Experiment) -> None:
        super().__init__(data, experiment=experiment)
        if data is None:
            self.rows = [*self.stored(), *(Pair() for _ in range(key_value_rows.BLANK_ROWS))]
        else:
            self.rows = key_value_rows.typed(
                data, stored_secrets=[row.name for row in self.stored() if row.is_kept]
            )
        self.is_checked = data is None or not {"add_row", "drop_row"} & data.keys()
        if data is not None and "add_row" in data:
            self.rows.append(Pair())
        key_value_rows.give_places(self.rows)

    def stored(self) -> list[Pair]:
        """The stored rows."""
        raise NotImplementedError

    @property
    def focus(self) -> key_value_rows.Focus:
        """Where the focus goes after a row was added or removed."""
        return key_value_rows.focus_after(self.data, self.rows)

    def checked(self) -> list[Pair]:
        """Return the rows that are not blank, with their errors noted on them."""
        return key_value_rows.check(self.rows)

    def full_clean(self) -> None:
        """A request that only adds or removes a row shows no errors."""
        if self.is_checked:
            super().full_clean()
        else:
            self._errors, self.cleaned_data = ErrorDict(), {}

    def is_valid(self) -> bool:
        return self.is_checked and super().is_valid()

    def clean(self) -> dict[str, Any]:
        self.filled_rows = self.checked()
        faulty = sum(bool(row.errors) for row in self.rows)
        if faulty:
            self.add_error(None, f"Fix {plural(faulty, 'row')} to save the changes.")
        return super().clean()


class GroupForm(RowsForm):
    """One group of hyperparameters. A group without rows is removed."""

    reads = ("hyperparameters",)
    has_secrets = True
    is_full = True
    types = TYPES

    group = forms.CharField(
        max_length=200,
        label="Group",
        widget=forms.TextInput(attrs={"class": "mono", "autocomplete": "off", "list": "groups"}),
        error_messages={"required": "Enter a name for the group."},
    )

    def __init__(self, data: Mapping[str, Any] | None = None, *, experiment: Experiment, name: str) -> None:
        self.name = name
        super().__init__(data, experiment=experiment)

    @property
    def sentences(self) -> list[str]:
        if self.name == "Environment":
            return ["Environment variables of a trial. The experiment's environment takes precedence."]
        if self.name == "Args" and self.current.passes_arguments:
            return ["Appended to the command as --name value. A blank value appends the name only."]
        return []

    def filled(self) -> dict[str, Any]:
        return {}

    def prepare(self) -> None:
        self.heading = f"Hyperparameters: {self.name}" if self.name else "Add hyperparameters"
        if self.name:
            del self.fields["group"]

    @property
    def suggested(self) -> list[str]:
        return [name for name in GROUPS if name not in self.current.hyperparameters]

    def of(self, settings: Settings) -> Any:
        return settings.hyperparameters.get(self.name)

    def stored(self) -> list[Pair]:
        named = self.current.hyperparameters.get(self.name, {})
        return [
            Pair(
                name,
                key_value_rows.plain(named[name].get("value", "")),
                was=name,
                is_secret="secret" in named[name],
                is_kept="secret" in named[name],
                type=key_value_rows.plain(named[name].get("type", "")),
                description=key_value_rows.plain(named[name].get("description", "")),
            )
            for name in sorted(named, key=key_value_rows.naturally)
        ]

    @property
    def focus(self) -> key_value_rows.Focus:
        """Where the focus goes after a row was added or removed."""
        return key_value_rows.focus_after(self.data, self.rows)

    def checked(self) -> list[Pair]:
        rows, stored = super().checked(), {row.name: row for row in self.stored()}
        for row in rows:
            was = stored.get(row.was, Pair())
            kind = was.type if row.type is None else row.type
            if (kind, row.value) == (was.type, was.value) or not (
                fault := fault_of_value(kind or "", row.value)
            ):
                continue
            row.fault("value", f"This secret is not a valid {kind}." if row.is_secret else fault)
        return rows

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("group") in self.current.hyperparameters:
            self.add_error("group", "A group with this name exists. Edit that group instead.")
        if cleaned.get("group") and not self.filled_rows:
            self.add_error(None, "Enter at least one name with a value.")
        return cleaned

    def changed(self) -> dict[str, Any]:
        groups = dict(self.experiment.settings.hyperparameters)
        name = self.name or self.cleaned_data["group"]
        before = groups.pop(name, {})
        names = {key_value_rows.plain(stored): stored for stored in before}
        parameters = {
            names.get(row.name, row.name): self._traits(row, before, names) for row in self.filled_rows
        }
        return {"hyperparameters": {**groups, name: parameters} if parameters else groups}

    def _traits(self, row: Pair, before: dict[str, dict[str, str]], names: dict[str, str]) -> dict[str, str]:
        """Return a row as stored. Untouched values keep their exact text."""
        was = before.get(names.get(row.was, ""), {})
        other_traits = {}
        for trait in ("type", "description"):
            text, stored = getattr(row, trait), was.get(trait, "")
            if trait_text := stored if text in (None, key_value_rows.plain(stored)) else text.strip():
                other_traits[trait] = trait_text
        if row.is_secret:
            return {
                **other_traits,
                "secret": was["secret"] if row.is_kept and not row.value else _sealed(row.value),
            }
        return {**other_traits, "value": key_value_rows.unless_unchanged(row.value, stored=was.get("value"))}


class RemoveGroup(BlockForm):
    """Remove a group of hyperparameters."""

    button = "Remove group"
    reads = ("hyperparameters",)
    is_danger = True

    def __init__(self, data: Mapping[str, Any] | None = None, *, experiment: Experiment, name: str) -> None:
        self.name = name
        super().__init__(data, experiment=experiment)

    def prepare(self) -> None:
        self.heading = f"Remove the group {self.name}?"

    @property
    def sentences(self) -> list[str]:
        count = len(self.current.hyperparameters.get(self.name, {}))
        return [f"Removes {plural(count, 'hyperparameter')}. Earlier revisions keep them."]

    def of(self, settings: Settings) -> Any:
        return settings.hyperparameters.get(self.name)

    def changed(self) -> dict[str, Any]:
        groups = dict(self.experiment.settings.hyperparameters)
        groups.pop(self.name, None)
        return {"hyperparameters": groups}


class PropertiesForm(RowsForm):
    """User properties. They are not settings, so they can be edited in every state but published."""

    heading = "User properties"
    verb = "annotate"
    saved = "Saved."

    def mark(self) -> str:
        document = json.dumps(self.experiment.properties, sort_keys=True)
        return hashlib.sha256(document.encode()).hexdigest()[:16]

    def stored(self) -> list[Pair]:
        properties = self.experiment.properties
        return [
            Pair(name, key_value_rows.plain(str(properties[name])), was=name)
            for name in sorted(properties, key=key_value_rows.naturally)
        ]

    def seen_settings(self) -> Settings | None:
        return self.current if self.cleaned_data["seen"] != self.mark() else None

    def changes(self) -> dict[str, str]:
        before = self.experiment.properties
        names = {key_value_rows.plain(stored): stored for stored in before}
        properties = {}
        for row in self.filled_rows:
            name = names.get(row.name, row.name)
            properties[name] = key_value_rows.unless_unchanged(row.value, stored=before.get(name))
        return properties

    def write(self, experiment: Experiment, *, by: User) -> bool:
        return experiment.annotate(by=by, properties=self.changes())


class ObjectForm(BlockForm):
    """One configuration object."""

    reads = ("objects",)
    is_full = True

    object = forms.CharField(
        max_length=200,
        label="Name",
        widget=forms.TextInput(
            attrs={"class": "mono", "placeholder": "model.yaml", "autocomplete": "off"},
        ),
        error_messages={"required": "Enter a name for the object."},
    )
    text = forms.CharField(
        required=False,
        strip=False,
        label="Text",
        widget=forms.Textarea(attrs={"rows": 22, "spellcheck": "false"}),
        help_text="Trials read it with trialdeck.get_configuration(name) or from the file at $TRIALDECK_CONFIGURATION.",
    )

    def __init__(self, data: Mapping[str, Any] | None = None, *, experiment: Experiment, name: str) -> None:
        self.name = name
        super().__init__(data, experiment=experiment)

    def filled(self) -> dict[str, Any]:
        return {"text": self.current.objects.get(self.name, "")}

    def prepare(self) -> None:
        self.heading = f"Configuration object: {self.name}" if self.name else "Add a configuration object"
        if self.name:
            del self.fields["object"]

    def of(self, settings: Settings) -> Any:
        return settings.objects.get(self.name)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("object") in self.current.objects:
            self.add_error("object", "An object with this name exists. Edit that object instead.")
        return cleaned

    def changed(self) -> dict[str, Any]:
        now = self.experiment.settings.objects
        name = self.name or self.cleaned_data["object"]
        return {
            "objects": {
                **now,
                name: key_value_rows.unless_unchanged(self.cleaned_data["text"], stored=now.get(name)),
            }
        }


class ClearObject(BlockForm):
    """Empty a configuration object without deleting it."""

    button = "Clear"
    reads = ("objects",)
    is_danger = True
    question = "Clear {}?"

    def __init__(self, data: Mapping[str, Any] | None = None, *, experiment: Experiment, name: str) -> None:
        self.name = name
        super().__init__(data, experiment=experiment)

    def prepare(self) -> None:
        self.heading = self.question.format(self.name)

    @property
    def sentences(self) -> list[str]:
        lines = len(self.current.objects.get(self.name, "").splitlines())
        return [f"Removes {plural(lines, 'line')}. Earlier revisions keep them."]

    def of(self, settings: Settings) -> Any:
        return settings.objects.get(self.name)

    def changed(self) -> dict[str, Any]:
        return {"objects": {**self.experiment.settings.objects, self.name: ""}}


class DeleteObject(ClearObject):
    button = "Delete"
    question = "Delete {}?"

    def changed(self) -> dict[str, Any]:
        now = self.experiment.settings.objects
        return {"objects": {name: text for name, text in now.items() if name != self.name}}


def _sealed(text: str) -> str:
    return secret.seal(text) if 0 < len(text) <= secret.LONGEST else ""


# --- the pages that ask ----------------------------------------------------------------------------------------


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@takes(name=text())
def group(request: SignedInRequest, workspace_slug: str, public_id: str, action: str = "") -> HttpResponse:
    """Edit or remove the group `?name=`; without a name, add one."""
    kinds: dict[str, type[BlockForm]] = {"": GroupForm, "remove": RemoveGroup}
    experiment, kind = get_experiment(request, workspace_slug, public_id), kinds.get(action)
    name = request.GET.get("name", "")
    if kind is None or (name or action) and name not in experiment.settings.hyperparameters:
        raise Http404
    return change(request, experiment, kind, back=_back(experiment, "hyperparameters"), name=name)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@takes(name=text())
def configuration_object(
    request: SignedInRequest, workspace_slug: str, public_id: str, action: str = ""
) -> HttpResponse:
    """Edit, clear or delete the object `?name=`; without a name, add one."""
    kinds: dict[str, type[BlockForm]] = {"": ObjectForm, "clear": ClearObject, "delete": DeleteObject}
    experiment, kind = get_experiment(request, workspace_slug, public_id), kinds.get(action)
    name = request.GET.get("name", "")
    if kind is None or (name or action) and name not in experiment.settings.objects:
        raise Http404
    return change(request, experiment, kind, back=_back(experiment, "objects"), name=name)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def properties(request: SignedInRequest, workspace_slug: str, public_id: str) -> HttpResponse:
    """Edit the user properties."""
    experiment = get_experiment(request, workspace_slug, public_id)
    return change(request, experiment, PropertiesForm, back=_back(experiment, "properties"))


def _back(experiment: Experiment, part: str) -> str:
    return f"{url_of(experiment, 'experiment-configuration')}#{part}"


# --- what the tab shows ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """One hyperparameter in a table."""

    name: str
    value: str
    title: str
    is_secret: bool
    is_searched: bool


def groups_of(settings: Settings, *, query: str = "") -> list[tuple[str, list[Shown], int, str]]:
    """Return (group, its rows that match `query`, total number of its rows, text to copy), sorted by name."""
    folded_query, groups = query.casefold(), []
    searched = {parameter.name for parameter in settings.space.parameters}
    for group in sorted(settings.hyperparameters, key=str.casefold):
        named = settings.hyperparameters[group]
        rows = [
            _shown(name, named[name], is_searched=bool({name, f"{group}/{name}"} & searched))
            for name in sorted(named, key=key_value_rows.naturally)
        ]
        matching_rows = [
            row for row in rows if folded_query in row.name.casefold() or folded_query in row.value.casefold()
        ]
        text = "\n".join(f"{row.name}={named[row.name]['value']}" for row in rows if not row.is_secret)
        groups.append((group, matching_rows, len(rows), text))
    return [entry for entry in groups if entry[1]]


def _shown(name: str, traits: dict[str, str], *, is_searched: bool) -> Shown:
    notes = [f"Type: {traits['type']}"] if traits.get("type") else []
    if traits.get("description"):
        notes.append(traits["description"])
    is_secret = "secret" in traits
    value = secret.HIDDEN if is_secret else traits["value"]
    return Shown(name, value, ". ".join(notes), is_secret, is_searched)
