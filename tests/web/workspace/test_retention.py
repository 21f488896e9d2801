"""Retention in the browser, in the API and in the question of a rerun."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from experiments import database_clock
from experiments.models import LogPiece, Outcome, Part, RetentionRule, Trial
from experiments.models.workspace.retention import mark_removed
from experiments.scheduler import retention_rules
from tests.people import as_

pytestmark = pytest.mark.once

RULE = {"log-after_days": "30", "log-states": ["failed"], "log-keep_best": "0"}


@pytest.fixture
def failed(running) -> Trial:
    """A trial that failed 40 days ago; its experiment goes on."""
    trial = running(taken=1).trials.get(number=1)
    LogPiece.keep([LogPiece(trial=trial, offset=0, size=5, data=b"hello")])
    trial.settle(Outcome(failure="exit_code", detail="boom", exit_code=1))
    ended_at = database_clock.now() - timedelta(days=40)
    Trial.objects.filter(pk=trial.pk).update(ended_at=ended_at, log_bytes=5)
    return Trial.objects.get(pk=trial.pk)


@pytest.mark.parametrize("scope", ["workspace", "installation"])
def test_a_rule_is_previewed_and_then_switched_on(failed, alice, root, scope):
    """TD-S3: for owners of the workspace, and for administrators."""
    if scope == "workspace":
        client, page, change = (
            as_(alice),
            reverse("workspace-retention", args=["lab"]),
            "workspace-retention-change",
        )
        args = ["lab", "log"]
    else:
        client, page, change, args = as_(root), reverse("retention"), "retention-change", ["log"]
    assert client.post(reverse(change, args=[*args, "save"]), RULE).status_code == 302
    html = client.get(page).content.decode()
    assert "computing the preview" in html and "Turn on" not in html and "every 2s" in html
    retention_rules.preview_all()
    html = client.get(page).content.decode()
    assert "logs of 1 trial" in html and "5 B" in html and "#1</a>" in html and "every 2s" not in html
    rule = RetentionRule.objects.get()
    early = client.post(reverse(change, args=[*args, "on"]), {"seen": "2026-01-01T00:00:00+00:00"})
    assert early.status_code == 409 and "preview of the rule for" in early.content.decode()
    assert client.post(reverse(change, args=[*args, "on"]), {"seen": rule.preview["at"]}).status_code == 302
    retention_rules.apply_all()
    assert not LogPiece.objects.exists()
    assert client.post(reverse(change, args=[*args, "off"])).status_code == 302
    rule.refresh_from_db()
    assert not rule.is_on
    assert client.post(reverse(change, args=[*args, "delete"])).status_code == 302
    assert not RetentionRule.objects.exists()


def test_a_form_that_is_not_right_says_why(alice, lab):
    """TD-S3: nothing is saved."""
    url = reverse("workspace-retention-change", args=["lab", "log", "save"])
    answer = as_(alice).post(url, {"log-after_days": "soon", "log-keep_best": "-1"})
    html = answer.content.decode()
    assert answer.status_code == 422 and not RetentionRule.objects.exists()
    assert "Select at least one state." in html and "Enter a whole number." in html
    assert as_(alice).post(url.replace("/log/", "/moon/"), RULE).status_code == 404
    assert as_(alice).post(url.replace("/save/", "/fly/"), RULE).status_code == 404


def test_a_trial_says_what_is_gone(failed, alice, bob, carol):
    """TD-S3: on its page, in the API, and where a rerun is asked for."""
    where = ["lab", failed.experiment.public_id, failed.number]
    LogPiece.objects.all().delete()
    with failed.experiment.locked():
        for part in Part:
            mark_removed(failed, part, database_clock.now())
    html = as_(carol).get(reverse("trial", args=where)).content.decode()
    assert "Removed by retention" in html and "Log removed by retention" in html
    assert "Intermediate metrics removed by retention" in html and "Folder removed by retention" in html
    assert "Log removed by retention" in as_(carol).get(reverse("trial-log", args=where)).content.decode()
    body = as_(carol).get(f"/api/v1/experiments/{failed.experiment.public_id}/trials/1").json()
    assert set(body["removed"]) == {"folder", "log", "points", "events"} and body["log_bytes"] == 0
    html = as_(bob).get(reverse("trial-rerun", args=where)).content.decode()
    assert "Retention has removed the folder of #1" in html


def test_the_page_has_a_fixed_number_of_queries(failed, alice, lab):
    """TD-S3: however many rules and trials."""
    client, page = as_(alice), reverse("workspace-retention", args=["lab"])
    client.get(page)

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            client.get(page)
        return len(captured)

    RetentionRule.put(lab, Part.LOG, by=alice, after_days=30, states=["failed"], keep_best=0)
    retention_rules.preview_all()
    few = queries()
    for part in Part:
        RetentionRule.put(lab, part, by=alice, after_days=1, states=["failed"], keep_best=0)
        RetentionRule.put(None, part, by=alice, after_days=1, states=["failed"], keep_best=0)
    retention_rules.preview_all()
    assert queries() == few
