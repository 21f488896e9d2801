"""The choices of a person for an import: checked, and completed from the preview."""

from __future__ import annotations

import dataclasses
from typing import Any

from experiments.models import Invalid, Settings
from experiments.models.settings.settings import MAX_TRIALS
from experiments.runner.command import WORDS
from experiments.search.imports.tables import METRIC, PARAMETER, SKIPPED
from experiments.search.parameter_parser import MAX_PARAMETERS

RESERVED = tuple(WORDS)  # placeholders of commands, which no parameter may be called
DIRECTIONS = ("maximize", "minimize")
ROLES = (PARAMETER, METRIC, SKIPPED)
OWN = "trialdeck"  # the format whose settings are in the file


def study_of(preview: dict[str, Any], key: object) -> dict[str, Any]:
    """Return the study with this ID, by default the only one. Raise `Invalid`."""
    studies = preview.get("studies", [])
    if key in (None, "") and len(studies) == 1:
        return studies[0]
    for study in studies:
        if str(study["id"]) == str(key) or study["name"] == key:
            return study
    names = ", ".join(str(study["name"])[:40] for study in studies[:10])
    raise Invalid({"study": [f"Select one of the studies in the file: {names}."]})


def checked(
    preview: dict[str, Any],
    *,
    file_format: str,
    study: object = None,
    metric: str = "",
    direction: str = "",
    parameters: list[str] | None = None,
    name: str = "",
) -> dict[str, Any]:
    """Return the choices as they are stored. `parameters`: those to import, by their names in the file; None: all.

    Raise `Invalid` with what is missing: the metric where the file has several, the direction where it names none.
    """
    chosen = study_of(preview, study)
    names = [row["name"] for row in chosen["metrics"]]
    errors: dict[str, list[str]] = {}
    metric = metric or chosen["objective"] or (names[0] if len(names) == 1 else "")
    if file_format == OWN:
        metric, direction = chosen["objective"], chosen["directions"][chosen["objective"]]
    elif not metric or metric not in names:
        errors["metric"] = [
            f"Select the objective metric: {_listed(names)}." if names else "The file has no metric."
        ]
    direction = direction or chosen["directions"].get(metric, "")
    if direction not in DIRECTIONS and "metric" not in errors:
        errors["direction"] = [
            f"Select the direction of {metric[:60]}: maximize or minimize. The file does not specify it."
        ]
    sources = [row["source"] for row in chosen["parameters"]]
    chosen_sources = sources if parameters is None else [source for source in sources if source in parameters]
    if unknown := [item for item in parameters or () if item not in sources]:
        errors["parameters"] = [f"The file has no parameter {unknown[0][:60]!r}."]
    rows = [row for row in chosen["parameters"] if row["source"] in chosen_sources and row["in_space"]]
    if not rows and file_format != OWN:
        errors.setdefault("parameters", []).append("Select at least one parameter.")
    if len(rows) > MAX_PARAMETERS:
        errors["parameters"] = [f"Select at most {MAX_PARAMETERS} parameters."]
    name = " ".join(name.split()) or chosen["name"]
    if len(name) > 200 or "\0" in name:
        errors["name"] = ["Enter a name of at most 200 characters."]
    if errors:
        raise Invalid(errors)
    choices = {
        "study": chosen["id"],
        "metric": metric,
        "direction": direction,
        "name": name,
        "parameters": chosen_sources,
        "names": {
            row["source"]: row["name"] for row in chosen["parameters"] if row["source"] in chosen_sources
        },
        "space": {row["name"]: row["definition"] for row in rows},
    }
    if file_format != OWN:
        settings_of(choices, trials=chosen["trials"])
    return choices


def checked_roles(preview: dict[str, Any], roles: dict[str, str]) -> dict[str, str]:
    """Return the roles of columns by their names in the file. Raise `Invalid`."""
    columns = {column for study in preview.get("studies", []) for column, _ in study["columns"]}
    for column, role in roles.items():
        if column not in columns:
            raise Invalid({"roles": [f"The file has no column {column[:60]!r} whose role can be changed."]})
        if role not in ROLES:
            raise Invalid({"roles": [f"The role of {column[:60]} must be one of: {', '.join(ROLES)}."]})
    if columns and all(
        roles.get(column, guessed_role) != PARAMETER
        for study in preview.get("studies", [])
        for column, guessed_role in study["columns"]
    ):
        raise Invalid({"roles": ["Keep at least one parameter."]})
    return roles


def _listed(names: list[str]) -> str:
    return ", ".join(name[:40] for name in names[:10]) + (", …" if len(names) > 10 else "")


def settings_of(choices: dict[str, Any], *, trials: int) -> Settings:
    """Return the settings of an experiment that was imported from another tool: no command, so that it cannot start.
    Raise `Invalid`."""
    settings = Settings.checked(
        {
            "command": "true",
            "space_document": choices["space"],
            "metric": choices["metric"][:100],
            "direction": choices["direction"],
            "max_trials": min(max(trials, 1), MAX_TRIALS),
            "seed": 0,
        }
    )
    return dataclasses.replace(settings, command="")
