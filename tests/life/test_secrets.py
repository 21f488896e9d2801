"""What a trial prints of its secrets, and where it points its output folder. Real processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.models import Artifact, LogPiece, Point, secret
from tests.life.test_without_celery import live, local  # noqa: F401  the fixture
from tests.people import as_
from tests.support.threads import Thread
from tests.support.waiting import eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]

SECRET = 'tulips "in" may/7'
PRINTS = """\
import json, os, sys, time
secret, token = os.environ["API"], os.environ["HF_TOKEN"]
print("whole", secret, "json", json.dumps({"key": secret}), "token", token, flush=True)
print("half " + secret[:7], end="", flush=True)
while not os.path.exists(sys.argv[1]):  # until the first part has been collected
    time.sleep(0.01)
print(secret[7:])
with open(os.environ["TRIALDECK_METRICS"], "a") as file:
    file.write(json.dumps({"name": "loss", "value": "not " + secret}) + "\\n")
    file.write(json.dumps({"name": "of " + token, "value": 1}) + "\\n")
raise ValueError("refused: " + secret)
"""


def test_secrets_are_stored_nowhere_in_clear(draft, local, alice, tmp_path, data):  # noqa: F811
    """TD-Z4: neither in the log (in one piece or two), nor in the failure, notes or metrics; so on no page either."""
    (tmp_path / "prints.py").write_text(PRINTS)
    experiment = draft(
        command=f"python3 {tmp_path}/prints.py {tmp_path}/collected",
        environment={"HF_TOKEN": "hf_0123456789"},
        hyperparameters={"Environment": {"API": {"secret": secret.seal(SECRET)}}},
        max_trials=1,
    )
    experiment.enqueue(by=alice)

    def release() -> None:
        eventually(lambda: b"half " in b"".join(LogPiece.tail(row.pk) for row in experiment.trials.all()))
        (tmp_path / "collected").touch()

    second_part = Thread(release)
    live(experiment, local)
    second_part.outcome()
    trial = experiment.trials.get()
    log = LogPiece.tail(trial.pk, size=10_000).decode()
    stars = "*" * len(SECRET)
    assert f"whole {stars} json" in log and f"half {stars}\n" in log and f"token {'*' * 13}\n" in log
    assert trial.failure == "exit_code" and "ValueError: refused: ***" in trial.detail, trial.detail
    stored = [log, trial.detail, json.dumps(trial.notes), *Point.objects.values_list("name", flat=True)]
    stored += Point.objects.values_list("text", flat=True)
    page = as_(alice).get(f"/w/lab/experiments/{experiment.public_id}/trials/1/").content.decode()
    assert "tulips" not in page and stars in page
    for text in stored:
        assert "tulips" not in text and "may/7" not in text and "hf_0123456789" not in text
    folder = data / "trials" / experiment.public_id / "1"
    assert log == (folder / "log.head").read_text().replace(SECRET, stars).replace(
        json.dumps(SECRET)[1:-1], "*" * (len(SECRET) + 2)
    ).replace("hf_0123456789", "*" * 13), "the offsets are those of the file"


def test_a_git_error_shows_no_token(draft, local, alice):  # noqa: F811
    """TD-Z4: of a repository's address."""
    experiment = draft(
        command="true", repository="https://ghp_0123456789@127.0.0.1:9/lab/net.git", max_trials=1
    )
    experiment.enqueue(by=alice)
    live(experiment, local)
    experiment.refresh_from_db()
    trial = experiment.trials.get()
    assert trial.failure == "setup"
    log = LogPiece.tail(trial.pk, size=10_000).decode()
    for text in (trial.detail, log, experiment.reason):
        assert "ghp_0123456789" not in text
    assert "***" in trial.detail


@pytest.mark.parametrize("target", ["{outside}", "../../..", "{outside}/deep/.."])
def test_an_output_folder_that_becomes_a_link_gives_nothing_away(
    draft,
    local,  # noqa: F811
    alice,
    carol,
    tmp_path,
    target,
):
    """TD-Z2: nothing behind it is listed, sent or deleted, also where only the best are kept."""
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "passwd").write_text("root:x:0:0")
    command = (
        'echo mine > "$TRIALDECK_OUTPUT_DIR/passwd"\n'
        'sleep 3\nrm -rf "$TRIALDECK_OUTPUT_DIR"\n'
        f'ln -s "{target.format(outside=outside)}" "$TRIALDECK_OUTPUT_DIR"\n'
        "python3 -c 'import trialdeck; trialdeck.report_final_result(trialdeck.get_sequence_id())'"
    )
    experiment = draft(command=command, max_trials=2, keeps_best=1)
    experiment.enqueue(by=alice)
    live(experiment, local)
    trials = list(experiment.trials.all())
    assert [trial.state for trial in trials] == ["succeeded"] * 2, trials[0].detail
    assert all("Links and special files were skipped." in trial.notes for trial in trials)
    for artifact in Artifact.objects.filter(experiment=experiment):
        assert artifact.name == "passwd" and artifact.size == 5, "seen before it was replaced"
        path = f"/api/v1/experiments/{experiment.public_id}/artifacts/{artifact.pk}/download"
        response = as_(carol).get(path)
        assert response.status_code == 409 and b"root:x" not in response.content
    local.collector.keep_best(experiment, 1)
    assert (outside / "passwd").read_text() == "root:x:0:0"
    assert Path(outside / "deep").is_dir()
