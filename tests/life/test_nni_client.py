"""NNI's own Python client, unchanged, steers an experiment of ours over the bridge."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from experiments.models import Experiment, Token, User
from experiments.scheduler.conductor import schedule
from experiments.worker.worker import LocalWorker
from tests.life.test_nni import nni_python, working  # noqa: F401  the fixture
from tests.life.test_without_celery import local  # noqa: F401  the fixture
from tests.support.waiting import eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]
ROOT = Path(__file__).resolve().parents[2]

SPACE = {"x": {"_type": "uniform", "_value": [0, 1]}}
# The first two end, the others run until they are stopped.
COMMAND = r"""x=${x}
echo '{"value": 0.5}' >> "$TRIALDECK_METRICS"
if [ "$TRIALDECK_TRIAL_NUMBER" -gt 2 ]; then sleep 600; fi
echo "{\"value\": $x, \"final\": true}" >> "$TRIALDECK_METRICS"
"""

CLIENT = r"""
import json, sys, time
import psutil, requests
from nni.experiment import Experiment, rest

def until(look):
    for _ in range(600):
        if look():
            return
        time.sleep(0.1)
    raise AssertionError("waited in vain")

def refused(act, *given):
    try:
        act(*given)
    except requests.HTTPError as error:
        return [error.response.status_code, error.response.json()["error"]]

TWO_AND_TWO = {"SUCCEEDED": 2, "RUNNING": 2}
said = {}
port, viewers_port = map(int, sys.argv[1:])

viewer = Experiment.connect(viewers_port)
first = viewer._proc.pid
viewer.stop()  # is not allowed: so it kills the process that it was told of
again = Experiment.connect(viewers_port)
said["holders"] = [first, again._proc.pid, again.get_status()]

e = Experiment.connect(port)
until(lambda: {s["trialJobStatus"]: s["trialJobNumber"] for s in e.get_job_statistics()} == TWO_AND_TWO)
said["id"], said["status"] = e.id, e.get_status()
said["profile"] = e.get_experiment_profile()["params"]["searchSpace"]
said["metadata"] = [e.get_experiment_metadata(e.id)["port"], len(e.get_all_experiments_metadata())]
said["export"] = [[r.parameter, r.value, r.trialJobId] for r in e.export_data()]
said["metrics"] = {k: [[m.type, m.sequence, m.data] for m in v] for k, v in e.get_job_metrics().items()}
said["of_one"] = [m.data for m in e.get_job_metrics(e.id + "-1")[e.id + "-1"]]
said["bad"] = [
    refused(e.update_trial_concurrency, 0), refused(e.update_trial_concurrency, "two"),
    refused(e.update_search_space, {}), refused(e.get_trial_job, "nobody"), refused(e.kill_trial_job, "nobody"),
]
said["made"] = rest.post(port, "/trial-jobs", {"x": 0.25})
e.update_trial_concurrency(3)
e.update_max_trial_number(50)
e.update_max_experiment_duration("2h")
e.update_search_space({"x": {"_type": "uniform", "_value": [0, 2]}})
until(lambda: e.get_trial_job(e.id + "-" + str(said["made"]["sequenceId"] + 1)).status == "RUNNING")
jobs = e.list_trial_jobs()
said["jobs"] = [
    [j.sequenceId, j.status, j.hyperParameters[0].parameter_source, [m.data for m in j.finalMetricData]] for j in jobs
]
e.kill_trial_job(e.id + "-3")
said["killed"] = e.get_trial_job(e.id + "-3").status
said["pid"] = [e._proc.pid, e._proc.cmdline()]
e.stop()
said["stopped_at"], said["holder_lives"] = time.time(), psutil.pid_exists(said["pid"][0])
json.dump(said, open("said.json", "w"))
"""


class Bridge:
    """`trialdeck nni-bridge` as a process."""

    def __init__(self, experiment: Experiment, url: str, secret: str) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "trialdeck",
                "nni-bridge",
                experiment.public_id,
                "--port",
                "0",
                "--url",
                url,
            ],
            cwd=ROOT,
            env={**os.environ, "TRIALDECK_TOKEN": secret},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.output = self.process.stdout.readline() + self.process.stdout.readline()
        match = re.search(r"connect\((\d+)\)", self.output)
        assert match, self.output
        self.port = int(match[1])

    def asks(self, method: str, path: str, **headers: str) -> tuple[int, dict]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path, headers={"Host": f"localhost:{self.port}", **headers})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def end(self) -> str:
        """The last words; it must have ended, or end at SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=20)
        assert self.process.returncode == 0, output
        return output


@pytest.fixture
def bridge(live_server: object) -> Iterator[Callable[..., Bridge]]:
    made: list[Bridge] = []

    def make(experiment: Experiment, user: User, role: str = "operator") -> Bridge:
        _, secret = Token.make(f"bridge {role}", user=user, workspace=experiment.workspace, role=role)
        made.append(Bridge(experiment, live_server.url, secret))
        return made[-1]

    yield make
    for process in made:
        if process.process.poll() is None:
            process.process.kill()
            process.process.wait()


