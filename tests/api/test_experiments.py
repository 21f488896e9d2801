"""Experiments through the API: made, listed, changed, deleted, by the same rules as on the pages."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from experiments.models import Experiment, Outcome, Project, Queue, Settings, Workspace, secret
from experiments.models.experiment import creation
from experiments.scheduler import expired_rows
from tests.api.test_base import error_of
from tests.people import SPACE, end_all

SETTINGS = {"command": "python train.py --lr ${lr}", "space_document": SPACE, "metric": "accuracy"}
EXPERIMENTS = "/workspaces/lab/experiments"


def test_it_makes_a_draft_with_all_that_was_told(api, alice, bob, lab):
    """TD-F: settings that are left out take the defaults of the page."""
    Project.objects.create(workspace=lab, name="vision")
    body = {
        "name": "first",
        "description": "why",
        "project": "vision",
        "tags": ["a", "b"],
        "visibility": "private",
        "properties": {"ticket": "7"},
        "settings": {**SETTINGS, "max_trials": 7},
    }
    answer = api(bob).post(EXPERIMENTS, body)
    assert answer.status_code == 201, answer.content
    made = answer.json()
    described = {name: value for name, value in body.items() if name != "settings"}
    assert {name: made[name] for name in described} == described
    seed = made["settings"]["seed"]  # TD-V12: drawn
    assert made["settings"] == Settings.checked({**SETTINGS, "max_trials": 7, "seed": seed}).document()
    drawn = {api(bob).post(EXPERIMENTS, body).json()["settings"]["seed"] for _ in range(4)}
    assert len({seed, *drawn}) > 2
    assert (made["state"], made["creator"], made["revision"], made["best"]) == ("draft", "bob", 1, None)
    assert made["url"] == f"http://testserver/w/lab/experiments/{made['id']}/"
    assert made["created_at"].endswith("Z")
    assert api(bob).get(f"/experiments/{made['id']}").json() == {**made, "elapsed_s": 0}
    assert api(alice).get(f"/experiments/{made['id']}").status_code == 200  # owners see private ones
    assert api(alice, role="operator").get(f"/experiments/{made['id']}").status_code == 404


def test_a_pattern_or_a_path_implies_the_source(api, bob, lab):
    """TD-F3: neither is ignored without a word; an explicit source decides."""
    for named, source in (
        ({"pattern": "loss={number}"}, "stdout"),
        ({"metric_path": "result.json"}, "file"),
        ({"pattern": "loss={number}", "source": "sdk"}, "sdk"),
        ({}, "sdk"),
    ):
        made = api(bob).post(EXPERIMENTS, {"name": "x", "settings": {**SETTINGS, **named}}).json()
        assert made["settings"]["source"] == source
    refused = api(bob).post(EXPERIMENTS, {"name": "x", "settings": {**SETTINGS, "pattern": "loss=("}})
    assert refused.status_code == 422 and "pattern" in refused.json()["fields"]


def test_a_start_is_all_or_nothing(api, bob, lab):
    """TD-A5: a queue that cannot be used leaves no draft behind."""
    refused = api(bob).post(EXPERIMENTS, {"name": "x", "settings": SETTINGS, "queue": "gpu", "start": True})
    assert refused.status_code == 422 and "gpu" in refused.json()["fields"]["queue"][0]
    assert not Experiment.objects.exists()
    made = api(bob).post(EXPERIMENTS, {"name": "x", "settings": SETTINGS, "start": True}).json()
    assert (made["state"], made["queue"]) == ("pending", "default")
    event = Experiment.objects.get().events.first()
    assert (event.by, event.token, event.who) == (bob, "ci", "bob (token ci)")


def test_an_id_is_never_used_twice(api, alice, bob, lab, monkeypatch):
    """NNI-E1: the client chooses it; neither that of a deleted experiment, nor one that is taken at this moment."""
    body = {"name": "x", "settings": SETTINGS, "id": "abcd2345"}
    assert api(bob).post(EXPERIMENTS, body).status_code == 201
    Experiment.objects.get().delete_to_trash(by=alice)
    Experiment.everything.update(trashed_at=timezone.now() - timedelta(days=31))
    for _ in range(2):  # in the trash, and deleted for good
        refused = api(bob).post(EXPERIMENTS, body)
        assert refused.status_code == 409
        assert refused.json()["detail"] == "The ID abcd2345 is already used; choose another one."
        while expired_rows.purge():
            pass
    assert not Experiment.everything.exists()

    def warmed(*args, **kwargs):  # between the check and the insertion
        monkeypatch.undo()
        assert api(bob).post(EXPERIMENTS, {**body, "id": "wxyz2345"}).status_code == 201
        return creation.warmed(*args, **kwargs)

    monkeypatch.setattr(creation, "warmed", warmed)
    refused = api(bob).post(EXPERIMENTS, {**body, "id": "wxyz2345"})
    assert refused.status_code == 409
    assert refused.json()["detail"] == "The ID wxyz2345 is already used; choose another one."


def test_it_warns_of_settings_that_give_wrong_results(api, bob, lab, tmp_path):
    """TD-V3, TD-V4: as the form does, in the response to a creation, a change and its preview."""
    shared = {"source": "file", "metric_path": "result.json", "directory": str(tmp_path)}
    made = api(bob).post(EXPERIMENTS, {"name": "x", "settings": {**SETTINGS, **shared}}).json()
    (warning,) = made["warnings"]
    assert warning["field"] == "metric_path" and "parallel trials fail" in warning["message"]
    cuts = {"settings": {"source": "stdout", "pattern": "loss=([0-9.]+)"}}
    path = f"/experiments/{made['id']}"
    for query in ({"dry_run": "true"}, {}):
        (warning,) = api(bob).patch(path, cuts, **query).json()["warnings"]
        assert warning["field"] == "pattern" and "{number}" in warning["message"]
    good = {"settings": {"pattern": "loss={number}"}}
    assert api(bob).patch(path, good).json()["warnings"] == [] == api(bob).get(path).json()["warnings"]


def test_wrong_settings_are_told_field_by_field(api, bob, lab):
    """PAI-M3: with the sentences of the pages."""
    wrong = {**SETTINGS, "concurrency": 0, "metirc": "x", "space_document": {}}
    answer = api(bob).post(EXPERIMENTS, {"name": "x", "settings": wrong})
    assert answer.status_code == 422
    assert {"concurrency", "metirc", "space_document"} <= answer.json()["fields"].keys()
    assert api(bob).post(EXPERIMENTS, {"name": " ", "settings": SETTINGS}).json()["fields"].keys() == {"name"}
    assert api(bob).post(EXPERIMENTS, {"name": "x", "settings": SETTINGS, "project": "no"}).json()[
        "fields"
    ].keys() == {"project"}


def test_whole_numbers_and_fractions_stay_apart(api, bob, lab):
    """1 and 1.0 are different choices for a script."""
    space = {"x": {"_type": "choice", "_value": [1, 1.0, 1e16, "1"]}}
    made = api(bob).post(EXPERIMENTS, {"name": "x", "settings": {"command": "true", "space_document": space}})
    assert '"_value":[1,1.0,1e+16,"1"]' in made.content.decode()


def test_the_list_has_the_filters_of_the_page_and_is_walked_in_every_order(api, bob, draft, in_state, alice):
    """PAI-F1, PAI-L1."""
    names = ["delta", "alpha", "charlie", "bravo"]
    made = [draft(name) for name in names]
    made[0].describe(by=alice, tags=["night"])
    ended = in_state("completed", name="echo")
    caller = api(bob)

    def listed(**query):
        seen, cursor = [], None
        while True:
            more = {"cursor": cursor} if cursor else {}
            answer = caller.get(EXPERIMENTS, limit=2, **query, **more)
            assert answer.status_code == 200, answer.content
            seen += [item["name"] for item in answer.json()["items"]]
            cursor = answer.json()["next"]
            if cursor is None:
                return seen

    assert listed() == ["echo", *names[::-1]]
    assert listed(sort="created") == [*names, "echo"]
    assert listed(sort="name") == ["alpha", "bravo", "charlie", "delta", "echo"]
    assert listed(sort="-name") == ["echo", "delta", "charlie", "bravo", "alpha"]
    assert listed(sort="best") == ["echo", *names[::-1]] == listed(sort="-best")
    assert listed(sort="state") == [*names[::-1], "echo"] and listed(sort="-state") == ["echo", *names[::-1]]
    assert listed(sort="-updated") == ["echo", "delta", "bravo", "charlie", "alpha"]
    assert listed(q="RAV") == ["bravo"] and listed(q=ended.public_id[:6]) == ["echo"]
    assert listed(tag="night") == ["delta"] and listed(status="completed") == ["echo"]
    # No ID has an l in it (it looks like a 1): only names match.
    assert listed(creator="ALICE", project="Default", q="l") == ["charlie", "alpha", "delta"]
    assert listed(creator="bob") == [] and listed(q="\0") == listed()
    assert caller.get(EXPERIMENTS, status="done").json()["fields"].keys() == {"status"}
    for query, sentence in (
        ({"sort": "age"}, "Invalid sort: “age”. Allowed: "),
        ({"limit": "many"}, "Invalid limit: “many”. This must be a whole number."),
        ({"needs_attention": "perhaps"}, "Invalid needs_attention: “perhaps”."),
        ({"state": "completed"}, "Unknown parameter “state” in the URL. Did you mean status? Allowed: "),
        ({"creator": "own"}, "No creator “own” in this workspace. Allowed: alice, bob, carol."),
        ({"creator": "alic"}, "Did you mean alice? "),
        ({"project": "default"}, "No project “default” in this workspace. Did you mean Default? "),
    ):
        refused = error_of(caller.get(EXPERIMENTS, **query), 400)
        assert sentence in refused["detail"] and refused["fields"].keys() == query.keys()
    assert "settings" not in caller.get(EXPERIMENTS).json()["items"][0]


def test_a_list_reads_as_often_for_many_as_for_one(api, bob, draft, lab, alice):
    caller, experiment = api(bob), draft("one")
    experiment.clone(by=alice)

    def count():
        with CaptureQueriesContext(connection) as queries:
            assert caller.get(EXPERIMENTS, limit=200).status_code == 200
        return len(queries)

    caller.get("/me")  # the token's use is written down
    few = count()
    Experiment.objects.bulk_create(
        Experiment(
            workspace=lab,
            project=experiment.project,
            creator=alice,
            name=f"n{n}",
            folded_name=f"n{n}",
            revision=experiment.revision,
            parent=experiment,
            concurrency=1,
        )
        for n in range(300)
    )
    assert len(caller.get(EXPERIMENTS, limit=200).json()["items"]) == 200
    assert count() == few <= 6


def test_a_draft_is_edited_and_a_running_one_updated(api, bob, draft, running):
    """TD-A1, TD-A2: later trials obey; what is not told stays; each change makes one revision."""
    caller, experiment = api(bob), draft()
    path = f"/experiments/{experiment.public_id}"
    changed = caller.patch(
        path, {"name": "new", "tags": ["t"], "settings": {"seed": 5}, "note": "why"}
    ).json()
    assert (changed["name"], changed["tags"], changed["revision"]) == ("new", ["t"], 2)
    assert changed["settings"] == {**experiment.settings.document(), "seed": 5}
    assert caller.patch(path, {"settings": {"seed": 5}}).json()["revision"] == 2
    other = running(max_trials=6)
    path = f"/experiments/{other.public_id}"
    assert caller.patch(path, {"settings": {"max_trials": 9}, "revision": 1}).json()["revision"] == 2
    stale = caller.patch(path, {"settings": {"max_trials": 8}, "revision": 1, "name": "never"})
    message = "bob changed this experiment (revision 2; you edited revision 1)."
    assert stale.status_code == 409 and stale.json()["detail"].startswith(message)
    for never in (0, 77):
        stale = caller.patch(path, {"settings": {"max_trials": 8}, "revision": never})
        message = f"There is no revision {never} of this experiment; the latest is 2."
        assert stale.status_code == 409 and stale.json()["detail"].startswith(message)
    locked = caller.patch(path, {"settings": {"metric": "loss"}, "name": "never"})
    assert locked.status_code == 422 and "Clone" in locked.json()["fields"]["metric"][0]
    other.refresh_from_db()
    assert (other.name, other.max_trials) == ("first", 9)


def test_a_dry_run_tells_the_consequences_and_changes_nothing(api, bob, running):
    """TD-X1, TD-X4."""
    experiment = running(taken=2, max_trials=6)
    end_all(experiment, Outcome(value=0.4, exit_code=0))
    experiment.refresh_from_db()
    caller, path, before = api(bob), f"/experiments/{experiment.public_id}", experiment.version
    space = {**SPACE, "layers": {"_type": "choice", "_value": [7, 8]}}
    preview = caller.patch(path, {"settings": {"space_document": space}, "note": "x"}, dry_run="true")
    assert preview.status_code == 200, preview.content
    coming = preview.json()
    assert coming["differences"]["space_document"]["to"]["layers"]["_value"] == [7, 8]
    assert any(
        "2 of 2 finished trials are outside the new search space" in text for text in coming["consequences"]
    )
    assert coming["estimate"].keys() == {"end_s", "compute_s", "latest_s", "unknown"}
    experiment.refresh_from_db()
    assert (experiment.version, experiment.revision.number) == (before, 1)
    assert caller.patch(path, {"settings": {"direction": "minimize"}}, dry_run="true").status_code == 422
    assert caller.patch(path, {"settings": {"seed": 1}, "revision": 7}, dry_run="true").status_code == 409


def test_a_new_early_stopping_is_applied_to_running_trials_where_that_is_asked(api, bob, running):
    """TD-A2: as on the page; the dry run says so."""
    experiment = running(taken=1)
    path, rule = f"/experiments/{experiment.public_id}", {"settings": {"early_stopping": "Medianstop"}}
    without, with_ = (
        api(bob).patch(path, {**rule, "apply_to_running": applies}, dry_run="true").json()["consequences"]
        for applies in (False, True)
    )
    assert without != with_
    assert api(bob).patch(path, {**rule, "apply_to_running": True}).status_code == 200
    assert experiment.trials.get(number=1).rule_revision == 2
    later = {"settings": {"early_stopping": "none"}, "revision": 2}
    assert api(bob).patch(path, later).status_code == 200
    assert experiment.trials.get(number=1).rule_revision == 2, "the running trial keeps its rule"


def test_a_clone_differs_only_in_what_is_told(api, bob, in_state):
    """PAI-C1, PAI-C2."""
    source = in_state("completed")
    path = f"/experiments/{source.public_id}/clone"
    equal = api(bob).post(path).json()
    assert (equal["name"], equal["parent"], equal["state"]) == ("Clone of first", source.public_id, "draft")
    assert equal["settings"] == source.settings.document()
    other = api(bob).post(path, {"name": "other", "settings": {"seed": 9}, "start": True}).json()
    assert (other["name"], other["state"], other["settings"]["seed"]) == ("other", "pending", 9)
    assert {**other["settings"], "seed": source.settings.seed} == source.settings.document()
    assert api(bob).post(path, {"settings": {"seed": "x"}}).json()["fields"].keys() == {"seed"}


def test_resume_asks_for_a_larger_budget_and_goes_on(api, bob, in_state):
    """TD-A9"""
    experiment = in_state("completed")
    path = f"/experiments/{experiment.public_id}/resume"
    spent = api(bob).post(path)
    assert spent.status_code == 409 and "Increase max trials" in spent.json()["detail"]
    assert api(bob).post(path, {"max_trials": 0}).json()["fields"].keys() == {"max_trials"}
    answer = api(bob).post(path, {"max_trials": 3}).json()
    assert answer["changed"] and answer["experiment"]["state"] == "pending"
    assert answer["experiment"]["settings"]["max_trials"] == 3


def test_what_was_deleted_is_gone_until_an_owner_restores_it(api, alice, bob, draft):
    """PAI-D2"""
    experiment = draft()
    path = f"/experiments/{experiment.public_id}"
    assert api(bob).delete(path).status_code == 204
    assert api(bob).get(path).status_code == 404 and api(bob).get(EXPERIMENTS).json()["items"] == []
    assert api(bob).post(f"{path}/stop").status_code == 404
    assert api(bob).post(f"{path}/restore").status_code == 403
    assert api(alice).post(f"{path}/restore").json()["changed"] is True
    assert api(alice).post(f"{path}/restore").json()["changed"] is False


def test_where_automl_is_off_its_requests_are_refused_with_the_reason(api, bob, draft, lab):
    """PAI-P1"""
    experiment = draft()
    Workspace.objects.update(has_automl=False)
    for answer in (
        api(bob).get(EXPERIMENTS),
        api(bob).get(f"/experiments/{experiment.public_id}"),
        api(bob).post(EXPERIMENTS, {"name": "x", "settings": SETTINGS}),
        api(bob).post(f"/experiments/{experiment.public_id}/enqueue"),
    ):
        assert answer.status_code == 409 and "turned off" in answer.json()["detail"]


def test_a_viewer_does_not_see_secrets_of_the_environment(api, carol, bob, draft):
    experiment = draft(environment={"API_TOKEN": "hush", "LANG": "C"})
    path = f"/experiments/{experiment.public_id}"
    assert api(carol).get(path).json()["settings"]["environment"] == {"API_TOKEN": "••••", "LANG": "C"}
    assert api(bob).get(path).json()["settings"]["environment"]["API_TOKEN"] == "hush"


def test_a_change_moves_it_to_another_queue(api, bob, in_state):
    """TD-U8"""
    Queue.objects.create(name="gpu", is_open=True)
    experiment = in_state("pending")
    path = f"/experiments/{experiment.public_id}"
    coming = api(bob).patch(path, {"queue": "gpu"}, dry_run="true").json()
    assert coming["estimate"] is None and Experiment.objects.get().queue.name == "default"
    assert api(bob).patch(path, {"queue": "gpu"}).json()["queue"] == "gpu"


def test_secrets_go_in_and_never_come_out(api, bob, lab):
    """CML-H1: dots come out; sent back they keep what there is; of a clone, a revision, a dry run too."""
    text = "hush-4711"
    groups = {"General": {"token": {"secret": text}, "lr": {"value": "0.1"}}}
    made = api(bob).post(EXPERIMENTS, {"name": "x", "settings": {**SETTINGS, "hyperparameters": groups}})
    dots = {"General": {"token": {"secret": "••••"}, "lr": {"value": "0.1"}}}
    assert made.status_code == 201 and made.json()["settings"]["hyperparameters"] == dots
    path = f"/experiments/{made.json()['id']}"
    dots["General"]["lr"]["value"] = "0.2"
    change = {"settings": {"hyperparameters": dots}}
    answers = [made, api(bob).patch(path, change, dry_run=True), api(bob).patch(path, change)]
    answers += [api(bob).get(f"{path}/revisions"), api(bob).post(f"{path}/clone", change)]
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200, 201]
    for answer in answers:
        assert text not in answer.content.decode() and "sealed:" not in answer.content.decode()
    for experiment in Experiment.objects.all():
        assert secret.opened(experiment.settings.hyperparameters)["General"]["token"]["value"] == text
    nothing = {"settings": {"hyperparameters": {"General": {"other": {"secret": "••••"}}}}}
    assert api(bob).patch(path, nothing).status_code == 422


def test_a_value_that_its_type_does_not_take_is_refused_and_a_declared_one_stays(api, bob, draft):
    """CML-H1: as in the browser, only what is changed is judged."""
    odd = {"epochs": {"value": "abc", "type": "int"}}
    experiment = f"/experiments/{draft(hyperparameters={'Args': odd}).public_id}"
    more = {"settings": {"hyperparameters": {"Args": {**odd, "lr": {"value": "1e-3", "type": "float"}}}}}
    assert api(bob).patch(experiment, more).status_code == 200
    more["settings"]["hyperparameters"]["Args"]["lr"]["type"] = "int"
    refused = api(bob).patch(experiment, more)
    assert refused.status_code == 422
    assert refused.json()["fields"] == {"hyperparameters": ["Args/lr: “1e-3” is not an int."]}


def test_a_pattern_or_a_path_implies_the_source_also_in_a_change(api, draft, bob):
    """TD-V3: it had no effect, without a word, when only the pattern was sent."""
    path = f"/experiments/{draft().public_id}"
    for changes, source in (
        ({"pattern": "acc={number}"}, "stdout"),
        ({"metric_path": "result.json"}, "file"),
        ({"pattern": "acc={number}", "source": "sdk"}, "sdk"),
    ):
        changed = api(bob).patch(path, {"settings": changes}).json()
        assert changed["settings"]["source"] == source
    messages = {warning["field"]: warning["message"] for warning in changed["warnings"]}
    assert messages["pattern"] == "This has no effect: it requires the source “stdout”."
    assert messages["metric_path"] == "This has no effect: it requires the source “file”."
    clone = api(bob).post(f"{path}/clone", {"settings": {"pattern": "loss={number}"}}).json()
    assert (clone["settings"]["source"], clone["settings"]["pattern"]) == ("stdout", "loss={number}")


@pytest.mark.parametrize(
    ("changes", "field", "other"),
    [
        ({"packages": "numpy"}, "packages", "packages_from “list”"),
        ({"image_arguments": "--shm-size 1g"}, "image_arguments", "an image"),
        ({"reference": "main"}, "reference", "a repository"),
        ({"window_time_zone": "Europe/Paris"}, "window_time_zone", "a start window"),
    ],
)
def test_a_setting_that_needs_another_one_says_so(api, draft, bob, changes, field, other):
    """TD-X1"""
    answer = api(bob).patch(f"/experiments/{draft().public_id}", {"settings": changes})
    assert {"field": field, "message": f"This has no effect: it requires {other}."} in answer.json()[
        "warnings"
    ]
