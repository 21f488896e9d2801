"""Error messages of all forms: Trialdeck's instead of Django's, unless a field has its own."""

from __future__ import annotations

from django import forms
from django.core import validators


def install() -> None:
    """Replace Django's messages. Call before the first form class is defined: fields copy them."""
    forms.Field.default_error_messages["required"] = "Required."
    forms.IntegerField.default_error_messages["invalid"] = "Enter a whole number."
    forms.FloatField.default_error_messages["invalid"] = "Enter a number."
    for kind in (forms.ChoiceField, forms.ModelChoiceField):
        kind.default_error_messages["invalid_choice"] = "Invalid choice. Select an option from the list."
    validators.EmailValidator.message = "Enter an email address, for example name@example.org."
    validators.ProhibitNullCharactersValidator.message = "This must not contain a NUL character."
    validators.MinValueValidator.message = "This must be at least %(limit_value)s."
    validators.MaxValueValidator.message = "This must be at most %(limit_value)s."
    validators.MaxLengthValidator.message = (
        "This is %(show_value)s characters long; the maximum is %(limit_value)s."
    )

    # Imported only now: the forms' fields are created on import.
    from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm, SetPasswordForm

    AuthenticationForm.error_messages["invalid_login"] = (
        "Wrong username or password. Both are case-sensitive."
    )
    PasswordChangeForm.error_messages["password_incorrect"] = "Wrong password."
    for form in (SetPasswordForm, PasswordChangeForm):
        form.error_messages["password_mismatch"] = (
            "The passwords do not match. Enter the new password in both fields."
        )
