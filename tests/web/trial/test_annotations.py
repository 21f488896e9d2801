"""Comments on trials and their stars: who may, what is kept, and where they show."""

from __future__ import annotations

import pytest
from django.urls import reverse

from experiments.models import Comment, Invalid, Trial
from tests.people import as_


def url(experiment, page="trial", *more) -> str:
    return reverse(page, args=["lab", experiment.public_id, 1, *more])


@pytest.fixture
def trial(running) -> Trial:
    return running().trials.get(number=1)


def test_every_member_may_comment_and_strangers_may_not(trial, alice, bob, carol, dave):
    """TD-C8: a comment is in Markdown, on the trial's page, with its author, and in the history."""
    for person, status in ((carol, 302), (bob, 302), (alice, 302), (dave, 404)):
        answer = as_(person).post(
            url(trial.experiment, "trial-comment"), {"text": f"**Good**, says {person}"}
        )
        assert answer.status_code == status
    html = as_(carol).get(url(trial.experiment)).content.decode()
    assert html.count("<strong>Good</strong>") == 3 and "<b>carol</b>" in html
    assert Trial.objects.get(pk=trial.pk).comment_count == 3
    assert trial.experiment.events.filter(verb="comment").count() == 3


@pytest.mark.parametrize("text", ["", "  \0 ", "x" * 4001])
def test_an_empty_or_too_long_comment_is_refused(trial, carol, text):
    """TD-C8: with a sentence; nothing is kept."""
    with pytest.raises(Invalid):
        trial.comment(text, by=carol)
    assert as_(carol).post(url(trial.experiment, "trial-comment"), {"text": text}).status_code == 302
    assert not Comment.objects.exists() and trial.experiment.events.filter(verb="comment").count() == 0


def test_a_comment_runs_nothing(trial, carol):
    """TD-C8."""
    trial.comment("<script>alert(1)</script> [x](javascript:alert(1))", by=carol)
    html = as_(carol).get(url(trial.experiment)).content.decode()
    assert "<script>alert" not in html and 'href="javascript' not in html


def test_authors_delete_their_own_comments_and_owners_any(trial, alice, bob, carol):
    """TD-C8."""
    first, second = trial.comment("one", by=carol), trial.comment("two", by=bob)
    delete = "trial-comment-delete"
    assert as_(bob).post(url(trial.experiment, delete, first.pk)).status_code == 403
    assert as_(carol).post(url(trial.experiment, delete, second.pk)).status_code == 403
    assert as_(carol).post(url(trial.experiment, delete, first.pk)).status_code == 302
    assert as_(alice).post(url(trial.experiment, delete, second.pk)).status_code == 302
    assert as_(alice).post(url(trial.experiment, delete, second.pk)).status_code == 404
    assert Trial.objects.get(pk=trial.pk).comment_count == 0


def test_authors_edit_their_own_comments(trial, alice, bob, carol):
    """TD-C8: the page says that it was edited; empty text changes nothing."""
    row = trial.comment("frist", by=carol)
    address = url(trial.experiment, "trial-comment-edit", row.pk)
    for other in (alice, bob):
        assert as_(other).post(address, {"text": "mine"}).status_code == 403
    html = as_(carol).get(url(trial.experiment)).content.decode()
    assert address in html and ">frist</textarea>" in html and "edited" not in html
    assert address not in as_(alice).get(url(trial.experiment)).content.decode()
    assert as_(carol).post(address, {"text": " "}).status_code == 302
    assert trial.comments.get().text == "frist"
    as_(carol).post(address, {"text": "**first**"})
    html = as_(carol).get(url(trial.experiment)).content.decode()
    assert "<strong>first</strong>" in html and ", edited" in html
    assert trial.experiment.events.get(verb="edit_comment").why == "**first**"
    as_(carol).post(address, {"text": "**first**"})
    assert trial.experiment.events.filter(verb="edit_comment").count() == 1, "nothing changed"
    feed = as_(bob).get(reverse("experiment-activity", args=["lab", trial.experiment.public_id]))
    assert "edited a comment on" in feed.content.decode()


def test_operators_star_a_trial_for_all(trial, bob, carol):
    """TD-C8: once; twice changes nothing; viewers see it and cannot."""
    for _ in range(2):
        assert as_(bob).post(url(trial.experiment, "trial-star")).status_code == 302
    assert trial.experiment.events.filter(verb="star").count() == 1
    assert as_(carol).post(url(trial.experiment, "trial-unstar")).status_code == 403
    assert 'title="Starred"' in as_(carol).get(url(trial.experiment)).content.decode()
    table = as_(carol).get(reverse("experiment-trials", args=["lab", trial.experiment.public_id]))
    assert 'title="Starred"' in table.content.decode()
    as_(bob).post(url(trial.experiment, "trial-unstar"))
    assert Trial.objects.get(pk=trial.pk).starred_at is None


def test_a_comment_does_not_disturb_a_running_trial(trial, carol, worker):
    """TD-C8: it may be settled afterwards; nothing of its state changed."""
    trial.comment("looks good", by=carol)
    again = Trial.objects.get(pk=trial.pk)
    assert (again.state, again.worker) == (trial.state, worker)
    assert again.version == trial.version + 1
