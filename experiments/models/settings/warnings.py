"""Warnings about settings that are valid, but likely to give wrong results."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from experiments.runner.output import metric_pattern

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


def _is_shared(path: str, values: Mapping[str, Any]) -> bool:
    """Return whether several trials would write the same metric file."""
    if _OF_ITS_OWN.search(path):
        return False
    if path.startswith(("/", "~", "$", "..")):
        return True
    has_own_code = values.get("repository") or (values.get("diff") and not values.get("command"))
    return bool(values.get("directory")) and not has_own_code
