"""Warnings about settings that are valid, but likely to give wrong results."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from experiments.runner.output import metric_pattern

from .settings import Settings

_OF_ITS_OWN = re.compile(
    r"\$\{(?:output_dir|trial_id|params)\}|\$\{?TRIALDECK_(?:OUTPUT_DIR|TRIAL_ID|TRIAL_NUMBER)\b"
)


def settings_warnings(values: Mapping[str, Any]) -> dict[str, str]:
    """Return warnings by field name, one sentence each. `values` are settings by name, possibly incomplete."""
    warnings = {}
    source, pattern, path = (str(values.get(name) or "") for name in ("source", "pattern", "metric_path"))
    if source == "stdout" and (warning := metric_pattern.warning(pattern)):
        warnings["pattern"] = warning
    if source == "file" and path and _is_shared(path, values):
        name = path.rpartition("/")[2]
        warnings["metric_path"] = (
            "All trials write to this file, so parallel trials fail: the result could be from any of "
            f"them. Use ${{output_dir}}/{name} here and in the command."
        )
    return warnings


def without_effect(settings: Settings) -> dict[str, str]:
    """Return warnings about settings that only have an effect together with another one, by field name. A form shows
    such fields only beside the other one, so these are for programs."""
    is_read = settings.source != "sdk"  # else from the output or a file; the other may be left from before
    has_container = settings.image or settings.setup_script
    stops_early = settings.early_stopping not in ("", "none")
    needs = {
        "pattern": (is_read, "the source “stdout”"),
        "metric_path": (is_read, "the source “file”"),
        "packages": (settings.packages_from == "list", "packages_from “list”"),
        "image_arguments": (has_container, "an image"),
        "reference": (settings.repository, "a repository"),
        "early_stopping_arguments": (stops_early, "an early-stopping rule"),
        "window_time_zone": (settings.start_window or settings.window_time_zone == "UTC", "a start window"),
    }
    return {
        name: f"This has no effect: it requires {other}."
        for name, (has_effect, other) in needs.items()
        if getattr(settings, name) and not has_effect
    }


def implied(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changes with the metric source that a pattern or the path of a file implies, if they name none."""
    if "source" in changes or not (changes.get("pattern") or changes.get("metric_path")):
        return dict(changes)
    return {**changes, "source": "stdout" if changes.get("pattern") else "file"}


def _is_shared(path: str, values: Mapping[str, Any]) -> bool:
    """Return whether several trials would write the same metric file."""
    if _OF_ITS_OWN.search(path):
        return False
    if path.startswith(("/", "~", "$", "..")):
        return True
    has_own_code = values.get("repository") or (values.get("diff") and not values.get("command"))
    return bool(values.get("directory")) and not has_own_code
