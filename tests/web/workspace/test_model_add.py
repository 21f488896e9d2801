"""Models that no trial made: from a path, a URL or an upload; and labels as one text."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from experiments.models import Model
from experiments.worker.errors import SetupFailed
from experiments.worker.setup.model_files import ModelFiles
from tests.people import as_

pytestmark = pytest.mark.once


def add(user, lab, **fields: object):
    project = lab.projects.get(name="Default")
    return as_(user).post(
        reverse("model-add", args=["lab"]), {"name": "net", "project": project.pk, **fields}
    )


def file_of(model: Model) -> Path:
    return ModelFiles(settings.DATA).get(model, into=settings.DATA, is_cancelled=lambda: False)


def test_a_file_of_the_workers_machine_is_used_where_it_is(lab, alice, tmp_path):
    """CML-M1: the console itself never serves it."""
    weights = tmp_path / "net.pt"
    weights.write_text("weights")
    assert add(alice, lab, address=str(weights), framework="PyTorch").status_code == 302
    model = Model.objects.get()
    assert (model.name, model.framework, model.creator) == ("net", "PyTorch", alice)
    assert file_of(model) == weights
    download = as_(alice).get(reverse("model-download", args=["lab", model.public_id]))
    assert download.status_code == 409 and str(weights) in download.content.decode()
    weights.unlink()
    with pytest.raises(SetupFailed, match="does not exist on this worker's machine"):
        file_of(model)


def test_a_url_is_read_by_the_worker(lab, alice):
    """CML-M1: once; one that does not answer fails the trial with the reason."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802  as the standard library calls it
            self.send_response(200 if self.path == "/a/net.pt?version=2" else 404)
            self.end_headers()
            self.wfile.write(b"weights")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/a"
        assert add(alice, lab, address=f"{url}/net.pt?version=2").status_code == 302
        path = file_of(Model.objects.get())
        assert (path.name, path.read_text()) == ("net.pt", "weights")
        assert add(alice, lab, address=f"{url}/gone.pt").status_code == 302
        with pytest.raises(SetupFailed, match="cannot be fetched.*404"):
            file_of(Model.objects.latest("pk"))
        server.shutdown()


def test_an_upload_is_kept_and_can_be_downloaded(lab, alice, carol):
    """CML-M1: below a folder of its own, whatever its name; or at the output destination."""
    upload = SimpleUploadedFile("../.net é.pt", b"weights")
    assert add(alice, lab, file=upload).status_code == 302
    model = Model.objects.get()
    assert model.address == f"{settings.DATA}/models/{model.public_id}/net__.pt"
    assert file_of(model).read_bytes() == b"weights"
    download = as_(carol).get(reverse("model-download", args=["lab", model.public_id]))
    assert b"".join(download.streaming_content) == b"weights"


def test_an_upload_goes_to_the_output_destination(lab, alice, tmp_path):
    """CML-O1: so that all workers can read it."""
    lab.projects.filter(name="Default").update(destination=str(tmp_path))
    assert add(alice, lab, file=SimpleUploadedFile("net.pt", b"weights")).status_code == 302
    model = Model.objects.get()
    assert model.address == f"{tmp_path}/models/{model.public_id}/net.pt"
    assert file_of(model).read_bytes() == b"weights"


