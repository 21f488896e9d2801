"""The security page of an account: second factor, sessions, recent sign-ins."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import segno
from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from experiments.models import AuditEntry, RecoveryCode, Refused, SecondFactor, User, UserSession, secret
from experiments.models.account.user import CODES_RENEWED, FACTOR_OFF, FACTOR_ON
from experiments.web.ui.requests import SignedInRequest

from .profile import sign_in_provider
from .second_step import CodeForm
from .sessions import DEVICE, MUST_ADD_FACTOR, ensure_row
from .sign_in_limit import TOO_MANY, count_wrong, has_failed_too_often

NEW_SECRET = "new_factor"  # noqa: S105  in the session, sealed, until its first code is entered
MOST_SESSIONS = 50
SIGN_INS = 8
FEW_CODES = 5


class PasswordForm(forms.Form):
    """Confirms a change by the password, if there is one."""

    password = forms.CharField(
        strip=False,
        label="Your password",
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        error_messages={"required": "Enter your password to confirm."},
    )

    def __init__(self, request: HttpRequest, *, user: User) -> None:
        super().__init__(request.POST if request.method == "POST" else None, label_suffix="")
        self.request, self.user = request, user
        if not user.has_usable_password():
            del self.fields["password"]

    def clean_password(self) -> str:
        if has_failed_too_often(self.request, self.user.get_username()):
            raise forms.ValidationError(TOO_MANY)
        if not self.user.check_password(self.cleaned_data["password"]):
            count_wrong(self.request, self.user.get_username())
            raise forms.ValidationError("Wrong password.")
        return self.cleaned_data["password"]


@dataclass(frozen=True)
class SessionRow:
    session: UserSession
    is_current: bool


@login_required
@never_cache
@require_safe
def show(request: SignedInRequest) -> HttpResponse:
    """The page."""
    return _draw(request)


@sensitive_post_parameters("code")
@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def second_factor(request: SignedInRequest) -> HttpResponse:
    """Turn on two-factor: show a new secret as a QR code; POST confirms it with the first code of the app."""
    user = request.user
    if provider := sign_in_provider(request):
        raise Refused(f"You signed in through {provider}, which manages the second factor. Turn it on there.")
    if SecondFactor.of(user):
        return redirect("security")
    sealed = request.session.get(NEW_SECRET)
    if sealed is None:
        sealed = request.session[NEW_SECRET] = secret.seal(SecondFactor.new_secret())
    text = secret.unsealed(sealed, name="of the new app")
    form = CodeForm(request.POST if request.method == "POST" else None)
    form.fields["code"].help_text = "The six digits currently shown in the app."
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                codes = SecondFactor.turn_on(
                    user, secret=text, code=form.cleaned_data["code"].replace(" ", "")
                )
            except Refused as refusal:
                form.add_error("code", str(refusal))
            else:
                for name in (NEW_SECRET, MUST_ADD_FACTOR):
                    request.session.pop(name, None)
                user.notify_of_change(FACTOR_ON)
                return _draw(request, codes=codes, status=201)
    address = SecondFactor.address(text, user=user, host=request.get_host())
    context = {
        "nav": "account",
        "form": form,
        "secret": " ".join(text[start : start + 4] for start in range(0, len(text), 4)),
        "qr": _qr(address),
        "is_required": MUST_ADD_FACTOR in request.session,
    }
    return render(request, "account/second_factor.html", context, status=status)


@sensitive_post_parameters("password")
@login_required
@require_POST
def turn_off(request: SignedInRequest) -> HttpResponse:
    """Turn two-factor off; asks for the password."""
    factor = SecondFactor.of(request.user)
    if factor is None:
        return redirect("security")
    if _is_required(request.user):
        raise Refused(
            "Your installation requires two-factor. To use another app, ask an administrator to reset it."
        )
    form = PasswordForm(request, user=request.user)
    if not form.is_valid():
        return _draw(request, off=form, status=422)
    factor.turn_off(by=request.user)
    request.user.notify_of_change(FACTOR_OFF)
    messages.success(request, "Two-factor turned off.")
    return redirect("security")


@sensitive_post_parameters("password")
@login_required
@never_cache
@require_POST
def recovery_codes(request: SignedInRequest) -> HttpResponse:
    """Replace the recovery codes and show the new ones once; asks for the password."""
    if SecondFactor.of(request.user) is None:
        return redirect("security")
    form = PasswordForm(request, user=request.user)
    if not form.is_valid():
        return _draw(request, renew=form, status=422)
    codes = RecoveryCode.renew(request.user)
    request.user.notify_of_change(CODES_RENEWED)
    return _draw(request, codes=codes, status=201)


@login_required
@require_POST
def end_session(request: SignedInRequest, session_id: UUID) -> HttpResponse:
    """Sign out one of the user's sessions; the current one by signing out."""
    session = UserSession.objects.filter(pk=session_id, user=request.user).first()
    if session is None:
        raise Http404
    if str(session.pk) == request.session.get(DEVICE):
        raise Refused("This is your current session. Use Sign out to end it.")
    session.end(by=request.user)
    messages.success(request, f"Signed out {session.device}.")
    return redirect("security")


def _is_required(user: User) -> bool:
    requirement = settings.REQUIRE_SECOND_FACTOR
    return requirement == "all" or (requirement == "administrators" and user.is_superuser)


def _qr(address: str) -> SafeString:
    """Return the address as an SVG image of a QR code, dark on white in any theme."""
    image = segno.make(address, error="m").svg_inline(scale=4, border=2, light="white", omitsize=False)
    return mark_safe(image)  # noqa: S308  made of squares alone


def _draw(
    request: SignedInRequest,
    *,
    off: PasswordForm | None = None,
    renew: PasswordForm | None = None,
    codes: list[str] | None = None,
    status: int = 200,
) -> HttpResponse:
    user = request.user
    ensure_row(request)
    current = request.session.get(DEVICE)
    living = UserSession.living().filter(user=user)[:MOST_SESSIONS]
    sign_ins = AuditEntry.objects.filter(who=user.get_username(), verb__in=("sign_in", "sign_in_failed"))
    factor = SecondFactor.of(user)
    unused_codes = RecoveryCode.left(user) if factor else 0
    context = {
        "nav": "account",
        "factor": factor,
        "provider": sign_in_provider(request),
        "is_required": _is_required(user),
        "codes": codes,
        "codes_left": unused_codes,
        "has_few_codes": unused_codes < FEW_CODES,
        "off": off or PasswordForm(HttpRequest(), user=user),
        "renew": renew or PasswordForm(HttpRequest(), user=user),
        "rows": [SessionRow(session, str(session.pk) == current) for session in living],
        "sign_ins": sign_ins[:SIGN_INS],
    }
    return render(request, "account/security.html", context, status=status)
