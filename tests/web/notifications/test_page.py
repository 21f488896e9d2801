"""TD-D5: the page of notifications: rules, channels, deliveries, previews, and who sees and changes what."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from experiments.models import Channel, Delivery, DeliveryStatus, Ending, Occurrence, Outcome, Rule
from experiments.scheduler.notifications import fan_out
from tests.people import as_, end_all

PAGE = "/w/lab/notifications/"
RULE = {"kind": "ended", "endings": Ending.values, "scope": "workspace", "frequency": "always"}


@pytest.fixture
def hook(lab, bob) -> Channel:
    """A webhook of bob."""
    return Channel.create(lab, owner=bob, kind="webhook", name="pager", address="https://example.org/h")[0]


def text_of(response) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", response.content.decode()).split())


def test_a_rule_is_made_with_its_channels(lab, bob, carol, hook):
    """TD-D5: everybody who may view has rules of their own."""
    project = lab.projects.get()
    answer = as_(bob).post(
        f"{PAGE}rules/new/",
        {**RULE, "kind": "new_best", "margin": "0.01", "scope": "project", "project": project.pk, "channels": hook.pk},
    )  # fmt: skip
    assert answer.status_code == 302
    rule = Rule.objects.get()
    assert (rule.owner, rule.threshold, rule.project) == (bob, 0.01, project)
    page = text_of(as_(bob).get(PAGE))
    assert "New best by at least 0.01 project Default pager 0 times" in page
    assert "New best" not in text_of(as_(carol).get(PAGE)), "bob's is his own"
    as_(bob).post(f"{PAGE}rules/{rule.pk}/switch/", {"on": "0"})
    rule.refresh_from_db()
    assert not rule.is_on


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "Select at least one channel."),
        ({"kind": "nonsense"}, "When: Invalid choice."),
        ({"kind": "new_best", "margin": "much"}, "Enter a number."),
        ({"kind": "failure_rate", "share": "33"}, "at least: Invalid choice."),
        ({"scope": "experiment"}, "Select an experiment in this workspace."),
        (
            {"scope": "experiment", "experiment": "zzzzzzzz"},
            "No experiment zzzzzzzz that you can view exists in this workspace",
        ),
        ({"scope": "tag", "tag": " "}, "Enter a tag of at most 50 characters."),
        ({"endings": []}, "Select at least one outcome."),
        ({"scope": "view"}, "Select a saved view of the list of experiments."),
        ({"scope": "filter"}, "Enter a filter of at most 1,000 characters."),
        ({"scope": "filter", "filter": "colour:red"}, "Experiments have no field “colour”"),
    ],
)
def test_wrong_input_is_refused_field_by_field(fields, sentence, lab, bob, hook):
    channels = {"channels": hook.pk} if fields else {}
    answer = as_(bob).post(f"{PAGE}rules/new/", {**RULE, **channels, **fields})
    assert answer.status_code == 422, answer
    assert sentence in text_of(answer), text_of(answer)[400:1200]
    assert not Rule.objects.exists()


def test_a_rule_of_somebody_else_does_not_exist(lab, alice, bob, hook):
    """TD-D5: not even for owners of the workspace; nor can a channel of somebody else be chosen."""
    rule = Rule.create(lab, owner=bob, kind="ended", scope="workspace", channels=[hook])
    for path in (f"rules/{rule.pk}/", f"channels/{hook.pk}/"):
        assert as_(alice).get(PAGE + path).status_code == 404
    answer = as_(alice).post(f"{PAGE}rules/new/", {**RULE, "channels": hook.pk})
    assert answer.status_code == 422


def test_a_preview_says_how_often_it_would_have_fired(running, bob, hook):
    """TD-D5: before the rule is saved."""
    experiment = running(taken=4, concurrency=4)
    for trial, value in zip(
        experiment.trials.filter(state="running").order_by("number"), (1, 2, 3, 5), strict=True
    ):
        trial.settle(Outcome(value=value, exit_code=0))
    fields = {**RULE, "kind": "new_best", "margin": "2", "act": "preview"}
    page = text_of(as_(bob).post(f"{PAGE}rules/new/", fields))
    assert "Would have fired 2 times in the last 7 days" in page and not Rule.objects.exists()
    hourly = text_of(as_(bob).post(f"{PAGE}rules/new/", {**fields, "frequency": "hourly"}))
    assert "Would have fired 1 time " in hourly and "1 more merged into an earlier message" in hourly
    experiment.describe(by=experiment.creator, visibility="private")
    assert "Would have fired 0 times" in text_of(as_(bob).post(f"{PAGE}rules/new/", fields))


def test_the_secret_of_a_webhook_is_shown_once(lab, bob):
    """TD-D5: and its address never again."""
    url = "https://example.org/hooks/very-secret-path"
    answer = as_(bob).post(f"{PAGE}channels/new/", {"kind": "webhook", "name": "pager", "address": url})
    channel = Channel.objects.get()
    assert answer.status_code == 201 and channel.secret in answer.content.decode()
    for path in ("", f"channels/{channel.pk}/"):
        page = as_(bob).get(PAGE + path).content.decode()
        assert channel.secret not in page and "very-secret" not in page and "…path" in page
    before = channel.secret
    renewed = as_(bob).post(f"{PAGE}channels/{channel.pk}/secret/").content.decode()
    channel.refresh_from_db()
    assert channel.secret != before and channel.secret in renewed


def test_a_blank_address_keeps_the_current_one(lab, bob, hook):
    url = f"{PAGE}channels/{hook.pk}/"
    assert as_(bob).post(url, {"name": "renamed", "address": ""}).status_code == 302
    hook.refresh_from_db()
    assert (hook.name, hook.address) == ("renamed", "https://example.org/h")
    wrong = as_(bob).post(url, {"name": "renamed", "address": "ftp://example.org"})
    assert wrong.status_code == 422 and "Enter a URL such as" in text_of(wrong)


def test_a_test_message_is_queued(lab, bob, hook):
    """TD-D5: test button. Control sends it: the web server makes no request."""
    assert as_(bob).post(f"{PAGE}channels/{hook.pk}/test/").status_code == 302
    delivery = Delivery.objects.get()
    assert (delivery.kind, delivery.status) == ("test", DeliveryStatus.QUEUED)
    assert "Test message" in text_of(as_(bob).get(PAGE))
    for _ in range(2):
        as_(bob).post(f"{PAGE}channels/{hook.pk}/test/")
    assert as_(bob).post(f"{PAGE}channels/{hook.pk}/test/").status_code == 409


def test_the_log_shows_attempts_and_sends_again(running, lab, bob, carol, hook):
    """TD-D5: delivery log; others do not see it."""
    Rule.create(lab, owner=bob, kind="ended", scope="workspace", channels=[hook])
    end_all(running("resnet", max_trials=1))
    fan_out.expand()
    delivery = Delivery.objects.get()
    assert delivery.claim(delivery.next_at)
    delivery.fail("503 Service Unavailable", delivery.created_at)
    page = text_of(as_(bob).get(f"{PAGE}?result=retrying"))
    assert "resnet: completed" in page and "503 Service Unavailable" in page and "1 of 6" in page
    assert "1 delivery CSV of the deliveries JSON" in page, "below the table, as everywhere"
    assert "CSV" not in text_of(as_(bob).get(f"{PAGE}?result=sent"))
    assert "resnet: completed" not in text_of(as_(bob).get(f"{PAGE}?result=sent"))
    assert "resnet: completed" not in text_of(as_(carol).get(PAGE))
    assert as_(bob).post(f"{PAGE}deliveries/{delivery.pk}/send/").status_code == 302
    assert as_(carol).post(f"{PAGE}deliveries/{delivery.pk}/send/").status_code == 404


def test_the_log_leaves_out_what_became_private(running, lab, alice, bob, hook):
    """TD-D5: an experiment that somebody may no longer see is not named in their log either."""
    experiment = end_all(running("resnet", max_trials=1))
    mine = Rule.create(lab, owner=bob, kind="ended", scope="workspace", channels=[hook])
    about = Rule.create(
        lab, owner=bob, kind="budget", scope="experiment", experiment=experiment, channels=[hook]
    )
    Occurrence.objects.update(expanded_at=None)
    fan_out.expand()
    assert Delivery.objects.filter(rule=mine).exists()
    assert "resnet" in text_of(as_(bob).get(PAGE))
    experiment.describe(by=alice, visibility="private")
    page = text_of(as_(bob).get(PAGE))
    assert "resnet" not in page and "an experiment that you cannot view" in page
    assert "resnet" not in as_(bob).get(f"{PAGE}rules/{about.pk}/").content.decode()


def test_the_page_has_a_fixed_number_of_queries(running, lab, alice, django_assert_num_queries):
    def fill(count: int) -> None:
        for _ in range(count):
            for owner in (alice, None):
                name = f"{Channel.objects.count()}"
                channel, _ = Channel.create(
                    lab, owner=owner, kind="slack", name=name, address="https://example.org/h"
                )
                Rule.create(lab, owner=owner, kind="ended", scope="workspace", channels=[channel])
        end_all(running(f"run {Rule.objects.count()}", max_trials=1))
        fan_out.expand()

    fill(1)
    client = as_(alice)
    client.get(PAGE)
    with django_assert_num_queries(12):
        client.get(PAGE)
    fill(3)
    with django_assert_num_queries(12):
        client.get(PAGE)


@pytest.mark.parametrize("query", ["result=lost", "before=x", "what=ever", "before=0"])
def test_unknown_parameters_are_refused(query, lab, carol):
    assert as_(carol).get(f"{PAGE}?{query}").status_code == 400


def test_open_pages_learn_of_unseen_messages(running, lab, bob):
    """TD-D5: the browser tab."""
    tab, _ = Channel.create(lab, owner=bob, kind="browser", name="tab")
    Rule.create(lab, owner=bob, kind="ended", scope="workspace", channels=[tab])
    experiment = end_all(running("resnet", max_trials=1))
    fan_out.expand()

    def shown(is_looking: str = "false") -> list[str]:
        html = as_(bob).post(reverse("unseen"), {"is_looking": is_looking}).content.decode()
        return re.findall(r"\(\d+\)|favicon[a-z-]*", html)

    assert shown() == ["(1)", "favicon-unseen"]
    experiment.describe(by=experiment.creator, visibility="private")
    assert shown() == ["favicon"]
    experiment.describe(by=experiment.creator, visibility="workspace")
    assert shown() == ["(1)", "favicon-unseen"]
    assert shown("true") == shown() == ["favicon"]
