"""The Artifacts tab: what trials left, downloaded; the input model of a draft; a workspace's destination."""

from __future__ import annotations

import os
import re

import pytest
from django.test import Client
from django.urls import reverse

from experiments import downloads
from experiments.models import Artifact, Keeping, Model, Outcome, Workspace
from tests.runner.test_destination import s3  # noqa: F401  the fixture
from tests.web.experiment.test_configuration import as_, words
from tests.web.files import leave, path_of


def url(page: str, experiment, *more) -> str:
    return reverse(page, args=["lab", experiment.public_id, *more])


def tab(user, experiment, query: str = "") -> str:
    response = as_(user).get(url("experiment-artifacts", experiment) + query)
    assert response.status_code == 200
    return response.content.decode()


def fetched(response) -> bytes:
    return b"".join(response.streaming_content)


def given_up(response) -> None:
    """The line breaks in the middle: the server closes what it was reading from."""
    for close in response._resource_closers:
        close()


@pytest.fixture
def left(running):
    """An experiment with three trials that left a file each; the second is the best."""
    experiment = running(taken=3, concurrency=3)
    for trial, value in zip(experiment.trials.order_by("number"), (0.5, 0.9, 0.7), strict=True):
        trial.settle(Outcome(value=value, exit_code=0))
        leave(trial, f"of {trial.number} ü.pt", b"weights of %d" % trial.number)
    experiment.refresh_from_db()
    return experiment


def names(html: str) -> list[str]:
    return re.findall(r'class="name" [^>]*title="([^"]*)"', html)


# --- stored later ------------------------------------------------------------------------------------------------


def test_files_of_other_machines_can_be_stored_in_a_destination(left, bob, tmp_path):
    """TD-S1: the files that were left before there was a destination; stored and removed ones stay as they are."""
    first = left.trials.get(number=1)
    stored = leave(first, "stored.bin", None, keeping=Keeping.STORED, destination="s3://bucket/folder")
    failing = leave(
        first, "failing.bin", None, keeping=Keeping.WAITING, destination="s3://gone/folder", fault="no"
    )
    removed = leave(first, "removed.bin", None, keeping=Keeping.DROPPED)
    left.project.change(name="Default", description="", destination="s3://ours/trials")
    assert url("experiment-artifacts-store", left) in tab(bob, left)
    question = as_(bob).get(url("experiment-artifacts-store", left)).content.decode()
    assert 'value="s3://ours/trials"' in question and "4 files" in words(question)
    response = as_(bob).post(
        url("experiment-artifacts-store", left), {"destination": "s3://ours/trials"}, follow=True
    )
    assert "4 files will be uploaded by the workers." in words(response.content.decode())
    waiting = left.artifacts.filter(
        keeping=Keeping.WAITING, destination="s3://ours/trials", fault="", tries=0
    )
    assert waiting.count() == 4 and waiting.filter(pk=failing.pk).exists()
    for row, destination in ((stored, "s3://bucket/folder"), (removed, "")):
        before = row.keeping
        row.refresh_from_db()
        assert (row.keeping, row.destination) == (before, destination)


def test_an_upload_under_way_does_not_count_for_the_new_destination(left, bob):
    """TD-S1: a file that reached the old destination after it was sent to another is uploaded there."""
    under_way = leave(
        left.trials.get(number=1), "slow.bin", None, keeping=Keeping.WAITING, destination="s3://old/a"
    )
    Artifact.store(left, "s3://ours/trials", by=bob)
    under_way.stored(sha256="0" * 64, size=1)
    under_way.refresh_from_db()
    assert under_way.keeping == Keeping.WAITING


@pytest.mark.parametrize(
    ("destination", "message"),
    [("", "Enter an output destination."), ("s3:/bucket", "destination"), ("bucket/folder", "destination")],
)
def test_a_destination_that_cannot_be_used_stores_nothing(left, bob, destination, message):
    """TD-S1: the field says what is wrong."""
    response = as_(bob).post(url("experiment-artifacts-store", left), {"destination": destination})
    assert response.status_code == 422 and message in words(response.content.decode())
    assert not left.artifacts.exclude(keeping=Keeping.LOCAL).exists()


