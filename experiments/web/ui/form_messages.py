"""What every form says of a field, unless the field has words of its own: those of the gatekeeper, not Django's."""

from __future__ import annotations

from django import forms
from django.core import validators


def say() -> None:
    """Before the first form is made: a field takes its sentences with it."""
    forms.Field.default_error_messages["required"] = "Fill this in."
    forms.IntegerField.default_error_messages["invalid"] = "Give a whole number."
    forms.FloatField.default_error_messages["invalid"] = "Give a number."
    for kind in (forms.ChoiceField, forms.ModelChoiceField):
        kind.default_error_messages["invalid_choice"] = "That cannot be chosen. Choose one of the list."
    validators.EmailValidator.message = "This is no e-mail address: write it as name@example.org."
    validators.ProhibitNullCharactersValidator.message = "This must not contain a NUL character."
    validators.MinValueValidator.message = "This must be at least %(limit_value)s."
    validators.MaxValueValidator.message = "This must be at most %(limit_value)s."
    validators.MaxLengthValidator.message = (
        "This is %(show_value)s characters long; at most %(limit_value)s are possible."
    )

    # Only now: its fields are made when it is imported.
    from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm, SetPasswordForm

    AuthenticationForm.error_messages["invalid_login"] = (
        "This username and this password do not belong together. Check both; capitals count."
    )
    PasswordChangeForm.error_messages["password_incorrect"] = "This is not your password. Type it again."
    for form in (SetPasswordForm, PasswordChangeForm):
        form.error_messages["password_mismatch"] = "The two differ. Type the new password again in both."
