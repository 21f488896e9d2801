"""Conflicts between two users who edit an experiment: who changed what, and the posted values merged into the new
ones."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.http import QueryDict

from experiments.models import Experiment, Revision, Settings
from experiments.web.experiment.forms import space_rows
from experiments.web.experiment.forms.edit_form import comparable, description_digest, filled_rows
from experiments.web.experiment.forms.experiment_form import ExperimentForm, settings_values
from experiments.web.ui.form_fields import SHOWN

from .settings_diff import Change, changes

CHECKBOXES = ("pipefail", "passes_arguments", "avoid_failing_regions")


@dataclass(frozen=True)
class OtherRevision:
    """A revision that someone made after the page was rendered."""

    author: str
    number: int
    changes: list[Change]


@dataclass(frozen=True)
class Conflict:
    """What others changed after the page was rendered, and the posted values on top of it."""

    data: QueryDict
    revisions: list[OtherRevision] = field(default_factory=list)
    description: str = ""  # a sentence: who changed name, project, description, tags or visibility


def conflict_of(data: QueryDict, experiment: Experiment, *, is_restoring: bool) -> Conflict:
    """Return the conflict of an outdated page, posted as `data`."""
    revisions = _revisions_since(data.get("seen", ""), experiment)
    their_changes = [
        OtherRevision(
            author=later.who,
            number=later.number,
            changes=changes(earlier.settings, later.settings),
        )
        for earlier, later in zip(revisions, revisions[1:], strict=False)
    ]
    drawn = revisions[0].settings if their_changes and not is_restoring else experiment.settings
    description = ""
    if not their_changes:
        event = experiment.events.filter(verb="describe").select_related("by").first()
        description = f"{event.who} changed {event.why}." if event else ""
    return Conflict(merged(data, before=drawn, now=experiment), their_changes, description)


def _revisions_since(number: str, experiment: Experiment) -> list[Revision]:
    """Return the revision of this number and all later ones; nothing for a number that was never shown."""
    if not number.isdecimal() or len(number) > 8:
        return []
    revisions = list(experiment.revisions.filter(number__gte=int(number)).select_related("by"))
    return revisions if revisions and revisions[0].number == int(number) else []


def merged(data: QueryDict, *, before: Settings, now: Experiment) -> QueryDict:
    """Return the posted values, with the current values for untouched fields."""
    data, old, new = data.copy(), settings_values(before), settings_values(now.settings)
    data["seen"], data["seen_description"] = str(now.revision.number), description_digest(now)
    for name in old.keys() - {"space_document", *CHECKBOXES}:
        if name in data and comparable(data[name]) == comparable(old[name]):
            data[name] = str(comparable(new[name]))
    for name in CHECKBOXES:
        if ExperimentForm.base_fields[name].widget.value_from_datadict(data, {}, name) == getattr(
            before, name
        ):
            data.pop(name, None)
            data[f"{name}{SHOWN}"] = "1"
            if getattr(now.settings, name):
                data[name] = "on"
    if filled_rows(space_rows.typed(data)) == filled_rows(space_rows.rows_of(before.space_document)):
        for name in [name for name in data if name.startswith("space-")]:
            del data[name]
        for place, row in enumerate(space_rows.rows_of(now.settings.space_document)):
            for part in ("name", "type", "values"):
                data[f"space-{place}-{part}"] = getattr(row, part)
    if comparable(data.get("space_document")) == comparable(old["space_document"]):
        data["space_document"] = new["space_document"]
    return data
