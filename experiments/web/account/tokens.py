"""API tokens of a user: create (shown once), list, revoke. Owners see and revoke all tokens of their workspace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from experiments import database_clock
from experiments.messages import plural
from experiments.models import Role, Token, User, Workspace
from experiments.permissions import require, role_in
from experiments.web.exports import each
from experiments.web.table_files import table_file
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest
from experiments.web.workspace.index import get_workspace

MOST = 200  # the newest
COLUMNS = (
    "name",
    "hint",
    "user",
    "workspace",
    "role",
    "state",
    "created_at",
    "last_used_at",
    "expires_at",
    "revoked_at",
)
DAYS = [("30", "30 days"), ("90", "90 days"), ("365", "1 year"), ("", "Never")]


class NewToken(forms.Form):
    """A token's name, workspace, role and expiry."""

    name = forms.CharField(
        max_length=100,
        help_text="Shown next to your name in the activity feed.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": "Enter a name for the token."},
    )
    workspace = forms.ModelChoiceField(Workspace.objects.none(), to_field_name="slug", empty_label=None)
    role = forms.ChoiceField(
        choices=Role.choices,
        initial=Role.VIEWER,
        help_text="The token's permissions, limited by your own role.",
    )
    days = forms.ChoiceField(choices=DAYS, required=False, initial="90", label="Expires")

    def __init__(self, data: Mapping[str, Any] | None = None, *, user: User) -> None:
        super().__init__(data, label_suffix="")
        self.user = user
        self.workspaces = Workspace.objects.visible_to(user)
        days = self.fields["days"]
        assert isinstance(days, forms.ChoiceField)
        if most := settings.TOKEN_DAYS:
            choices = [(value, label) for value, label in DAYS if value and int(value) <= most]
            choices = choices or [(str(most), plural(most, "day"))]
            days.choices, days.required, days.initial = choices, True, choices[-1][0]
            days.help_text = f"At most {plural(most, 'day')}, this installation's limit."
        choice = self.fields["workspace"]
        assert isinstance(choice, forms.ModelChoiceField)
        choice.queryset = self.workspaces

    def clean_name(self) -> str:
        return " ".join(self.cleaned_data["name"].split())

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if "workspace" in data and "role" in data:
            own_role = role_in(self.user, data["workspace"])
            if own_role is None or own_role.rank < Role(data["role"]).rank:
                label = own_role.label.lower() if own_role else "not a member"
                self.add_error(
                    "role", f"Your role in {data['workspace']} is {label}. Select the same or a lower role."
                )
        return data

    def save(self) -> tuple[Token, str]:
        """Create the token. Return it and its secret."""
        data = self.cleaned_data
        return Token.make(
            data["name"],
            user=self.user,
            workspace=data["workspace"],
            role=data["role"],
            valid_for=timedelta(days=int(data["days"])) if data["days"] else None,
        )


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def index(request: SignedInRequest) -> HttpResponse:
    """The list; POST creates a token and shows its secret once."""
    if request.method != "POST":
        return _draw(request, NewToken(user=request.user))
    form = NewToken(request.POST, user=request.user)
    if not form.is_valid():
        return _draw(request, form, status=422)
    token, secret = form.save()
    return _draw(request, NewToken(user=request.user), new_token=token, secret=secret, status=201)


@login_required
@require_POST
def revoke(request: SignedInRequest, pk: int) -> HttpResponse:
    """Revoke one of the user's tokens. An administrator may revoke any token."""
    revocable = Token.objects.all() if request.user.is_superuser else Token.objects.filter(user=request.user)
    return _revoke(request, revocable, pk, back=reverse("tokens"))


@login_required
@require_POST
def revoke_in(request: SignedInRequest, workspace_slug: str, pk: int) -> HttpResponse:
    """Revoke a token of any member, in a workspace that the user owns."""
    workspace = get_workspace(request, workspace_slug)
    require(request.user, "manage", workspace)
    return _revoke(
        request, workspace.tokens.all(), pk, back=reverse("workspace-settings", args=[workspace.slug])
    )


def _revoke(request: SignedInRequest, among: QuerySet[Token], pk: int, *, back: str) -> HttpResponse:
    token = among.filter(pk=pk).first()
    if token is None:
        raise Http404
    if token.revoke():
        messages.success(request, f"Token {token} revoked.")
    else:
        messages.info(request, f"Token {token} is already revoked.")
    return redirect(back)


@dataclass(frozen=True)
class TokenRow:
    """A token in tokens/_table.html."""

    token: Token
    is_expired: bool


def rows(tokens: QuerySet[Token], now: datetime) -> list[TokenRow]:
    """Return the newest tokens for tokens/_table.html."""
    newest = tokens.select_related("user", "workspace")[:MOST]
    return [TokenRow(token, is_expired=token.is_expired(now)) for token in newest]


@login_required
@never_cache
@require_safe
@takes()
def file(request: SignedInRequest, kind: str) -> StreamingHttpResponse:
    """Send the user's tokens, without their secrets."""
    return _file(request.user.tokens.all(), kind, name="tokens")


@login_required
@never_cache
@require_safe
@takes()
def file_of_workspace(request: SignedInRequest, workspace_slug: str, kind: str) -> StreamingHttpResponse:
    """Send the tokens of a workspace to its owners, without their secrets."""
    workspace = get_workspace(request, workspace_slug)
    require(request.user, "manage", workspace)
    return _file(workspace.tokens.all(), kind, name=f"{workspace.slug}-tokens")


def _file(tokens: QuerySet[Token], kind: str, *, name: str) -> StreamingHttpResponse:
    return table_file(kind, name=name, columns=COLUMNS, rows=_file_rows(tokens, database_clock.now()))


def _file_rows(tokens: QuerySet[Token], now: datetime) -> Iterator[tuple[object, ...]]:
    for token in each(tokens.select_related("user", "workspace")):
        yield (
            token.name,
            token.hint,
            token.user.username,
            token.workspace.slug if token.workspace else None,
            token.role,
            "revoked" if token.revoked_at else "expired" if token.is_expired(now) else "working",
            token.created_at,
            token.last_used_at,
            token.expires_at,
            token.revoked_at,
        )


def _draw(
    request: SignedInRequest,
    form: NewToken,
    *,
    new_token: Token | None = None,
    secret: str = "",
    status: int = 200,
) -> HttpResponse:
    context = {
        "nav": "account",
        "form": form,
        "new_token": new_token,
        "secret": secret,
        "rows": rows(request.user.tokens.all(), database_clock.now()),
        "root": request.build_absolute_uri("/api/v1/"),
        "has_workspaces": form.workspaces.exists(),
    }
    return render(request, "tokens/index.html", context, status=status)
