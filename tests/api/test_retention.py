"""Retention rules by API."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from experiments import database_clock
from experiments.models import Experiment, RetentionRule, Trial, User
from experiments.scheduler.retention_rules import preview_all
from tests.api.caller import Caller
from tests.people import end_all

RULE = {"after_days": 30, "states": ["succeeded"], "keep_best": 0}
PATH = "/workspaces/lab/retention"


def test_a_rule_is_set_seen_switched_on_and_deleted(
    api: Callable[..., Caller], alice: User, running: Callable[..., Experiment]
) -> None:
    """TD-S3: nothing is removed before the preview of what goes was seen."""
    experiment = end_all(running(max_trials=1))
    Trial.objects.update(ended_at=database_clock.now() - timedelta(days=40), log_bytes=10)
    caller = api(alice)
    saved = caller.post(f"{PATH}/log", RULE).json()
    assert {name: saved[name] for name in RULE} == RULE
    assert (saved["is_on"], saved["preview"]["at"], saved["by"]) == (False, None, "alice")
    refused = caller.post(f"{PATH}/log/on", {"seen": ""})
    assert refused.status_code == 409 and "Check it" in refused.json()["detail"]
    preview_all()
    (rule,) = caller.get(PATH).json()["rules"]
    assert rule["preview"]["trials"] == experiment.succeeded_count == 1
    assert caller.post(f"{PATH}/log/on", {"seen": "1999-01-01"}).status_code == 409
    on = caller.post(f"{PATH}/log/on", {"seen": rule["preview"]["at"]}).json()
    assert (on["changed"], on["rule"]["is_on"]) == (True, True)
    assert caller.post(f"{PATH}/log/on", {"seen": rule["preview"]["at"]}).json()["changed"] is False
    assert caller.post(f"{PATH}/log/off").json()["rule"]["is_on"] is False
    assert caller.delete(f"{PATH}/log").status_code == 204
    assert caller.delete(f"{PATH}/log").status_code == 404
    assert caller.get(PATH).json() == {"rules": [], "defaults": []}


def test_an_administrator_sets_defaults_which_owners_see(
    api: Callable[..., Caller], alice: User, root: User
) -> None:
    """TD-S3."""
    administrator = api(root, workspace=None)
    assert administrator.post("/retention/folder", RULE).status_code == 200
    assert [rule["part"] for rule in administrator.get("/retention").json()["rules"]] == ["folder"]
    seen = api(alice).get(PATH).json()
    assert (seen["rules"], [rule["part"] for rule in seen["defaults"]]) == ([], ["folder"])
    assert administrator.post("/retention/folder/off").json()["changed"] is False
    assert administrator.delete("/retention/folder").status_code == 204


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"after_days": 0}, "after_days"),
        ({"after_days": 10**9}, "after_days"),
        ({"after_days": "soon"}, "after_days"),
        ({"states": []}, "states"),
        ({"states": ["running"]}, "states"),
        ({"keep_best": -1}, "keep_best"),
    ],
)
def test_a_wrong_rule_names_its_field(
    api: Callable[..., Caller], alice: User, change: dict[str, object], field: str
) -> None:
    answer = api(alice).post(f"{PATH}/log", {**RULE, **change})
    assert answer.status_code == 422
    assert field in answer.json()["fields"]
    assert not RetentionRule.objects.exists()


def test_a_part_that_is_none_does_not_exist(api: Callable[..., Caller], alice: User) -> None:
    assert api(alice).post(f"{PATH}/everything", RULE).status_code == 404
