"""The account page: name, email, password, memberships, and signing out other sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import BACKEND_SESSION_KEY, update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import PasswordChangeForm, SetPasswordForm
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import PasswordChangeView
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from experiments.models import Refused, User, UserSession, audit
from experiments.models.account.user import PASSWORD_CHANGED
from experiments.timetable.zones import zone_names
from experiments.web.ui.reader_zone import browser_zone
from experiments.web.ui.requests import SignedInRequest

from .sessions import DEVICE_KEY

BY_PASSWORD = "django.contrib.auth.backends.ModelBackend"  # also used for one-time links
BY_OPENID = "console.auth.openid.OpenIDBackend"
PROXY = "the proxy in front of Trialdeck"
PasswordForm = TypeVar("PasswordForm", bound=forms.BaseForm)
NEW_PASSWORD = "At least 8 characters. Not only digits, not a common password, not similar to your name."


class PersonForm(forms.Form):
    """Name, email and time zone. Changing the address requires the password, if there is one, because a password reset
    for the new address would give access to the account."""

    first_name = forms.CharField(required=False, max_length=150)
    last_name = forms.CharField(required=False, max_length=150)
    email = forms.EmailField(
        required=False, max_length=254, label="Email", help_text="Used for password resets."
    )
    time_zone = forms.ChoiceField(
        required=False,
        label="Time zone",
        help_text="Used for all times in the console.",
        error_messages={"invalid_choice": "Select a time zone from the list."},
    )

    password = forms.CharField(
        strip=False,
        required=False,
        label="Your password",
        help_text="Required to change the email address.",
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, data: Mapping[str, Any] | None = None, *, user: User, browser_zone: str = "") -> None:
        initial_values = {
            name: getattr(user, name) for name in ("first_name", "last_name", "email", "time_zone")
        }
        super().__init__(data, initial=initial_values, label_suffix="")
        self.user = user
        automatic = f"As in the browser ({browser_zone})" if browser_zone else "As in the browser"
        zones = [("", automatic), *((name, name) for name in zone_names())]
        cast(forms.ChoiceField, self.fields["time_zone"]).choices = zones
        for name, kind in (("first_name", "given-name"), ("last_name", "family-name"), ("email", "email")):
            self.fields[name].widget.attrs["autocomplete"] = kind
        if is_email_identity():
            del self.fields["email"]
        if is_email_identity() or not user.has_usable_password():
            del self.fields["password"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        password = cleaned.pop("password", "")
        if "password" in self.fields and "email" in cleaned and cleaned["email"] != self.user.email:
            if not password:
                self.add_error("password", "Enter your password to change the email address.")
            elif not self.user.check_password(password):
                self.add_error("password", "Wrong password.")
        return cleaned


class SignOutOthersForm(forms.Form):
    """Requires the password, if there is one: an unattended browser must not sign out the owner's sessions."""

    password = forms.CharField(
        strip=False,
        label="Your password",
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        error_messages={"required": "Enter your password to confirm."},
    )

    def __init__(self, data: Mapping[str, Any] | None = None, *, user: User) -> None:
        super().__init__(data, label_suffix="")
        self.user = user
        if not user.has_usable_password():
            del self.fields["password"]

    def clean_password(self) -> str:
        if not self.user.check_password(self.cleaned_data["password"]):
            raise forms.ValidationError("Wrong password.")
        return self.cleaned_data["password"]


def sign_in_provider(request: HttpRequest) -> str:
    """Return the name of the external provider that signed the user in; empty for Trialdeck's own sign-in.

    Trialdeck stores no password for users of a provider.
    """
    backend = request.session.get(BACKEND_SESSION_KEY, BY_PASSWORD)
    if backend == BY_PASSWORD:
        return ""
    return settings.OPENID.name if backend == BY_OPENID and settings.OPENID else PROXY


def is_email_identity() -> bool:
    """Return whether the email address identifies an account: then users must not change their own."""
    return settings.OPENID is not None and settings.OPENID.knows_by == "email"