def test_without_files_there_is_nothing_to_store(running, bob, carol):
    """TD-S1: neither a button nor an answer as if something happened; viewers cannot."""
    experiment = running()
    assert url("experiment-artifacts-store", experiment) not in tab(bob, experiment)
    address, body = url("experiment-artifacts-store", experiment), {"destination": "s3://ours/trials"}
    response = as_(bob).post(address, body)
    assert response.status_code == 409
    assert "All files are in an output destination" in words(response.content.decode())
    assert as_(carol).post(address, body).status_code == 403


# --- listed ----------------------------------------------------------------------------------------------------


def test_files_are_listed_the_best_first_with_where_they_are(left, carol):
    """CML-O1: size, hash, destination, and the fault of one that does not take them."""
    first, third = left.trials.get(number=1), left.trials.get(number=3)
    leave(first, "kept.bin", None, keeping=Keeping.STORED, destination="s3://bucket/folder")
    leave(
        third, "late.bin", None, keeping=Keeping.WAITING, destination="/mnt/share", fault="/mnt/share is full"
    )
    leave(third, "gone.bin", None, keeping=Keeping.DROPPED)
    html = tab(carol, left)
    text = words(html)
    assert names(html) == ["of 2 ü.pt", "kept.bin", "of 1 ü.pt", "late.bin", "of 3 ü.pt"]
    assert f"s3://bucket/folder/{left.public_id}/1/kept.bin" in html
    assert (
        "/mnt/share is full" in text
        and "on w1; next upload attempt" in text
        and "on the worker's machine w1" in text
    )
    assert "5 files, 36 B" in text and "1 pending upload (1 failed, retrying)" in text
    assert Artifact.objects.get(name="of 1 ü.pt").sha256 in html
    assert "Register" not in text, "a viewer only looks"
    assert names(tab(carol, left, "?trial=3")) == ["late.bin", "of 3 ü.pt"]
    page = as_(carol).get(url("trial", left, 3)).content.decode()
    assert names(page) == ["late.bin", "of 3 ü.pt"]


def test_many_files_are_paged_by_key_and_cost_no_more_queries(left, carol, django_assert_max_num_queries):
    """TD-X7: there and back through the pages each stands once, the best trial's first."""
    client, queries = as_(carol), 10  # one asks whether there is a queue to move to
    client.get(url("experiment-artifacts", left))  # the first request notes the session
    with django_assert_max_num_queries(queries):
        client.get(url("experiment-artifacts", left))
    rows = [
        Artifact(
            trial=trial,
            experiment=left,
            worker=trial.worker,
            name=f"{n:04}",
            size=1,
            changed_at=trial.created_at,
        )
        for trial in left.trials.filter(number__lte=3)
        for n in range(40)
    ]
    Artifact.objects.bulk_create(rows)
    pages, address = [], "?"
    while address:
        with django_assert_max_num_queries(queries + ("after" in address)):
            html = client.get(url("experiment-artifacts", left) + address).content.decode()
        pages.append(re.findall(r'data-key="file-(\d+)"', html))
        match = re.search(r'href="(\?[^"]*)" rel="next"', html)
        back = re.search(r'href="(\?[^"]*)" rel="prev"', html)
        address = match and match[1]
    assert [len(page) for page in pages] == [50, 50, 23]
    best = list(Artifact.objects.filter(trial__number=2).order_by("name").values_list("pk", flat=True))
    others = Artifact.objects.exclude(trial__number=2).order_by("trial", "name").values_list("pk", flat=True)
    assert [int(key) for page in pages for key in page] == [*best, *others]
    html = client.get(url("experiment-artifacts", left) + back[1]).content.decode()
    assert re.findall(r'data-key="file-(\d+)"', html) == pages[1]


