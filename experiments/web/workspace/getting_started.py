"""Getting started in an empty workspace: run the sample, or create a token with example lines for Python."""

from __future__ import annotations

from datetime import timedelta

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from experiments.models import Role, Token
from experiments.models.sample_experiment import start_sample
from experiments.permissions import require
from experiments.web.ui.requests import SignedInRequest

from .index import get_workspace

TOKEN_DAYS = 30
PYTHON = """from trialdeck import Experiment

experiment = Experiment("local")
config = experiment.config
config.workspace = "{slug}"
config.experiment_name = "train"
config.trial_command = "python train.py"
config.trial_code_directory = "."  # the folder of train.py
config.metric, config.direction = "accuracy", "maximize"
config.pattern = "accuracy: {{number}}"  # the line that train.py prints
config.search_space = {{"lr": {{"_type": "loguniform", "_value": [1e-4, 0.1]}}}}
config.passes_arguments = True
config.max_trial_number = 20
experiment.run()"""


@login_required
@require_POST
def sample(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """Start the sample in this workspace."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    require(request.user, "create", workspace)
    experiment = start_sample(workspace, by=request.user)
    if experiment.queue and not experiment.queue.is_served():
        messages.warning(request, f"Queue {experiment.queue} has no worker. Trials start when one is online.")
    return redirect("experiment", workspace.slug, experiment.public_id)


@login_required
@require_POST
@never_cache
def python(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """Create a token that may start experiments in this workspace, and show it once, within example code."""
    workspace = get_workspace(request, workspace_slug)
    require(request.user, "create", workspace)
    token, secret = Token.make(
        f"Python, {workspace}"[:100],
        user=request.user,
        workspace=workspace,
        role=Role.OPERATOR,
        valid_for=timedelta(days=TOKEN_DAYS),
    )
    url = request.build_absolute_uri(reverse("home")).rstrip("/")
    context = {
        "workspace": workspace,
        "nav": "workspace",
        "token": token,
        "shell": f"export TRIALDECK_URL={url}\nexport TRIALDECK_TOKEN={secret}",
        "python": PYTHON.format(slug=workspace.slug),
        "tune": f"trialdeck tune train.py --metric accuracy --maximize --workspace {workspace.slug}",
    }
    return render(request, "home/python.html", context)
