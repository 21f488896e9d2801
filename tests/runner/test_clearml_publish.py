"""What a ClearML script reports is published while it runs."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from experiments.runner.dialects.clearml_publish import Publisher
from tests.runner.test_clearml_reports import LINE, TABLE, plot_event


@pytest.fixture
def session(tmp_path: Path) -> Path:
    session = tmp_path / "session"
    (session / "data" / "p" / "t.1" / "metrics" / "img" / "s").mkdir(parents=True)
    return session


@pytest.fixture
def publisher(session: Path, tmp_path: Path) -> Publisher:
    return Publisher(session, tmp_path / "output", tmp_path)


def published(tmp_path: Path) -> dict[str, str]:
    output = tmp_path / "output"
    return {str(path.relative_to(output)): path.read_text() for path in output.rglob("*") if path.is_file()}


def test_plots_and_tables_appear_while_the_trial_runs(
    session: Path, publisher: Publisher, tmp_path: Path
) -> None:
    """TD-C7 CML-T1: line by line; a line that is still being written waits."""
    publisher.publish(quiet_s=2)
    assert published(tmp_path) == {}
    events = session / "metrics.jsonl"
    second = json.dumps([plot_event("roc", "train", LINE, step=2)])
    events.write_text(json.dumps([plot_event("roc", "train", LINE)]) + "\n" + second[:40])
    publisher.publish(quiet_s=2)
    assert [*published(tmp_path)] == ["plots/roc/train/00000001.json"]
    with events.open("a") as file:
        file.write(second[40:] + "\n" + json.dumps([plot_event("ROC", "train", TABLE)]))
    publisher.publish(quiet_s=2)
    assert sorted(published(tmp_path)) == ["plots/roc/train/00000001.json", "plots/roc/train/00000002.json"]
    publisher.publish()  # the trial has ended, without a last newline
    assert "tables/ROC/train/00000001.csv" in published(tmp_path)


def test_samples_appear_once_they_are_written_and_follow_their_changes(
    session: Path, publisher: Publisher, tmp_path: Path
) -> None:
    """TD-C7: the package overwrites old samples; files of the script's own stay."""
    sample, own = (session / "data/p/t.1/metrics/img/s" / name for name in ("a.png", "own.png"))
    for path in (sample, own):
        path.write_text("first")
    (tmp_path / "output/debug_samples/img/s").mkdir(parents=True)
    (tmp_path / "output/debug_samples/img/s/own.png").write_text("the script's")
    publisher.publish(quiet_s=60)
    expected = {"debug_samples/img/s/own.png": "the script's"}
    assert published(tmp_path) == expected, "it may still be written"
    for content in ("first", "second"):
        sample.write_text(content)
        os.utime(sample, (time.time() - 100, time.time() - 100))
        publisher.publish(quiet_s=60)
        assert published(tmp_path) == expected | {"debug_samples/img/s/a.png": content}
    sample.write_text("last")
    publisher.publish()
    assert published(tmp_path)["debug_samples/img/s/a.png"] == "last"


def test_user_properties_follow_the_script(session: Path, publisher: Publisher, tmp_path: Path) -> None:
    """TD-C7: a task file that is being written is read the next time."""
    for value in ("1", "2"):
        task = json.dumps({"hyperparams": {"properties": {"epoch": {"value": value}}}})
        (session / "task.json").write_text(task[:30])
        publisher.publish(quiet_s=2)
        (session / "task.json").write_text(task)
        publisher.publish(quiet_s=2)
        assert json.loads(published(tmp_path)["clearml.json"]) == {"properties": {"epoch": value}}


def test_nothing_is_published_through_a_link(session: Path, publisher: Publisher, tmp_path: Path) -> None:
    """TD-Z2: neither read nor written."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "secret.png").write_text("secret")
    (session / "data/p/t.1/metrics/img/s/a.png").symlink_to(tmp_path / "secret.png")
    (session / "metrics.jsonl").write_text(json.dumps([plot_event("roc", "train", LINE)]) + "\n")
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "plots").symlink_to(tmp_path / "elsewhere")
    publisher.publish()
    assert published(tmp_path) == {} and not [*(tmp_path / "elsewhere").iterdir()]
