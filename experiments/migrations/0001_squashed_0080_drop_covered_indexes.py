"""All tables as they were after 0080, for a new database: the migrations that it replaces take ten seconds there.

A database that has some of them goes on with the rest of them.
"""

import uuid

import django.contrib.auth.models
import django.contrib.auth.validators
import django.db.models.deletion
import django.db.models.manager
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState

import experiments.models.fields

STATE = [
    migrations.CreateModel(
        name="Attempts",
        fields=[
            ("key", models.CharField(max_length=64, primary_key=True, serialize=False)),
            ("count", models.PositiveIntegerField(default=0)),
            ("until", models.DateTimeField(db_index=True)),
        ],
        options={
            "verbose_name_plural": "attempts",
        },
    ),
    migrations.CreateModel(
        name="FormerExperiment",
        fields=[
            (
                "public_id",
                models.CharField(max_length=8, primary_key=True, serialize=False, verbose_name="ID"),
            ),
        ],
    ),
    migrations.CreateModel(
        name="Lease",
        fields=[
            ("name", models.CharField(max_length=64, primary_key=True, serialize=False)),
            ("holder", models.CharField(max_length=64)),
            ("until", models.DateTimeField()),
        ],
    ),
    migrations.CreateModel(
        name="Project",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("name", models.CharField(max_length=100)),
            ("description", models.TextField(blank=True)),
            ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            ("destination", models.CharField(blank=True, max_length=1000)),
        ],
        options={
            "ordering": ["name"],
        },
    ),
    migrations.CreateModel(
        name="Queue",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("name", models.SlugField(max_length=64, unique=True)),
            ("is_open", models.BooleanField(default=False, verbose_name="open to all workspaces")),
            ("is_paused", models.BooleanField(default=False)),
            ("last_position", models.BigIntegerField(default=0, editable=False)),
            ("slots_per_experiment", models.PositiveIntegerField(blank=True, null=True)),
            ("slots_per_person", models.PositiveIntegerField(blank=True, null=True)),
            ("waits", models.JSONField(default=list, editable=False)),
        ],
        options={
            "ordering": ["name"],
        },
    ),
    migrations.CreateModel(
        name="Worker",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("name", models.CharField(max_length=100, unique=True)),
            ("host", models.CharField(max_length=255)),
            ("pid", models.IntegerField()),
            ("boot", models.UUIDField(default=uuid.uuid4)),
            ("queues", models.JSONField(default=list)),
            ("slots", models.PositiveIntegerField()),
            ("lease_s", models.FloatField(default=15)),
            ("beat", models.BigIntegerField(default=0)),
            ("is_draining", models.BooleanField(default=False)),
            ("started_at", models.DateTimeField(default=django.utils.timezone.now)),
            ("heard_at", models.DateTimeField(default=django.utils.timezone.now)),
            ("gone_at", models.DateTimeField(null=True)),
            ("forgotten_at", models.DateTimeField(null=True)),
            ("machine", models.JSONField(default=dict)),
            ("container", models.CharField(blank=True, max_length=16)),
            ("gpus", models.JSONField(default=list)),
            ("cores", models.JSONField(default=list)),
            ("limits_memory_by", models.CharField(blank=True, max_length=16)),
            ("memory_mib", models.IntegerField(default=0)),
            ("draining_until", models.DateTimeField(null=True)),
            ("boundary", models.CharField(blank=True, max_length=200)),
        ],
        options={
            "ordering": ["name"],
        },
    ),
    migrations.CreateModel(
        name="User",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("password", models.CharField(max_length=128, verbose_name="password")),
            ("last_login", models.DateTimeField(blank=True, null=True, verbose_name="last login")),
            (
                "is_superuser",
                models.BooleanField(
                    default=False,
                    help_text="Designates that this user has all permissions without explicitly assigning them.",
                    verbose_name="superuser status",
                ),
            ),
            (
                "username",
                models.CharField(
                    error_messages={"unique": "A user with that username already exists."},
                    help_text="Required. 150 characters or fewer. Letters, digits and @/./+/-/_ only.",
                    max_length=150,
                    unique=True,
                    validators=[django.contrib.auth.validators.UnicodeUsernameValidator()],
                    verbose_name="username",
                ),
            ),
            ("first_name", models.CharField(blank=True, max_length=150, verbose_name="first name")),
            ("last_name", models.CharField(blank=True, max_length=150, verbose_name="last name")),
            ("email", models.EmailField(blank=True, max_length=254, verbose_name="email address")),
            (
                "is_staff",
                models.BooleanField(
                    default=False,
                    help_text="Designates whether the user can log into this admin site.",
                    verbose_name="staff status",
                ),
            ),
            (
                "is_active",
                models.BooleanField(
                    default=True,
                    help_text="Designates whether this user should be treated as active. Unselect this instead of deleting accounts.",
                    verbose_name="active",
                ),
            ),
            (
                "date_joined",
                models.DateTimeField(default=django.utils.timezone.now, verbose_name="date joined"),
            ),
            (
                "openid",
                models.CharField(
                    blank=True,
                    help_text="Issuer and subject at the OpenID provider. Clear to link the next matching sign-in.",
                    max_length=500,
                    null=True,
                    unique=True,
                    verbose_name="OpenID identity",
                ),
            ),
            ("time_zone", models.CharField(blank=True, max_length=64)),
            ("quiet_hours", models.CharField(blank=True, max_length=200)),
            ("quiet_zone", models.CharField(blank=True, max_length=64)),
            (
                "groups",
                models.ManyToManyField(
                    blank=True,
                    help_text="The groups this user belongs to. A user will get all permissions granted to each of their groups.",
                    related_name="user_set",
                    related_query_name="user",
                    to="auth.group",
                    verbose_name="groups",
                ),
            ),
            (
                "user_permissions",
                models.ManyToManyField(
                    blank=True,
                    help_text="Specific permissions for this user.",
                    related_name="user_set",
                    related_query_name="user",
                    to="auth.permission",
                    verbose_name="user permissions",
                ),
            ),
        ],
        options={
            "verbose_name": "user",
            "verbose_name_plural": "users",
            "abstract": False,
        },
        managers=[
            ("objects", django.contrib.auth.models.UserManager()),
        ],
    ),
    migrations.CreateModel(
        name="Answer",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("holder", models.CharField(max_length=40)),
            ("key", models.CharField(max_length=255)),
            ("digest", models.CharField(max_length=64)),
            ("status", models.PositiveSmallIntegerField(default=0)),
            ("body", models.TextField(blank=True)),
            ("created_at", models.DateTimeField(db_index=True, default=django.utils.timezone.now)),
            ("checks", models.JSONField(null=True)),
        ],
        options={
            "constraints": [models.UniqueConstraint(fields=("holder", "key"), name="answer_once")],
        },
    ),
    migrations.CreateModel(
        name="Channel",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            (
                "kind",
                models.CharField(
                    choices=[
                        ("email", "Email"),
                        ("webhook", "Signed webhook"),
                        ("slack", "Slack-compatible webhook"),
                        ("browser", "Browser tab"),
                    ],
                    max_length=8,
                ),
            ),
            ("name", models.CharField(max_length=60)),
            ("sealed_address", models.TextField(blank=True)),
            ("hint", models.CharField(blank=True, max_length=200)),
            ("sealed_secret", models.TextField(blank=True)),
            ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            (
                "owner",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="channels",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
        ],
        options={
            "ordering": ["name"],
        },
    ),
    migrations.CreateModel(
        name="Dashboard",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("name", models.CharField(max_length=60)),
            ("is_shared", models.BooleanField(default=False)),
            ("is_on_wall", models.BooleanField(default=False)),
            ("former", models.JSONField(null=True)),
            ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            ("updated_at", models.DateTimeField(default=django.utils.timezone.now)),
            (
                "owner",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="dashboards",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
        ],
        options={
            "ordering": ["name", "pk"],
        },
    ),
    migrations.CreateModel(
        name="Experiment",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            (
                "public_id",
                models.CharField(
                    default=experiments.models.fields.new_public_id,
                    editable=False,
                    max_length=8,
                    unique=True,
                    verbose_name="ID",
                ),
            ),
            ("name", models.CharField(max_length=200)),
            ("folded_name", models.CharField(editable=False, max_length=600)),
            ("description", models.TextField(blank=True)),
            ("tags", models.JSONField(default=list)),
            ("properties", experiments.models.fields.ExactJSONField(default=dict)),
            (
                "visibility",
                models.CharField(
                    choices=[
                        ("workspace", "Everyone in the workspace"),
                        ("private", "Only the creator and workspace owners"),
                    ],
                    default="workspace",
                    max_length=9,
                ),
            ),
            ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            ("updated_at", models.DateTimeField(default=django.utils.timezone.now)),
            ("trashed_at", models.DateTimeField(db_index=True, null=True)),
            ("state", models.CharField(default="draft", max_length=9)),
            ("reason", models.TextField(blank=True)),
            ("stop_target", models.CharField(blank=True, max_length=9)),
            ("enqueued_from", models.CharField(blank=True, max_length=9)),
            ("position", models.BigIntegerField(default=0)),
            ("started_at", models.DateTimeField(null=True)),
            ("ended_at", models.DateTimeField(null=True)),
            ("ran_s", models.FloatField(default=0)),
            ("ticking_since", models.DateTimeField(null=True)),
            ("metric", models.CharField(max_length=100)),
            ("direction", models.CharField(max_length=8)),
            ("algorithm", models.CharField(max_length=64)),
            ("max_trials", models.IntegerField(null=True)),
            ("concurrency", models.IntegerField()),
            ("max_trial_duration_s", models.FloatField(null=True)),
            ("waiting_count", models.IntegerField(default=0)),
            ("running_count", models.IntegerField(default=0)),
            ("stopping_count", models.IntegerField(default=0)),
            ("succeeded_count", models.IntegerField(default=0)),
            ("stopped_count", models.IntegerField(default=0)),
            ("early_stopped_count", models.IntegerField(default=0)),
            ("failed_count", models.IntegerField(default=0)),
            ("proposed_count", models.IntegerField(default=0)),
            ("epoch", models.IntegerField(default=0)),
            ("settled_count", models.IntegerField(default=0)),
            ("last_number", models.IntegerField(default=0)),
            ("last_ordinal", models.IntegerField(default=0)),
            ("best_value", models.FloatField(null=True)),
            ("best_number", models.IntegerField(null=True)),
            ("trace", experiments.models.fields.ExactJSONField(default=list)),
            ("wake", models.BigIntegerField(default=0)),
            ("version", models.BigIntegerField(default=0)),
            ("enqueued_at", models.DateTimeField(null=True)),
            ("gpus", models.IntegerField(null=True)),
            ("compute_s", models.FloatField(default=0)),
            ("cores", models.IntegerField(null=True)),
            ("memory_mib", models.IntegerField(null=True)),
            ("reruns_up_to", models.IntegerField(null=True)),
            ("limit_hold", models.CharField(blank=True, max_length=200)),
            ("front_size", models.IntegerField(default=0)),
            ("further_objectives", experiments.models.fields.ExactJSONField(default=dict)),
            ("objective_bounds", experiments.models.fields.ExactJSONField(default=list)),
            ("imported_from", models.CharField(blank=True, max_length=16)),
            ("is_importing", models.BooleanField(default=False)),
            ("window_closes_at", models.DateTimeField(null=True)),
            ("window_opens_at", models.DateTimeField(null=True)),
            ("window_time_zone", models.CharField(default="UTC", max_length=64)),
            ("is_exhausted", models.BooleanField(default=False)),
            (
                "creator",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.PROTECT,
                    related_name="experiments",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
            (
                "parent",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="clones",
                    to="experiments.experiment",
                ),
            ),
            (
                "project",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.PROTECT,
                    related_name="experiments",
                    to="experiments.project",
                ),
            ),
            (
                "queue",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="experiments",
                    to="experiments.queue",
                ),
            ),
        ],
        options={
            "ordering": ["-created_at"],
            "base_manager_name": "everything",
        },
        managers=[
            ("objects", django.db.models.manager.Manager()),
            ("everything", django.db.models.manager.Manager()),
        ],
    ),
    migrations.CreateModel(
        name="Hypervolume",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("epoch", models.IntegerField()),
            ("computed_at", models.DateTimeField(default=django.utils.timezone.now)),
            ("succeeded_count", models.IntegerField()),
            ("reference", experiments.models.fields.ExactJSONField(default=list)),
            ("steps", experiments.models.fields.ExactJSONField(default=list)),
            ("problem", models.CharField(blank=True, max_length=200)),
            (
                "experiment",
                models.OneToOneField(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="hypervolume",
                    to="experiments.experiment",
                ),
            ),
        ],
    ),
    migrations.CreateModel(
        name="Importance",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("epoch", models.IntegerField()),
            ("computed_at", models.DateTimeField(default=django.utils.timezone.now)),
            ("succeeded_count", models.IntegerField()),
            ("trial_count", models.IntegerField()),
            ("shares", experiments.models.fields.ExactJSONField(default=dict)),
            ("problem", models.CharField(blank=True, max_length=200)),
            ("further", experiments.models.fields.ExactJSONField(default=dict)),
            (
                "experiment",
                models.OneToOneField(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="importance",
                    to="experiments.experiment",
                ),
            ),
        ],
    ),
    migrations.CreateModel(
        name="Member",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            (
                "role",
                models.CharField(
                    choices=[("viewer", "Viewer"), ("operator", "Operator"), ("owner", "Owner")], max_length=8
                ),
            ),
            (
                "user",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="memberships",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
        ],
    ),
    migrations.CreateModel(
        name="Occurrence",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            (
                "kind",
                models.CharField(
                    choices=[
                        ("ended", "Experiment ended"),
                        ("new_best", "New best"),
                        ("auto_paused", "Auto-paused"),
                        ("failure_rate", "Failure rate"),
                        ("worker_lost", "Worker lost"),
                        ("new_cause", "New cause of failure"),
                        ("budget", "Budget at 80%"),
                    ],
                    max_length=16,
                ),
            ),
            ("trial_number", models.IntegerField(null=True)),
            ("at", models.DateTimeField(default=django.utils.timezone.now)),
            ("value", models.FloatField(null=True)),
            ("previous", models.FloatField(null=True)),
            ("details", experiments.models.fields.ExactJSONField(default=dict)),
            ("key", models.CharField(blank=True, max_length=60)),
            ("expanded_at", models.DateTimeField(null=True)),
            (
                "experiment",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="occurrences",
                    to="experiments.experiment",
                ),
            ),
        ],
        options={
            "ordering": ["-pk"],
        },
    ),
    migrations.CreateModel(
        name="RecoveryCode",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("digest", models.CharField(max_length=64)),
            ("used_at", models.DateTimeField(null=True)),
            (
                "user",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="recovery_codes",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
        ],
    ),
    migrations.CreateModel(
        name="RetentionRule",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            (
                "part",
                models.CharField(
                    choices=[
                        ("folder", "Trial folders"),
                        ("log", "Logs"),
                        ("points", "Intermediate metrics"),
                        ("events", "History"),
                    ],
                    max_length=8,
                ),
            ),
            ("after_days", models.PositiveIntegerField()),
            ("states", models.JSONField(default=list)),
            ("keep_best", models.PositiveIntegerField(default=0)),
            ("is_on", models.BooleanField(default=False)),
            ("preview", models.JSONField(default=dict)),
            ("changed_at", models.DateTimeField(default=django.utils.timezone.now)),
            (
                "by",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="+",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
        ],
        options={
            "ordering": ["pk"],
        },
    ),
    migrations.CreateModel(
        name="Revision",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("number", models.PositiveIntegerField()),
            ("document", experiments.models.fields.ExactJSONField()),
            ("at", models.DateTimeField(default=django.utils.timezone.now)),
            ("note", models.CharField(blank=True, max_length=200)),
            ("resolved", experiments.models.fields.ExactJSONField(default=dict)),
            ("author", models.CharField(blank=True, max_length=150)),
            (
                "by",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="+",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
            (
                "experiment",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="revisions",
                    to="experiments.experiment",
                ),
            ),
        ],
        options={
            "ordering": ["number"],
        },
    ),
    migrations.AddField(
        model_name="experiment",
        name="revision",
        field=models.ForeignKey(
            null=True,
            on_delete=django.db.models.deletion.PROTECT,
            related_name="+",
            to="experiments.revision",
        ),
    ),
    migrations.CreateModel(
        name="Rule",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            (
                "kind",
                models.CharField(
                    choices=[
                        ("ended", "Experiment ended"),
                        ("new_best", "New best"),
                        ("auto_paused", "Auto-paused"),
                        ("failure_rate", "Failure rate"),
                        ("worker_lost", "Worker lost"),
                        ("new_cause", "New cause of failure"),
                        ("budget", "Budget at 80%"),
                    ],
                    max_length=16,
                ),
            ),
            (
                "scope",
                models.CharField(
                    choices=[
                        ("mine", "My experiments"),
                        ("pinned", "Pinned experiments"),
                        ("followed", "My experiments and pinned ones"),
                        ("experiment", "One experiment"),
                        ("project", "Project"),
                        ("tag", "Tag"),
                        ("view", "Saved view"),
                        ("filter", "Filter"),
                        ("workspace", "Whole workspace"),
                    ],
                    max_length=10,
                ),
            ),
            ("tag", models.CharField(blank=True, max_length=50)),
            ("threshold", models.FloatField(null=True)),
            (
                "frequency",
                models.CharField(
                    choices=[
                        ("always", "Every time"),
                        ("hourly", "Once per hour and experiment"),
                        ("daily", "Daily summary at 08:00"),
                    ],
                    default="hourly",
                    max_length=6,
                ),
            ),
            ("is_on", models.BooleanField(default=True)),
            ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            ("role_limit", models.CharField(blank=True, max_length=8)),
            ("endings", experiments.models.fields.ExactJSONField(default=list)),
            ("filter", models.CharField(blank=True, max_length=1000)),
            ("channels", models.ManyToManyField(related_name="rules", to="experiments.channel")),
            (
                "experiment",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="+",
                    to="experiments.experiment",
                ),
            ),
            (
                "owner",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="notification_rules",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
            (
                "project",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="+",
                    to="experiments.project",
                ),
            ),
        ],
        options={
            "ordering": ["pk"],
        },
    ),
    migrations.CreateModel(
        name="Delivery",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("message_id", models.UUIDField(default=uuid.uuid4, unique=True)),
            ("kind", models.CharField(max_length=16)),
            ("subject", models.CharField(max_length=300)),
            ("text", models.TextField()),
            ("payload", experiments.models.fields.ExactJSONField(default=dict)),
            ("value", models.FloatField(null=True)),
            (
                "status",
                models.CharField(
                    choices=[
                        ("queued", "Queued"),
                        ("sent", "Delivered"),
                        ("failed", "Failed"),
                        ("canceled", "Canceled"),
                        ("merged", "In a summary"),
                    ],
                    default="queued",
                    max_length=8,
                ),
            ),
            ("attempts", models.IntegerField(default=0)),
            ("error", models.TextField(blank=True)),
            ("tries", experiments.models.fields.ExactJSONField(default=list)),
            ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            ("next_at", models.DateTimeField(default=django.utils.timezone.now, null=True)),
            ("sent_at", models.DateTimeField(null=True)),
            ("seen_at", models.DateTimeField(null=True)),
            ("is_held", models.BooleanField(default=False)),
            (
                "channel",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="deliveries",
                    to="experiments.channel",
                ),
            ),
            (
                "summary",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="parts",
                    to="experiments.delivery",
                ),
            ),
            (
                "experiment",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="+",
                    to="experiments.experiment",
                ),
            ),
            (
                "occurrence",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="deliveries",
                    to="experiments.occurrence",
                ),
            ),
            (
                "rule",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="deliveries",
                    to="experiments.rule",
                ),
            ),
        ],
        options={
            "ordering": ["-pk"],
            "verbose_name_plural": "deliveries",
        },
    ),
    migrations.CreateModel(
        name="SavedView",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("name", models.CharField(max_length=60)),
            ("query", models.CharField(blank=True, max_length=4000)),
            ("is_shared", models.BooleanField(default=False)),
            ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            (
                "experiment",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="saved_views",
                    to="experiments.experiment",
                ),
            ),
            (
                "owner",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="saved_views",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
        ],
        options={
            "ordering": ["name"],
        },
    ),
    migrations.AddField(
        model_name="rule",
        name="view",
        field=models.ForeignKey(
            null=True,
            on_delete=django.db.models.deletion.SET_NULL,
            related_name="+",
            to="experiments.savedview",
        ),
    ),
    migrations.CreateModel(
        name="Schedule",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("cron", models.CharField(max_length=200)),
            ("time_zone", models.CharField(default="UTC", max_length=64)),
            (
                "overlap",
                models.CharField(
                    choices=[("skip", "Skip this run"), ("start", "Start another run")],
                    default="skip",
                    max_length=5,
                ),
            ),
            ("next_at", models.DateTimeField(db_index=True, null=True)),
            ("last_at", models.DateTimeField(null=True)),
            ("note", models.CharField(blank=True, max_length=300)),
            ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            (
                "by",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="+",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
            (
                "experiment",
                models.OneToOneField(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="schedule",
                    to="experiments.experiment",
                ),
            ),
            (
                "last_clone",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="+",
                    to="experiments.experiment",
                ),
            ),
        ],
        options={
            "ordering": ["pk"],
        },
    ),
    migrations.CreateModel(
        name="SecondFactor",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("sealed_secret", models.TextField()),
            ("last_step", models.BigIntegerField(default=0)),
            ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            ("last_used_at", models.DateTimeField(null=True)),
            (
                "user",
                models.OneToOneField(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="second_factor",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
        ],
    ),
    migrations.CreateModel(
        name="SignInLink",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("digest", models.CharField(max_length=64, unique=True)),
            ("expires_at", models.DateTimeField()),
            ("used_at", models.DateTimeField(null=True)),
            (
                "user",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="sign_in_links",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
        ],
    ),
    migrations.CreateModel(
        name="Suggestion",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("ordinal", models.IntegerField()),
            ("params", experiments.models.fields.ExactJSONField()),
            ("raw", experiments.models.fields.ExactJSONField()),
            ("attrs", experiments.models.fields.ExactJSONField(default=dict)),
            (
                "experiment",
                models.ForeignKey(
                    db_index=False,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="suggestions",
                    to="experiments.experiment",
                ),
            ),
            (
                "revision",
                models.ForeignKey(
                    db_index=False,
                    on_delete=django.db.models.deletion.PROTECT,
                    related_name="+",
                    to="experiments.revision",
                ),
            ),
        ],
        options={
            "ordering": ["ordinal"],
        },
    ),
    migrations.CreateModel(
        name="Tile",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("place", models.IntegerField()),
            (
                "kind",
                models.CharField(
                    choices=[
                        ("chart", "Experiment chart"),
                        ("leaderboard", "Leaderboard"),
                        ("view", "Saved view"),
                        ("number", "Number"),
                        ("capacity", "Capacity"),
                        ("text", "Text"),
                    ],
                    max_length=12,
                ),
            ),
            ("width", models.SmallIntegerField()),
            ("title", models.CharField(blank=True, max_length=80)),
            ("text", models.TextField(blank=True)),
            ("options", models.JSONField(default=dict)),
            (
                "dashboard",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="tiles",
                    to="experiments.dashboard",
                ),
            ),
            (
                "experiment",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="+",
                    to="experiments.experiment",
                ),
            ),
            (
                "project",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="+",
                    to="experiments.project",
                ),
            ),
            (
                "view",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="+",
                    to="experiments.savedview",
                ),
            ),
        ],
        options={
            "ordering": ["place", "pk"],
        },
    ),
    migrations.CreateModel(
        name="Trial",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("number", models.IntegerField()),
            ("ordinal", models.IntegerField(null=True)),
            (
                "source",
                models.CharField(
                    choices=[
                        ("proposal", "Proposed by the algorithm"),
                        ("rerun", "Rerun"),
                        ("retry", "Retried after its worker was lost"),
                        ("added", "Added by hand"),
                        ("resumed", "Retried after its experiment was stopped"),
                        ("replica", "Replica of a succeeded trial"),
                    ],
                    default="proposal",
                    max_length=8,
                ),
            ),
            ("attempt", models.IntegerField(default=1)),
            ("retries", models.IntegerField(default=0)),
            ("keeps_revision", models.BooleanField(default=False)),
            ("params", experiments.models.fields.ExactJSONField()),
            ("raw", experiments.models.fields.ExactJSONField(null=True)),
            ("sampler_attrs", experiments.models.fields.ExactJSONField(default=dict)),
            ("values_digest", models.CharField(max_length=40)),
            ("state", models.CharField(default="waiting", max_length=13)),
            (
                "failure",
                models.CharField(
                    blank=True,
                    choices=[
                        ("exit_code", "Exit code"),
                        ("signal", "Ended by a signal"),
                        ("timeout", "Time limit"),
                        ("out_of_memory", "Out of memory"),
                        ("no_metric", "No metric"),
                        ("bad_metric", "Invalid metric"),
                        ("worker_lost", "Worker lost"),
                        ("setup", "Setup"),
                    ],
                    max_length=13,
                ),
            ),
            ("detail", models.CharField(blank=True, max_length=300)),
            ("stop_target", models.CharField(blank=True, max_length=13)),
            ("stop_grace_s", models.FloatField(null=True)),
            ("boot", models.UUIDField(null=True)),
            ("pid", models.IntegerField(null=True)),
            ("value", models.FloatField(null=True)),
            ("last_value", models.FloatField(null=True)),
            ("last_step", models.BigIntegerField(null=True)),
            ("log_bytes", models.BigIntegerField(default=0)),
            ("notes", models.JSONField(default=list)),
            ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            ("started_at", models.DateTimeField(null=True)),
            ("ended_at", models.DateTimeField(null=True)),
            ("duration_s", models.FloatField(null=True)),
            ("settled_rank", models.IntegerField(null=True)),
            ("exit_code", models.IntegerField(null=True)),
            ("signal", models.IntegerField(null=True)),
            ("gone_after_s", models.FloatField(null=True)),
            ("peak_memory", models.BigIntegerField(null=True)),
            ("cpu_s", models.FloatField(null=True)),
            ("survivors", models.JSONField(default=list)),
            ("trashed_at", models.DateTimeField(null=True)),
            ("version", models.BigIntegerField(default=0)),
            ("gpus", models.JSONField(default=list)),
            ("cores", models.JSONField(default=list)),
            ("memory_limited_by", models.CharField(blank=True, max_length=16)),
            ("memory_mib", models.IntegerField(null=True)),
            ("final_metrics", experiments.models.fields.ExactJSONField(default=dict)),
            (
                "result",
                models.GeneratedField(
                    db_persist=True,
                    expression=models.Case(models.When(state="succeeded", then=models.F("value"))),
                    output_field=models.FloatField(null=True),
                ),
            ),
            ("was_interrupted", models.BooleanField(default=False)),
            ("rule_revision", models.IntegerField(null=True)),
            ("checked_step", models.BigIntegerField(null=True)),
            ("steps_done", models.BigIntegerField(null=True)),
            ("steps_total", models.BigIntegerField(null=True)),
            ("comment_count", models.IntegerField(default=0)),
            ("starred_at", models.DateTimeField(null=True)),
            ("folder_bytes", models.BigIntegerField(null=True)),
            ("removed", models.JSONField(default=dict)),
            (
                "experiment",
                models.ForeignKey(
                    db_index=False,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="trials",
                    to="experiments.experiment",
                ),
            ),
            (
                "rerun_of",
                models.ForeignKey(
                    db_index=False,
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="reruns",
                    to="experiments.trial",
                ),
            ),
            (
                "revision",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.PROTECT,
                    related_name="trials",
                    to="experiments.revision",
                ),
            ),
            (
                "worker",
                models.ForeignKey(
                    db_index=False,
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="trials",
                    to="experiments.worker",
                ),
            ),
        ],
        options={
            "ordering": ["number"],
            "base_manager_name": "everything",
        },
        managers=[
            ("objects", django.db.models.manager.Manager()),
            ("everything", django.db.models.manager.Manager()),
        ],
    ),
    migrations.CreateModel(
        name="Point",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("name", models.CharField(max_length=200)),
            ("step", models.BigIntegerField()),
            ("value", models.FloatField(null=True)),
            ("text", models.CharField(blank=True, max_length=200)),
            ("elapsed_s", models.FloatField(blank=True, null=True)),
            (
                "trial",
                models.ForeignKey(
                    db_index=False,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="points",
                    to="experiments.trial",
                ),
            ),
        ],
        options={
            "ordering": ["name", "step"],
        },
    ),
    migrations.CreateModel(
        name="MetricValue",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("name", models.CharField(max_length=200)),
            ("number", models.FloatField(null=True)),
            ("is_final", models.BooleanField(default=False)),
            (
                "experiment",
                models.ForeignKey(
                    db_index=False,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="+",
                    to="experiments.experiment",
                ),
            ),
            (
                "trial",
                models.ForeignKey(
                    db_index=False,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="metric_values",
                    to="experiments.trial",
                ),
            ),
        ],
    ),
    migrations.CreateModel(
        name="LogPiece",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("offset", models.BigIntegerField()),
            ("size", models.IntegerField()),
            ("data", models.BinaryField()),
            (
                "trial",
                models.ForeignKey(
                    db_index=False,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="log_pieces",
                    to="experiments.trial",
                ),
            ),
        ],
        options={
            "ordering": ["offset"],
        },
    ),
    migrations.CreateModel(
        name="FrontTrial",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("number", models.IntegerField()),
            ("joined_result", models.IntegerField()),
            ("left_result", models.IntegerField(null=True)),
            ("loss_1", models.FloatField()),
            ("loss_2", models.FloatField()),
            ("loss_3", models.FloatField(default=0)),
            ("loss_4", models.FloatField(default=0)),
            (
                "experiment",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="front_trials",
                    to="experiments.experiment",
                ),
            ),
            (
                "trial",
                models.OneToOneField(
                    on_delete=django.db.models.deletion.CASCADE, related_name="front", to="experiments.trial"
                ),
            ),
        ],
        options={
            "ordering": ["number"],
        },
    ),
    migrations.CreateModel(
        name="Event",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("verb", models.CharField(max_length=32)),
            ("at", models.DateTimeField(default=django.utils.timezone.now)),
            ("before", models.CharField(blank=True, max_length=16)),
            ("after", models.CharField(blank=True, max_length=16)),
            ("why", models.TextField(blank=True)),
            ("details", experiments.models.fields.ExactJSONField(default=dict)),
            ("token", models.CharField(blank=True, max_length=100)),
            (
                "by",
                models.ForeignKey(
                    db_index=False,
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="events",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
            (
                "experiment",
                models.ForeignKey(
                    db_index=False,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="events",
                    to="experiments.experiment",
                ),
            ),
            (
                "trial",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="events",
                    to="experiments.trial",
                ),
            ),
        ],
        options={
            "ordering": ["-pk"],
        },
    ),
    migrations.CreateModel(
        name="Comment",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("at", models.DateTimeField(default=django.utils.timezone.now)),
            ("text", models.TextField()),
            ("author", models.CharField(blank=True, max_length=150)),
            ("edited_at", models.DateTimeField(null=True)),
            (
                "by",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="+",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
            (
                "trial",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="comments",
                    to="experiments.trial",
                ),
            ),
        ],
        options={
            "ordering": ["pk"],
        },
    ),
    migrations.CreateModel(
        name="TrialParameter",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("name", models.CharField(max_length=200)),
            ("number", models.FloatField(null=True)),
            ("text", models.CharField(blank=True, max_length=100)),
            (
                "experiment",
                models.ForeignKey(
                    db_index=False,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="+",
                    to="experiments.experiment",
                ),
            ),
            (
                "trial",
                models.ForeignKey(
                    db_index=False,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="parameters",
                    to="experiments.trial",
                ),
            ),
        ],
    ),
    migrations.CreateModel(
        name="UserSession",
        fields=[
            ("id", models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False)),
            ("session_key", models.CharField(max_length=40, unique=True)),
            ("way", models.CharField(blank=True, max_length=32)),
            ("agent", models.CharField(blank=True, max_length=300)),
            ("address", models.CharField(blank=True, max_length=64)),
            ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            ("last_used_at", models.DateTimeField(default=django.utils.timezone.now)),
            (
                "user",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="sessions",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
        ],
        options={
            "ordering": ["-last_used_at"],
        },
    ),
    migrations.CreateModel(
        name="Usage",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("at", models.DateTimeField()),
            ("until_at", models.DateTimeField()),
            ("slot_s", models.FloatField(default=0)),
            ("busy_s", models.FloatField(default=0)),
            ("looks", models.IntegerField(default=0)),
            ("cpu", models.FloatField(null=True)),
            ("memory", models.FloatField(null=True)),
            (
                "worker",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE, related_name="usage", to="experiments.worker"
                ),
            ),
        ],
        options={
            "ordering": ["at"],
        },
    ),
    migrations.CreateModel(
        name="PythonCheck",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("python", models.CharField(max_length=1000)),
            ("folder", models.CharField(max_length=2000)),
            ("modules", models.JSONField(default=list)),
            ("variables", models.JSONField(default=dict)),
            ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            ("answer", models.JSONField(null=True)),
            (
                "queue",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="python_checks",
                    to="experiments.queue",
                ),
            ),
            (
                "worker",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="python_checks",
                    to="experiments.worker",
                ),
            ),
        ],
        options={
            "ordering": ["pk"],
        },
    ),
    migrations.CreateModel(
        name="FolderRemoval",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("is_begun", models.BooleanField(default=False)),
            ("wanted_at", models.DateTimeField(default=django.utils.timezone.now)),
            (
                "rule",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="folder_removals",
                    to="experiments.retentionrule",
                ),
            ),
            (
                "trial",
                models.OneToOneField(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="folder_removal",
                    to="experiments.trial",
                ),
            ),
            (
                "worker",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="folder_removals",
                    to="experiments.worker",
                ),
            ),
        ],
        options={
            "ordering": ["pk"],
        },
    ),
    migrations.CreateModel(
        name="ComputeEvent",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("name", models.CharField(max_length=100)),
            ("verb", models.CharField(max_length=32)),
            ("at", models.DateTimeField(default=django.utils.timezone.now)),
            ("before", models.TextField(blank=True)),
            ("after", models.TextField(blank=True)),
            ("why", models.TextField(blank=True)),
            (
                "by",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="+",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
            (
                "queue",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="events",
                    to="experiments.queue",
                ),
            ),
            (
                "worker",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="events",
                    to="experiments.worker",
                ),
            ),
        ],
        options={
            "ordering": ["-pk"],
        },
    ),
    migrations.CreateModel(
        name="Artifact",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("name", models.CharField(max_length=500)),
            ("size", models.BigIntegerField()),
            ("changed_at", models.DateTimeField()),
            ("sha256", models.CharField(blank=True, max_length=64)),
            (
                "keeping",
                models.CharField(
                    choices=[
                        ("local", "On the worker's machine"),
                        ("waiting", "Upload pending"),
                        ("stored", "In the output destination"),
                        ("dropped", "Not kept: its trial is not among the best"),
                    ],
                    max_length=7,
                ),
            ),
            ("destination", models.CharField(blank=True, max_length=1000)),
            ("fault", models.TextField(blank=True)),
            ("tries", models.IntegerField(default=0)),
            ("retry_at", models.DateTimeField(null=True)),
            ("seen_at", models.DateTimeField(default=django.utils.timezone.now)),
            (
                "experiment",
                models.ForeignKey(
                    db_index=False,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="artifacts",
                    to="experiments.experiment",
                ),
            ),
            (
                "trial",
                models.ForeignKey(
                    db_index=False,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="artifacts",
                    to="experiments.trial",
                ),
            ),
            (
                "worker",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="artifacts",
                    to="experiments.worker",
                ),
            ),
        ],
        options={
            "ordering": ["trial", "name"],
        },
    ),
    migrations.CreateModel(
        name="Workspace",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("slug", models.SlugField(max_length=64, unique=True)),
            ("name", models.CharField(max_length=100)),
            ("description", models.TextField(blank=True)),
            ("has_automl", models.BooleanField(default=True)),
            ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            ("destination", models.CharField(blank=True, max_length=1000)),
            (
                "people",
                models.ManyToManyField(
                    related_name="workspaces", through="experiments.Member", to=settings.AUTH_USER_MODEL
                ),
            ),
        ],
        options={
            "ordering": ["slug"],
        },
    ),
    migrations.CreateModel(
        name="WarmResults",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            (
                "public_id",
                models.CharField(
                    default=experiments.models.fields.new_public_id,
                    editable=False,
                    max_length=8,
                    unique=True,
                    verbose_name="ID",
                ),
            ),
            ("name", models.CharField(max_length=200)),
            ("rows", experiments.models.fields.ExactJSONField()),
            ("count", models.PositiveIntegerField()),
            ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            (
                "creator",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.PROTECT,
                    related_name="warm_results",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
            (
                "workspace",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="warm_results",
                    to="experiments.workspace",
                ),
            ),
        ],
        options={
            "verbose_name_plural": "uploaded results",
            "ordering": ["-created_at"],
            "verbose_name": "uploaded results",
        },
    ),
    migrations.CreateModel(
        name="UsageLimit",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("soft_h", models.FloatField(null=True)),
            ("hard_h", models.FloatField(null=True)),
            (
                "person",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="+",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
            (
                "workspace",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="usage_limits",
                    to="experiments.workspace",
                ),
            ),
        ],
        options={
            "ordering": ["workspace", "person"],
        },
    ),
    migrations.CreateModel(
        name="Token",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("name", models.CharField(max_length=100)),
            (
                "role",
                models.CharField(
                    choices=[("viewer", "Viewer"), ("operator", "Operator"), ("owner", "Owner")], max_length=8
                ),
            ),
            ("digest", models.CharField(max_length=64, unique=True)),
            ("hint", models.CharField(max_length=16)),
            ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            ("expires_at", models.DateTimeField(null=True)),
            ("last_used_at", models.DateTimeField(null=True)),
            ("revoked_at", models.DateTimeField(null=True)),
            (
                "user",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="tokens",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
            (
                "workspace",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="tokens",
                    to="experiments.workspace",
                ),
            ),
        ],
        options={
            "ordering": ["-created_at", "-pk"],
        },
    ),
    migrations.CreateModel(
        name="SlotUsage",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("is_day", models.BooleanField()),
            ("at", models.DateTimeField()),
            ("seconds", models.FloatField(default=0)),
            ("trials", models.IntegerField(default=0)),
            ("succeeded", models.IntegerField(default=0)),
            ("early_stopped", models.IntegerField(default=0)),
            ("failed", models.IntegerField(default=0)),
            ("failed_s", models.FloatField(default=0)),
            (
                "person",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="+",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
            (
                "project",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="+",
                    to="experiments.project",
                ),
            ),
            (
                "queue",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="+",
                    to="experiments.queue",
                ),
            ),
            (
                "workspace",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="slot_usage",
                    to="experiments.workspace",
                ),
            ),
        ],
        options={
            "ordering": ["-at", "-pk"],
        },
    ),
    migrations.CreateModel(
        name="ShareLink",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("name", models.CharField(blank=True, max_length=60)),
            ("digest", models.CharField(max_length=64, unique=True)),
            ("hint", models.CharField(max_length=8)),
            ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            ("expires_at", models.DateTimeField()),
            ("opened_count", models.IntegerField(default=0)),
            ("last_opened_at", models.DateTimeField(null=True)),
            ("revoked_at", models.DateTimeField(null=True)),
            (
                "created_by",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="share_links",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
            (
                "dashboard",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="links",
                    to="experiments.dashboard",
                ),
            ),
            (
                "experiment",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="links",
                    to="experiments.experiment",
                ),
            ),
            (
                "workspace",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="share_links",
                    to="experiments.workspace",
                ),
            ),
        ],
        options={
            "ordering": ["-created_at", "-pk"],
        },
    ),
    migrations.CreateModel(
        name="SeenCause",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("key", models.CharField(max_length=12)),
            ("last_at", models.DateTimeField()),
            (
                "private_to",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="+",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
            (
                "workspace",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE, related_name="+", to="experiments.workspace"
                ),
            ),
        ],
        options={
            "ordering": ["pk"],
        },
    ),
    migrations.AddField(
        model_name="savedview",
        name="workspace",
        field=models.ForeignKey(
            on_delete=django.db.models.deletion.CASCADE,
            related_name="saved_views",
            to="experiments.workspace",
        ),
    ),
    migrations.AddField(
        model_name="rule",
        name="workspace",
        field=models.ForeignKey(
            on_delete=django.db.models.deletion.CASCADE,
            related_name="notification_rules",
            to="experiments.workspace",
        ),
    ),
    migrations.AddField(
        model_name="retentionrule",
        name="workspace",
        field=models.ForeignKey(
            null=True,
            on_delete=django.db.models.deletion.CASCADE,
            related_name="retention_rules",
            to="experiments.workspace",
        ),
    ),
    migrations.AddField(
        model_name="queue",
        name="workspaces",
        field=models.ManyToManyField(blank=True, related_name="queues", to="experiments.workspace"),
    ),
    migrations.AddField(
        model_name="project",
        name="workspace",
        field=models.ForeignKey(
            on_delete=django.db.models.deletion.CASCADE, related_name="projects", to="experiments.workspace"
        ),
    ),
    migrations.AddField(
        model_name="occurrence",
        name="workspace",
        field=models.ForeignKey(
            null=True,
            on_delete=django.db.models.deletion.CASCADE,
            related_name="occurrences",
            to="experiments.workspace",
        ),
    ),
    migrations.CreateModel(
        name="Model",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            (
                "public_id",
                models.CharField(
                    default=experiments.models.fields.new_public_id,
                    editable=False,
                    max_length=8,
                    unique=True,
                    verbose_name="ID",
                ),
            ),
            ("name", models.CharField(max_length=200)),
            ("folded_name", models.CharField(editable=False, max_length=600)),
            ("description", models.TextField(blank=True)),
            ("framework", models.CharField(blank=True, max_length=64)),
            ("network", models.TextField(blank=True)),
            ("labels", experiments.models.fields.ExactJSONField(default=dict)),
            ("address", models.CharField(blank=True, max_length=1500)),
            ("is_published", models.BooleanField(default=False)),
            ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            ("updated_at", models.DateTimeField(default=django.utils.timezone.now)),
            (
                "artifact",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="models",
                    to="experiments.artifact",
                ),
            ),
            (
                "creator",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.PROTECT,
                    related_name="models",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
            (
                "project",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.PROTECT,
                    related_name="models",
                    to="experiments.project",
                ),
            ),
            (
                "workspace",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="models",
                    to="experiments.workspace",
                ),
            ),
        ],
        options={
            "ordering": ["-created_at"],
        },
    ),
    migrations.AddField(
        model_name="member",
        name="workspace",
        field=models.ForeignKey(
            on_delete=django.db.models.deletion.CASCADE, related_name="members", to="experiments.workspace"
        ),
    ),
    migrations.CreateModel(
        name="HistoryImport",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            (
                "public_id",
                models.CharField(
                    default=experiments.models.fields.new_public_id,
                    editable=False,
                    max_length=8,
                    unique=True,
                    verbose_name="ID",
                ),
            ),
            ("file_name", models.CharField(max_length=200)),
            ("size", models.BigIntegerField(default=0)),
            ("format", models.CharField(blank=True, max_length=16)),
            (
                "state",
                models.CharField(
                    choices=[
                        ("uploading", "Uploading"),
                        ("reading", "Reading"),
                        ("ready", "Ready to import"),
                        ("importing", "Importing"),
                        ("imported", "Imported"),
                        ("failed", "Failed"),
                    ],
                    default="uploading",
                    max_length=9,
                ),
            ),
            ("preview", experiments.models.fields.ExactJSONField(default=dict)),
            ("choices", experiments.models.fields.ExactJSONField(default=dict)),
            ("error", models.TextField(blank=True)),
            ("total", models.IntegerField(default=0)),
            ("done", models.IntegerField(default=0)),
            ("holder", models.CharField(blank=True, max_length=32)),
            ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            ("changed_at", models.DateTimeField(default=django.utils.timezone.now)),
            ("version", models.BigIntegerField(default=0)),
            (
                "by",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.PROTECT,
                    related_name="imports",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
            (
                "experiment",
                models.OneToOneField(
                    null=True,
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="history_import",
                    to="experiments.experiment",
                ),
            ),
            (
                "project",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="+",
                    to="experiments.project",
                ),
            ),
            (
                "workspace",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="imports",
                    to="experiments.workspace",
                ),
            ),
        ],
        options={
            "ordering": ["-pk"],
        },
    ),
    migrations.AddField(
        model_name="experiment",
        name="workspace",
        field=models.ForeignKey(
            on_delete=django.db.models.deletion.CASCADE,
            related_name="experiments",
            to="experiments.workspace",
        ),
    ),
    migrations.AddField(
        model_name="dashboard",
        name="workspace",
        field=models.ForeignKey(
            on_delete=django.db.models.deletion.CASCADE, related_name="dashboards", to="experiments.workspace"
        ),
    ),
    migrations.AddField(
        model_name="channel",
        name="workspace",
        field=models.ForeignKey(
            on_delete=django.db.models.deletion.CASCADE, related_name="channels", to="experiments.workspace"
        ),
    ),
    migrations.CreateModel(
        name="AuditEntry",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("at", models.DateTimeField(default=django.utils.timezone.now)),
            (
                "kind",
                models.CharField(
                    choices=[
                        ("sign-in", "Sign-in and accounts"),
                        ("members", "Workspaces and members"),
                        ("tokens", "API tokens"),
                        ("settings", "Settings"),
                        ("links", "Links"),
                        ("downloads", "Downloads"),
                        ("experiments", "Experiments and models"),
                        ("compute", "Queues and workers"),
                        ("administration", "Administration"),
                    ],
                    max_length=16,
                ),
            ),
            ("verb", models.CharField(max_length=40)),
            ("who", models.CharField(blank=True, max_length=150)),
            ("token", models.CharField(blank=True, max_length=100)),
            ("subject", models.CharField(blank=True, max_length=200)),
            ("details", experiments.models.fields.ExactJSONField(default=dict)),
            ("address", models.CharField(blank=True, max_length=64)),
            ("via", models.CharField(blank=True, max_length=16)),
            (
                "by",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="audit_entries",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
            (
                "workspace",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="audit_entries",
                    to="experiments.workspace",
                ),
            ),
        ],
        options={
            "verbose_name_plural": "audit entries",
            "ordering": ["-pk"],
        },
    ),
    migrations.CreateModel(
        name="Dismissal",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("key", models.CharField(max_length=32)),
            ("at", models.DateTimeField(default=django.utils.timezone.now)),
            (
                "user",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="dismissals",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
        ],
        options={
            "ordering": ["-at"],
            "constraints": [models.UniqueConstraint(fields=("user", "key"), name="dismissal_once")],
        },
    ),
    migrations.CreateModel(
        name="ImportPiece",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("offset", models.BigIntegerField()),
            ("data", models.BinaryField()),
            (
                "history_import",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="pieces",
                    to="experiments.historyimport",
                ),
            ),
        ],
        options={
            "ordering": ["offset"],
            "constraints": [
                models.UniqueConstraint(fields=("history_import", "offset"), name="import_piece_once")
            ],
        },
    ),
    migrations.CreateModel(
        name="Pin",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("at", models.DateTimeField(default=django.utils.timezone.now)),
            (
                "experiment",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="pins",
                    to="experiments.experiment",
                ),
            ),
            (
                "user",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="pins",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
        ],
        options={
            "ordering": ["-at", "-pk"],
            "constraints": [models.UniqueConstraint(fields=("user", "experiment"), name="pin_once")],
        },
    ),
    migrations.CreateModel(
        name="Baseline",
        fields=[
            (
                "id",
                models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
            ),
            ("metric", models.CharField(max_length=100)),
            ("direction", models.CharField(max_length=8)),
            ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
            (
                "by",
                models.ForeignKey(
                    null=True,
                    on_delete=django.db.models.deletion.SET_NULL,
                    related_name="+",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
            (
                "experiment",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE, related_name="+", to="experiments.experiment"
                ),
            ),
            (
                "project",
                models.ForeignKey(
                    on_delete=django.db.models.deletion.CASCADE,
                    related_name="baselines",
                    to="experiments.project",
                ),
            ),
        ],
        options={
            "ordering": ["project", "metric"],
            "constraints": [
                models.UniqueConstraint(fields=("project", "metric", "direction"), name="baseline_once")
            ],
        },
    ),
    migrations.AddConstraint(
        model_name="revision",
        constraint=models.UniqueConstraint(fields=("experiment", "number"), name="revision_once"),
    ),
    migrations.AddIndex(
        model_name="delivery",
        index=models.Index(fields=["status", "next_at"], name="delivery_due"),
    ),
    migrations.AddIndex(
        model_name="delivery",
        index=models.Index(fields=["channel", "-id"], name="delivery_of_channel"),
    ),
    migrations.AddIndex(
        model_name="delivery",
        index=models.Index(fields=["rule", "experiment", "-id"], name="delivery_of_rule"),
    ),
    migrations.AddIndex(
        model_name="delivery",
        index=models.Index(fields=["created_at"], name="delivery_by_time"),
    ),
    migrations.AddConstraint(
        model_name="delivery",
        constraint=models.UniqueConstraint(fields=("occurrence", "rule", "channel"), name="delivery_once"),
    ),
    migrations.AddConstraint(
        model_name="schedule",
        constraint=models.CheckConstraint(
            condition=models.Q(("overlap__in", ["skip", "start"])), name="schedule_overlap"
        ),
    ),
    migrations.AddConstraint(
        model_name="suggestion",
        constraint=models.UniqueConstraint(fields=("experiment", "ordinal"), name="suggestion_once"),
    ),
    migrations.AddConstraint(
        model_name="tile",
        constraint=models.CheckConstraint(
            condition=models.Q(("kind__in", ["chart", "leaderboard", "view", "number", "capacity", "text"])),
            name="tile_kind",
        ),
    ),
    migrations.AddConstraint(
        model_name="tile",
        constraint=models.CheckConstraint(condition=models.Q(("width__in", (2, 3, 4, 6))), name="tile_width"),
    ),
    migrations.AddConstraint(
        model_name="point",
        constraint=models.UniqueConstraint(fields=("trial", "name", "step"), name="point_once"),
    ),
    migrations.AddIndex(
        model_name="metricvalue",
        index=models.Index(fields=["experiment", "name", "number", "trial"], name="metric_by_value"),
    ),
    migrations.AddConstraint(
        model_name="metricvalue",
        constraint=models.UniqueConstraint(fields=("trial", "name"), name="metric_value_once"),
    ),
    migrations.AddConstraint(
        model_name="logpiece",
        constraint=models.UniqueConstraint(fields=("trial", "offset"), name="log_piece_once"),
    ),
    migrations.AddIndex(
        model_name="fronttrial",
        index=models.Index(fields=["experiment", "left_result", "loss_1"], name="front_by_loss"),
    ),
    migrations.AddIndex(
        model_name="fronttrial",
        index=models.Index(fields=["experiment", "joined_result"], name="front_by_result"),
    ),
    migrations.AddIndex(
        model_name="event",
        index=models.Index(fields=["experiment", "-id"], name="event_of_experiment"),
    ),
    migrations.AddIndex(
        model_name="event",
        index=models.Index(
            condition=models.Q(("by__isnull", False)), fields=["experiment", "-id"], name="event_by_people"
        ),
    ),
    migrations.AddIndex(
        model_name="event",
        index=models.Index(fields=["experiment", "verb", "-id"], name="event_by_verb"),
    ),
    migrations.AddIndex(
        model_name="event",
        index=models.Index(condition=models.Q(("by__isnull", False)), fields=["by"], name="event_by_person"),
    ),
    migrations.AddIndex(
        model_name="trialparameter",
        index=models.Index(
            fields=["experiment", "name", "number", "text", "trial"], name="parameter_by_value"
        ),
    ),
    migrations.AddConstraint(
        model_name="trialparameter",
        constraint=models.UniqueConstraint(fields=("trial", "name"), name="parameter_once"),
    ),
    migrations.AddIndex(
        model_name="usage",
        index=models.Index(fields=["at"], name="usage_by_time"),
    ),
    migrations.AddConstraint(
        model_name="usage",
        constraint=models.UniqueConstraint(fields=("worker", "at"), name="usage_once"),
    ),
    migrations.AddIndex(
        model_name="trial",
        index=models.Index(fields=["experiment", "state", "number"], name="trial_by_state"),
    ),
    migrations.AddIndex(
        model_name="trial",
        index=models.Index(fields=["experiment", "duration_s"], name="trial_by_duration"),
    ),
    migrations.AddIndex(
        model_name="trial",
        index=models.Index(fields=["experiment", "started_at"], name="trial_by_start"),
    ),
    migrations.AddIndex(
        model_name="trial",
        index=models.Index(fields=["experiment", "ended_at"], name="trial_by_end"),
    ),
    migrations.AddIndex(
        model_name="trial",
        index=models.Index(fields=["experiment", "settled_rank"], name="trial_by_rank"),
    ),
    migrations.AddIndex(
        model_name="trial",
        index=models.Index(fields=["experiment", "values_digest"], name="trial_by_values"),
    ),
    migrations.AddIndex(
        model_name="trial",
        index=models.Index(fields=["worker", "state"], name="trial_held_by_worker"),
    ),
    migrations.AddIndex(
        model_name="trial",
        index=models.Index(fields=["worker", "ended_at"], name="trial_ended_on_worker"),
    ),
    migrations.AddIndex(
        model_name="trial",
        index=models.Index(fields=["experiment", "result", "value", "number"], name="trial_by_result"),
    ),
    migrations.AddIndex(
        model_name="trial",
        index=models.Index(
            condition=models.Q(("rerun_of__isnull", False)), fields=["rerun_of"], name="trial_by_rerun"
        ),
    ),
    migrations.AddIndex(
        model_name="trial",
        index=models.Index(
            condition=models.Q(("ended_at__isnull", False), ("folder_bytes", None)),
            fields=["worker"],
            name="trial_to_measure",
        ),
    ),
    migrations.AddConstraint(
        model_name="trial",
        constraint=models.UniqueConstraint(fields=("experiment", "number"), name="trial_number_once"),
    ),
    migrations.AddConstraint(
        model_name="trial",
        constraint=models.UniqueConstraint(fields=("experiment", "ordinal"), name="trial_ordinal_once"),
    ),
    migrations.AddConstraint(
        model_name="trial",
        constraint=models.CheckConstraint(
            condition=models.Q(
                (
                    "state__in",
                    ["waiting", "running", "stopping", "succeeded", "early_stopped", "stopped", "failed"],
                )
            ),
            name="trial_state",
        ),
    ),
    migrations.AddIndex(
        model_name="artifact",
        index=models.Index(fields=["experiment", "trial", "name"], name="artifact_by_experiment"),
    ),
    migrations.AddIndex(
        model_name="artifact",
        index=models.Index(
            condition=models.Q(("keeping", "waiting")), fields=["worker"], name="artifact_to_store"
        ),
    ),
    migrations.AddIndex(
        model_name="artifact",
        index=models.Index(fields=["experiment", "name", "trial"], name="artifact_by_name"),
    ),
    migrations.AddConstraint(
        model_name="artifact",
        constraint=models.UniqueConstraint(fields=("trial", "name"), name="artifact_once"),
    ),
    migrations.AddConstraint(
        model_name="usagelimit",
        constraint=models.UniqueConstraint(
            condition=models.Q(("person__isnull", False)),
            fields=("workspace", "person"),
            name="limit_of_person_once",
        ),
    ),
    migrations.AddConstraint(
        model_name="usagelimit",
        constraint=models.UniqueConstraint(
            condition=models.Q(("person", None)), fields=("workspace",), name="limit_of_workspace_once"
        ),
    ),
    migrations.AddConstraint(
        model_name="token",
        constraint=models.CheckConstraint(
            condition=models.Q(("role__in", ["viewer", "operator", "owner"])), name="token_role"
        ),
    ),
    migrations.AddIndex(
        model_name="slotusage",
        index=models.Index(fields=["is_day", "at"], name="slot_usage_by_time"),
    ),
    migrations.AddConstraint(
        model_name="slotusage",
        constraint=models.UniqueConstraint(
            fields=("workspace", "is_day", "at", "person", "project", "queue"), name="slot_usage_once"
        ),
    ),
    migrations.AddConstraint(
        model_name="sharelink",
        constraint=models.CheckConstraint(
            condition=models.Q(("dashboard", None), ("experiment", None), _connector="XOR"),
            name="share_link_shows_one_view",
        ),
    ),
    migrations.AddIndex(
        model_name="seencause",
        index=models.Index(fields=["last_at"], name="cause_by_time"),
    ),
    migrations.AddConstraint(
        model_name="seencause",
        constraint=models.UniqueConstraint(
            condition=models.Q(("private_to", None)),
            fields=("workspace", "key"),
            name="cause_of_workspace_once",
        ),
    ),
    migrations.AddConstraint(
        model_name="seencause",
        constraint=models.UniqueConstraint(
            condition=models.Q(("private_to__isnull", False)),
            fields=("workspace", "key", "private_to"),
            name="cause_of_person_once",
        ),
    ),
    migrations.AddConstraint(
        model_name="savedview",
        constraint=models.UniqueConstraint(
            condition=models.Q(("experiment", None)),
            fields=("workspace", "owner", "name"),
            name="view_of_experiments_once",
        ),
    ),
    migrations.AddConstraint(
        model_name="savedview",
        constraint=models.UniqueConstraint(
            condition=models.Q(("experiment__isnull", False)),
            fields=("experiment", "owner", "name"),
            name="view_of_trials_once",
        ),
    ),
    migrations.AddIndex(
        model_name="rule",
        index=models.Index(fields=["kind", "workspace"], name="rule_by_kind"),
    ),
    migrations.AddConstraint(
        model_name="retentionrule",
        constraint=models.UniqueConstraint(
            condition=models.Q(("workspace__isnull", False)),
            fields=("workspace", "part"),
            name="retention_of_workspace_once",
        ),
    ),
    migrations.AddConstraint(
        model_name="retentionrule",
        constraint=models.UniqueConstraint(
            condition=models.Q(("workspace", None)), fields=("part",), name="retention_default_once"
        ),
    ),
    migrations.AddConstraint(
        model_name="project",
        constraint=models.UniqueConstraint(fields=("workspace", "name"), name="project_name_once"),
    ),
    migrations.AddIndex(
        model_name="occurrence",
        index=models.Index(
            condition=models.Q(("expanded_at", None)), fields=["id"], name="occurrence_to_expand"
        ),
    ),
    migrations.AddIndex(
        model_name="occurrence",
        index=models.Index(fields=["workspace", "at"], name="occurrence_of_workspace"),
    ),
    migrations.AddIndex(
        model_name="occurrence",
        index=models.Index(fields=["at"], name="occurrence_by_time"),
    ),
    migrations.AddConstraint(
        model_name="occurrence",
        constraint=models.UniqueConstraint(
            condition=models.Q(("key", ""), _negated=True),
            fields=("experiment", "kind", "key"),
            name="occurrence_once",
        ),
    ),
    migrations.AddIndex(
        model_name="model",
        index=models.Index(fields=["workspace", "-created_at"], name="model_by_created"),
    ),
    migrations.AddConstraint(
        model_name="member",
        constraint=models.UniqueConstraint(fields=("workspace", "user"), name="member_once"),
    ),
    migrations.AddConstraint(
        model_name="member",
        constraint=models.CheckConstraint(
            condition=models.Q(("role__in", ["viewer", "operator", "owner"])), name="member_role"
        ),
    ),
    migrations.AddIndex(
        model_name="historyimport",
        index=models.Index(
            condition=models.Q(("state__in", ("reading", "importing"))), fields=["id"], name="import_to_do"
        ),
    ),
    migrations.AddIndex(
        model_name="experiment",
        index=models.Index(fields=["workspace", "state"], name="experiment_by_state"),
    ),
    migrations.AddIndex(
        model_name="experiment",
        index=models.Index(fields=["workspace", "-created_at"], name="experiment_by_created"),
    ),
    migrations.AddIndex(
        model_name="experiment",
        index=models.Index(fields=["queue", "state", "position"], name="experiment_in_queue"),
    ),
    migrations.AddConstraint(
        model_name="experiment",
        constraint=models.CheckConstraint(
            condition=models.Q(
                (
                    "state__in",
                    [
                        "draft",
                        "pending",
                        "running",
                        "paused",
                        "stopping",
                        "stopped",
                        "completed",
                        "failed",
                        "published",
                    ],
                )
            ),
            name="experiment_state",
        ),
    ),
    migrations.AddConstraint(
        model_name="channel",
        constraint=models.UniqueConstraint(
            condition=models.Q(("owner__isnull", False)),
            fields=("workspace", "owner", "name"),
            name="channel_of_person_once",
        ),
    ),
    migrations.AddConstraint(
        model_name="channel",
        constraint=models.UniqueConstraint(
            condition=models.Q(("owner", None)),
            fields=("workspace", "name"),
            name="channel_of_workspace_once",
        ),
    ),
    migrations.AddIndex(
        model_name="auditentry",
        index=models.Index(fields=["workspace", "-id"], name="audit_of_workspace"),
    ),
    migrations.AddIndex(
        model_name="auditentry",
        index=models.Index(fields=["by", "-id"], name="audit_by_person"),
    ),
    migrations.AddIndex(
        model_name="auditentry",
        index=models.Index(fields=["kind", "-id"], name="audit_by_kind"),
    ),
    migrations.AddIndex(
        model_name="auditentry",
        index=models.Index(fields=["at"], name="audit_by_time"),
    ),
]


