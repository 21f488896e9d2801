"""The revisions in an export, with their settings checked as if a person had entered them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from experiments.models import Invalid, Revision, Settings
from experiments.search.imports import ReadError
from experiments.search.space import SpaceError


def revisions_of(documents: list[dict[str, Any]]) -> list[Revision]:
    """Return the revisions in an export, not saved. Raise ReadError when their settings are invalid."""
    return [
        Revision(
            number=document["number"],
            document=_settings(document["settings"], document["number"]).document(),
            resolved=document["resolved"],
            author=document["by"],
            at=datetime.fromisoformat(document["at"]),
            note=document["note"],
        )
        for document in documents
    ]


def _settings(document: dict[str, Any], number: int) -> Settings:
    """Return the settings of a revision in a file, checked as if a person had entered them. Raise ReadError."""
    has_command = bool(document.get("command") or document.get("script") or document.get("diff"))
    try:
        settings = Settings.checked(document if has_command else {**document, "command": "true"})
        if settings.space is None:  # parsed here, where an error has its place
            raise ReadError("The settings have no search space.")
    except Invalid as invalid:
        raise ReadError(f"revisions.jsonl, revision {number}: {invalid}"[:500]) from None
    except SpaceError as error:
        raise ReadError(f"revisions.jsonl, revision {number}: {error}"[:500]) from None
    restored = {} if has_command else {"command": ""}
    return Settings.stored({**settings.document(), **restored})
