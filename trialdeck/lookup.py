"""Find a workspace, an experiment or a queue on a console, or raise an error that lists the choices."""

from __future__ import annotations  # for Python 3.8

from trialdeck import errors
from trialdeck.console import Console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def active_experiments(console: Console, workspace: str) -> list[dict[str, Any]]:
    """Return the active experiments of a workspace, each once even if it changes its state meanwhile."""
    states = ("pending", "running", "paused", "stopping")
    path = f"workspaces/{workspace}/experiments"
    rows = (row for state in states for row in console.items(path, status=state))
    return list({row["id"]: row for row in rows}.values())


def workspaces(console: Console) -> list[str]:
    """Return the workspaces that can have experiments."""
    return [row["slug"] for row in console.items("workspaces") if row.get("has_automl", True)]


def only_workspace(console: Console) -> str:
    """Return the workspace to use when none is named."""
    slugs = workspaces(console)
    if len(slugs) == 1 or "local" in slugs:
        return "local" if "local" in slugs else slugs[0]
    if not slugs:
        raise errors.Refused(f"You have no workspace with AutoML on {console.url}.", status=409)
    choices = " or ".join(map(repr, slugs[:10]))
    raise errors.Invalid(f"You have several workspaces. Choose one: config.workspace = {choices}.")


def check_served(console: Console, queue: str | None) -> None:
    """Raise Refused if no worker serves the queue: the experiment would wait forever."""
    name = queue or "default"
    row = next((row for row in console.items("queues") if row["name"] == name), None)
    if row is not None and not row["is_served"]:
        raise errors.Refused(
            f"Nothing was started: no worker serves the queue {name} on {console.url}. Start one: "
            f"trialdeck worker --queue {name}",
            status=409,
        )


def find_experiment(console: Console, text: str) -> dict[str, Any]:
    """Return the experiment with this ID, else the only one with this name."""
    text = str(text)
    if text.isascii() and text.isalnum():
        try:
            return console.get(f"experiments/{text}")
        except errors.NotFound:
            pass
    rows = [
        row
        for workspace in workspaces(console)
        for row in console.items(f"workspaces/{workspace}/experiments", q=text)
        if row["name"] == text
    ]
    if len(rows) == 1:
        return rows[0]
    if rows:
        raise errors.Invalid(
            f"{len(rows)} experiments have the name {text!r}. Choose one by its ID: {_listed(rows)}."
        )
    raise errors.NotFound(f"No experiment {text!r} on {console.url}.", status=404)


def only_active_experiment(console: Console) -> dict[str, Any]:
    """Return the active experiment, if there is exactly one."""
    rows = [row for workspace in workspaces(console) for row in active_experiments(console, workspace)]
    if len(rows) == 1:
        return rows[0]
    if rows:
        raise errors.Invalid(
            f"{len(rows)} experiments are active on {console.url}. Choose one, experiment='…': {_listed(rows)}."
        )
    raise errors.NotFound(
        f"No experiment is active on {console.url}. To use an experiment that has ended, pass its ID or name.",
        status=404,
    )


def _listed(rows: list[dict[str, Any]]) -> str:
    names = ", ".join(f"{row['id']} ({row['name']}, {row['state']})" for row in rows[:20])
    return names + (", …" if len(rows) > 20 else "")
