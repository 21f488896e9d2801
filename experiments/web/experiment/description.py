"""The description of an experiment: Markdown, shown on Overview and edited on a page of its own."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from experiments.models import Experiment, Invalid, Refused, User, status
from experiments.permissions import may, require
from experiments.web.ui.markdown import rendered
from experiments.web.ui.requests import SignedInRequest

from .page import get_experiment, refused, url_of

SHORT = 600  # characters that are shown without unfolding


class DescriptionForm(forms.Form):
    """One text."""

    description = forms.CharField(
        required=False,
        max_length=100_000,
        help_text="Markdown: headings, lists, tables, links, code.",
        widget=forms.Textarea(attrs={"rows": 14, "class": "is-prose"}),
    )


def context(experiment: Experiment, user: User) -> dict[str, object]:
    """Return the description for Overview: what is shown first, and the rest to unfold."""
    first, remainder = _split(experiment.description.replace("\r\n", "\n").strip())
    return {
        "description": rendered(first) if first else "",
        "description_rest": rendered(remainder) if remainder else "",
        "may_describe": status.is_offered("describe", experiment.state) and may(user, "describe", experiment),
    }


def _split(text: str) -> tuple[str, str]:
    """Return the text up to the end of its first paragraph, which is no heading, and the rest."""
    if len(text) <= SHORT:
        return text, ""
    blocks = text.split("\n\n")
    size = next((place for place, block in enumerate(blocks, 1) if not block.lstrip().startswith("#")), 1)
    first = "\n\n".join(blocks[:size])
    return (first, text[len(first) :]) if len(first) <= SHORT else ("", text)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: SignedInRequest, workspace_slug: str, public_id: str) -> HttpResponse:
    """Edit the description, in any state but published."""
    experiment = get_experiment(request, workspace_slug, public_id)
    require(request.user, "describe", experiment)
    try:
        experiment.allows("describe")
        form = DescriptionForm(
            request.POST if request.method == "POST" else None,
            initial={"description": experiment.description},
            label_suffix="",
        )
        if request.method == "POST" and form.is_valid():
            experiment.describe(by=request.user, description=form.cleaned_data["description"])
            messages.success(request, "Description saved.")
            return redirect(url_of(experiment))
    except Refused as refusal:
        return refused(request, experiment, str(refusal))
    except Invalid as invalid:
        form.add_error("description", sum(invalid.errors.values(), []))
    page = {
        "experiment": experiment,
        "workspace": experiment.workspace,
        "nav": "experiments",
        "form": form,
        "form_action": request.path,
        "back": url_of(experiment),
    }
    return render(request, "experiment/description.html", page, status=422 if form.errors else 200)