def test_nnis_client_reads_updates_and_stops(
    draft: Callable[..., Experiment],
    local: LocalWorker,  # noqa: F811
    bridge: Callable[..., Bridge],
    alice: User,
    nni_python: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    """NNI-T3: every read, every update, a hand-made trial, kill_trial_job, and stop(), which returns after the real end
    and kills nothing but what was made to be killed."""
    experiment = draft(command=COMMAND, space_document=SPACE, max_trials=4, concurrency=2, stop_grace_s=1)
    draft("another")
    experiment.enqueue(by=alice)
    operators, viewers = bridge(experiment, alice), bridge(experiment, alice, "viewer")
    script = tmp_path / "client.py"
    script.write_text(CLIENT)
    client = subprocess.Popen(
        [nni_python, script, str(operators.port), str(viewers.port)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with working(local, 3):

        def has_ended() -> bool:
            schedule(experiment.pk)
            return client.poll() is not None

        eventually(has_ended, within=120, every=0.1, what="the client's end")
    assert client.returncode == 0, client.stdout.read()
    answers = json.loads((tmp_path / "said.json").read_text())
    experiment.refresh_from_db()
    me = experiment.public_id
    first_trial, two = experiment.trials.filter(number__lte=2)

    assert (answers["id"], answers["status"]) == (me, "NO_MORE_TRIAL")
    first, second, status = answers["holders"]
    assert first != second and status in ("INITIALIZED", "RUNNING", "NO_MORE_TRIAL")
    assert answers["profile"] == SPACE
    assert answers["metadata"] == [operators.port, 2]
    assert answers["export"] == [[trial.params, trial.value, trial.public_id] for trial in (first_trial, two)]
    for trial in (first_trial, two):
        assert answers["metrics"][trial.public_id] == [["PERIODICAL", 0, 0.5], ["FINAL", 0, trial.value]]
    assert answers["of_one"] == [0.5, first_trial.value]
    assert [status for status, _ in answers["bad"]] == [422, 422, 422, 404, 404]
    assert answers["bad"][0][1] == "trialConcurrency: This must be at least 1."
    assert answers["made"] == {"sequenceId": 4}
    assert answers["jobs"][:5] == [
        [0, "SUCCEEDED", "algorithm", [first_trial.value]],
        [1, "SUCCEEDED", "algorithm", [two.value]],
        [2, "RUNNING", "algorithm", []],
        [3, "RUNNING", "algorithm", []],
        [4, "RUNNING", "customized", []],
    ]
    assert answers["killed"] == "USER_CANCELED"
    assert (experiment.state, experiment.concurrency, experiment.max_trials) == ("stopped", 3, 50)
    assert experiment.settings.max_duration_s == 7200
    assert experiment.settings.space_document["x"]["_value"] == [0, 2]
    # Not before the real end; and the process that it waited for was one of the bridge's, not the bridge.
    assert answers["stopped_at"] >= experiment.ended_at.timestamp()
    pid, argv = answers["pid"]
    assert argv[-2:] == ["-c", "import sys; sys.stdin.read()"]
    assert pid not in (operators.process.pid, os.getpid()) and not answers["holder_lives"]
    assert operators.process.wait(20) == 0
    assert operators.process.stdout.read() == "The experiment has ended.\n"
    assert viewers.end() == "The experiment continues.\n"


def test_the_bridge_answers_programs_of_this_machine_only(
    draft: Callable[..., Experiment], bridge: Callable[..., Bridge], alice: User
) -> None:
    """NNI-T3: no page of elsewhere, by whatever name, and nothing but NNI's addresses; it says why it cannot begin."""
    experiment = draft()
    served = bridge(experiment, alice)
    status = "/api/v1/nni/check-status"
    assert served.asks("GET", status) == (200, {"status": "INITIALIZED", "errors": []})
    assert served.asks("GET", status, Host="127.0.0.1")[0] == 200
    for headers in (
        {"Host": "evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Host": ""},
    ):
        code, message = served.asks("DELETE", "/api/v1/nni/experiment", **headers)
        assert (code, list(message)) == (403, ["error"])
    assert served.asks("GET", "/")[0] == 404
    assert served.asks("GET", "/api/v1/nni/../../me")[0] == 404
    assert served.asks("PUT", status, **{"Content-Length": "99999999999"})[0] == 413
    assert served.asks("GET", "/api/v1/nni/trial-jobs/x")[0] == 404
    pid = served.asks("GET", "/api/v1/nni/experiment-metadata")[1]["pid"]
    assert served.end() == "The experiment continues.\n"
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("experiment_id", "changes", "sentence"),
    [
        ("zzzzzzzz", {}, "Not found, or not visible to you. Check the URL."),
        ("../../me", {}, "Invalid experiment ID '../../me'."),
        (None, {"TRIALDECK_TOKEN": "td_wrong"}, "Invalid token"),
        (
            None,
            {"TRIALDECK_URL": "http://127.0.0.1:1"},
            "The console at http://127.0.0.1:1 cannot be reached",
        ),
        (None, {"PORT": "taken"}, ": Address already in use. Choose another one with --port."),
    ],
)
def test_the_bridge_says_why_it_cannot_begin(
    experiment_id: str | None,
    changes: dict[str, str],
    sentence: str,
    draft: Callable[..., Experiment],
    alice: User,
    live_server: object,
    lab: object,
) -> None:
    experiment = draft()
    _, secret = Token.make("bridge", user=alice, workspace=lab, role="operator")
    port = live_server.url.rpartition(":")[2] if "PORT" in changes else "0"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "trialdeck",
            "nni-bridge",
            experiment_id or experiment.public_id,
            "--port",
            port,
        ],
        cwd=ROOT,
        env={**os.environ, "TRIALDECK_URL": live_server.url, "TRIALDECK_TOKEN": secret, **changes},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert sentence in done.stderr and "Traceback" not in done.stderr
