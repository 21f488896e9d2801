"""Models: the list, and one of them: described, its network and labels, published, downloaded."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.urls import reverse

from experiments.models import Keeping, Model, Refused, Trial
from tests.people import end_all
from tests.web.experiment.test_artifacts import fetched
from tests.web.experiment.test_configuration import as_, words
from tests.web.files import leave

ODD = ["a.b", "$c", "${lr}", "d/../e", "f%20g&h=i?", "😀 ü", "__proto__", "{{ x }}", "-x", "ключ"]


@pytest.fixture
def model(running, alice) -> Model:
    """Made of a file of a running experiment."""
    experiment = running(max_trials=1)
    artifact = leave(experiment.trials.get(), data=b"weights")
    return Model.register(experiment.project, by=alice, name="Good weights", artifact=artifact)


def url(page: str, model: Model) -> str:
    return reverse(page, args=["lab", model.public_id])


def seen(client, model: Model, page: str = "model", query: str = "") -> str:
    return re.search(r'name="seen" value="([^"]+)"', client.get(url(page, model) + query).content.decode())[1]


# --- listed ----------------------------------------------------------------------------------------------------


def test_the_list_finds_by_name_id_project_and_published(lab, model, alice, carol):
    """CML-M1: the newest first."""
    vision = lab.projects.create(name="Vision")
    second = Model.register(vision, by=alice, name="Kühe", address="s3://bucket/w.pt")
    second.publish()
    for query, expected in (
        ("", [second, model]),
        ("?q=GOOD", [model]),
        ("?q=kÜhe", [second]),
        (f"?q={model.public_id}", [model]),
        ("?project=Vision", [second]),
        ("?published=no", [model]),
        ("?published=yes&q=good", []),
    ):
        html = as_(carol).get(reverse("models", args=["lab"]) + query).content.decode()
        assert re.findall(r'class="name" href="[^"]*/models/(\w+)/"', html) == [
            row.public_id for row in expected
        ]


def test_the_list_has_a_fixed_number_of_queries(lab, model, alice, carol, django_assert_num_queries):
    client, address = as_(carol), reverse("models", args=["lab"])
    with django_assert_num_queries(8):
        client.get(address)
    project = lab.projects.get()
    Model.objects.bulk_create(
        Model(workspace=lab, project=project, creator=alice, name=f"m{n}", artifact=model.artifact)
        for n in range(120)
    )
    with django_assert_num_queries(8):
        html = client.get(address).content.decode()
    assert "1 to 50 of 121" in html and "?page=3" in html


def test_an_empty_list_says_how_a_model_is_made(lab, carol):
    assert "Register an output file as a model on the Artifacts tab" in words(
        as_(carol).get(reverse("models", args=["lab"])).content.decode()
    )


# --- one -------------------------------------------------------------------------------------------------------


def test_its_page_says_where_it_comes_from(model, carol, draft):
    """CML-M1: file, hash, trial, and who starts from it."""
    draft("next one", input_model=model.public_id)
    draft("decoy", objects={"input_model": model.public_id})
    html = as_(carol).get(url("model", model)).content.decode()
    text = words(html)
    assert "model.pt" in text and model.artifact.sha256 in text and "On worker w1" in text
    assert f'href="{reverse("trial", args=["lab", model.artifact.experiment.public_id, 1])}"' in html
    assert "next one" in text and "decoy" not in text
    assert ">Save</button>" not in html and "Publish" not in text, "a viewer only looks"


def test_a_private_experiment_is_not_told(model, alice, carol):
    """PAI-L2: its model was shared, not itself."""
    experiment = model.artifact.experiment
    experiment.describe(by=alice, name="sécret", visibility="private")
    text = words(as_(carol).get(url("model", model)).content.decode())
    assert "a trial you cannot access" in text and "sécret" not in text


def test_an_operator_describes_it(model, bob, carol):
    """CML-M1: an empty name is refused; who looked at an older state is, too, and keeps what was typed."""
    client = as_(bob)
    old = seen(client, model)
    vision = model.workspace.projects.create(name="Vision")
    data = {"name": "better  name", "framework": "PyTorch", "description": "of June", "project": vision.pk}
    assert client.post(url("model", model), {**data, "name": " ", "seen": old}).status_code == 422
    assert client.post(url("model", model), {**data, "seen": old}).status_code == 302
    model.refresh_from_db()
    assert (model.name, model.framework, model.description) == ("better name", "PyTorch", "of June")
    assert model.project == vision
    late = client.post(url("model", model), {**data, "description": "typed late", "seen": old})
    assert late.status_code == 409 and "typed late" in late.content.decode()
    assert as_(carol).post(url("model", model), data).status_code == 403


def test_its_network_is_viewed_searched_edited_and_cleared(model, bob, carol):
    """CML-M1: any characters come back."""
    client, text = as_(bob), 'layer { name: "conv<1>" }\n\n  Layer 2: ü 😀 & more\n'
    data = {"network": text.replace("\n", "\r\n"), "seen": seen(client, model, "model-network", "?edit")}
    assert client.post(url("model-network", model), data).status_code == 302
    model.refresh_from_db()
    assert model.network == text
    html = as_(carol).get(url("model-network", model) + "?q=LAYER").content.decode()
    assert html.count("<mark") == 2 and "2 lines match" in html and "conv&lt;1&gt;" in html
    assert "?edit" not in html, "a viewer only looks"
    assert as_(carol).get(url("model-network", model) + "?edit").status_code == 403
    editor = client.get(url("model-network", model) + "?edit").content.decode()
    assert "Layer 2: ü 😀 &amp; more" in editor
    question = words(client.get(url("model-clear", model)).content.decode())
    assert f"{len(text)} characters and cannot be undone" in question
    assert client.post(url("model-clear", model)).status_code == 302
    model.refresh_from_db()
    assert model.network == ""


def test_labels_are_added_changed_and_deleted(model, bob, carol):
    """CML-M1: unique names, whole numbers of 0 or more; any characters."""
    client, address = as_(bob), url("model-labels", model)
    for label, number in (("cat", "0"), ('do"g <b>', "1"), ("ü 😀", "0")):
        assert client.post(address, {"label": label, "number": number}).status_code == 302
    for wrong, message in (
        ({"label": "cat", "number": "3"}, "The label “cat” already exists: 0"),
        ({"label": "x", "number": "-1"}, "not a whole number"),
        ({"label": "x", "number": "1.5"}, "not a whole number"),
        ({"label": " ", "number": "1"}, "Every label needs a name"),
    ):
        answer = client.post(address, wrong)
        assert answer.status_code == 422 and message in words(answer.content.decode())
    assert client.post(address, {"was": "cat", "label": "cat", "number": "7"}).status_code == 302
    assert client.post(address, {"was": 'do"g <b>', "label": "dog", "number": "1"}).status_code == 302
    assert 'name="action" value="delete"' in " ".join(client.get(address).content.decode().split())
    assert client.post(address, {"was": "ü 😀", "action": "delete"}).status_code == 302
    assert client.post(address, {"was": "gone", "label": "x", "number": "1"}).status_code == 409
    model.refresh_from_db()
    assert model.labels == {"cat": 7, "dog": 1}
    text = words(as_(carol).get(address).content.decode())
    assert "dog 1 cat 7" in text
    assert as_(carol).post(address, {"label": "x", "number": "1"}).status_code == 403


def test_labels_of_any_characters_come_back(model, bob):
    client, address = as_(bob), url("model-labels", model)
    for number, label in enumerate(ODD):
        assert client.post(address, {"label": label, "number": str(number)}).status_code == 302
    model.refresh_from_db()
    assert model.labels == {label: number for number, label in enumerate(ODD)}
    html = unescape(client.get(address).content.decode())
    assert all(f'value="{label}"' in html for label in ODD)
    for label in ODD:
        assert (
            client.post(
                address, {"was": label, "label": label, "number": "0", "action": "delete"}
            ).status_code
            == 302
        )
    model.refresh_from_db()
    assert model.labels == {}


def test_many_labels_are_paged_and_searched(model, carol):
    model.change(labels={f"label {n}": n for n in range(250)})
    client, address = as_(carol), url("model-labels", model)
    assert client.get(address).content.decode().count("<tr>") == 101
    assert client.get(address + "?page=3").content.decode().count("<tr>") == 51
    assert "label 249" in client.get(address + "?q=249").content.decode()


def test_published_is_read_only_everywhere(model, bob, alice):
    """CML-P1: it asks, and then it is for good."""
    model.change(network="x", labels={"cat": 0})
    client = as_(bob)
    assert "This cannot be undone" in words(client.get(url("model-publish", model)).content.decode())
    assert client.post(url("model-publish", model)).status_code == 302
    for page, data in (
        ("model", {"name": "other"}),
        ("model-network", {"network": "other"}),
        ("model-clear", {}),
        ("model-labels", {"label": "dog", "number": "1"}),
        ("model-labels", {"was": "cat", "action": "delete"}),
    ):
        assert as_(alice).post(url(page, model), data).status_code == 409, page
    assert client.get(url("model-network", model) + "?edit").status_code == 409
    for page in ("model", "model-network", "model-labels"):
        html = client.get(url(page, model)).content.decode()
        assert "Published" in html and not re.search(r"<form[^>]*method=\"post\"", html.split("<main")[1])
    model.refresh_from_db()
    assert (model.name, model.network, model.labels) == ("Good weights", "x", {"cat": 0})


def test_its_file_is_downloaded(model, carol, tmp_path, alice):
    """TD-X10: from its trial's folder, or from the address that outlived its trial."""
    client = as_(carol)
    assert fetched(client.get(url("model-download", model))) == b"weights"
    row = leave(model.artifact.trial, "b.pt", b"b", keeping=Keeping.STORED, destination=str(tmp_path))
    second = Model.register(model.project, by=alice, name="b", address=f"{tmp_path}/{row.key}")
    assert fetched(client.get(url("model-download", second))) == b"b"
    Model.objects.filter(pk=model.pk).update(artifact=None)
    gone = client.get(url("model-download", model))
    assert gone.status_code == 409 and "was deleted with its trial" in words(gone.content.decode())