def test_an_experiment_without_files_says_how_a_trial_leaves_one(draft, carol):
    assert "TRIALDECK_OUTPUT_DIR" in tab(carol, draft())


def test_what_a_reset_put_into_the_trash_is_not_listed(left, alice, carol):
    artifact = Artifact.objects.first()
    left.stop(by=alice)
    left.refresh_from_db()
    left.trials.filter(number=artifact.trial.number).update(trashed_at=artifact.changed_at)
    assert len(names(tab(carol, left))) == 2
    assert as_(carol).get(url("artifact-download", left, artifact.pk)).status_code == 404


# --- downloaded ------------------------------------------------------------------------------------------------


def test_a_file_of_this_machine_is_given_whole_and_never_shown(left, carol, dave):
    """CML-O1, TD-X10: as an attachment that no browser runs."""
    artifact = Artifact.objects.get(name="of 2 ü.pt")
    answer = as_(carol).get(url("artifact-download", left, artifact.pk))
    assert fetched(answer) == b"weights of 2"
    assert answer["Content-Disposition"] == "attachment; filename*=utf-8''of%202%20%C3%BC.pt"
    assert answer["Content-Type"] == "application/octet-stream" and answer["Content-Length"] == "12"
    assert answer["X-Content-Type-Options"] == "nosniff" and "sandbox" in answer["Content-Security-Policy"]
    assert as_(dave).get(url("artifact-download", left, artifact.pk)).status_code == 404


@pytest.mark.once
def test_a_broken_download_goes_on_where_it_broke_off(left, carol, api):
    """TD-X10: HEAD, one range, If-Range with the hash; by page and API. A file that changed begins anew."""
    artifact = Artifact.objects.get(name="of 2 ü.pt")
    pages, program = Client(), api(carol)
    pages.force_login(carol)
    path = f"/experiments/{left.public_id}/artifacts/{artifact.pk}/download"

    def ask(method="GET", **headers):
        sent = {name.replace("_", "-"): text for name, text in headers.items()} | {"Accept-Encoding": "gzip"}
        by_page = pages.generic(method, url("artifact-download", left, artifact.pk), headers=sent)
        by_api = program.send(method, path, headers=headers)
        for name in ("Content-Range", "ETag", "Content-Length", "Accept-Ranges"):
            assert by_page.get(name) == by_api.get(name) or by_page.status_code == 416, name
        assert by_page.status_code == by_api.status_code
        body = fetched(by_page) if by_page.streaming else b""
        assert body == (fetched(by_api) if by_api.streaming else b"")
        return by_page, body

    whole, body = ask()
    etag = f'"{artifact.sha256}"'
    assert (body, whole["ETag"], whole["Accept-Ranges"]) == (b"weights of 2", etag, "bytes")
    for _ in range(downloads.AT_ONCE + 1):  # it takes nobody's place
        head, _ = ask("HEAD", Range="bytes=2-")
        assert (head.status_code, head["Content-Length"], head["ETag"]) == (200, "12", etag)
    for range_, bytes_, content_range in (
        ("bytes=8-", b"of 2", "bytes 8-11/12"),
        ("bytes=0-6", b"weights", "bytes 0-6/12"),
        ("bytes=-4", b"of 2", "bytes 8-11/12"),
        ("bytes=10-99", b" 2", "bytes 10-11/12"),
        ("bytes=-99", b"weights of 2", "bytes 0-11/12"),
    ):
        part, body = ask(Range=range_, If_Range=etag)
        assert (part.status_code, body, part["Content-Range"]) == (206, bytes_, content_range), range_
    for range_ in ("bytes=5-2", "bytes=0-1,4-5", "bytes=-", "lines=1-2", "bytes=x-", "bytes=²-"):
        assert ask(Range=range_.encode().decode("latin-1"))[1] == b"weights of 2", range_
    for range_ in ("bytes=12-", "bytes=-0", "bytes=99-100"):
        beyond, _ = ask(Range=range_)
        assert (beyond.status_code, beyond["Content-Range"]) == (416, "bytes */12"), range_
    assert ask(Range="bytes=8-", If_Range='"another"')[1] == b"weights of 2"
    path_of(artifact).write_bytes(b"WEIGHTS of 2")  # as long as before, and not what was hashed
    changed, body = ask(Range="bytes=8-", If_Range=etag)
    assert (changed.status_code, body, changed.get("ETag")) == (200, b"WEIGHTS of 2", None)


