"""My tokens: made (and shown once), listed, revoked. Owners see and revoke all of their workspace."""

from __future__ import annotations

from datetime import datetime, timedelta

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from experiments.models import Role, Token, User, Workspace
from experiments.permissions import require, role_in
from experiments.web.workspace.index import find

MOST = 200  # the newest
DAYS = [("30", "30 days"), ("90", "90 days"), ("365", "A year"), ("", "Never")]


class NewToken(forms.Form):
    """What a token is for, where, what it may do, and how long."""

    name = forms.CharField(
        max_length=100,
        help_text="What it is for: it stands beside your name in the activity.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": "Give the token a name."},
    )
    workspace = forms.ModelChoiceField(Workspace.objects.none(), to_field_name="slug", empty_label=None)
    role = forms.ChoiceField(
        choices=Role.choices, initial=Role.VIEWER, help_text="It may do no more than this."
    )
    days = forms.ChoiceField(choices=DAYS, required=False, initial="90", label="Expires")

    def __init__(self, data: object = None, *, user: User) -> None:
        super().__init__(data, label_suffix="")
        self.user = user
        self.fields["workspace"].queryset = Workspace.objects.visible_to(user)

    def clean_name(self) -> str:
        return " ".join(self.cleaned_data["name"].split())

    def clean(self) -> dict:
        said = super().clean()
        if "workspace" in said and "role" in said:
            mine = role_in(self.user, said["workspace"])
            if mine.rank < Role(said["role"]).rank:
                self.add_error(
                    "role", f"You are {mine.label.lower()} in {said['workspace']}: choose no more."
                )
        return said

    def make(self) -> tuple[Token, str]:
        """(the token, its secret)."""
        said = self.cleaned_data
        return Token.make(
            said["name"],
            user=self.user,
            workspace=said["workspace"],
            role=said["role"],
            valid_for=timedelta(days=int(said["days"])) if said["days"] else None,
        )


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def index(request: HttpRequest) -> HttpResponse:
    """The list; POST makes one, and shows its secret this once."""
    if request.method != "POST":
        return _draw(request, NewToken(user=request.user))
    form = NewToken(request.POST, user=request.user)
    if not form.is_valid():
        return _draw(request, form, status=422)
    token, secret = form.make()
    return _draw(request, NewToken(user=request.user), made=token, secret=secret, status=201)


@login_required
@require_POST
def revoke(request: HttpRequest, pk: int) -> HttpResponse:
    """One of mine opens nothing from now on. An administrator revokes anybody's."""
    mine = Token.objects.all() if request.user.is_superuser else Token.objects.filter(user=request.user)
    return _revoke(request, mine, pk, back=reverse("tokens"))


@login_required
@require_POST
def revoke_in(request: HttpRequest, workspace: str, pk: int) -> HttpResponse:
    """One of somebody's in a workspace that I own."""
    room = find(request, workspace)
    require(request.user, "manage", room)
    return _revoke(request, room.tokens.all(), pk, back=reverse("workspace-settings", args=[room.slug]))


def _revoke(request: HttpRequest, among: QuerySet[Token], pk: int, *, back: str) -> HttpResponse:
    token = among.filter(pk=pk).first()
    if token is None:
        raise Http404
    said = "is revoked" if token.revoke() else "was revoked already"
    messages.success(request, f"The token {token} {said}.")
    return redirect(back)


def rows(tokens: QuerySet[Token], now: datetime) -> list[dict[str, object]]:
    """The newest, for tokens/_table.html."""
    found = tokens.select_related("user", "workspace")[:MOST]
    return [{"token": one, "is_expired": one.is_expired(now)} for one in found]


def _draw(
    request: HttpRequest, form: NewToken, *, made: Token | None = None, secret: str = "", status: int = 200
) -> HttpResponse:
    context = {
        "nav": "account",
        "form": form,
        "made": made,
        "secret": secret,
        "rows": rows(request.user.tokens.all(), timezone.now()),
        "root": request.build_absolute_uri("/api/v1/"),
        "has_rooms": form.fields["workspace"].queryset.exists(),
    }
    return render(request, "tokens/index.html", context, status=status)
