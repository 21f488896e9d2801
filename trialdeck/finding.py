"""Which workspace, which experiment, which queue: found on a console, or told what there is to choose from."""

from __future__ import annotations  # for Python 3.8

from trialdeck import errors
from trialdeck.console import Console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def active(console: Console, workspace: str) -> list[dict[str, Any]]:
    """The experiments of a workspace that are under way. One that changes its state meanwhile is told once."""
    states = ("pending", "running", "paused", "stopping")
    path = f"workspaces/{workspace}/experiments"
    return list({one["id"]: one for state in states for one in console.items(path, status=state)}.values())


def rooms(console: Console) -> list[str]:
    """The workspaces in which there can be experiments."""
    return [room["slug"] for room in console.items("workspaces") if room.get("has_automl", True)]


def only_room(console: Console) -> str:
    """The workspace to work in when none is named."""
    found = rooms(console)
    if len(found) == 1 or "local" in found:
        return "local" if "local" in found else found[0]
    if not found:
        raise errors.Refused(
            f"There is no workspace for you on {console.url} in which AutoML is on.", status=409
        )
    raise errors.Invalid(f"Say in which workspace: config.workspace = {' or '.join(map(repr, found[:10]))}.")


def check_served(console: Console, queue: str | None) -> None:
    """Raises Refused when no worker serves the queue: the experiment would wait for ever."""
    name = queue or "default"
    found = next((one for one in console.items("queues") if one["name"] == name), None)
    if found is not None and not found["is_served"]:
        raise errors.Refused(
            f"No worker serves the queue {name} on {console.url}, so nothing was started. Start one: "
            f"trialdeck worker --queue {name}",
            status=409,
        )


def find(console: Console, text: str) -> dict[str, Any]:
    """The experiment with this ID, else the only one with this name."""
    text = str(text)
    if text.isascii() and text.isalnum():
        try:
            return console.get(f"experiments/{text}")
        except errors.NotFound:
            pass
    rows = [
        one
        for room in rooms(console)
        for one in console.items(f"workspaces/{room}/experiments", q=text)
        if one["name"] == text
    ]
    if len(rows) == 1:
        return rows[0]
    if rows:
        raise errors.Invalid(
            f"{len(rows)} experiments are called {text!r}. Say which by its ID: {_told(rows)}."
        )
    raise errors.NotFound(f"There is no experiment {text!r} on {console.url}.", status=404)


def only_active(console: Console) -> dict[str, Any]:
    rows = [one for room in rooms(console) for one in active(console, room)]
    if len(rows) == 1:
        return rows[0]
    if rows:
        raise errors.Invalid(
            f"{len(rows)} experiments are under way on {console.url}. Say which one, experiment='…': {_told(rows)}."
        )
    raise errors.NotFound(
        f"No experiment is under way on {console.url}. For one that has ended give its ID or name.",
        status=404,
    )


def _told(rows: list[dict[str, Any]]) -> str:
    said = ", ".join(f"{one['id']} ({one['name']}, {one['state']})" for one in rows[:20])
    return said + (", …" if len(rows) > 20 else "")
