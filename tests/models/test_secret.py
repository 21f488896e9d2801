"""Secrets among the hyperparameters: encrypted when they come, opened for a trial, seen by nobody."""

import json

import pytest
from django.contrib.admin.sites import site

from experiments.models import Event, Invalid, Revision, secret
from tests.people import make_settings

TEXT = "hush-4711 ü"


def groups(text: str) -> dict:
    return {"General": {"token": {"secret": text, "type": "str"}, "lr": {"value": "0.1"}}}


def test_what_is_sealed_is_opened_with_the_key_and_with_former_keys(settings):
    """Rotation."""
    sealed = secret.sealed(groups(TEXT), stored={})
    assert TEXT not in json.dumps(sealed) and sealed["General"]["lr"] == {"value": "0.1"}
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another", [settings.SECRET_KEY]
    assert secret.opened(sealed)["General"]["token"] == {"value": TEXT, "type": "str"}
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(secret.Unreadable, match="General/token.*another secret key"):
        secret.opened(sealed)


def test_dots_stand_for_the_secret_that_is_kept():
    kept = secret.sealed(groups(TEXT), stored={})
    assert secret.hidden(kept)["General"]["token"]["secret"] == secret.HIDDEN
    assert secret.sealed(secret.hidden(kept), stored=kept) == kept
    other = secret.sealed(groups("other"), stored=kept)
    assert secret.opened(other)["General"]["token"]["value"] == "other"


@pytest.mark.parametrize("text", [secret.HIDDEN, 7, "a\0b", "\ud800", "x" * 100_001])
def test_what_cannot_be_kept_is_refused(text):
    sent = secret.sealed(groups(text), stored={})
    with pytest.raises(Invalid) as refused:
        make_settings(hyperparameters=sent)
    assert "General/token" in str(refused.value)


def test_it_stands_in_no_event_and_not_in_the_administration(draft, alice, rf):
    """Never shown again, whoever asks."""
    sealed = secret.sealed(groups(TEXT), stored={})
    experiment = draft(hyperparameters=sealed)
    other = make_settings(hyperparameters=secret.sealed(groups("other"), stored={}), max_trials=9)
    assert experiment.edit(other, by=alice, seen=1)
    details = json.dumps(Event.objects.get(experiment=experiment, verb="edit").details, ensure_ascii=False)
    assert "sealed:" not in details and secret.HIDDEN in details
    page = site._registry[Revision]
    column = next(
        field for field in page.get_fields(rf.get("/")) if getattr(field, "__name__", "") == "document"
    )
    assert "sealed:" not in column(experiment.revision) and secret.HIDDEN in column(experiment.revision)
