"""TD-D5: notifications by API."""

from __future__ import annotations

from django.utils import timezone

from experiments.models import Channel, Delivery, Rule
from experiments.scheduler.notifications import fan_out
from tests.people import end_all

BASE = "/workspaces/lab/notifications"
HOOK = {"kind": "webhook", "name": "pager", "address": "https://example.org/hooks/secret-path"}


def test_rules_and_channels_are_made_read_changed_and_deleted(api, bob):
    """TD-D5: the secret is in the response that creates the channel, and nowhere else."""
    caller = api(bob)
    channel = caller.post(f"{BASE}/channels", HOOK).json()
    assert channel["secret"] == Channel.objects.get().secret and "secret-path" not in str(channel)
    assert "secret" not in caller.get(f"{BASE}/channels").json()["items"][0]
    rule = caller.post(f"{BASE}/rules", {"event": "new_best", "threshold": 0.1, "channels": [channel["id"]]})
    assert rule.status_code == 201
    path = f"{BASE}/rules/{rule.json()['id']}"
    changed = caller.patch(path, {"is_on": False}).json()
    assert (changed["is_on"], changed["threshold"], changed["frequency"]) == (False, 0.1, "hourly")
    assert caller.patch(path, {"threshold": -1}).json()["fields"].keys() == {"threshold"}
    assert caller.get(f"{path}/preview").json() == {"count": 0, "merged": 0, "fired_at": []}
    assert caller.post(f"{BASE}/channels/{channel['id']}/test").json()["status"] == "queued"
    assert [row["event"] for row in caller.get(f"{BASE}/deliveries").json()["items"]] == ["test"]
    assert caller.delete(path).status_code == 204 and not Rule.objects.exists()
    assert caller.delete(f"{BASE}/channels/{channel['id']}").status_code == 204


def test_wrong_rules_are_refused(api, bob, carol, lab):
    hers, _ = Channel.create(lab, owner=carol, kind="email", name="mail")
    caller = api(bob)
    answer = caller.post(f"{BASE}/rules", {"event": "ended", "channels": [hers.pk]})
    assert answer.status_code == 422 and answer.json()["fields"] == {
        "channels": [f"Unknown channels: {hers.pk}."]
    }
    private = {**HOOK, "address": "http://user:x@example.org/"}
    assert caller.post(f"{BASE}/channels", private).json()["fields"].keys() == {"address"}
    keyed = caller.post(f"{BASE}/channels", HOOK, Idempotency_Key="k")
    assert keyed.status_code == 400 and Channel.objects.count() == 1, "its secret would be stored"


def test_a_token_of_a_lesser_role_learns_no_more_by_a_rule(api, alice, bob, running):
    """TD-D5: what alice's token of a viewer may not see is not sent, although she may."""
    caller = api(alice, role="viewer")
    channel = caller.post(f"{BASE}/channels", HOOK).json()
    caller.post(f"{BASE}/rules", {"event": "ended", "channels": [channel["id"]], "frequency": "always"})
    theirs = running("theirs", max_trials=1)
    type(theirs).objects.filter(pk=theirs.pk).update(creator=bob, visibility="private")
    end_all(theirs)
    end_all(running("open", max_trials=1))
    fan_out.expand(timezone.now())
    assert list(Delivery.objects.values_list("subject", flat=True)) == ["open: completed"]
