"""Find a workspace, an experiment or a queue on a console, or raise an error that lists the choices."""

from __future__ import annotations  # for Python 3.8

import urllib.parse

from trialdeck import errors
from trialdeck.config import mebibytes
from trialdeck.console import Console
from trialdeck.field_names import in_terms_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from trialdeck.config import ExperimentConfig

RESOURCES = ("trial_gpu_number", "trial_cores", "trial_memory")


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
    raise errors.Invalid("", fields={"workspace": [f"You have several workspaces. Choose {choices}."]})


def check_served(console: Console, config: ExperimentConfig) -> list[str]:
    """Raise Refused if no worker can run the trials: the experiment would wait forever.

    Return a note, in a list, if the queue has fewer slots than the concurrency.
    """
    name = config.queue or "default"
    needed = {
        "gpus": config.trial_gpu_number,
        "cores": config.trial_cores,
        "memory_mib": mebibytes(config.trial_memory, config.spelled("trial_memory")),
    }
    try:
        with in_terms_of(config):
            queue = console.get(f"queues/{urllib.parse.quote(name, safe='')}", **needed)
    except errors.NotFound:
        return []  # the console says so when the experiment is created
    if not queue["workers"]:
        raise errors.Refused(
            f"Nothing was started: no worker serves the queue {name} on {console.url}. Start one: "
            f"trialdeck worker --queue {name}",
            status=409,
        )
    if queue["obstacle"]:
        fields = [config.spelled(field) for field in RESOURCES if getattr(config, field)]
        hint = f" Change {' or '.join(fields)}, or start a worker that has them." if fields else ""
        raise errors.Refused(f"Nothing was started: {queue['obstacle']}.{hint}", status=409)
    slots, concurrency = queue["slots"], config.trial_concurrency
    if not isinstance(concurrency, int) or concurrency <= slots:
        return []
    return [
        f"{config.spelled('trial_concurrency')} is {concurrency}, but queue {name} has {_some(slots, 'slot')}: at most "
        f"{_some(slots, 'trial')} can run at the same time. For more, start the console with slots={concurrency} "
        f"(`trialdeck up --slots {concurrency}`), or another worker."
    ]


def _some(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


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