# --- deleted ---------------------------------------------------------------------------------------------------


def test_it_is_deleted_when_nothing_but_drafts_starts_from_it(model, draft, running, alice, bob, carol, dave):
    """TD-X10: it asks with what goes and what stays; 409 names what ran from it, but not what one may not see."""
    client, delete = as_(bob), url("model-delete", model)
    waits = draft("waits", input_model=model.public_id)
    ran = running("ran", input_model=model.public_id)
    private = running("sécret", input_model=model.public_id)
    private.describe(by=alice, visibility="private")
    draft("decoy", objects={"input_model": model.public_id})
    page = client.get(url("model", model)).content.decode()
    assert f'hx-get="{delete}" hx-target="#dialog"' in page
    assert delete not in as_(carol).get(url("model", model)).content.decode()
    for answer in (client.get(delete), client.post(delete)):
        text = words(answer.content.decode())
        assert answer.status_code == 409 and f"is the input model of {ran} and 1 more." in text
    assert "sécret" not in text and "Delete those experiments first" in text
    for row in (ran, private):
        row.stop(by=alice)
        end_all(row)
        row.delete_to_trash(by=alice)
    question = words(client.get(delete).content.decode())
    assert "The file model.pt is kept with its trial." in question
    assert (
        "1 draft uses this model as input and will need another one." in question and "decoy" not in question
    )
    file, summary = model.artifact, model.summary
    assert client.post(delete)["Location"] == reverse("models", args=["lab"])
    assert not Model.objects.exists() and file.experiment.artifacts.get() == file
    for experiment in (waits, file.experiment):
        event = experiment.events.get(verb="delete_model")
        assert (event.by, event.why) == (bob, summary) and summary.startswith("Good weights (")
        feed = as_(alice).get(reverse("experiment", args=["lab", experiment.public_id])).content.decode()
        assert "bob deleted a model" in words(feed)
    assert client.post(delete).status_code == 404
    assert not model.delete_unused(by=bob), "already so"
    for late in (lambda: model.change(name="x"), model.publish, lambda: model.label("cat", 0)):
        with pytest.raises(Refused, match="was just deleted"):
            late()


