"""`trialdeck token`: create, list and revoke API tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from experiments import database_clock
from experiments.management.arguments import check_database, refuse, whole_number

if TYPE_CHECKING:
    from experiments.models import User, Workspace


class Command(BaseCommand):
    help = "Manage API tokens: create NAME, list, revoke TOKEN."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        create = verbs.add_parser("create", help="create a token and print it once on standard output")
        create.add_argument("name", help="what the token is for")
        create.add_argument("--workspace", required=True, help="slug of the workspace that it can access")
        create.add_argument(
            "--role", required=True, help="viewer, operator or owner: its maximum permissions"
        )
        create.add_argument(
            "--user", default="", help="user whom it acts for (default: the only owner, or administrator)"
        )
        create.add_argument("--days", default="", help="days until it expires (default: no expiry)")
        list_ = verbs.add_parser("list", help="list all tokens, without their secrets")
        list_.add_argument("--workspace", default="", help="only tokens of this workspace")
        revoke = verbs.add_parser("revoke", help="revoke a token")
        revoke.add_argument("which", help="number in the list, or name if it is unique")

    def handle(self, *, verb: str, **options: str) -> None:
        check_database()
        from experiments.models import audit

        with audit.origin(via="command line"):
            self.run_verb(verb, options)

    def run_verb(self, verb: str, options: dict[str, str]) -> None:
        if verb == "create":
            self.create(**{name: options[name] for name in ("name", "workspace", "role", "user", "days")})
        elif verb == "list":
            self.list(workspace=options["workspace"])
        else:
            self.revoke(which=options["which"])

    def create(self, *, name: str, workspace: str, role: str, user: str, days: str) -> None:
        from experiments.models import Role, Token, Workspace

        target = Workspace.objects.filter(slug=workspace).first()
        if target is None:
            slugs = ", ".join(Workspace.objects.values_list("slug", flat=True)) or "none yet"
            refuse(f"There is no workspace {workspace!r}. Workspaces: {slugs}.")
        if role not in Role.values:
            refuse(f"--role must be one of {', '.join(Role.values)}, not {role!r}.")
        name = " ".join(name.split())
        if not 0 < len(name) <= 100:
            refuse("The name of a token must have 1 to 100 characters.")
        person = _find_user(user, target)
        own_role = target.role_of(person)
        if own_role is None:
            refuse(f"{person} is not a member of {target}.")
        if own_role.rank < Role(role).rank:
            refuse(f"{person} is {own_role.value} in {target}; the token cannot have the role {role}.")
        most = settings.TOKEN_DAYS
        if most and not (days and whole_number(days, name="--days", low=1, high=3650) <= most):
            refuse(f"Tokens expire after at most {most} days here (TRIALDECK_TOKEN_DAYS): add --days.")
        valid_for = timedelta(days=whole_number(days, name="--days", low=1, high=3650)) if days else None
        token, secret = Token.make(name, user=person, workspace=target, role=role, valid_for=valid_for)
        self.stdout.write(secret)
        expiry = f"expires {token.expires_at:%Y-%m-%d}" if token.expires_at else "no expiry"
        self.stderr.write(
            f"Token {token.pk}: acts for {person} in {target} as {role}, {expiry}. The token is shown only once."
        )

    def list(self, *, workspace: str) -> None:
        from experiments.models import Token

        tokens = Token.objects.select_related("user", "workspace").order_by("pk")
        if workspace:
            tokens = tokens.filter(workspace__slug=workspace)
        now = database_clock.now()
        for token in tokens:
            slug = token.workspace.slug if token.workspace else "all"
            used = f"used {token.last_used_at:%Y-%m-%d %H:%M}" if token.last_used_at else "never used"
            state = "revoked" if token.revoked_at else "expired" if token.is_expired(now) else "active"
            columns = (
                token.pk,
                token.hint + "…",
                token.user.username,
                slug,
                token.role,
                state,
                used,
                token.name,
            )
            self.stdout.write("  ".join(map(str, columns)))

    def revoke(self, *, which: str) -> None:
        from experiments.models import Token

        matches = Token.objects.filter(pk=int(which)) if which.isdecimal() and len(which) < 16 else None
        if not matches:
            matches = Token.objects.working(database_clock.now()).filter(name=which)
        if not matches:
            refuse(f"There is no token {which!r}. See: trialdeck token list")
        if len(matches) > 1:
            refuse(f"{len(matches)} tokens have the name {which!r}. Use the number: trialdeck token list")
        is_new = matches[0].revoke()
        self.stdout.write(f"{matches[0]} {'revoked' if is_new else 'was revoked before'}.")


def _find_user(username: str, workspace: Workspace) -> User:
    """Return the user with this name; without a name the only owner of the workspace, or the only administrator."""
    from experiments.models import Role, User

    if username:
        person = User.objects.filter(username=username, is_active=True).first()
        return person or refuse(f"There is no active account {username!r}.")
    owners = User.objects.filter(
        is_active=True, memberships__workspace=workspace, memberships__role=Role.OWNER
    )
    candidates = list(owners[:2]) or list(User.objects.filter(is_active=True, is_superuser=True)[:2])
    return (
        candidates[0]
        if len(candidates) == 1
        else refuse("Specify the user whom the token acts for: --user USERNAME.")
    )
