"""The embedded broker: a real Valkey."""

import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import redis
from kombu import Connection
from kombu.transport.redis import Channel

from console.celery import outlive_the_broker
from experiments import broker
from tests.repository_rules.repository import ROOT
from tests.support.valkey import Valkey
from tests.support.waiting import eventually

pytestmark = pytest.mark.once


@pytest.fixture
def valkey(tmp_path):
    valkey = Valkey(tmp_path / "data")
    valkey.data.mkdir()
    valkey.start()
    yield valkey
    valkey.stop()


def test_a_killed_one_comes_back_and_keeps_nothing_on_the_disk(valkey):
    """TD-X8 TD-S2: the broker's process may die at any time, and the disk may be full."""
    with redis.Redis(unix_socket_path=str(broker.socket_path(valkey.data))) as client:
        client.rpush("work.1", *range(1000))
    valkey.kill()
    assert not broker.is_answering(valkey.data)
    assert [path.name for path in (valkey.data / "broker").iterdir() if path.is_file()] == []
    valkey.start()
    with redis.Redis(unix_socket_path=str(broker.socket_path(valkey.data))) as client:
        assert client.llen("work.1") == 0


def test_it_ends_with_a_session_of_tests_that_was_killed(tmp_path):
    starts = (
        "import os, signal; from pathlib import Path; from tests.support.valkey import Valkey; "
        f"valkey = Valkey(Path({str(tmp_path)!r})); valkey.start(); print(valkey.process.pid, flush=True); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    output = subprocess.run([sys.executable, "-c", starts], cwd=ROOT, capture_output=True, check=False).stdout
    pid = int(output)
    eventually(lambda: not psutil.pid_exists(pid), what="its end")


def test_nobody_else_can_reach_its_socket(valkey):
    socket = broker.socket_path(valkey.data)
    assert stat.S_IMODE(socket.stat().st_mode) == 0o700
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700


def test_celery_talks_to_it_even_when_the_folder_has_spaces(tmp_path):
    valkey = Valkey(tmp_path / "my data")
    valkey.data.mkdir()
    valkey.start()
    try:
        with Connection(valkey.url) as connection:
            queue = connection.SimpleQueue("work.1")
            queue.put("look")
            assert queue.get(timeout=5).payload == "look"
    finally:
        valkey.stop()


def test_a_deep_folder_gets_a_short_socket(tmp_path):
    deep = tmp_path / ("d" * 80) / "data"
    path = broker.socket_path(deep)
    assert len(bytes(path)) < 100
    assert path != broker.socket_path(tmp_path / ("e" * 80) / "data")
    assert str(path) in broker.argv(deep)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.parent.rmdir()


def test_a_socket_folder_that_somebody_else_made_is_refused(tmp_path, monkeypatch):
    deep = tmp_path / ("f" * 80)
    folder = broker.socket_path(deep).parent
    elsewhere = tmp_path / "theirs"
    elsewhere.mkdir()
    folder.symlink_to(elsewhere)
    try:
        with pytest.raises(broker.BrokerError, match="belongs to another user"):
            broker.argv(deep)
    finally:
        folder.unlink()


def test_the_server_can_be_chosen(tmp_path):
    mine = tmp_path / "my-valkey"
    mine.write_text("#!/bin/sh\n")
    with pytest.raises(broker.BrokerError, match="my-valkey is not an executable program"):
        broker.binary({"TRIALDECK_VALKEY_BIN": str(mine)})
    mine.chmod(0o755)
    assert broker.binary({"TRIALDECK_VALKEY_BIN": str(mine)}) == str(mine)
    assert Path(broker.binary({})).name == "valkey-server"


@pytest.mark.parametrize(
    ("address", "is_elsewhere"),
    [
        ("redis://broker.example:6379/0", True),
        ("rediss://10.0.0.7/0", True),
        ("redis://localhost:6379/0", False),
        ("redis://:password@127.0.0.1/0", False),
        ("redis+socket:///run/valkey.sock?virtual_host=0", False),
    ],
)
def test_it_knows_a_broker_on_another_machine(address, is_elsewhere):
    assert broker.is_elsewhere(address) is is_elsewhere


def test_a_channel_that_was_closed_raises_what_celery_takes_for_a_lost_connection(valkey, monkeypatch):
    """TD-S2: kombu raised an AttributeError, and the process of the scheduler ended with its broker."""
    for name in ("_connparams", "do_restore"):
        monkeypatch.setattr(Channel, name, getattr(Channel, name))  # put back at the end
    outlive_the_broker()
    with Connection(valkey.url) as connection:
        channel = connection.channel()
        channel.client.ping()
        channel.close()
        with pytest.raises(connection.connection_errors):
            channel._connparams()
