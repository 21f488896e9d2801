"""TD-D5: notifications by API."""

from __future__ import annotations

from django.utils import timezone

from experiments.models import Channel, Delivery, Rule, SavedView
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


def test_rules_select_by_view_filter_pins_and_outcome(api, bob, carol, lab):
    """TD-D5: what a page can select, a program can."""
    caller = api(bob)
    channel = caller.post(f"{BASE}/channels", HOOK).json()
    view = SavedView.create(lab, by=bob, name="CVPR", query="filter=tag:cvpr")
    hers = SavedView.create(lab, by=carol, name="hers", query="filter=tag:cvpr")
    common = {"event": "ended", "channels": [channel["id"]]}
    body = {**common, "scope": "view", "view": view.pk, "endings": ["failed"]}
    rule = caller.post(f"{BASE}/rules", body).json()
    assert (rule["view"], rule["endings"]) == (view.pk, ["failed"])
    path = f"{BASE}/rules/{rule['id']}"
    assert caller.patch(path, {"endings": ["stopped", "failed"]}).json()["endings"] == ["stopped", "failed"]
    assert caller.patch(path, {"endings": []}).json()["endings"] == []
    for scope in ({"scope": "pinned"}, {"scope": "followed"}, {"scope": "filter", "filter": "creator:me"}):
        assert caller.post(f"{BASE}/rules", {**common, **scope}).json().items() >= scope.items()
    for wrong, name in (
        ({"scope": "view", "view": hers.pk}, "view"),
        ({"scope": "filter", "filter": "tag:("}, "filter"),
        ({"scope": "filter"}, "filter"),
    ):
        refused = caller.post(f"{BASE}/rules", {**common, **wrong})
        assert refused.status_code == 422 and refused.json()["fields"].keys() == {name}
    view.delete()
    assert caller.get(path).json()["view"] is None
    assert caller.patch(path, {"is_on": False}).json()["is_on"] is False


def test_quiet_hours_by_api(api, bob):
    """TD-D5: read, set and turned off, with the time zone of the account."""
    bob.time_zone = "Asia/Tokyo"
    bob.save(update_fields=["time_zone"])
    caller, path = api(bob, workspace=None), "/me/quiet-hours"
    assert caller.get(path).json()["is_on"] is False
    hours = caller.patch(path, {"start": "00:00", "end": "23:59", "has_weekends": True}).json()
    until = hours.pop("quiet_until")
    assert hours == {
        "is_on": True, "start": "00:00", "end": "23:59", "has_weekends": True, "zone": "Asia/Tokyo"
    }  # fmt: skip
    assert until is None or until.endswith(("14:59:00Z", "15:00:00Z")), "midnight in Tokyo"
    assert caller.patch(path, {"start": "24:00", "end": "07:00"}).status_code == 422
    same = caller.patch(path, {"start": "07:00", "end": "07:00"}).json()
    assert same["fields"] == {"end": ["Enter a time that differs from the start."]}
    unknown = caller.patch(path, {"start": "22:00", "end": "07:00", "zone": "Mars"}).json()
    assert unknown["fields"].keys() == {"zone"}
    assert api(bob).patch(path, {"start": "22:00", "end": "07:00"}).status_code == 403
    assert caller.patch(path, {"end": "07:00"}).json()["start"] == "00:00", "what is omitted stays"
    assert caller.patch(path, {"is_on": False}).json()["start"] is None
    bob.refresh_from_db()
    assert bob.quiet_hours == ""
