"""Sign-in with a password: the limit on failed attempts, and password resets by email."""

from __future__ import annotations

from threading import Thread
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.forms import AuthenticationForm, PasswordResetForm, SetPasswordForm
from django.contrib.auth.views import PasswordResetConfirmView, PasswordResetDoneView, PasswordResetView
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse_lazy
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.generic import View

from experiments.models import User, UserSession, audit
from experiments.models.account.user import PASSWORD_CHANGED

from . import second_step
from .client_address import address_of
from .profile import with_help
from .sign_in import SignIn as AnySignIn
from .sign_in_limit import (
    RESETS_FROM_ONE_CLIENT,
    RESETS_TO_ONE_ADDRESS,
    TOO_MANY,
    WINDOW_S,
    count,
    folded,
    has_failed_too_often,
)


class SignInForm(AuthenticationForm):
    """Rejects a client after too many failures."""

    def clean(self) -> dict[str, Any]:
        if self.request is not None and has_failed_too_often(self.request, self.cleaned_data.get("username")):
            raise forms.ValidationError(TOO_MANY, code="too_many")
        return super().clean()


class SignIn(AnySignIn):
    """Sign-in with a limit on failures and a link to the password reset."""

    authentication_form = SignInForm

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        """Sign in, or ask for the second factor."""
        user = form.get_user()
        assert isinstance(user, User)
        url = self.get_success_url()
        return second_step.begin(
            self.request, user, backend=user.backend, next_url=url
        ) or super().form_valid(form)

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
    """Base of views that return 404 without an email server."""

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
        if count("resets from", address_of(self.request)) > RESETS_FROM_ONE_CLIENT:
            form.add_error(None, TOO_MANY.replace("failed attempts", "password resets"))
            return self.render_to_response(self.get_context_data(form=form), status=429)
        if count("resets to", folded(form.cleaned_data["email"])) > RESETS_TO_ONE_ADDRESS:
            return redirect(self.get_success_url())  # no email flood, and no hint that the account exists
        return super().form_valid(form)

    def form_invalid(self, form: PasswordResetForm) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=form), status=422)


class ResetSent(WithEmail, PasswordResetDoneView):
    template_name = "registration/reset_sent.html"


@method_decorator(never_cache, name="dispatch")
class ResetConfirm(WithEmail, PasswordResetConfirmView):
    """The link in the email. It works until the password is changed or Django's PASSWORD_RESET_TIMEOUT expires."""

    template_name = "registration/reset_confirm.html"
    success_url = reverse_lazy("sign-in")

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "label_suffix": ""}

    def get_form(self, form_class: type[SetPasswordForm[User]] | None = None) -> SetPasswordForm[User]:
        return with_help(super().get_form(form_class))

    def form_valid(self, form: SetPasswordForm[User]) -> HttpResponse:
        response = super().form_valid(form)
        assert isinstance(self.user, User)
        audit.record("password_reset", by=self.user, subject=self.user)
        UserSession.end_all(self.user)
        self.user.notify_of_change(PASSWORD_CHANGED)
        messages.success(self.request, "Password changed. Sign in with the new one.")
        return response

    def form_invalid(self, form: SetPasswordForm[User]) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=form), status=422)
