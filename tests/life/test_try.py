"""A draft is tried with a real worker, before anything is spent."""

from __future__ import annotations

import sys
from pathlib import Path

from django.test import Client
from django.urls import reverse

from experiments.models import Experiment, User, Workspace
from tests.life.test_kill import ended
from tests.support.crew import Crew
from tests.web.filled import filled


def test_a_try_runs_the_command_once_and_shows_its_log(crew: Crew, lab: Workspace, bob: User) -> None:
    """TD-F2: from Create to the trial's page: the values of the preview, the output, how it ended."""
    crew.control()
    crew.worker(slots=1)
    client = Client()
    client.force_login(bob)
    new = reverse("experiment-new", args=["lab"])
    typed = {
        "name": "first",
        "command": "echo lr is ${lr}\necho '{\"loss\": 0.25}' > result.json",
        "source": "file",
        "metric": "loss",
        "metric_path": "result.json",
        "space-0-name": "lr",
        "space-0-values": "0.001, 0.1",
    }
    page = client.post(new, {**filled(client.get(new)), **typed, "try": "1"})["Location"]
    tried = ended(Experiment.objects.get(tags=["try"]))
    trial = tried.trials.get()
    assert (tried.state, tried.reason) == ("completed", "max trials reached")
    assert (trial.state, trial.value) == ("succeeded", 0.25)
    html = client.get(page).content.decode()
    assert "Succeeded" in html and "lr is <button" in html and f">{trial.params['lr']}</button>" in html
    assert tried.parent.state == "draft" and not tried.parent.trials.exists()


def test_a_worker_says_what_its_python_lacks(crew: Crew, lab: Workspace, bob: User, tmp_path: Path) -> None:
    """TD-D7: a real worker, asked while it has nothing else to do."""
    crew.worker(slots=1)
    (tmp_path / "train.py").write_text("import json\nimport no_such_module\n")
    client = Client()
    client.force_login(bob)
    new = reverse("experiment-new", args=["lab"])
    typed = {"command": f"{sys.executable} train.py", "directory": str(tmp_path), "read_arguments": "1"}
    report = client.post(new, {**filled(client.get(new)), **typed}).context["reading"].python
    assert report.path == sys.executable and report.version == sys.version.split()[0]
    assert "No module named 'no_such_module'" in report.fault and report.worker