@pytest.mark.once
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ('a "b"; filename=x.exe', 'attachment; filename="a \\"b\\"; filename=x.exe"'),
        ("back\\slash.pt", 'attachment; filename="back\\\\slash.pt"'),
        ("in\nit\r: x", 'attachment; filename="in_it_: x"'),
        ("模型 100%.pt", "attachment; filename*=utf-8''%E6%A8%A1%E5%9E%8B%20100%25.pt"),
    ],
)
def test_any_name_is_safe_in_a_header(left, carol, name, expected):
    """CML-O1: a trial names its files; a name ends no header and begins no other."""
    artifact = leave(left.trials.first(), name, b"x")
    answer = as_(carol).get(url("artifact-download", left, artifact.pk))
    assert fetched(answer) == b"x" and answer["Content-Disposition"] == expected


def test_one_in_a_folder_is_given_too(left, carol, tmp_path):
    """CML-O1: a share that the web's machine sees."""
    artifact = leave(
        left.trials.first(), "sub/a #1 %.bin", b"x", keeping=Keeping.STORED, destination=str(tmp_path)
    )
    assert fetched(as_(carol).get(url("artifact-download", left, artifact.pk))) == b"x"


def test_one_in_an_object_store_is_a_signed_address(left, carol, s3):  # noqa: F811
    """CML-O1: which works for whoever has it, for a while; the web does not carry the bytes."""
    from urllib.request import Request, urlopen

    from experiments.runner.destination import Store

    artifact = leave(left.trials.first(), "a b.bin", b"stored", keeping=Keeping.STORED, destination=s3)
    local = leave(left.trials.first(), "local copy", b"stored")
    Store(s3).put(path_of(local), artifact.key)
    answer = as_(carol).get(url("artifact-download", left, artifact.pk))
    assert answer.status_code == 302 and answer["Cache-Control"] == "no-store"
    with urlopen(answer["Location"], timeout=10) as response:
        assert response.read() == b"stored"
    head = as_(carol).head(url("artifact-download", left, artifact.pk))
    with urlopen(Request(head["Location"], method="HEAD"), timeout=10) as response:
        assert response.headers["Content-Length"] == "6"


def test_one_on_another_machine_says_where_it_lies(left, carol):
    artifact = leave(left.trials.first(), "far.bin", None)
    answer = as_(carol).get(url("artifact-download", left, artifact.pk))
    text = words(answer.content.decode())
    assert answer.status_code == 409 and "Download not available" in text
    assert "of the worker w1 (here)" in text and f"trials/{left.public_id}/1/output/far.bin" in text


@pytest.mark.parametrize("kind", ["link", "folder link", "pipe"])
def test_what_is_no_plain_file_is_not_followed(left, carol, tmp_path, kind):
    """CML-O1: a trial may leave a link to what only the web may read."""
    (tmp_path / "secret").write_text("s3cret")
    artifact = leave(left.trials.first(), "sub/x", b"x")
    path = path_of(artifact)
    path.unlink()
    if kind == "link":
        path.symlink_to(tmp_path / "secret")
    elif kind == "pipe":
        os.mkfifo(path)
    else:  # within the output folder, but not the file that was seen
        path.parent.rmdir()
        (path.parent.parent / "other").mkdir()
        (path.parent.parent / "other" / "x").write_text("s3cret")
        path.parent.symlink_to("other")
    answer = as_(carol).get(url("artifact-download", left, artifact.pk))
    assert answer.status_code == 409 and b"s3cret" not in answer.content


