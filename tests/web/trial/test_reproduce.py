"""What the page of a trial gives away: its command, its environment, a script, its parameters. Never a secret."""

from __future__ import annotations

import json
import os
import re
import subprocess
from html import unescape

import pytest

from experiments.models import Trial
from tests.people import end_all
from tests.web.trial.test_page import as_, page_of, url_of

pytestmark = pytest.mark.once

SECRET = "hush-4711"


@pytest.fixture
def trial(running) -> Trial:
    experiment = running(
        command='echo lr=${lr} layers=${layers} "$GREETING"\ncat ${params} > ${output_dir}/seen',
        environment={"GREETING": "hello <b>", "HF_TOKEN": SECRET},
        source="stdout",
        pattern="lr=(.*)",
    )
    trial = experiment.trials.get(number=1)
    Trial.objects.filter(pk=trial.pk).update(params={"lr": 0.25, "layers": 2})
    return experiment.trials.get(number=1)


def test_its_page_shows_the_command_as_it_was_run_and_masks_secrets(trial, carol):
    """Command as rendered, environment with secrets masked."""
    html = page_of(carol, trial)
    shown = unescape(re.search(r'aria-label="command">(.*?)</pre>', html, re.S)[1])
    assert shown.splitlines() == [
        'echo lr=0.25 layers=2 "$GREETING"',
        'cat "$TRIALDECK_PARAMETERS" > "$TRIALDECK_OUTPUT_DIR"/seen',
    ]
    assert "<dt>HF_TOKEN</dt><dd>••••••••</dd>" in html and "<dd>hello &lt;b&gt;</dd>" in html
    assert SECRET not in html


def test_its_script_runs_outside_of_trialdeck(trial, carol, tmp_path):
    """TD-X10: a script that reproduces it."""
    response = as_(carol).get(url_of(trial, "trial-script"))
    assert response["Content-Disposition"] == f'attachment; filename="{trial}-reproduce.sh"'
    assert SECRET not in response.content.decode()
    (tmp_path / "reproduce.sh").write_bytes(response.content)
    done = subprocess.run(
        ["bash", "reproduce.sh"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "lr=0.25 layers=2 hello <b>\n")
    assert json.loads((tmp_path / f"trial-{trial}/output/seen").read_text()) == {"lr": 0.25, "layers": 2}


def test_its_parameters_come_as_a_file_exactly_as_they_were(trial, carol):
    """TD-X10."""
    Trial.objects.filter(pk=trial.pk).update(params={"z": 1.0, "a": 10**20, "ü": None})
    response = as_(carol).get(url_of(trial, "trial-parameters"))
    assert response["Content-Type"] == "application/json"
    assert response.content.decode() == '{\n  "z": 1.0,\n  "a": 100000000000000000000,\n  "ü": null\n}\n'


def test_a_command_that_lacks_a_value_says_so_instead(trial, carol):
    Trial.objects.filter(pk=trial.pk).update(params={"layers": 2})
    html = page_of(carol, trial)
    assert "${lr} is not a parameter" in html and "reproduce.sh" not in html
    response = as_(carol).get(url_of(trial, "trial-script"))
    assert response.status_code == 409 and "No script for #1" in response.content.decode()


def test_the_best_trial_can_be_taken_away_from_the_overview(trial, carol):
    """TD-X10: take the best away."""
    experiment = end_all(trial.experiment)
    best = experiment.trials.get(number=experiment.best_number)
    html = as_(carol).get(f"/w/lab/experiments/{experiment.public_id}/").content.decode()
    assert f'href="{url_of(best, "trial-script")}"' in html
    assert f'href="{url_of(best, "trial-parameters")}"' in html
