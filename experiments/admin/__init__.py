"""Floor 4: the administrator's door. History is read here and changes by its own verbs alone (`acts`); fast with
100,000 trials."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group
from django.core.paginator import Paginator
from django.db import models
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

from experiments import dispatch
from experiments.messages import duration
from experiments.models import (
    Answer,
    Artifact,
    ComputeEvent,
    Event,
    Experiment,
    Lease,
    LogPiece,
    Member,
    Model,
    Point,
    Project,
    Queue,
    Revision,
    SignInLink,
    Suggestion,
    Token,
    Trial,
    TrialParameter,
    Usage,
    User,
    WarmResults,
    Worker,
    Workspace,
    secret,
    status,
)
from experiments.models.fields import ExactJSONField
from experiments.runner.log import plain

from .actions import ON_EXPERIMENTS, ON_TRIALS, ON_WORKERS, Acting

MOST_COUNTED = 10_000

admin.site.site_header = admin.site.site_title = "Trialdeck"
admin.site.index_title = "Administration"
admin.site.disable_action("delete_selected")  # a delete tells what goes with it, one row at a time
admin.site.unregister(Group)  # rights come from roles in workspaces


class Pages(Paginator):
    """Counts to 10,000 and not further: to count a hundred million points would take minutes."""

    @cached_property
    def count(self) -> int:
        return self.object_list.order_by()[:MOST_COUNTED].count()


class Door(admin.ModelAdmin):
    """What all have in common: as few queries with 100,000 rows as with ten.

    `related` names what a row's texts need; `get_queryset` reads it along.
    """

    paginator = Pages
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    related: tuple[str, ...] = ()
    search_help_text = ""

    def get_queryset(self, request: HttpRequest) -> models.QuerySet:
        everything = getattr(self.model, "everything", self.model._default_manager)
        rows = everything.select_related(*self.related) if self.related else everything.all()
        return rows.order_by(*self.ordering) if self.ordering else rows


class History(Door):
    """Rows that only Trialdeck writes. They are found by an experiment's ID, or by a trial's."""

    ordering = ("-pk",)
    sortable_by = ()  # a click must not sort millions of rows
    unshown: tuple[str, ...] = ()
    to_experiment = "experiment"
    to_trial = ""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: models.Model | None = None) -> list[str]:
        """All columns; a JSON document as it is stored."""
        return [
            self._show(field) for field in self.model._meta.concrete_fields if field.name not in self.unshown
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: models.Model | None = None) -> list[str]:
        return self.get_fields(request, obj)

    def _show(self, field: models.Field) -> Any:
        if not isinstance(field, ExactJSONField):
            return field.name

        @admin.display(description=field.verbose_name)
        def document(row: models.Model) -> SafeString:
            text = secret.hidden_in(json.dumps(getattr(row, field.name), indent=2, ensure_ascii=False))
            return format_html("<pre>{}</pre>", text)

        return document

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        return (f"{self.to_experiment}__public_id__exact",) if self.to_experiment else ()

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet, search_term: str
    ) -> tuple[models.QuerySet, bool]:
        public_id, dash, number = search_term.strip().partition("-")
        if not public_id or not self.to_experiment:
            return queryset, False
        found = queryset.filter(**{f"{self.to_experiment}__public_id": public_id})
        if dash and self.to_trial:
            if not (number.isascii() and number.isdigit() and len(number) < 10):
                return queryset.none(), False
            path = "number" if self.to_trial == "self" else f"{self.to_trial}__number"
            found = found.filter(**{path: int(number)})
        return found, False


def state_filter(states: dict[str, status.State]) -> type[admin.SimpleListFilter]:
    """A filter by state from the closed list. (The stock one would read every row to learn the states.)"""

    class ByState(admin.SimpleListFilter):
        title = parameter_name = "state"

        def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
            return [(state.word, state.label) for state in states.values()]

        def queryset(self, request: HttpRequest, queryset: models.QuerySet) -> models.QuerySet:
            return queryset.filter(state=self.value()) if self.value() else queryset

    return ByState


class InTrash(admin.SimpleListFilter):
    """Kept, or in the trash."""

    title, parameter_name = "trash", "trash"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [("no", "Kept"), ("yes", "In the trash")]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet) -> models.QuerySet:
        if self.value() not in ("no", "yes"):
            return queryset
        return queryset.filter(trashed_at__isnull=self.value() == "no")


# --- who --------------------------------------------------------------------------------------------------------


@admin.register(User)
class Users(UserAdmin):
    """Accounts. Whoever has left a trace in a history is deactivated, not deleted."""

    list_display = ("username", "first_name", "last_name", "email", "is_superuser", "is_active", "last_login")
    list_filter = ("is_superuser", "is_active")
    readonly_fields = ("last_login", "date_joined")
    filter_horizontal = ()
    actions = ("make_sign_in_link",)
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email", "openid")}),
        (
            "Rights",
            {
                "fields": ("is_active", "is_superuser"),
                "description": "A superuser is an administrator: creates accounts and workspaces, manages "
                "queues and workers. All other rights are roles in workspaces.",
            },
        ),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )

    def save_model(self, request: HttpRequest, obj: User, form: forms.Form, change: bool) -> None:
        obj.is_staff = obj.is_superuser  # who may come in here
        super().save_model(request, obj, form, change)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        may = super().has_delete_permission(request, obj)
        return may and obj is not None and not _has_history(obj)

    @admin.action(description="Make a one-time sign-in link", permissions=["change"])
    def make_sign_in_link(self, request: HttpRequest, queryset: models.QuerySet[User]) -> TemplateResponse:
        """Shows the links, this once."""
        links = []
        for user in queryset.filter(is_active=True):
            address = reverse("enter", args=[SignInLink.issue(user)])
            links.append((user.username, request.build_absolute_uri(address)))
            self.log_change(request, user, "Made a one-time sign-in link.")
        context = {
            **self.admin_site.each_context(request),
            "title": "One-time sign-in links",
            "opts": self.opts,
            "links": links,
            "inactive": [user.username for user in queryset.filter(is_active=False)],
        }
        response = TemplateResponse(request, "admin/experiments/user/sign_in_links.html", context)
        add_never_cache_headers(response)
        return response


def _has_history(user: User) -> bool:
    return (
        Experiment.everything.filter(creator=user).exists()
        or Event.objects.filter(by=user).exists()
        or Revision.objects.filter(by=user).exists()
    )


@admin.register(SignInLink)
class SignInLinks(History):
    """To see who has an open door, and to close it. The address itself is stored nowhere."""

    list_display = ("__str__", "user", "expires_at", "used_at")
    related = ("user",)
    unshown = ("digest",)
    to_experiment = ""

    def has_delete_permission(self, request: HttpRequest, obj: SignInLink | None = None) -> bool:
        return admin.ModelAdmin.has_delete_permission(self, request, obj)


class MembersInline(admin.TabularInline):
    """Who is in the workspace: the role may change, the person not."""

    model = Member
    readonly_fields = ("user",)
    extra = 0
    verbose_name_plural = "members"

    def has_add_permission(self, request: HttpRequest, obj: Workspace | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Member]:
        return super().get_queryset(request).select_related("user", "workspace").order_by("user__username")


class NewMembers(forms.BaseInlineFormSet):
    def clean(self) -> None:
        super().clean()
        there = set()
        if self.instance.pk:
            there |= set(self.instance.members.values_list("user", flat=True))
        for form in self.forms:
            user = form.cleaned_data.get("user") if form.is_valid() else None
            if user and user.pk in there:
                form.add_error("user", f"{user} is a member already; change the role in the table above.")
            elif user:
                there.add(user.pk)


class NewMembersInline(admin.TabularInline):
    """Apart from those who are in already, whose widgets would cost a query each."""

    model = Member
    formset = NewMembers
    raw_id_fields = ("user",)
    extra = 1
    verbose_name_plural = "new members"

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Member]:
        return super().get_queryset(request).none()

    def has_view_permission(self, request: HttpRequest, obj: Workspace | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Workspace | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Workspace | None = None) -> bool:
        return False


class WorkspaceForm(forms.ModelForm):
    def clean_has_automl(self) -> bool:
        wanted = self.cleaned_data["has_automl"]
        if not wanted and self.instance.pk and Experiment.objects.active().filter(workspace=self.instance):
            raise forms.ValidationError(
                "AutoML cannot be switched off while an experiment of this workspace is active. Stop it first."
            )
        return wanted


@admin.register(Workspace)
class Workspaces(Door):
    """Rooms and their members. A new one gets its project `Default`."""

    form = WorkspaceForm
    list_display = ("name", "slug", "has_automl", "created_at")
    search_fields = ("name", "slug")
    readonly_fields = ("created_at",)
    fields = ("name", "slug", "description", "has_automl", "created_at")
    inlines = (MembersInline, NewMembersInline)

    def get_readonly_fields(self, request: HttpRequest, obj: Workspace | None = None) -> tuple[str, ...]:
        return ("slug", "created_at") if obj else ("created_at",)  # addresses that were sent around must hold

    def get_prepopulated_fields(self, request: HttpRequest, obj: Workspace | None = None) -> dict:
        return {} if obj else {"slug": ("name",)}

    def has_delete_permission(self, request: HttpRequest, obj: Workspace | None = None) -> bool:
        may = super().has_delete_permission(request, obj)
        return may and obj is not None and not Experiment.everything.filter(workspace=obj).exists()

    def get_deleted_objects(self, objs: list[Workspace], request: HttpRequest) -> tuple:
        found, counts, _, protected = super().get_deleted_objects(objs, request)
        return found, counts, set(), protected  # its projects, `Default` too, are empty as it is

    def save_model(self, request: HttpRequest, obj: Workspace, form: forms.Form, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change:
            obj.projects.create(name="Default")


@admin.register(Project)
class Projects(Door):
    """Folders. `Default` keeps its name: new experiments look for it."""

    list_display = ("name", "workspace", "created_at")
    related = ("workspace",)
    search_fields = ("name", "workspace__slug")
    raw_id_fields = ("workspace",)
    fields = ("workspace", "name", "description", "created_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Project | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("created_at",)
        return ("workspace", "created_at", *(("name",) if obj.name == "Default" else ()))

    def has_delete_permission(self, request: HttpRequest, obj: Project | None = None) -> bool:
        may = super().has_delete_permission(request, obj)
        return (
            may
            and obj is not None
            and obj.name != "Default"
            and not Experiment.everything.filter(project=obj).exists()
        )


# --- what runs ----------------------------------------------------------------------------------------------------


@admin.register(Queue)
class Queues(Door):
    """Lines of experiments: for whom, and whether paused. Its own page in the console does more (rename, move)."""

    list_display = ("name", "is_open", "is_paused", "slots_per_experiment", "slots_per_person")
    list_filter = ("is_open", "is_paused")
    search_fields = ("name",)
    fields = ("name", "is_open", "workspaces", "is_paused", "slots_per_experiment", "slots_per_person")
    filter_horizontal = ("workspaces",)

    def get_readonly_fields(self, request: HttpRequest, obj: Queue | None = None) -> tuple[str, ...]:
        return ("name",) if obj else ()

    def save_model(self, request: HttpRequest, obj: Queue, form: forms.Form, change: bool) -> None:
        super().save_model(request, obj, form, change)
        verb = "change" if change else "create"
        ComputeEvent.note(
            verb, queue=obj, by=request.user, why=", ".join(form.changed_data) if change else ""
        )
        dispatch.queue(obj.line)

    def delete_model(self, request: HttpRequest, obj: Queue) -> None:
        obj.delete_for_good(by=request.user)

    def has_delete_permission(self, request: HttpRequest, obj: Queue | None = None) -> bool:
        may = super().has_delete_permission(request, obj)
        return may and obj is not None and not obj.is_default and not obj.in_line().exists()


@admin.register(Worker)
class Workers(Acting, History):
    """Who runs trials, and when it was last heard."""

    actions = ON_WORKERS
    list_display = ("name", "host", "pid", "queues", "slots", "heard_at", "gone_at", "is_draining")
    ordering = ("name",)
    to_experiment = ""


@admin.register(Usage)
class Usages(History):
    """How busy each worker was, a quarter of an hour a row."""

    list_display = ("worker", "at", "busy_s", "slot_s", "cpu", "memory")
    related = ("worker",)
    to_experiment = ""


@admin.register(ComputeEvent)
class ComputeEvents(History):
    """What was done to queues and workers, and by whom."""

    list_display = ("at", "by", "verb", "name", "before", "after", "why")
    related = ("by", "queue", "worker")
    to_experiment = ""


@admin.register(Lease)
class Leases(History):
    list_display = ("name", "holder", "until")
    to_experiment = ""


# --- history ------------------------------------------------------------------------------------------------------


@admin.register(Experiment)
class Experiments(Acting, History):
    """Every experiment, the trash included."""

    actions = ON_EXPERIMENTS
    list_display = ("public_id", "name", "workspace", "state", "creator", "created_at", "proposed_count")
    list_filter = (state_filter(status.EXPERIMENT_STATES), InTrash)
    related = ("workspace", "project", "creator", "parent", "queue", "revision")
    search_help_text = "By ID, or by a part of the name."

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        return ("public_id__exact", "folded_name__contains")

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet, search_term: str
    ) -> tuple[models.QuerySet, bool]:
        term = search_term.strip()[:200]
        if not term:
            return queryset, False
        found = models.Q(public_id=term) | models.Q(folded_name__contains=term.casefold())
        return queryset.filter(found), False


@admin.register(Revision)
class Revisions(History):
    list_display = ("__str__", "experiment", "by", "at", "note")
    related = ("experiment", "by")
    search_help_text = "By an experiment's ID."


@admin.register(Trial)
class Trials(Acting, History):
    """Every trial, the trash included."""

    actions = ON_TRIALS
    list_display = ("__str__", "state", "failure", "value", "worker", "created_at", "took", "attempt")
    list_filter = (state_filter(status.TRIAL_STATES), InTrash)
    related = ("experiment", "revision", "worker", "rerun_of__experiment")
    to_trial = "self"
    search_help_text = "By an experiment's ID (7f3k2m9q), or by a trial's (7f3k2m9q-12)."

    @admin.display(description="duration", empty_value="-")
    def took(self, trial: Trial) -> str | None:
        return None if trial.duration_s is None else duration(trial.duration_s)


@admin.register(Event)
class Events(History):
    list_display = ("at", "by", "verb", "experiment", "trial", "before", "after", "why")
    related = ("experiment", "trial__experiment", "by")
    to_trial = "trial"
    search_help_text = Trials.search_help_text


class OfTrial(History):
    """What belongs to one trial."""

    related = ("trial__experiment",)
    to_experiment = "trial__experiment"
    to_trial = "trial"
    search_help_text = Trials.search_help_text


@admin.register(Point)
class Points(OfTrial):
    list_display = ("trial", "name", "step", "value", "text")


@admin.register(LogPiece)
class LogPieces(OfTrial):
    """What trials printed, in pieces. A list does not read the bytes."""

    list_display = ("trial", "offset", "size")
    unshown = ("data",)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[LogPiece]:
        return super().get_queryset(request).defer("data")

    def get_fields(self, request: HttpRequest, obj: LogPiece | None = None) -> list[Any]:
        return [*super().get_fields(request, obj), self.printed]

    @admin.display(description="printed")
    def printed(self, piece: LogPiece) -> SafeString:
        return format_html("<pre>{}</pre>", plain(bytes(piece.data)))


@admin.register(TrialParameter)
class TrialParameters(OfTrial):
    list_display = ("trial", "name", "number", "text")
    related = ("trial__experiment", "experiment")


@admin.register(Suggestion)
class Suggestions(History):
    list_display = ("experiment", "ordinal", "revision")
    related = ("experiment", "revision")
    search_help_text = "By an experiment's ID."


# --- programs, artifacts, models --------------------------------------------------------------------------------


@admin.register(Token)
class Tokens(SignInLinks):
    """To see which programs have a door, and to close it. The secret itself is stored nowhere."""

    list_display = ("name", "user", "workspace", "role", "expires_at", "last_used_at")
    related = ("user", "workspace")


@admin.register(Answer)
class Answers(History):
    """What was answered to a request that may come again."""

    list_display = ("holder", "key", "status", "created_at")
    to_experiment = ""


@admin.register(Artifact)
class Artifacts(History):
    """Files that trials left."""

    list_display = ("name", "trial", "size", "keeping", "worker")
    list_filter = ("keeping",)
    related = ("trial__experiment", "worker")
    to_trial = "trial"


@admin.register(WarmResults)
class UploadedResults(History):
    """Results of elsewhere, for warm starts. A list does not read them."""

    list_display = ("name", "public_id", "workspace", "count", "creator", "created_at")
    related = ("workspace", "creator")
    unshown = ("rows",)
    to_experiment = ""

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[WarmResults]:
        return super().get_queryset(request).defer("rows")


@admin.register(Model)
class Models(History):
    """Weights with a name. They are edited in the console."""

    list_display = ("name", "workspace", "project", "is_published", "creator", "created_at")
    list_filter = ("is_published",)
    related = ("workspace", "project", "creator")
    to_experiment = ""