def test_downloads_leave_room_for_pages(left, carol):
    """Two at once in a process; whoever comes then is told to wait, until one has ended or was given up."""
    artifact, client = Artifact.objects.first(), as_(carol)
    address = url("artifact-download", left, artifact.pk)
    under_way = [client.get(address) for _ in range(downloads.AT_ONCE)]
    busy = client.get(address)
    assert busy.status_code == 503 and busy["Retry-After"] == "10"
    assert "downloads are in progress, the maximum" in words(busy.content.decode())
    assert client.get(url("experiment-artifacts", left)).status_code == 200
    given_up(under_way.pop())
    assert fetched(client.get(address)) == b"weights of 1"
    given_up(under_way.pop())


def test_what_is_appended_meanwhile_is_left_out(left, carol):
    """A running trial goes on writing: the answer is as long as it says."""
    artifact = Artifact.objects.first()
    answer = as_(carol).get(url("artifact-download", left, artifact.pk))
    with path_of(artifact).open("ab") as file:
        file.write(b" and more")
    assert fetched(answer) == b"weights of 1"


# --- made into a model -----------------------------------------------------------------------------------------


def test_an_operator_registers_a_file_as_a_model(left, bob, carol):
    """CML-M1, TD-X10."""
    artifact = Artifact.objects.get(name="of 2 ü.pt")
    address = url("artifact-register", left, artifact.pk)
    client = as_(bob)
    page = client.get(address).content.decode()
    assert f'value="{left.name} #2 of 2 ü.pt"' in page and 'value="PyTorch"' in page
    assert "The file is stored only on worker w1" in words(page)
    assert client.post(address, {"name": " ", "project": left.project_id}).status_code == 422
    answer = client.post(address, {"name": "good one", "project": left.project_id, "framework": "PyTorch"})
    model = Model.objects.get()
    assert answer["Location"] == reverse("model", args=["lab", model.public_id])
    assert (model.name, model.artifact, model.creator, model.framework) == (
        "good one",
        artifact,
        bob,
        "PyTorch",
    )
    assert 'title="good one">model' in tab(carol, left)
    assert as_(carol).post(address, {"name": "x"}).status_code == 403


def test_a_file_that_was_not_kept_is_no_model(left, bob):
    artifact = leave(left.trials.first(), "gone.bin", None, keeping=Keeping.DROPPED)
    assert as_(bob).get(url("artifact-register", left, artifact.pk)).status_code == 409
    assert as_(bob).get(url("artifact-download", left, artifact.pk)).status_code == 409


# --- input model -----------------------------------------------------------------------------------------------


@pytest.fixture
def model(lab, alice):
    return Model.register(lab.projects.get(), by=alice, name="Good weights", address="s3://bucket/w.pt")


def test_an_input_model_is_chosen_changed_and_removed(draft, model, lab, alice, bob, carol):
    """CML-M1: from any project, found by name and project; one act, one revision."""
    experiment, client = draft(), as_(bob)
    other = lab.projects.create(name="Vision")
    second = Model.register(other, by=alice, name="Other", address="s3://bucket/o.pt")
    choose = url("experiment-input", experiment)
    assert "Select model" in tab(bob, experiment) and "Select model" not in tab(carol, experiment)
    for query, expected in (("", [model, second]), ("?q=GOOD", [model]), ("?project=Vision", [second])):
        page = client.get(choose + query).content.decode()
        assert {model_.name for model_ in (model, second) if f'value="{model_.public_id}"' in page} == {
            model_.name for model_ in expected
        }
    assert client.post(choose, {"seen": 1}).status_code == 422
    for model_ in (model, second):
        seen = re.search(r'name="seen" value="(\d+)"', client.get(choose).content.decode())[1]
        assert client.post(choose, {"seen": seen, "model": model_.public_id}).status_code == 302
        experiment.refresh_from_db()
        assert experiment.settings.input_model == model_.public_id
    assert "Other" in words(tab(carol, experiment)) and experiment.revision.number == 3
    users = as_(carol).get(reverse("model", args=["lab", second.public_id])).content.decode()
    assert experiment.name in users
    assert client.post(url("experiment-input-remove", experiment), {"seen": 3}).status_code == 302
    experiment.refresh_from_db()
    assert experiment.settings.input_model == "" and experiment.revision.number == 4


