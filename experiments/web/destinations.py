"""A workspace's or project's output destination, by the same reading as an experiment's."""

from __future__ import annotations

from django import forms

from experiments.runner import destination as destinations

HELP = (
    "A folder (/mnt/share/folder), s3://bucket/folder, s3://host:port/bucket for an S3-like service (its port is "
    "needed: without one, host and bucket look alike), gs://bucket/folder, or "
    "azure://account.blob.core.windows.net/container/folder. Credentials belong into the environment of the workers."
)
NEAREST = "The nearest wins: the experiment's own, its project's, the workspace's, the installation's."


class DestinationField(forms.CharField):
    """Empty, or a destination that can be read."""

    def __init__(self, **told: object) -> None:
        attrs = {
            "autocomplete": "off",
            "autocapitalize": "none",
            "spellcheck": "false",
            "placeholder": "none",
        }
        super().__init__(
            **{
                "label": "Output destination",
                "required": False,
                "max_length": 1000,
                "help_text": f"{NEAREST} {HELP}",
                "widget": forms.TextInput(attrs=attrs),
                **told,
            }
        )

    def clean(self, value: object) -> str:
        text = super().clean(value)
        if text:
            try:
                destinations.parse(text)
            except destinations.DestinationError as error:
                raise forms.ValidationError(str(error)) from None
        return text


class DestinationForm(forms.Form):
    """`DestinationForm(data, initial={"destination": project.destination})`."""

    destination = DestinationField()
