"""`trialdeck token`: makes, lists and revokes tokens of the API."""

from datetime import timedelta

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from experiments.management.arguments import check_database, refuse, whole_number


class Command(BaseCommand):
    help = "Tokens of the API: create NAME, list, revoke WHICH."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        create = verbs.add_parser("create", help="makes a token and prints it, once, on standard output")
        create.add_argument("name", help="what it is for")
        create.add_argument("--workspace", required=True, help="the one that it opens, by its address")
        create.add_argument(
            "--role", required=True, help="viewer, operator or owner: it may do no more than this"
        )
        create.add_argument(
            "--user", default="", help="for whom it acts (default: the only owner, or administrator)"
        )
        create.add_argument("--days", default="", help="until it expires (default: it does not)")
        listed = verbs.add_parser("list", help="all tokens, without their secrets")
        listed.add_argument("--workspace", default="", help="only those of one workspace")
        revoke = verbs.add_parser("revoke", help="a token opens nothing from now on")
        revoke.add_argument("which", help="its number in the list, or its name if no other has it")

    def handle(self, *, verb: str, **told: str) -> None:
        check_database()
        {"create": self.create, "list": self.list, "revoke": self.revoke}[verb](
            **{name: told[name] for name in TAKES[verb]}
        )

    def create(self, *, name: str, workspace: str, role: str, user: str, days: str) -> None:
        from experiments.models import Role, Token, Workspace

        room = Workspace.objects.filter(slug=workspace).first()
        if room is None:
            known = ", ".join(Workspace.objects.values_list("slug", flat=True)) or "none yet"
            refuse(f"There is no workspace {workspace!r}; there are: {known}.")
        if role not in Role.values:
            refuse(f"--role must be one of {', '.join(Role.values)}, not {role!r}.")
        name = " ".join(name.split())
        if not 0 < len(name) <= 100:
            refuse("Give the token a name of at most 100 characters.")
        person = _person(user, room)
        theirs = room.role_of(person)
        if theirs is None or theirs.rank < Role(role).rank:
            refuse(f"{person} is {theirs.value if theirs else 'nobody'} in {room}: choose no more than that.")
        valid_for = timedelta(days=whole_number(days, name="--days", low=1, high=3650)) if days else None
        token, secret = Token.make(name, user=person, workspace=room, role=role, valid_for=valid_for)
        self.stdout.write(secret)
        until = f"until {token.expires_at:%Y-%m-%d}" if token.expires_at else "without an end"
        self.stderr.write(
            f"Token {token.pk} acts for {person} in {room} as {role}, {until}. It is shown once."
        )

    def list(self, *, workspace: str) -> None:
        from experiments.models import Token

        tokens = Token.objects.select_related("user", "workspace").order_by("pk")
        if workspace:
            tokens = tokens.filter(workspace__slug=workspace)
        now = timezone.now()
        for one in tokens:
            room = one.workspace.slug if one.workspace else "all"
            used = f"used {one.last_used_at:%Y-%m-%d %H:%M}" if one.last_used_at else "never used"
            ended = "revoked" if one.revoked_at else "expired" if one.is_expired(now) else "works"
            line = (one.pk, one.hint + "…", one.user.username, room, one.role, ended, used, one.name)
            self.stdout.write("  ".join(map(str, line)))

    def revoke(self, *, which: str) -> None:
        from experiments.models import Token

        found = Token.objects.filter(pk=int(which)) if which.isdecimal() and len(which) < 16 else None
        if not found:
            found = Token.objects.working(timezone.now()).filter(name=which)
        if len(found) != 1:
            refuse(
                f"{len(found) or 'No'} token{'s are' if len(found) > 1 else ' is'} called {which!r}: see list."
            )
        is_new = found[0].revoke()
        self.stdout.write(f"{found[0]} {'is revoked' if is_new else 'was revoked already'}.")


TAKES = {
    "create": ("name", "workspace", "role", "user", "days"),
    "list": ("workspace",),
    "revoke": ("which",),
}


def _person(username: str, room: object) -> object:
    """Who is named; else the only one who can be meant: the workspace's owner, or the administrator."""
    from experiments.models import Role, User

    if username:
        person = User.objects.filter(username=username, is_active=True).first()
        return person or refuse(f"There is nobody called {username!r} with an active account.")
    owners = User.objects.filter(is_active=True, memberships__workspace=room, memberships__role=Role.OWNER)
    found = list(owners[:2]) or list(User.objects.filter(is_active=True, is_superuser=True)[:2])
    return found[0] if len(found) == 1 else refuse("Say for whom it acts: --user USERNAME.")
