"""Accounts, sign-in links and API tokens."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.db import models
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.cache import add_never_cache_headers

from experiments.models import (
    Attempts,
    Event,
    Experiment,
    RecoveryCode,
    Revision,
    SecondFactor,
    SignInLink,
    Token,
    User,
    UserSession,
    audit,
)
from experiments.models.account.user import FACTOR_OFF, PASSWORD_CHANGED

from .base import AuditedAdmin, ReadOnlyAdmin, user_of
from .filters import by_workspace


@admin.register(User)
class UserAdmin(AuditedAdmin, DjangoUserAdmin):
    """Accounts. A user who appears in a history is deactivated, not deleted."""

    list_display = ("username", "first_name", "last_name", "email", "is_superuser", "is_active", "last_login")
    list_filter = ("is_superuser", "is_active")
    readonly_fields = ("last_login", "date_joined")
    filter_horizontal = ()
    actions = ("make_sign_in_link",)
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email", "openid")}),
        (
            "Permissions",
            {
                "fields": ("is_active", "is_superuser"),
                "description": (
                    "Superusers are administrators: they create accounts and workspaces, and manage "
                    "queues and workers. All other permissions come from workspace roles."
                ),
            },
        ),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        obj.is_staff = obj.is_superuser  # only administrators may use this site
        super().save_model(request, obj, form, change)
        if change and "email" in form.changed_data:
            obj.notify_former_email(form.initial.get("email", ""))

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> Any:
        response = super().user_change_password(request, id, form_url)
        if (
            request.method == "POST"
            and response.status_code == 302
            and (user := self.get_object(request, id))
        ):
            audit.record("password_change", by=user_of(request), subject=user)
            UserSession.end_all(user)
            user.notify_of_change(PASSWORD_CHANGED)
        return response

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        is_allowed = super().has_delete_permission(request, obj)
        return is_allowed and isinstance(obj, User) and not _has_history(obj)

    @admin.action(description="Create a one-time sign-in link", permissions=["change"])
    def make_sign_in_link(self, request: HttpRequest, queryset: models.QuerySet[User]) -> TemplateResponse:
        """Create links and show them. They cannot be shown again."""
        links = []
        for user in queryset.filter(is_active=True):
            address = reverse("enter", args=[SignInLink.issue(user)])
            links.append((user.username, request.build_absolute_uri(address)))
            self.log_change(request, user, "Created a one-time sign-in link.")
            audit.record("sign_in_link_create", by=user_of(request), subject=user)
        context = {
            **self.admin_site.each_context(request),
            "title": "One-time sign-in links",
            "opts": self.opts,
            "links": links,
            "inactive": [user.username for user in queryset.filter(is_active=False)],
        }
        response = TemplateResponse(request, "admin/experiments/user/sign_in_links.html", context)
        add_never_cache_headers(response)
        return response


def _has_history(user: User) -> bool:
    return (
        Experiment.everything.filter(creator=user).exists()
        or Event.objects.filter(by=user).exists()
        or Revision.objects.filter(by=user).exists()
    )


class CredentialAdmin(ReadOnlyAdmin):
    """Credentials: administrators see who has one, and can revoke it. The secret itself is not stored."""

    related: tuple[str, ...] = ("user",)
    hidden_fields: tuple[str, ...] = ("digest",)
    experiment_path = ""

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return admin.ModelAdmin.has_delete_permission(self, request, obj)


@admin.register(SignInLink)
class SignInLinkAdmin(CredentialAdmin):
    list_display = ("__str__", "user", "expires_at", "used_at")


@admin.register(UserSession)
class UserSessionAdmin(CredentialAdmin):
    """Signed-in sessions. Deleting one signs it out."""

    list_display = ("user", "device", "address", "created_at", "last_used_at")
    hidden_fields = ("session_key",)
    ordering = ("-last_used_at",)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        obj.end(by=user_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet) -> None:
        for session in queryset:
            session.end(by=user_of(request))


@admin.register(SecondFactor)
class SecondFactorAdmin(CredentialAdmin):
    """Authenticator apps. Deleting one turns two-factor off for a person who lost the phone and the recovery codes."""

    list_display = ("user", "created_at", "last_used_at")
    hidden_fields = ("sealed_secret", "last_step")

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        obj.turn_off(by=user_of(request))
        obj.user.notify_of_change(FACTOR_OFF)

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet) -> None:
        for factor in queryset:
            self.delete_model(request, factor)


@admin.register(RecoveryCode)
class RecoveryCodeAdmin(ReadOnlyAdmin):
    list_display = ("user", "used_at")
    related = ("user",)
    hidden_fields = ("digest",)
    experiment_path = ""


@admin.register(Attempts)
class AttemptsAdmin(ReadOnlyAdmin):
    """Counts of failed sign-ins, by the hash of name and address."""

    list_display = ("key", "count", "until")
    experiment_path = ""


@admin.register(Token)
class TokenAdmin(CredentialAdmin):
    list_display = ("name", "user", "workspace", "role", "expires_at", "last_used_at")
    list_filter = (by_workspace(),)
    related = ("user", "workspace")
    console_paths = ("workspace",)
