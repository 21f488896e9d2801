"""The settings and results of an experiment as they leave this console: without secrets and without references."""

from __future__ import annotations

import json
import re
from typing import Any

from experiments.models import Settings
from experiments.runner.code.reproduce import is_secret
from experiments.runner.output.masking import MASK, secrets_in

REFERENCES = ("warm_start", "input_model")  # IDs of rows that do not exist elsewhere


def exportable(settings: Settings) -> tuple[dict[str, Any], int, int]:
    """Return the document for a file, the number of secrets and of references that it leaves out.

    Secret hyperparameters become empty values; variables that look like secrets, and passwords in addresses, become
    `***`.
    """
    document = settings.document()
    secrets = references = 0
    for name in REFERENCES:
        references += bool(document[name])
        document[name] = ""
    for parameters in document["hyperparameters"].values():
        for name, traits in parameters.items():
            if "secret" in traits:
                parameters[name] = {
                    "value": "",
                    **{key: text for key, text in traits.items() if key != "secret"},
                }
                secrets += 1
    in_texts = secrets_in({}, _texts(document))
    for name, text in document["environment"].items():
        if is_secret(name, text) and text not in ("", MASK):
            document["environment"][name] = MASK
            secrets += 1
    if in_texts:
        secrets += len(in_texts)
        document = _masked(document, in_texts)
    return document, secrets, references


def masked_document(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document with `***` for passwords in addresses."""
    secrets = secrets_in({}, _texts(document))
    return _masked(document, secrets) if secrets else document


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]
    return [text for item in value for text in _texts(item)] if isinstance(value, list) else []


def _masked(document: dict[str, Any], secrets: set[str]) -> dict[str, Any]:
    """Return the document with `***` for these texts, which may be part of values."""
    spelled = sorted(
        {json.dumps(secret)[1:-1] for secret in secrets if secret != MASK}, key=len, reverse=True
    )
    if not spelled:
        return document
    pattern = re.compile("|".join(map(re.escape, spelled)))
    return {name: _replaced(value, pattern) for name, value in document.items()}


def _replaced(value: Any, pattern: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return pattern.sub(MASK, value)
    if isinstance(value, dict):
        return {key: _replaced(item, pattern) for key, item in value.items()}
    return [_replaced(item, pattern) for item in value] if isinstance(value, list) else value