class CreateTables(migrations.SeparateDatabaseAndState):
    """Create the tables of all models of the state at once. As operations of their own, each would have Django build
    the classes of all models anew: ten seconds."""

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        state.__dict__.pop("apps", None)  # the classes, which are built again when they are next asked for
        super().state_forwards(app_label, state)

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        for model in to_state.apps.get_app_config(app_label).get_models():
            schema_editor.create_model(model)


class Migration(migrations.Migration):
    initial = True

    replaces = [
        ("experiments", "0001_initial"),
        ("experiments", "0002_replica"),
        ("experiments", "0003_token"),
        ("experiments", "0004_queues"),
        ("experiments", "0005_setup"),
        ("experiments", "0006_openid"),
        ("experiments", "0007_judged"),
        ("experiments", "0008_artifacts"),
        ("experiments", "0009_nested_columns"),
        ("experiments", "0010_gpus"),
        ("experiments", "0011_compute"),
        ("experiments", "0012_warm_results"),
        ("experiments", "0013_usage"),
        ("experiments", "0014_limits"),
        ("experiments", "0015_no_claim"),
        ("experiments", "0016_final_metrics"),
        ("experiments", "0017_answer_checks"),
        ("experiments", "0018_results"),
        ("experiments", "0019_interrupted"),
        ("experiments", "0020_metric_values"),
        ("experiments", "0021_fill_metric_values"),
        ("experiments", "0022_early_stopping_names"),
        ("experiments", "0023_former_experiments"),
        ("experiments", "0024_wording"),
        ("experiments", "0025_progress"),
        ("experiments", "0026_reruns_up_to"),
        ("experiments", "0027_importance"),
        ("experiments", "0028_saved_views"),
        ("experiments", "0029_notes"),
        ("experiments", "0030_notifications"),
        ("experiments", "0031_rule_role_limit"),
        ("experiments", "0032_rerun_index"),
        ("experiments", "0033_slot_usage"),
        ("experiments", "0034_baseline"),
        ("experiments", "0035_python_check"),
        ("experiments", "0050_worker_draining_until"),
        ("experiments", "0055_audit"),
        ("experiments", "0060_pareto_front"),
        ("experiments", "0061_retention"),
        ("experiments", "0062_history_import"),
        ("experiments", "0063_dashboards"),
        ("experiments", "0064_worker_boundary"),
        ("experiments", "0065_sessions_second_factor"),
        ("experiments", "0066_importance_by_objective"),
        ("experiments", "0067_start_window"),
        ("experiments", "0068_user_time_zone"),
        ("experiments", "0069_schedule"),
        ("experiments", "0070_dismissal"),
        ("experiments", "0071_comment_edited"),
        ("experiments", "0072_pin"),
        ("experiments", "0073_exhausted"),
        ("experiments", "0074_names_in_admin"),
        ("experiments", "0075_point_elapsed"),
        ("experiments", "0076_labels"),
        ("experiments", "0077_quiet_hours"),
        ("experiments", "0078_rule_selection"),
        ("experiments", "0079_fill_seen_causes"),
        ("experiments", "0080_drop_covered_indexes"),
    ]

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [
        CreateTables(state_operations=STATE),
    ]
