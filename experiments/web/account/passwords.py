"""Sign-in with a password: the limit on failed attempts, and password resets by email."""

from __future__ import annotations

import hashlib
from threading import Thread
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.forms import AuthenticationForm, PasswordResetForm, SetPasswordForm
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.contrib.auth.views import PasswordResetConfirmView, PasswordResetDoneView, PasswordResetView
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.dispatch import receiver
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse_lazy
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.generic import View

from experiments.messages import plural
from experiments.models import User

from .addresses import address_of
from .profile import with_help
from .sign_in import SignIn as AnySignIn
from .traces import record_failure

WINDOW_S = 15 * 60  # from the first failure; each web process counts by itself
FAILURES_OF_ONE_NAME = 10  # from one address
FAILURES_OF_ONE_ADDRESS = 100  # whatever the names
RESETS_TO_ONE_ADDRESS = 3
RESETS_FROM_ONE_CLIENT = 10

TOO_MANY = (
    f"Too many failed attempts from your address. Try again in {plural(WINDOW_S // 60, 'minute')}, "
    "or ask an administrator for a one-time link."
)


# --- counting ----------------------------------------------------------------------------------------------------


def _key(*parts: str) -> str:
    return "tries:" + hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()


def _count(*parts: str) -> int:
    """Count one more; return how many there are within the window."""
    key = _key(*parts)
    cache.add(key, 0, WINDOW_S)
    try:
        return cache.incr(key)
    except ValueError:  # the window ended between the two
        return 1


def _counted(*parts: str) -> int:
    return cache.get(_key(*parts), 0)


def _name(username: object) -> str:
    return str(username or "").strip().casefold()[:150]


def has_failed_too_often(request: HttpRequest, username: object) -> bool:
    at = address_of(request)
    return (
        _counted("name", at, _name(username)) >= FAILURES_OF_ONE_NAME
        or _counted("address", at) >= FAILURES_OF_ONE_ADDRESS
    )


class FailedSignInLimit:
    """Authentication backend that rejects a client after too many failures, before the password is checked.

    The first in AUTHENTICATION_BACKENDS, so that every sign-in with a password obeys the limit.
    """

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None
    ) -> None:
        if request is not None and username is not None and has_failed_too_often(request, username):
            raise PermissionDenied


@receiver(user_login_failed)
def count_failure(
    sender: object, credentials: dict[str, Any], request: HttpRequest | None = None, **_: object
) -> None:
    username = credentials.get("username")
    if request is None or username is None:
        return
    if not has_failed_too_often(request, username):  # so that the audit log does not grow with the attempts
        record_failure(str(username))
    at = address_of(request)
    _count("name", at, _name(username))
    _count("address", at)


@receiver(user_logged_in)
def forget_failures(sender: object, request: HttpRequest | None, user: User, **_: object) -> None:
    """Reset the count of a user who signed in. Failures of the same address with other names stay counted."""
    if request is not None:
        cache.delete(_key("name", address_of(request), _name(user.get_username())))


class SignInForm(AuthenticationForm):
    """Rejects a client after too many failures."""

    def clean(self) -> dict[str, Any]:
        if self.request is not None and has_failed_too_often(self.request, self.cleaned_data.get("username")):
            raise forms.ValidationError(TOO_MANY, code="too_many")
        return super().clean()


class SignIn(AnySignIn):
    """Sign-in with a limit on failures and a link to the password reset."""

    authentication_form = SignInForm

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {"has_email": has_email(), "openid": settings.OPENID}

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        response = super().form_invalid(form)
        if form.has_error("__all__", "too_many"):
            response.status_code = 429
            response["Retry-After"] = str(WINDOW_S)
        return response


# --- password reset by email --------------------------------------------------------------------------------------


def has_email() -> bool:
    """Return whether Trialdeck can send email."""
    return bool(settings.EMAIL_HOST)


class ResetForm(PasswordResetForm):
    """Send the email in a thread: neither response time nor a broken mail server reveals whether the account exists."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["email"].label = "Email"

    def send_mail(self, *args: Any, **kwargs: Any) -> None:
        Thread(target=super().send_mail, args=args, kwargs=kwargs, daemon=True).start()


class WithEmail(View):
    """404 without an email server."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not has_email():
            raise Http404
        return super().dispatch(request, *args, **kwargs)


class Reset(WithEmail, PasswordResetView):
    """Ask for the email address. The response is the same whether or not an account has it."""

    template_name = "registration/reset.html"
    email_template_name = "registration/reset_email.txt"
    subject_template_name = "registration/reset_subject.txt"
    form_class = ResetForm
    success_url = reverse_lazy("password-reset-sent")

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "label_suffix": ""}

    def form_valid(self, form: PasswordResetForm) -> HttpResponse:
        if _count("resets from", address_of(self.request)) > RESETS_FROM_ONE_CLIENT:
            form.add_error(None, TOO_MANY.replace("failed attempts", "password resets"))
            return self.render_to_response(self.get_context_data(form=form), status=429)
        if _count("resets to", _name(form.cleaned_data["email"])) > RESETS_TO_ONE_ADDRESS:
            return redirect(self.get_success_url())  # no flooded mailbox, and the response does not reveal it
        return super().form_valid(form)

    def form_invalid(self, form: PasswordResetForm) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=form), status=422)


class ResetSent(WithEmail, PasswordResetDoneView):
    template_name = "registration/reset_sent.html"


@method_decorator(never_cache, name="dispatch")
class ResetConfirm(WithEmail, PasswordResetConfirmView):
    """The link of the email. It works until the password is changed, or Django's PASSWORD_RESET_TIMEOUT is over."""

    template_name = "registration/reset_confirm.html"
    success_url = reverse_lazy("sign-in")

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "label_suffix": ""}

    def get_form(self, form_class: type[SetPasswordForm[User]] | None = None) -> SetPasswordForm[User]:
        return with_help(super().get_form(form_class))

    def form_valid(self, form: SetPasswordForm[User]) -> HttpResponse:
        messages.success(self.request, "Password changed. Sign in with the new one.")
        return super().form_valid(form)

    def form_invalid(self, form: SetPasswordForm[User]) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=form), status=422)
