"""Map a user's groups at the OpenID provider to roles, at each sign-in."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from console.auth.provider import ADMINISTRATOR, Provider
from experiments.models import Member, Refused, Role, User, Workspace, audit
from experiments.web.workspace.members import add_member, change_role, remove_member

logger = logging.getLogger(__name__)


def apply(provider: Provider, user: User, claims: Mapping[str, Any]) -> None:
    """Give a user the highest role of their groups in each workspace listed in TRIALDECK_OIDC_GROUPS, and remove their
    role if they are in none of its groups. Other workspaces are not changed, nor is anything if the provider sends no
    groups. The last owner and the last administrator keep their roles."""
    if not provider.groups:
        return
    sent = claims.get(provider.groups_claim)
    if not isinstance(sent, list):
        logger.warning("%s sent no %s for %s: roles stay", provider.name, provider.groups_claim, user)
        return
    own = {str(group).removeprefix("/") for group in sent}
    role_names: dict[str, list[str]] = {}
    for group, slug, role in provider.groups:
        role_names.setdefault(slug, []).extend([role] if group.removeprefix("/") in own else [])
    if "" in role_names:
        _set_administrator(user, is_one=ADMINISTRATOR in role_names.pop(""))
    for slug, roles in role_names.items():
        workspace = Workspace.objects.filter(slug=slug).first()
        if workspace is None:
            logger.warning("TRIALDECK_OIDC_GROUPS names the workspace %s, which does not exist", slug)
            continue
        try:
            _set_role(
                workspace, user, max((Role(role) for role in roles), key=lambda role: role.rank, default=None)
            )
        except Refused as refusal:
            logger.warning("Role of %s in %s stays: %s", user, slug, refusal)


def _set_role(workspace: Workspace, user: User, role: Role | None) -> None:
    is_member = Member.objects.filter(workspace=workspace, user=user).exists()
    if role is None:
        if is_member:
            remove_member(workspace, user)
    elif is_member:
        change_role(workspace, user, role)
    else:
        add_member(workspace, user, role)


def _set_administrator(user: User, *, is_one: bool) -> None:
    if user.is_superuser == is_one:
        return
    with transaction.atomic():
        other_administrators = (
            User.objects.select_for_update().filter(is_superuser=True, is_active=True).exclude(pk=user.pk)
        )
        if not is_one and not other_administrators:
            logger.warning("%s stays an administrator: there is no other", user)
            return
        user.is_superuser = user.is_staff = is_one
        user.save(update_fields=["is_superuser", "is_staff"])
        audit.record(
            "admin_change", subject=f"user {user}", administrator=(not is_one, is_one), by_groups="OpenID"
        )