def test_a_model_of_another_workspace_does_not_exist(draft, dave, bob):
    """CML-M1, PAI-P1."""
    attic = Workspace.open("attic", owner=dave)
    theirs = Model.register(attic.projects.get(), by=dave, name="theirs", address="s3://bucket/t.pt")
    experiment = draft()
    answer = as_(bob).post(url("experiment-input", experiment), {"seen": 1, "model": theirs.public_id})
    assert answer.status_code == 404
    assert "theirs" not in as_(bob).get(url("experiment-input", experiment)).content.decode()
    experiment.refresh_from_db()
    assert experiment.settings.input_model == ""
    for page in ("model", "model-download", "model-network", "model-labels"):
        for slug in ("lab", "attic"):
            assert as_(bob).get(reverse(page, args=[slug, theirs.public_id])).status_code == 404


@pytest.mark.parametrize("state", ["pending", "running", "paused", "completed", "published"])
def test_only_a_draft_has_its_input_model_chosen(in_state, model, bob, state):
    """CML-E0: elsewhere the control is absent and the request is 409."""
    experiment = in_state(state)
    client = as_(bob)
    assert "Select model" not in tab(bob, experiment)
    assert client.get(url("experiment-input", experiment)).status_code == 409
    assert client.post(url("experiment-input", experiment), {"model": model.public_id}).status_code == 409
    assert client.post(url("experiment-input-remove", experiment)).status_code == 409


def test_who_is_too_late_is_told_so(draft, model, alice, bob):
    experiment = draft()
    answer = as_(bob).post(url("experiment-input", experiment), {"seen": 7, "model": model.public_id})
    assert answer.status_code == 409


def test_a_chosen_model_that_is_gone_is_named(draft, model, alice, bob, carol):
    """CML-M1: on the tab, and where the draft is enqueued."""
    experiment = draft(input_model=model.public_id)
    enqueue = reverse("experiment-action", args=["lab", experiment.public_id, "enqueue"])
    on_tab = f"no model {model.public_id} in this workspace"
    message = f"The model {model.public_id} no longer exists in this workspace"
    assert message not in words(as_(bob).get(enqueue).content.decode())
    model.delete_unused(by=alice)
    assert on_tab in words(tab(carol, experiment))
    assert message in words(as_(bob).get(enqueue).content.decode())


# --- destination -----------------------------------------------------------------------------------------------


def test_a_workspace_has_a_destination_read_like_all_others(lab, alice, bob):
    """CML-O1: its owners say it; a port that is missing is explained."""
    address, client = reverse("workspace-destination", args=["lab"]), as_(alice)
    wrong = client.post(address, {"destination": "s3://127.0.0.1/bucket"})
    assert wrong.status_code == 422 and "requires a port" in words(wrong.content.decode())
    assert "s3://127.0.0.1/bucket" in wrong.content.decode(), "what was typed is not lost"
    assert client.post(address, {"destination": "gs://bucket/lab"}).status_code == 302
    lab.refresh_from_db()
    assert lab.destination == "gs://bucket/lab"
    page = words(client.get(reverse("workspace-settings", args=["lab"])).content.decode())
    assert "Most specific setting wins" in page
    assert as_(bob).post(address, {"destination": ""}).status_code == 403
    client.post(address, {"destination": ""})
    lab.refresh_from_db()
    assert lab.destination == ""


def test_nobody_else_gets_in(left):
    answer = Client().get(url("artifact-download", left, Artifact.objects.first().pk))
    assert answer.status_code == 302 and "sign-in" in answer["Location"]
