"""The forms of a rule and of a channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils import timezone

from experiments.models import (
    Channel,
    ChannelKind,
    Experiment,
    Frequency,
    Kind,
    Project,
    Rule,
    Scope,
    User,
    Workspace,
)
from experiments.models.notifications import hold
from experiments.models.notifications.channel import MAX_ADDRESS, MAX_NAME
from experiments.models.notifications.occurrence import STEP
from experiments.timetable.zones import TimetableError, zone_names

SHARES = [(str(STEP * tenth), f"{STEP * tenth}%") for tenth in range(1, 100 // STEP + 1)]
MAX_QUIET_HOURS = 200
NO_AUTOCOMPLETE = {"autocomplete": "off"}


class RuleForm(forms.Form):
    """The fields of a rule. Fields that do not apply to its event or scope are ignored."""

    kind = forms.ChoiceField(choices=Kind.choices, label="When")
    margin = forms.FloatField(
        required=False,
        min_value=0,
        label="Better by at least",
        help_text="In the unit of the metric. Blank = any improvement.",
        widget=forms.TextInput(attrs={"inputmode": "decimal", "class": "is-num", **NO_AUTOCOMPLETE}),
    )
    share = forms.ChoiceField(
        choices=SHARES, required=False, initial="30", label="Of the last 20 trials, at least"
    )
    scope = forms.ChoiceField(choices=Scope.choices, label="In")
    experiment = forms.CharField(
        required=False,
        max_length=20,
        label="Experiment ID",
        widget=forms.TextInput(attrs={"placeholder": "k2m9p3qr", "spellcheck": "false", **NO_AUTOCOMPLETE}),
    )
    project = forms.ModelChoiceField(Project.objects.none(), required=False, empty_label="Select a project")
    tag = forms.CharField(required=False, max_length=50, widget=forms.TextInput(attrs=NO_AUTOCOMPLETE))
    channels = forms.ModelMultipleChoiceField(
        Channel.objects.none(),
        label="Send to",
        widget=forms.CheckboxSelectMultiple(attrs={"class": "checks"}),
        error_messages={"required": "Select at least one channel."},
    )
    frequency = forms.ChoiceField(choices=Frequency.choices, initial=Frequency.HOURLY, label="Frequency")

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        workspace: Workspace,
        user: User,
        owner: User | None,
        rule: Rule | None = None,
    ) -> None:
        super().__init__(data, label_suffix="", initial=_initial(rule) if rule else {"kind": Kind.ENDED})
        self.workspace, self.user = workspace, user
        scopes = [(word, label) for word, label in Scope.choices if owner or word != Scope.MINE]
        self.fields["scope"].choices = scopes  # type: ignore[attr-defined]
        self.fields["project"].queryset = workspace.projects.order_by("name")  # type: ignore[attr-defined]
        self.fields["channels"].queryset = Channel.objects.of(workspace, owner)  # type: ignore[attr-defined]

    def clean_experiment(self) -> Experiment | None:
        text = self.cleaned_data["experiment"].strip().replace("\0", "")
        if not text or self.data.get("scope") != Scope.EXPERIMENT:
            return None
        visible = Experiment.objects.visible_to(self.user).filter(workspace=self.workspace)
        experiment = visible.filter(public_id=text).first()
        if experiment is None:
            raise forms.ValidationError(f"No experiment {text} that you can view exists in this workspace.")
        return experiment

    def rule_fields(self) -> dict[str, Any]:
        """Return the arguments of `Rule.fill`."""
        data = self.cleaned_data
        threshold = data.get("margin") if data["kind"] == Kind.NEW_BEST else None
        if data["kind"] == Kind.FAILURE_RATE:
            threshold = float(data["share"]) if data["share"] else None
        return {
            "kind": data["kind"],
            "scope": data["scope"],
            "experiment": data.get("experiment"),
            "project": data.get("project"),
            "tag": data["tag"],
            "threshold": threshold,
            "frequency": data["frequency"],
        }

    def add_errors(self, errors: Mapping[str, list[str]]) -> None:
        """Show the errors of the model next to the fields that they refer to."""
        for name, sentences in errors.items():
            shown = "share" if name == "threshold" and self.data.get("kind") == Kind.FAILURE_RATE else name
            shown = "margin" if shown == "threshold" else shown
            for sentence in sentences:
                self.add_error(shown if shown in self.fields else None, sentence)


class QuietHoursForm(forms.Form):
    """When a person wants no messages."""

    quiet_hours = forms.CharField(
        label="Hours",
        required=False,
        max_length=MAX_QUIET_HOURS,
        help_text="Such as 22:00-07:00, or Mon-Fri 18:00-08:00; Sat-Sun. Blank = none.",
        widget=forms.TextInput(
            attrs={"placeholder": "22:00-07:00", "spellcheck": "false", **NO_AUTOCOMPLETE}
        ),
    )

    zone = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)

    @classmethod
    def of(cls, user: User) -> QuietHoursForm:
        zone = user.quiet_zone or timezone.get_current_timezone_name()
        return cls(initial={"quiet_hours": user.quiet_hours, "zone": zone}, label_suffix="")

    def clean_zone(self) -> str:
        """Return the zone that the page showed."""
        zone: str = self.cleaned_data["zone"]
        return zone if zone in zone_names() else timezone.get_current_timezone_name()

    def clean_quiet_hours(self) -> str:
        """Return the canonical form of the hours."""
        text = self.cleaned_data["quiet_hours"].replace("\0", "").strip()
        try:
            return hold.checked_hours(text)
        except TimetableError as error:
            raise forms.ValidationError(str(error)) from None


class ChannelForm(forms.Form):
    """A channel. Its address is never shown again: blank keeps it."""

    kind = forms.ChoiceField(choices=ChannelKind.choices, label="Channel")
    name = forms.CharField(
        max_length=MAX_NAME,
        widget=forms.TextInput(attrs={"placeholder": "#vision-results", **NO_AUTOCOMPLETE}),
        error_messages={"required": "Enter a name for the channel."},
    )
    address = forms.CharField(
        required=False,
        max_length=MAX_ADDRESS,
        label="URL",
        widget=forms.TextInput(attrs={"spellcheck": "false", **NO_AUTOCOMPLETE}),
        help_text="Stored encrypted. Private and local addresses are refused.",
    )

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        owner: User | None,
        channel: Channel | None = None,
    ) -> None:
        super().__init__(data, label_suffix="", initial={"name": channel.name} if channel else {})
        self.channel = channel
        if channel:
            del self.fields["kind"]
            self.fields["address"].help_text = "Blank = keep the current one. Stored encrypted."
            if channel.kind == ChannelKind.BROWSER or (
                channel.kind == ChannelKind.EMAIL and channel.owner_id
            ):
                del self.fields["address"]
            elif channel.kind == ChannelKind.EMAIL:
                self.fields["address"].label = "Email address"
        elif owner is None:
            kinds = [(word, label) for word, label in ChannelKind.choices if word != ChannelKind.BROWSER]
            self.fields["kind"].choices = kinds  # type: ignore[attr-defined]
            self.fields["address"].label = "URL or email address"
        else:
            help_text = "For webhooks. Stored encrypted. Email goes to the address of your account."
            self.fields["address"].help_text = help_text

    def add_errors(self, errors: Mapping[str, list[str]]) -> None:
        """Show the errors of the model next to the fields that they refer to."""
        for name, sentences in errors.items():
            for sentence in sentences:
                self.add_error(name if name in self.fields else None, sentence)


def _initial(rule: Rule) -> dict[str, Any]:
    threshold = rule.threshold
    return {
        "kind": rule.kind,
        "scope": rule.scope,
        "margin": f"{threshold:.15g}" if rule.kind == Kind.NEW_BEST and threshold is not None else None,
        "share": f"{threshold:.15g}" if rule.kind == Kind.FAILURE_RATE and threshold is not None else "30",
        "experiment": rule.experiment.public_id if rule.experiment and rule.shows_experiment else "",
        "project": rule.project_id,
        "tag": rule.tag,
        "frequency": rule.frequency,
        "channels": [channel.pk for channel in rule.channels.all()],
    }