@pytest.mark.parametrize("is_stored", [False, True])
@pytest.mark.django_db(transaction=True)
def test_an_upload_is_deleted_with_its_model(lab, alice, tmp_path, is_stored):
    """CML-M1: what was added by its path stays, and what another model has, too."""
    if is_stored:
        lab.projects.filter(name="Default").update(destination=str(tmp_path / "store"))
    mine = tmp_path / "mine.pt"
    mine.write_bytes(b"mine")
    assert add(alice, lab, name="linked", address=str(mine)).status_code == 302
    assert add(alice, lab, name="uploaded", file=SimpleUploadedFile("net.pt", b"weights")).status_code == 302
    uploaded = Model.objects.get(name="uploaded")
    file = Path(uploaded.address)
    shared = Model.register(uploaded.project, by=alice, name="shared", address=uploaded.address)
    assert not uploaded.is_upload, "another model has the file"
    for model in (shared, uploaded, Model.objects.get(name="linked")):
        delete = reverse("model-delete", args=["lab", model.public_id])
        page = as_(alice).get(delete).content.decode()
        assert ("The uploaded file is also deleted." in page) == (model == uploaded)
        as_(alice).post(delete)
        assert file.exists() == (model == shared) and mine.exists()
    assert not Model.objects.exists() and not file.parent.exists()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "Enter a path or URL, or select a file to upload"),
        ({"address": "net.pt"}, "Enter an absolute path or a URL"),
        ({"address": "/mnt/models/"}, "the path or URL of a file, not of a folder"),
        ({"address": "/mnt/../net.pt"}, "must not contain . or .."),
        ({"address": "https:///net.pt"}, "The URL has no host"),
        ({"address": "http://[x/net.pt"}, "This is not a URL"),
        ({"address": "https://bob:hunter2@host/net.pt"}, "Remove the user name and password"),
        ({"address": "https://td_token@host/net.pt"}, "Remove the user name and password"),
        ({"address": "ftp://host/net.pt"}, "Enter an absolute path or a URL"),
        ({"address": "s3://host:9000/net.pt"}, "Add the bucket"),
        ({"address": "/mnt/net.pt", "name": " "}, "Enter a name"),
    ],
)
def test_what_is_no_address_is_refused(lab, alice, fields, reason):
    """CML-M1: with a sentence at the field; nothing is added."""
    response = add(alice, lab, **fields)
    assert response.status_code == 422 and reason in response.content.decode()
    assert not Model.objects.exists()


def test_both_an_address_and_a_file_are_refused(lab, alice):
    response = add(alice, lab, address="/mnt/net.pt", file=SimpleUploadedFile("net.pt", b""))
    assert response.status_code == 422 and "not both" in response.content.decode()


def test_a_viewer_may_not_add_one_and_is_not_offered_to(lab, alice, carol, dave):
    url = reverse("model-add", args=["lab"])
    assert as_(carol).get(url).status_code == add(carol, lab, address="/a/b").status_code == 403
    assert as_(dave).get(url).status_code == 404
    index = reverse("models", args=["lab"])
    assert url in as_(alice).get(index).content.decode() and url not in as_(carol).get(index).content.decode()
    assert as_(alice).get(url).status_code == 200


@pytest.fixture
def model(lab, alice) -> Model:
    return Model.register(
        lab.projects.get(name="Default"),
        by=alice,
        name="net",
        address="/mnt/net.pt",
        labels={"cat": 1, "a=b": 0},
    )


def replace(user, model: Model, text: str):
    page = reverse("model-labels", args=["lab", model.public_id])
    return as_(user).post(page, {"block": text, "seen": model.updated_at.isoformat()})


def test_labels_are_edited_as_a_block(lab, alice, model):
    """CML-M1: all at once, a line label=number each."""
    page = as_(alice).get(reverse("model-labels", args=["lab", model.public_id])).content.decode()
    assert "a=b=0\ncat=1</textarea>" in page
    assert replace(alice, model, "dog = 2\r\n\r\na=b=0").status_code == 302
    model.refresh_from_db()
    assert model.labels == {"dog": 2, "a=b": 0}
    assert replace(alice, model, "").status_code == 302
    model.refresh_from_db()
    assert model.labels == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("cat", "Line 1: write label=number"),
        ("a=1\n=2", "Line 2: write label=number"),
        ("cat=one", "Line 1: “one” is not a whole number"),
        ("cat=-1", "is not a whole number of 0 or more"),
        ("cat=1\ncat=2", "Line 2: the label “cat” is already in line 1"),
        ("\n".join(["x"] * 9), "4 more lines have errors"),
    ],
)
def test_wrong_lines_are_named_and_kept(lab, alice, model, text, reason):
    """CML-M1: nothing changes, and nothing typed is lost."""
    response = replace(alice, model, text)
    content = response.content.decode()
    assert response.status_code == 422 and reason in content and f"{text}</textarea>" in content
    model.refresh_from_db()
    assert model.labels == {"cat": 1, "a=b": 0}


def test_a_block_does_not_overwrite_what_somebody_else_saved(lab, alice, carol, model):
    """CML-M1: two people at once."""
    before = Model.objects.get(pk=model.pk)
    model.label("dog", 2)
    assert replace(alice, before, "cat=1").status_code == 409
    assert replace(carol, model, "cat=1").status_code == 403
    model.publish()
    assert replace(alice, model, "cat=1").status_code == 409