def test_a_published_one_is_deleted_by_an_owner_only(model, alice, bob, api):
    """CML-P1, as with experiments (TD-A13): by page and API."""
    model.publish()
    path = f"/workspaces/lab/models/{model.public_id}"
    assert "Delete" not in words(as_(bob).get(url("model", model)).content.decode())
    for answer in (as_(bob).post(url("model-delete", model)), api(bob).delete(path)):
        assert answer.status_code == 403 and b"owner role" in answer.content
    assert "This deletes the published model" in words(
        as_(alice).get(url("model-delete", model)).content.decode()
    )
    assert api(alice, role="operator").delete(path).status_code == 403
    assert api(alice).delete(path).status_code == 204 and not Model.objects.exists()


@pytest.mark.once
def test_the_question_says_where_a_file_stays_or_that_it_goes(model, alice):
    """TD-X10: in the trash it goes with its trial; elsewhere nobody deletes it but whoever put it there."""
    client = as_(alice)
    Trial.everything.update(trashed_at=model.created_at)
    assert "is deleted with it" in words(client.get(url("model-delete", model)).content.decode())
    Model.objects.update(artifact=None)
    assert "already deleted" in words(client.get(url("model-delete", model)).content.decode())
    Model.objects.update(address="s3://bucket/w.pt")
    question = client.get(url("model-delete", model)).content.decode()
    assert "The file is kept at <b>s3://bucket/w.pt</b>." in question
