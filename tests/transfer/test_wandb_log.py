"""TD-D8: runs in W&B's own files, written here as its datastore writes them. Compared once with files of wandb 0.31."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from typing import Any

import pytest

from experiments.models import SeenCause, User, Workspace

from .test_round_trip import imported, uploaded

BLOCK = 32_768


def message(*fields: tuple[int, int | bytes | str]) -> bytes:
    """A protobuf message of these fields."""
    data = b""
    for number, value in fields:
        content = value.encode() if isinstance(value, str) else value
        if isinstance(content, int):
            data += varint(number << 3) + varint(content)
        else:
            data += varint(number << 3 | 2) + varint(len(content)) + content
    return data


def varint(number: int) -> bytes:
    data = b""
    while number > 0x7F:
        data, number = data + bytes([number & 0x7F | 0x80]), number >> 7
    return data + bytes([number])


def items(number: int, values: dict[str, Any]) -> bytes:
    """Items with a key; a name with a dot becomes nested keys."""
    fields = []
    for name, value in values.items():
        keys = [(2, part) for part in name.split(".")] if "." in name else [(1, name)]
        fields.append((number, message(*keys, (16, json.dumps(value)))))
    return message(*fields)


def log(*records: bytes, version: int = 0) -> bytes:
    """A log with these records, split at the ends of blocks."""
    data = struct.pack("<4sHB", b":W&B", 0xBEE1, version)
    for record in records:
        is_first = True
        while True:
            left = BLOCK - len(data) % BLOCK
            if left < 7:
                data, left = data + b"\0" * left, BLOCK
            part, record = record[: left - 7], record[left - 7 :]
            kind = (2 if record else 1) if is_first else (3 if record else 4)
            data += struct.pack("<IHB", zlib.crc32(bytes([kind]) + part), len(part), kind) + part
            is_first = False
            if not record:
                break
    return data


def run(id: str = "abc", *, exit_code: int | None = 0, rows: int = 3, **config: Any) -> bytes:  # noqa: A002
    """The log of a run: its config, a history with a long text, a summary, how it ended."""
    settings = items(1, {"lr": 0.1, "_wandb": {"t": 1}, **config})
    records = [
        message((21, b"\x0a\x01x")),  # header
        message(
            (1, 1), (17, message((1, id), (4, settings), (8, f"run {id}"), (17, message((1, 1_767_225_600)))))
        ),
        message((5, items(1, {"layers": 2, "dropped": 1}))),
        message((5, items(2, {"dropped": None}))),
    ]
    for step in range(rows):
        values = {"acc": step / 10, "note": "x" * (100_000 if step == 1 else 1), "deep.loss": 1 / (step + 1)}
        values |= {"_step": 2 * step, "_runtime": 1.5 * step}
        records.append(message((2, items(1, values))))
    records.append(message((3, items(1, {"best": 0.75}))))
    if exit_code is not None:
        records.append(message((18, message((1, exit_code)))))
    return log(*records)


def test_a_run_is_imported_from_its_own_file(lab: Workspace, bob: User) -> None:
    """TD-D8: config, history and summary, without syncing it."""
    row = uploaded(lab, bob, run(), "run-abc.wandb")
    assert row.error == "" and row.format == "wandb"
    experiment = imported(lab, bob, run(), "run-abc.wandb", metric="best", direction="maximize")
    trial = experiment.trials.get()
    assert (trial.state, trial.value, trial.params) == ("succeeded", 0.75, {"lr": 0.1, "layers": 2})
    assert f"{trial.started_at:%F %R}" == "2026-01-01 00:00" and trial.duration_s == 3.0
    points = trial.points.filter(name="acc").order_by("step").values_list("step", "value", "elapsed_s")
    assert list(points) == [(0, 0.0, 0.0), (2, 0.1, 1.5), (4, 0.2, 3.0)]
    assert trial.points.filter(name="deep.loss").count() == 3


def test_a_folder_of_runs_becomes_one_experiment(lab: Workspace, bob: User) -> None:
    """TD-D8: each once, also if the link to the latest was followed; failed and killed ones as failed."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in (
            ("latest-run/run-c", run("c", exit_code=None)),
            ("offline-run-1/run-a", run("a")),
            ("offline-run-2/run-b", run("b", exit_code=1)),
            ("offline-run-3/run-c", run("c", exit_code=None)),
        ):
            archive.writestr(f"wandb/{name}.wandb", data)
    experiment = imported(lab, bob, target.getvalue(), "wandb.zip", metric="acc", direction="maximize")
    assert experiment.name == "wandb"
    assert sorted(experiment.trials.values_list("state", flat=True)) == ["failed", "failed", "succeeded"]
    assert not SeenCause.objects.exists(), "what failed elsewhere is still new in this workspace"


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (run()[:-3], "run.wandb ends within the record at byte 10"),
        (run()[:40_000], "run.wandb ends within the record at byte 242: the run is not over, was killed"),
        (run()[:BLOCK], "run.wandb ends within the record at byte "),
        (flipped(run(), 60), "run.wandb is damaged near byte "),
        (log(b"\x0f"), "run.wandb is damaged near byte 7: a field has the unknown type 7."),
        (log(b"\x12\x7f"), "run.wandb is damaged near byte 7: a field is longer than its record."),
        (log(b"\xff" * 20), "run.wandb is damaged near byte 7: a number has no end."),
        (
            log(message((2, message((1, message((1, "lr"), (16, "{"))))))),
            "run.wandb is damaged near byte 7: the value of lr is not JSON.",
        ),
        (
            log(version=9),
            "run.wandb has version 9 of the log (0xbee1); only version 0 can be read. Sync the run and",
        ),
        (b":W&B\xe1", "run.wandb is not a .wandb file: its header is missing."),
        (log(), "run.wandb contains no run: nothing was logged."),
        (
            log(message((17, message((1, "a"))))),
            "No run has parameters: its config is empty.",
        ),
    ],
)
def test_a_damaged_file_says_what_where_and_what_to_do(
    data: bytes, sentence: str, lab: Workspace, bob: User
) -> None:
    """TD-D8"""
    error = uploaded(lab, bob, data, "run.wandb").error
    assert error.startswith(sentence), error
    assert error.count(". ") or error.endswith("."), "a next step"
