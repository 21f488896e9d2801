"""What a script was seen to declare, offered in the search-space editor."""

from __future__ import annotations

import json

import pytest
from django.urls import reverse

from experiments.models import Experiment
from experiments.search.space import parse
from experiments.web.experiment.forms import space_rows
from experiments.web.experiment.forms.declared_parameters import Offer
from tests.people import as_
from tests.web.filled import filled

pytestmark = pytest.mark.once

DECLARED = {
    "Other": {"alpha": {"value": "<i>alpha"}},
    "Args": {
        "epochs": {"value": "3", "type": "int", "description": "how “often”"},
        "lr": {"value": "0.01", "type": "float"},
        "opt": {"value": "sgd", "type": "str"},
    },
}


def offered(page) -> list[str]:
    return [offer.name for offer in page.context["form"].offers]


def rows_of(page) -> list[tuple[str, str, str]]:
    return [(row.name, row.type, row.values) for row in page.context["form"].rows]


@pytest.mark.parametrize(
    ("value", "kind", "row"),
    [
        ("3", "int", ("randint", "1, 7")),
        ("0", "int", ("randint", "0, 10")),
        ("-3", "int", ("randint", "-6, -1")),
        ("0.01", "float", ("loguniform", "0.001, 0.1")),
        ("0.9", "float", ("uniform", "0.45, 1.8")),
        ("-2.0", "float", ("uniform", "-4.0, -1.0")),
        ("0.0", "float", ("uniform", "0, 1")),
        ("inf", "float", ("choice", "inf")),
        ("9" * 200, "int", ("choice", json.dumps("9" * 200))),
        ("True", "bool", ("choice", "true, false")),
        ("sgd", "str", ("choice", "sgd")),
        ("64", "str", ("choice", '"64"')),
        ("[1, 2]", "list/int", ("choice", "[[1, 2]]")),
        ("[" * 200, "", ("choice", json.dumps("[" * 200))),
        ('a, "b"\\', "", ("choice", json.dumps('a, "b"\\'))),
    ],
)
@pytest.mark.once
def test_a_row_begins_around_the_scripts_own_value(value: str, kind: str, row: tuple[str, str]) -> None:
    """CML-T1: and is a parameter that can be searched."""
    made = Offer("Args/n", value, kind, "").row
    assert (made.type, made.values) == row
    parse({"Args/n": space_rows.read([made]).document["Args/n"]})


def test_what_the_script_declares_is_offered_and_added_with_a_click(draft, alice, bob):
    """CML-T1: in the editor of its draft, without script; what the search space has, with its group or without, is
    not offered."""
    experiment = draft(space_document={"lr": {"_type": "uniform", "_value": [0, 1]}})
    experiment.revision.resolve(declared=DECLARED)
    url = reverse("experiment-edit", args=["lab", experiment.public_id])
    page = as_(bob).get(url)
    assert offered(page) == ["Args/epochs", "Args/opt", "Other/alpha"]
    html = page.content.decode()
    assert (
        "The script declares 3 more parameters" in html and "how “often”" in html and "<i>alpha" not in html
    )
    added = as_(bob).post(url, {**filled(page), "add_declared": "Args/epochs"})
    assert added.status_code == 200 and not added.context["form"].errors
    assert rows_of(added) == [("lr", "uniform", "0, 1"), ("Args/epochs", "randint", "1, 7")]
    assert offered(added) == ["Args/opt", "Other/alpha"]
    nothing = as_(bob).post(url, {**filled(added), "add_declared": "Args/nobody"})
    assert rows_of(nothing) == rows_of(added)
    saved = as_(bob).post(url, {**filled(added), "submit": "1"})
    assert saved.status_code == 302
    experiment = Experiment.objects.get(pk=experiment.pk)
    assert experiment.settings.space_document["Args/epochs"] == {"_type": "randint", "_value": [1, 7]}
    assert experiment.declared() == DECLARED


def test_clones_and_drafts_that_were_tried_know_it_too_and_another_script_does_not(draft, alice, bob):
    """CML-T1: whoever runs the same code; a reset keeps it."""
    experiment = draft(directory="/tmp")
    tried = experiment.try_it({"lr": 0.01, "layers": 1}, by=alice)
    tried.revision.resolve(declared=DECLARED, commit="abc")
    assert experiment.declared() == DECLARED
    clone = experiment.clone(by=alice)
    assert clone.declared() == {}  # its parent has run nothing itself
    experiment.revision.resolve(declared=DECLARED)
    assert clone.declared() == DECLARED
    page = as_(bob).get(f"/w/lab/experiments/new/?from={experiment.public_id}")
    assert offered(page) == ["Args/epochs", "Args/opt", "Other/alpha"]
    assert offered(as_(bob).get("/w/lab/experiments/new/")) == []
    url = reverse("experiment-edit", args=["lab", experiment.public_id])
    other = {**filled(as_(bob).get(url)), "command": "python other.py", "submit": "1"}
    assert as_(bob).post(url, other).status_code == 302
    assert Experiment.objects.get(pk=experiment.pk).declared() == {}


def test_a_reset_forgets_what_names_meant_and_keeps_what_the_script_declares(in_state, alice):
    """TD-A10 CML-T1."""
    experiment = in_state("stopped")
    experiment.revision.resolve(declared=DECLARED, commit="abc")
    experiment.reset(by=alice)
    experiment.revision.refresh_from_db()
    assert experiment.revision.resolved == {"declared": DECLARED}
