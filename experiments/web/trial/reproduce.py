"""Reproduce a trial outside Trialdeck: its command as it ran, a script to run it by hand, its parameters as a file."""

from __future__ import annotations

import json

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.views.decorators.http import require_safe

from experiments.models import Trial, secret
from experiments.models.settings.execution import LITERAL
from experiments.models.settings.shown import masked_resolved, shown
from experiments.runner.code import reproduce as scripts
from experiments.runner.code.reproduce_code import Code
from experiments.web.experiment.page import get_trial, refused, url_of_trial
from experiments.web.ui.requests import SignedInRequest

MASKED = "••••••••"
MASKED_NOTE = f"# {secret.HIDDEN} is in place of a password or token: enter it before you run this script."


@login_required
@require_safe
def script(request: SignedInRequest, workspace_slug: str, public_id: str, number: int) -> HttpResponse:
    """Send a shell script that runs this trial by hand, without its secrets."""
    trial = get_trial(request, workspace_slug, public_id, number)
    try:
        text = script_of(trial)
    except ValueError as error:
        reason = f"No script for #{number}: {error}"
        return refused(request, trial.experiment, reason, back=url_of_trial(trial))
    return _file(text, "text/x-shellscript; charset=utf-8", f"{trial}-reproduce.sh")


@login_required
@require_safe
def parameters(request: SignedInRequest, workspace_slug: str, public_id: str, number: int) -> HttpResponse:
    """Send the parameters exactly as the process received them."""
    trial = get_trial(request, workspace_slug, public_id, number)
    text = json.dumps(trial.revision.settings.received(trial.params), ensure_ascii=False, indent=2) + "\n"
    return _file(text, "application/json", f"{trial}-parameters.json")


def command_of(trial: Trial) -> str:
    """Return the command as rendered for this trial. Raise ValueError with a message for users."""
    settings = shown(trial.revision.settings)
    return scripts.command_of(
        settings.run_command,
        settings.received(trial.params),
        trial_id=trial.public_id,
        experiment_id=trial.experiment.public_id,
        as_arguments=settings.passes_arguments,
        style=settings.arguments_as,
        groups=settings.hyperparameters,
    )


def script_of(trial: Trial) -> str:
    """Return the script. Raise ValueError with a message for users."""
    settings, experiment = shown(trial.revision.settings), trial.experiment
    text = scripts.script(
        command=command_of(trial),
        params=settings.received(trial.params),
        environment=settings.environment,
        directory=settings.directory,
        experiment_id=experiment.public_id,
        number=trial.number,
        metric=settings.metric,
        title=experiment.name,
        needs_package=settings.source == "sdk",
        pipefail=settings.pipefail,
        code=code_of(trial),
        hyperparameters=settings.hyperparameters,
        objects=settings.objects,
    )
    return text.replace("\nset -e", f"\n{MASKED_NOTE}\nset -e", 1) if secret.HIDDEN in text else text


def code_of(trial: Trial) -> Code:
    """Return the commit and packages that were resolved, or the requested ones."""
    settings = shown(trial.revision.settings)
    resolved = masked_resolved(trial.revision.resolved, trial.revision.settings)
    references = {"branch": f"origin/{settings.reference}", "tag": f"refs/tags/{settings.reference}"}
    version = references.get(settings.reference_kind, settings.reference) if settings.reference else ""
    listed = None if settings.packages_from == "repository" else settings.packages
    is_script = bool(settings.diff and not settings.repository and not settings.command)
    return Code(
        repository=settings.repository,
        version=resolved.get("commit", version),
        diff=settings.diff,
        literal=LITERAL if is_script else "",
        packages_from=settings.packages_from,
        packages=resolved.get("packages", listed),
        python=settings.binary,
        image=settings.image,
        image_arguments=settings.image_arguments,
    )


def context(trial: Trial) -> dict[str, object]:
    """Return the context for the trial's page."""
    settings = shown(trial.revision.settings)
    try:
        command, fault = command_of(trial), ""
    except ValueError as error:
        command, fault = "", str(error)
    return {
        "command": command,
        "command_fault": fault,
        "directory": settings.directory,
        "environment": [
            (name, MASKED if scripts.is_secret(name, value) else value)
            for name, value in settings.environment.items()
        ],
    }


def _file(text: str, content_type: str, name: str) -> HttpResponse:
    response = HttpResponse(text, content_type=content_type)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
