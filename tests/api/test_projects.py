"""Projects over the API."""

from __future__ import annotations

import pytest

from experiments.models import Project, Workspace

PROJECTS = "/workspaces/lab/projects"


def test_a_program_makes_reads_changes_and_deletes_one(api, draft, lab, alice, bob, carol):
    """The same verbs as the pages; what is left out stays; only an empty one goes."""
    caller = api(bob)
    made = caller.post(PROJECTS, {"name": " Vision  lab ", "destination": "s3://minio.example:9000/deep"})
    body = made.json()
    assert made.status_code == 201 and (body["name"], body["description"]) == ("Vision lab", "")
    path = f"{PROJECTS}/{body['id']}"
    assert caller.patch(path, {"description": "what sees"}).json() == {**body, "description": "what sees"}
    assert caller.patch(path, {"destination": "", "name": "Vision"}).json()["destination"] == ""
    assert api(carol).get(path).json()["name"] == "Vision"
    listed = api(carol).get(PROJECTS).json()["items"]
    assert [each["name"] for each in listed] == ["Default", "Vision"] and listed[1]["destination"] == ""
    experiment = draft()
    experiment.describe(by=alice, project=Project.objects.get(pk=body["id"]))
    refused = caller.delete(path)
    assert refused.status_code == 409 and "1 experiment is in it" in refused.json()["detail"]
    experiment.delete_to_trash(by=alice)
    assert caller.delete(path).status_code == 204 and caller.delete(path).status_code == 404
    assert caller.get(path).status_code == caller.patch(path, {}).status_code == 404


@pytest.mark.once
def test_what_cannot_be_is_told_at_its_field(api, lab, alice, bob):
    """CML-O1, PAI-P1: as on the page; a project of another workspace is 404, one where AutoML is off 409."""
    caller = api(bob)
    other = Project.create(lab, name="other")
    for sent, field in (
        ({"name": "Default"}, "name"),
        ({"name": " "}, "name"),
        ({"name": "n", "destination": "s3://localhost/bucket"}, "destination"),
    ):
        for answer in (caller.post(PROJECTS, sent), caller.patch(f"{PROJECTS}/{other.pk}", sent)):
            assert answer.status_code == 422 and list(answer.json()["fields"]) == [field]
    default = Project.objects.get(workspace=lab, name="Default")
    for answer in (
        caller.patch(f"{PROJECTS}/{default.pk}", {"name": "x"}),
        caller.delete(f"{PROJECTS}/{default.pk}"),
    ):
        assert answer.status_code == 409 and "The default project cannot be" in answer.json()["detail"]
    theirs = Workspace.open("theirs", owner=alice).projects.get()
    assert api(alice).get(f"{PROJECTS}/{theirs.pk}").status_code == 404
    Workspace.objects.update(has_automl=False)
    assert caller.get(PROJECTS).status_code == caller.post(PROJECTS, {"name": "n"}).status_code == 409
