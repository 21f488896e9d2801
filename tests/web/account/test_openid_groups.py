"""Groups at the OpenID provider become roles."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from console.auth import groups
from console.auth.provider import from_environment
from experiments.models import AuditEntry, Workspace

BASE = {
    "TRIALDECK_OIDC_ISSUER": "https://login.example.org",
    "TRIALDECK_OIDC_CLIENT_ID": "id",
    "TRIALDECK_OIDC_CLIENT_SECRET": "s",
}


@pytest.fixture
def provider():
    mapping = "ml=lab:operator, leads=lab:owner, /it=administrator, ml=gone:viewer"
    return from_environment({**BASE, "TRIALDECK_OIDC_GROUPS": mapping})


def test_groups_give_the_highest_role_and_take_it(provider, lab, dave):
    """TD-Z5."""
    for sent, role in (
        (["ml"], "operator"),
        (["ml", "leads"], "owner"),
        (["/ml"], "operator"),
        (["else"], None),
    ):
        groups.apply(provider, dave, {"groups": sent})
        assert lab.role_of(dave) == role
    verbs = AuditEntry.objects.filter(subject="dave").order_by("pk").values_list("verb", flat=True)
    assert list(verbs) == ["member_add", "member_role", "member_role", "member_remove"]


def test_other_workspaces_and_missing_groups_change_nothing(provider, lab, bob):
    """TD-Z5."""
    other = Workspace.open("other", owner=bob)
    groups.apply(provider, bob, {"groups": []})
    assert other.role_of(bob) == "owner" and lab.role_of(bob) is None
    lab.admit(bob, "viewer")
    groups.apply(provider, bob, {})
    assert lab.role_of(bob) == "viewer"


def test_the_last_owner_and_the_last_administrator_stay(provider, lab, alice, root):
    """TD-Z5."""
    groups.apply(provider, alice, {"groups": []})
    assert lab.role_of(alice) == "owner"
    groups.apply(provider, root, {"groups": []})
    root.refresh_from_db()
    assert root.is_superuser


def test_a_group_makes_administrators(provider, lab, root, dave):
    """TD-Z5."""
    groups.apply(provider, dave, {"groups": ["it"]})
    dave.refresh_from_db()
    assert dave.is_superuser and dave.is_staff
    groups.apply(provider, dave, {"groups": []})
    dave.refresh_from_db()
    assert not dave.is_superuser and not dave.is_staff


@pytest.mark.parametrize(
    "text", ["ml", "ml=lab", "ml=lab:king", "=lab:owner", "ml=:owner", "ml=lab:administrator"]
)
def test_a_wrong_mapping_is_refused(text):
    """TD-Z5."""
    with pytest.raises(ImproperlyConfigured, match="TRIALDECK_OIDC_GROUPS"):
        from_environment({**BASE, "TRIALDECK_OIDC_GROUPS": text})
