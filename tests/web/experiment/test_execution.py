"""Execution: every block as it holds, edited in drafts only, one block at a time; what two people do at once."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.urls import reverse

from experiments.models import Experiment, Queue, Worker
from experiments.models.status import EXPERIMENT_STATES
from experiments.web.experiment.execution import BLOCKS
from experiments.web.ui import highlight
from tests.people import as_

pytestmark = pytest.mark.once

REPOSITORY = "https://example.org/team/code.git"
DIFF = """\
diff --git a/train.py b/train.py
--- a/train.py
+++ b/train.py
@@ -1,2 +1,2 @@
 import os
-print("old")
+print("new <b>")
--- x
"""
SOURCE = {
    "repository": f" {REPOSITORY} ",
    "reference_kind": "tag",
    "reference": " v1.0 ",
    "script": " train.py ",
    "directory": " src ",
    "binary": " python3.12 ",
}


def url_of(experiment: Experiment, block: str = "") -> str:
    return reverse("experiment-execution", args=["lab", experiment.public_id]) + (block and f"{block}/")


def words(html: str) -> str:
    return unescape(" ".join(re.sub(r"<[^>]+>", " ", html).split()))


def page_of(user, experiment: Experiment, query: str = "") -> str:
    response = as_(user).get(url_of(experiment) + query)
    assert response.status_code == 200
    return response.content.decode()


def save(user, experiment: Experiment, block: str, *, seen: int | None = None, **typed):
    seen = seen or experiment.revision.number
    response = as_(user).post(url_of(experiment, block), {"seen": seen, **typed})
    experiment.refresh_from_db()
    return response


def test_the_source_is_edited_in_one_revision(draft, bob):
    """CML-S1 (S1 to S9): repository, tag, script, directory, binary; white space around them is none."""
    experiment = draft()
    response = save(bob, experiment, "source", **SOURCE, runs_script="on")
    assert response.status_code == 302 and response["Location"].endswith("/execution/#source")
    settings = experiment.settings
    assert experiment.revision.number == 2 and experiment.revision.by == bob
    assert (settings.repository, settings.reference_kind, settings.reference) == (REPOSITORY, "tag", "v1.0")
    assert (settings.directory, settings.run_command) == ("src", "python3.12 train.py")
    text = words(page_of(bob, experiment))
    assert f"Repository {REPOSITORY} Version tag v1.0 resolved at the first start" in text
    assert "Working directory src Binary python3.12 Runs python3.12 train.py" in text
    experiment.revision.resolve(commit="0123456789abcdef")
    assert "resolved to commit 0123456789ab" in words(page_of(bob, experiment))


def test_saving_what_is_there_makes_no_revision(draft, bob):
    experiment = draft(repository=REPOSITORY)
    save(bob, experiment, "source", repository=REPOSITORY, reference_kind="branch")
    assert experiment.revision.number == 1


@pytest.mark.parametrize(
    ("block", "typed", "message"),
    [
        ("source", {**SOURCE, "reference": ""}, "Enter the tag."),
        ("source", {**SOURCE, "repository": "--upload-pack=x"}, "git would read it as an option"),
        ("source", {**SOURCE, "reference_kind": "commit"}, "Enter the hash of the commit"),
        ("source", {**SOURCE, "directory": "../etc"}, "without .."),
        ("packages", {"packages_from": "repository"}, "Using requirements.txt requires a repository"),
        ("packages", {"packages_from": "list", "packages": " "}, "List at least one package"),
        ("resources", {"memory_mib": "lots"}, "such as 4 GiB or 512 MiB"),
        ("resources", {"cores": "0"}, "This must be at least 1."),
        ("container", {"image": "-v"}, "must not begin with “-”"),
        (
            "output",
            {"destination": "s3://localhost/bucket"},
            "An S3-compatible service requires a port: s3://localhost:9000",
        ),
        ("output", {"destination": "relative"}, "Enter a folder"),
        ("output", {"keeps_best": "0"}, "must be at least 1"),
    ],
)
def test_what_cannot_be_is_refused_at_its_field_with_what_was_typed(draft, bob, block, typed, message):
    """Bad input."""
    experiment = draft()
    response = save(bob, experiment, block, **typed)
    html = response.content.decode()
    assert response.status_code == 422 and message in unescape(html) and experiment.revision.number == 1
    assert all(str(value).strip() in html for value in typed.values())


def test_three_empty_package_lists_are_three_different_things(draft, bob):
    """CML-S2 (P1 to P3, P6): a list, none, the repository's, and the machine's own are never mixed up."""
    experiment = draft(repository=REPOSITORY)
    pages = {}
    save(bob, experiment, "packages", packages_from="list", packages="numpy==2.3.4\r\ntorch")
    assert experiment.settings.packages == "numpy==2.3.4\ntorch"
    for chosen in ("none", "repository", "worker"):
        save(bob, experiment, "packages", packages_from="list", packages="numpy==2.3.4")
        save(bob, experiment, "packages/clear", packages_from=chosen)
        assert (experiment.settings.packages_from, experiment.settings.packages) == (chosen, "")
        pages[chosen] = words(page_of(bob, experiment))
    assert "No packages will be installed." in pages["none"]
    assert "will be installed from the repository's requirements.txt" in pages["repository"]
    assert "No packages are installed. Trials use the worker's Python environment" in pages["worker"]
    without = draft("without repository")
    assert 'value="repository"' not in as_(bob).get(url_of(without, "packages/clear")).content.decode()


@pytest.mark.parametrize(
    ("before", "back"),
    [
        ({"packages_from": "list", "packages": "numpy>=2"}, ("list", "numpy>=2")),
        ({"packages_from": "repository"}, ("repository", "")),
    ],
)
def test_a_clone_of_a_run_has_the_resolved_list_and_a_way_back(draft, bob, before, back):
    """CML-S2 (P4, P5): specified and resolved are both there; Reset returns to the specified."""
    source = draft(repository=REPOSITORY, **before)
    assert "Reset to original" not in page_of(bob, source)
    source.revision.resolve(packages="numpy==2.3.4\nscipy==1.16")
    assert "Resolved packages" in page_of(bob, source)
    clone = source.clone(by=bob)
    text = words(page_of(bob, clone))
    assert "numpy==2.3.4 scipy==1.16" in text and "Original packages, before resolution" in text
    assert save(bob, clone, "packages/reset").status_code == 302
    assert (clone.settings.packages_from, clone.settings.packages) == back
    assert "Reset to original" not in page_of(bob, clone)


def test_changes_are_seen_as_a_diff_searched_edited_and_discarded(draft, bob):
    """CML-S3 (U1 to U3)."""
    experiment = draft(repository=REPOSITORY)
    save(bob, experiment, "changes", diff=DIFF.replace("\n", "\r\n"))
    assert experiment.settings.diff == DIFF
    html = page_of(bob, experiment)
    assert (
        '<span class="add">+print(&quot;new &lt;b&gt;&quot;)' in html
        and '<span class="file">+++ b/train.py' in html
    )
    assert '<span class="del">--- x' in html, "within a hunk this is a removed line"
    assert "1 file, +1 −2" in html
    page_ = page_of(bob, experiment, "?q=PRINT(")
    assert page_.count("<mark>print(</mark>") == 2 and "2 lines match" in page_
    assert "Removes 8 lines" in as_(bob).get(url_of(experiment, "changes/discard")).content.decode()
    save(bob, experiment, "changes/discard")
    assert experiment.settings.diff == "" and "None." in words(page_of(bob, experiment))


def test_a_diff_keeps_the_newlines_of_its_files(draft, bob):
    """CML-S3: a browser sends every newline as CRLF; what somebody did not touch stays to the byte."""
    mixed = DIFF.replace("os\n", "os\r\n").replace('")\n', '")\r\n')
    sent = mixed.replace("\r\n", "\n").replace("\n", "\r\n")
    experiment = draft(repository=REPOSITORY, diff=mixed)
    assert experiment.settings.diff == mixed and "\r" not in page_of(bob, experiment)
    save(bob, experiment, "changes", diff=sent)
    assert experiment.revision.number == 1
    save(bob, experiment, "container", image="torch:2.9")
    assert (experiment.settings.diff, experiment.revision.number) == (mixed, 2)
    save(bob, experiment, "changes", diff=sent.replace("new", "newer"))
    assert experiment.settings.diff == DIFF.replace("new", "newer")
    assert draft(command="", diff="print(1)\r\n").settings.diff == "print(1)\n"


def test_a_text_without_a_repository_is_a_script(draft, bob):
    """CML-S3 (U4)."""
    experiment = draft(diff="print(1)\n- not a diff\n", command="")
    html = page_of(bob, experiment)
    assert "this text runs as the script" in html and 'class="del"' not in html and "python script.py" in html


def test_a_long_diff_is_cut_and_shown_whole_when_asked():
    text = "+x\n" * 300_000
    cut, whole = (
        highlight.read(text, is_diff=True, query="x"),
        highlight.read(text, is_diff=True, is_whole=True),
    )
    assert (len(cut.lines), cut.is_cut, cut.matches) == (highlight.MOST_LINES, True, 300_000)
    assert (len(whole.lines), whole.is_cut, whole.total) == (300_000, False, 300_000)


def test_what_each_trial_has_for_itself_is_edited(draft, bob):
    """TD-F8, CML-E0: typed as it is said; left empty it is not asked for."""
    experiment = draft(gpus=1)
    save(bob, experiment, "resources", gpus="", cores="2", memory_mib="1.5g")
    settings = experiment.settings
    assert (settings.gpus, settings.cores, settings.memory_mib) == (None, 2, 1536)
    assert "GPUs per trial — Cores per trial 2 Memory per trial 1.5 GiB" in words(page_of(bob, experiment))
    assert 'value="1.5 GiB"' in as_(bob).get(url_of(experiment, "resources")).content.decode()


def test_the_container_is_edited_and_the_page_says_who_would_use_it(draft, bob, worker):
    """CML-D1 (D1 to D3)."""
    experiment = draft()
    experiment.change(by=bob, queue=Queue.default())
    Worker.register("boxed", host="there", pid=2, queues=["default"], slots=1, lease_s=15, container="podman")
    typed = {"image": "torch:2.9", "image_arguments": "--ipc=host", "setup_script": "apt-get update\r\ntrue"}
    save(bob, experiment, "container", **typed)
    assert experiment.settings.setup_script == "apt-get update\ntrue"
    text = words(page_of(bob, experiment))
    assert "Image torch:2.9 Arguments --ipc=host" in text
    assert "boxed (podman), w1 (no containers)" in text
    save(bob, experiment, "container/clear")
    assert experiment.settings.image == experiment.settings.setup_script == ""


def test_the_nearest_destination_counts(draft, bob):
    """CML-O1 (O1 to O7): experiment, project, workspace, installation."""
    experiment = draft()
    workspace, project = experiment.workspace, experiment.project
    workspace.destination, project.destination = "gs://of-workspace/x", "/mnt/of-project"
    workspace.save(update_fields=["destination"])
    project.save(update_fields=["destination"])
    assert "Project Default /mnt/of-project in effect" in words(page_of(bob, experiment))
    for where in (
        "/mnt/share/folder",
        "s3://bucket/folder",
        "s3://host_addr:9000/bucket",
        "gs://bucket-name/folder",
        "azure://account.blob.core.windows.net/path/to/file",
    ):
        save(bob, experiment, "output", destination=where)
        assert experiment.settings.destination == where
    assert "path/to/file in effect Project Default /mnt/of-project Workspace" in words(
        page_of(bob, experiment)
    )
    save(bob, experiment, "output/clear")
    assert experiment.settings.destination == ""


@pytest.mark.parametrize("state", sorted(EXPERIMENT_STATES))
def test_a_block_is_edited_in_drafts_only(in_state, bob, state):
    """CML-E0: elsewhere the controls are absent, and the request is 409 with what was typed."""
    experiment = in_state(
        state, packages_from="list", packages="x", original_packages="y", diff="a", image="i"
    )
    html, number = page_of(bob, experiment), experiment.revision.number
    is_draft = state == "draft"
    assert ('hx-swap="morph">Clear' in html, "Reset to original" in html) == (is_draft, is_draft)
    for block in BLOCKS:
        assert (url_of(experiment, block) in html) is (
            is_draft and block not in ("source/clear", "output/clear")
        )
        if not is_draft:
            assert as_(bob).get(url_of(experiment, block)).status_code == 409
    response = save(bob, experiment, "container", image="typed-text")
    assert response.status_code == (302 if is_draft else 409)
    assert is_draft or "typed-text" in response.content.decode()
    assert experiment.revision.number == number + is_draft


def test_a_viewer_sees_and_may_not(draft, carol, dave):
    experiment = draft(image="torch")
    assert (
        "torch" in page_of(carol, experiment)
        and 'hx-target="#dialog"' not in page_of(carol, experiment).split('id="source"')[1]
    )
    for block in BLOCKS:
        assert as_(carol).get(url_of(experiment, block)).status_code == 403
        assert save(carol, experiment, block, image="x").status_code == 403
        assert as_(dave).get(url_of(experiment, block)).status_code == 404
    assert as_(carol).get(url_of(experiment, "nothing")).status_code == 404


def test_two_people_at_once(draft, alice, bob):
    """CML-E0 (X1): what somebody changed elsewhere is no clash; the same block is, and nothing typed is lost."""
    experiment = draft()
    save(alice, experiment, "output", destination="/mnt/a")
    assert save(bob, experiment, "container", seen=1, image="mine").status_code == 302
    assert (experiment.settings.destination, experiment.settings.image) == ("/mnt/a", "mine")
    save(alice, experiment, "container", image="hers")
    response = save(bob, experiment, "container", seen=3, image="mine again")
    html = response.content.decode()
    assert response.status_code == 409 and "Someone else saved changes first" in html
    assert 'value="mine again"' in html and "<ins>hers</ins>" in html
    assert experiment.settings.image == "hers"
    (seen,) = re.findall(r'name="seen" value="(\d+)"', html)
    assert save(bob, experiment, "container", seen=int(seen), image="mine again").status_code == 302
    assert save(bob, experiment, "container", seen=99, image="x").status_code == 409
    assert as_(bob).post(url_of(experiment, "container"), {"image": "x"}).status_code == 422


def test_the_tab_costs_the_same_however_much_it_shows(draft, bob, worker, django_assert_max_num_queries):
    client, plain = as_(bob), draft()
    with django_assert_max_num_queries(8) as few:
        client.get(url_of(plain))
    for number in range(30):
        Worker.register(f"m{number}", host="h", pid=1, queues=["default"], slots=1, lease_s=15)
    full = draft("full", repository=REPOSITORY, diff=DIFF * 200, packages_from="list", packages="x\n" * 500)
    with django_assert_max_num_queries(8) as many:
        client.get(url_of(full))
    assert len(few) == len(many)


def test_enqueue_warns_of_what_will_not_run(draft, bob, worker):
    """CML-Q1 (Q5), CML-D1: no code where it is looked for; an image and nobody who runs containers."""
    client = as_(bob)

    def question(experiment: Experiment) -> str:
        url = reverse("experiment-action", args=["lab", experiment.public_id, "enqueue"])
        return words(client.get(url).content.decode())

    plain = question(draft(image=""))
    assert "No code to run" not in plain and "image is ignored" not in plain
    lost = question(draft("lost", command="", script="train.py", image="torch"))
    assert "No code to run" in lost and "trials look for train.py" in lost
    assert "no worker of this queue runs containers, so the image is ignored" in lost
    Worker.register("boxed", host="h", pid=2, queues=["default"], slots=1, lease_s=15, container="docker")
    assert "image is ignored" not in question(draft("boxed", image="torch"))
    assert "No code to run" not in question(
        draft("cloned", command="", script="train.py", repository=REPOSITORY)
    )


def test_settings_of_a_running_experiment_are_changed_by_edit(running, bob, carol):
    """CML-E0: who may edit gets the link; for all others only drafts can be edited."""
    experiment = running()
    edit = reverse("experiment-edit", args=["lab", experiment.public_id])
    tabs = {user: as_(user).get(url_of(experiment)).content.decode() for user in (bob, carol)}
    assert f'<a class="link" href="{edit}">edit the experiment</a>' in tabs[bob]
    assert f'href="{edit}"' not in tabs[carol] and "Only drafts can be edited." in tabs[carol]