@sensitive_post_parameters("password")
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def show(request: SignedInRequest) -> HttpResponse:
    """The page; POST changes name, email and time zone."""
    if request.method != "POST":
        return _draw(request)
    form = PersonForm(request.POST, user=request.user)
    if not form.is_valid():
        return _draw(request, person=form, status=422)
    former = request.user.email
    is_moved = form.cleaned_data.get("email", former) != former
    with transaction.atomic():
        User.objects.filter(pk=request.user.pk).update(**form.cleaned_data)
        if is_moved:
            audit.record("email_change", subject=request.user, email=(former, form.cleaned_data["email"]))
    if is_moved:
        request.user.notify_former_email(former)
    messages.success(request, "Profile saved.")
    return redirect("account")


@sensitive_post_parameters("password")
@login_required
@require_POST
def sign_out_elsewhere(request: SignedInRequest) -> HttpResponse:
    """End every other session of this user.

    A session holds a keyed hash of the stored password. Storing the same password with a new salt invalidates them all;
    the current session gets the new hash. For a user without a password, the random text in its place is replaced.
    """
    form = SignOutOthersForm(request.POST, user=request.user)
    if not form.is_valid():
        return _draw(request, elsewhere=form, status=422)
    request.user.set_password(form.cleaned_data.get("password"))
    request.user.save(update_fields=["password"])
    update_session_auth_hash(request, request.user)
    UserSession.end_all(request.user, but=request.session.get(DEVICE_KEY))
    messages.success(request, "Your other sessions are signed out.")
    return redirect("account")


def _draw(
    request: SignedInRequest,
    *,
    person: PersonForm | None = None,
    elsewhere: SignOutOthersForm | None = None,
    status: int = 200,
) -> HttpResponse:
    user = request.user
    context = {
        "nav": "account",
        "person": person or PersonForm(user=user, browser_zone=browser_zone(request)),
        "elsewhere": elsewhere or SignOutOthersForm(user=user),
        "memberships": list(user.memberships.select_related("workspace").order_by("workspace__slug")),
        "has_password": user.has_usable_password(),
        "sign_in_provider": sign_in_provider(request),
        "is_by_proxy": sign_in_provider(request) == PROXY,  # the proxy manages their sessions
    }
    return render(request, "account/show.html", context, status=status)


@method_decorator(sensitive_post_parameters(), name="dispatch")
class ChangePassword(LoginRequiredMixin, PasswordChangeView):
    """Change the password, or set a first one after a one-time link. The other sessions end."""

    template_name = "account/password.html"
    success_url = reverse_lazy("account")
    extra_context = {"nav": "account"}

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated and (provider := sign_in_provider(request)):
            raise Refused(f"You signed in through {provider}, which manages your password. Change it there.")
        return super().dispatch(request, *args, **kwargs)

    def get_form_class(self) -> type[Any]:
        is_change = self.request.user.is_authenticated and self.request.user.has_usable_password()
        return PasswordChangeForm if is_change else SetPasswordForm

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "label_suffix": ""}

    def get_form(self, form_class: type[Any] | None = None) -> Any:
        return with_help(super().get_form(form_class))

    def form_valid(self, form: PasswordChangeForm) -> HttpResponse:
        user = self.request.user
        assert isinstance(user, User)
        with transaction.atomic():
            response = super().form_valid(form)
            audit.record("password_change", by=user, subject=user)
            UserSession.end_all(user, but=self.request.session.get(DEVICE_KEY))
        user.notify_of_change(PASSWORD_CHANGED)
        messages.success(self.request, "Password changed. Your other sessions are signed out.")
        return response

    def form_invalid(self, form: PasswordChangeForm) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=form), status=422)


def with_help(form: PasswordForm) -> PasswordForm:
    """Give Django's password forms one sentence of help instead of a list."""
    form.fields["new_password1"].help_text = NEW_PASSWORD
    form.fields["new_password2"].help_text = ""
    form.fields["new_password2"].label = "Confirm new password"
    return form
