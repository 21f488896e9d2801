"""My account: name, e-mail, password, where I am a member, and signing out elsewhere."""

from __future__ import annotations

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import BACKEND_SESSION_KEY, update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import PasswordChangeForm, SetPasswordForm
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import PasswordChangeView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from experiments.models import Refused, User

BY_PASSWORD = "django.contrib.auth.backends.ModelBackend"  # one-time links count as such
BY_OPENID = "console.auth.openid.ByProvider"
PROXY = "the proxy in front of Trialdeck"
NEW_PASSWORD = "At least 8 characters; not only digits, not a common word, not like your name."


class Person(forms.Form):
    first_name = forms.CharField(required=False, max_length=150)
    last_name = forms.CharField(required=False, max_length=150)
    email = forms.EmailField(
        required=False, max_length=254, label="E-mail", help_text="For a new password, should you lose yours."
    )

    def __init__(self, *given: object, **named: object) -> None:
        super().__init__(*given, label_suffix="", **named)
        for name, kind in (("first_name", "given-name"), ("last_name", "family-name"), ("email", "email")):
            self.fields[name].widget.attrs["autocomplete"] = kind
        if are_emails_kept():
            del self.fields["email"]


class Elsewhere(forms.Form):
    """Asks for the password of whoever has one: only its owner signs the others out."""

    password = forms.CharField(
        strip=False,
        label="Your password",
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        error_messages={"required": "Type your password, so that only you can do this."},
    )

    def __init__(self, data: object = None, *, user: User) -> None:
        super().__init__(data, label_suffix="")
        self.user = user
        if not user.has_usable_password():
            del self.fields["password"]

    def clean_password(self) -> str:
        if not self.user.check_password(self.cleaned_data["password"]):
            raise forms.ValidationError("This is not your password.")
        return self.cleaned_data["password"]


def who_vouches(request: HttpRequest) -> str:
    """Whose sign-in brought this person here; empty: ours. Then Trialdeck keeps no password for them."""
    backend = request.session.get(BACKEND_SESSION_KEY, BY_PASSWORD)
    if backend == BY_PASSWORD:
        return ""
    return settings.OPENID.name if backend == BY_OPENID and settings.OPENID else PROXY


def are_emails_kept() -> bool:
    """Does an e-mail address open an account? Then its owner must not give themselves somebody else's."""
    return settings.OPENID is not None and settings.OPENID.knows_by == "email"


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def show(request: HttpRequest) -> HttpResponse:
    """The page; POST changes name and e-mail."""
    if request.method != "POST":
        return _draw(request)
    form = Person(request.POST)
    if not form.is_valid():
        return _draw(request, person=form, status=422)
    User.objects.filter(pk=request.user.pk).update(**form.cleaned_data)
    messages.success(request, "Name and e-mail are saved.")
    return redirect("account")


@sensitive_post_parameters("password")
@login_required
@require_POST
def sign_out_elsewhere(request: HttpRequest) -> HttpResponse:
    """Ends every other session of this person.

    A session holds a keyed hash of the stored password. The same password stored with another salt ends them all; this
    one gets the new hash. Who has no password has a random text in its place, which is drawn anew.
    """
    form = Elsewhere(request.POST, user=request.user)
    if not form.is_valid():
        return _draw(request, elsewhere=form, status=422)
    request.user.set_password(form.cleaned_data.get("password"))
    request.user.save(update_fields=["password"])
    update_session_auth_hash(request, request.user)
    messages.success(request, "You are signed out everywhere but here.")
    return redirect("account")


def _draw(
    request: HttpRequest,
    *,
    person: Person | None = None,
    elsewhere: Elsewhere | None = None,
    status: int = 200,
) -> HttpResponse:
    user = request.user
    kept = {"first_name": user.first_name, "last_name": user.last_name, "email": user.email}
    context = {
        "nav": "account",
        "person": person or Person(initial=kept),
        "elsewhere": elsewhere or Elsewhere(user=user),
        "memberships": list(user.memberships.select_related("workspace").order_by("workspace__slug")),
        "has_password": user.has_usable_password(),
        "who_vouches": who_vouches(request),
        "is_by_proxy": who_vouches(request) == PROXY,  # whose sessions end with its word
    }
    return render(request, "account/show.html", context, status=status)


@method_decorator(sensitive_post_parameters(), name="dispatch")
class ChangePassword(LoginRequiredMixin, PasswordChangeView):
    """Another password; a first one for whoever came with a one-time link. The other sessions end."""

    template_name = "account/password.html"
    success_url = reverse_lazy("account")
    extra_context = {"nav": "account"}

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        if request.user.is_authenticated and (whose := who_vouches(request)):
            raise Refused(f"You were signed in by {whose}, which knows your password; Trialdeck keeps none.")
        return super().dispatch(request, *args, **kwargs)

    def get_form_class(self) -> type[forms.Form]:
        return PasswordChangeForm if self.request.user.has_usable_password() else SetPasswordForm

    def get_form_kwargs(self) -> dict:
        return {**super().get_form_kwargs(), "label_suffix": ""}

    def get_form(self, form_class: type[forms.Form] | None = None) -> forms.Form:
        return with_help(super().get_form(form_class))

    def form_valid(self, form: forms.Form) -> HttpResponse:
        messages.success(self.request, "Your password is changed. You are signed out everywhere but here.")
        return super().form_valid(form)

    def form_invalid(self, form: forms.Form) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=form), status=422)


def with_help(form: forms.Form) -> forms.Form:
    """Django's forms for a new password, with one sentence instead of a list."""
    form.fields["new_password1"].help_text = NEW_PASSWORD
    form.fields["new_password2"].help_text = ""
    form.fields["new_password2"].label = "New password, again"
    return form
