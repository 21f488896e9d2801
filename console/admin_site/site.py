"""The start page and sidebar of the admin site: models grouped by subject."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.urls import reverse

from experiments.models import SecondFactor

GROUPS: dict[str, tuple[str, ...]] = {
    "People and access": ("User", "UserSession", "SecondFactor", "Token", "SignInLink", "AuditEntry"),
    "Workspaces": ("Workspace", "Project"),
    "Experiments": ("Experiment", "Trial", "Revision", "Event"),
    "Files and models": ("Artifact", "Model", "WarmResults"),
    "Compute": ("Queue", "Worker", "Usage", "ComputeEvent"),
}
REST = "Internals"  # rows written by the scheduler and workers


class SignInForm(AdminAuthenticationForm):
    """Refuses users with a second factor, who must use the sign-in page, which asks for it."""

    def confirm_login_allowed(self, user: Any) -> None:
        super().confirm_login_allowed(user)
        if SecondFactor.of(user):
            raise ValidationError(f"Two-factor is on for {user}: sign in at {reverse('sign-in')} instead.")


class Site(AdminSite):
    """Django's site with the models of this project in `GROUPS`."""

    login_form = SignInForm

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[dict[str, Any]]:
        """Return one entry per group, in order; for a single app, the app as Django lists it."""
        apps = super().get_app_list(request, app_label)
        if app_label is not None:
            return apps
        models = {model["object_name"]: model for app in apps for model in app["models"]}
        groups = [
            (name, [models.pop(model) for model in names if model in models])
            for name, names in GROUPS.items()
        ]
        index = reverse(f"{self.name}:index")
        return [
            {
                "name": name,
                "app_label": name.split()[0].lower(),
                "app_url": index,
                "has_module_perms": True,
                "models": members,
            }
            for name, members in [
                *groups,
                (REST, sorted(models.values(), key=lambda model: str(model["name"]))),
            ]
            if members
        ]
