"""The forms of a rule and of a channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils import timezone

from experiments.models import (
    Channel,
    ChannelKind,
    Ending,
    Experiment,
    Frequency,
    Invalid,
    Kind,
    Project,
    Rule,
    SavedView,
    Scope,
    User,
    Workspace,
)
from experiments.models.notifications.channel import MAX_ADDRESS, MAX_NAME
from experiments.models.notifications.occurrence import STEP
from experiments.models.notifications.quiet_hours import USUAL, QuietHours
from experiments.models.notifications.rule import MAX_FILTER, PERSONAL
from experiments.scheduler.notifications.selection import check_filter
from experiments.timetable.zones import zone_names

SHARES = [(str(STEP * tenth), f"{STEP * tenth}%") for tenth in range(1, 100 // STEP + 1)]
NO_AUTOCOMPLETE = {"autocomplete": "off"}
CLOCK = forms.TimeInput(format="%H:%M", attrs={"type": "time"})
NEW_RULE = {"kind": Kind.ENDED, "endings": Ending.values}


class RuleForm(forms.Form):
    """The fields of a rule. Fields that do not apply to its event or scope are ignored."""

    kind = forms.ChoiceField(choices=Kind.choices, label="When")
    endings = forms.MultipleChoiceField(
        choices=Ending.choices,
        required=False,
        label="Outcome",
        widget=forms.CheckboxSelectMultiple(attrs={"class": "checks"}),
    )
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
    view = forms.ModelChoiceField(
        SavedView.objects.none(),
        required=False,
        empty_label="Select a view",
        label="View of the list of experiments",
    )
    filter = forms.CharField(
        required=False,
        max_length=MAX_FILTER,
        help_text="As in the list of experiments.",
        widget=forms.TextInput(
            attrs={"placeholder": "tag:cvpr failed>10%", "spellcheck": "false", **NO_AUTOCOMPLETE}
        ),
    )
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
        super().__init__(data, label_suffix="", initial=_initial(rule) if rule else NEW_RULE)
        self.workspace, self.user, self.owner = workspace, user, owner
        scopes = [(word, label) for word, label in Scope.choices if owner or word not in PERSONAL]
        self.fields["scope"].choices = scopes  # type: ignore[attr-defined]
        self.fields["project"].queryset = workspace.projects.order_by("name")  # type: ignore[attr-defined]
        views = SavedView.objects.of_table(workspace, None)
        views = views.visible_to(owner) if owner else views.filter(is_shared=True)
        self.fields["view"].queryset = views  # type: ignore[attr-defined]
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

    def clean_endings(self) -> list[str]:
        endings: list[str] = self.cleaned_data["endings"]
        if not endings and self.data.get("kind") == Kind.ENDED:
            raise forms.ValidationError("Select at least one outcome.")
        return endings

    def clean_filter(self) -> str:
        text: str = self.cleaned_data["filter"].replace("\0", "").strip()
        if self.data.get("scope") == Scope.FILTER:
            try:
                check_filter(text, self.owner)
            except Invalid as fault:
                raise forms.ValidationError(fault.errors["filter"]) from None
        return text

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
            "view": data.get("view"),
            "filter": data["filter"],
            "endings": data["endings"],
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

    is_on = forms.BooleanField(
        required=False,
        label="Hold email, webhook and chat messages",
        help_text="Sent as one summary afterwards. “Worker lost” is never held.",
    )
    start = forms.TimeField(required=False, label="From", widget=CLOCK)
    end = forms.TimeField(required=False, label="To", widget=CLOCK)
    has_weekends = forms.BooleanField(required=False, label="Also all day on Saturday and Sunday")
    zone = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)

    @classmethod
    def of(cls, user: User) -> QuietHoursForm:
        hours = QuietHours.of(user)
        zone = user.quiet_zone or timezone.get_current_timezone_name()
        initial = {"is_on": hours is not None, "zone": zone, **vars(hours or USUAL)}
        return cls(initial=initial, label_suffix="")

    def clean_zone(self) -> str:
        """Return the zone that the page showed."""
        zone: str = self.cleaned_data["zone"]
        return zone if zone in zone_names() else timezone.get_current_timezone_name()

    def clean(self) -> None:
        """Require both times while the hours are on."""
        for name in ("start", "end"):
            if self.cleaned_data.get("is_on") and name in self.cleaned_data and not self.cleaned_data[name]:
                self.add_error(name, "Enter a time.")

    def hours(self) -> QuietHours | None:
        """Return the hours that were entered; None: off."""
        data = self.cleaned_data
        if not data["is_on"]:
            return None
        return QuietHours(data["start"], data["end"], has_weekends=data["has_weekends"])


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
        "view": rule.view_id,
        "filter": rule.filter,
        "endings": rule.endings or Ending.values,
        "frequency": rule.frequency,
        "channels": [channel.pk for channel in rule.channels.all()],
    }
