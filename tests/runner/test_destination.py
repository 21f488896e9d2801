"""Output destinations in use: a folder, and S3 by a real server on this machine."""

import errno
import os
import urllib.request

import pytest

from experiments.runner.destination import Store, StoreError, _reason

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def s3():
    """An S3 server with a bucket: its address as people write it."""
    import boto3
    from moto.server import ThreadedMotoServer

    kept = dict(os.environ)
    os.environ.update(AWS_ACCESS_KEY_ID="alice", AWS_SECRET_ACCESS_KEY="s3cret", AWS_REGION="us-east-1")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1").create_bucket(
        Bucket="bucket"
    )
    yield f"s3://127.0.0.1:{port}/bucket/runs"
    server.stop()
    os.environ.clear()
    os.environ.update(kept)


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_what_is_put_comes_back(kind, s3, tmp_path):
    """CML-O1: any name, large files in parts."""
    store = Store(s3 if kind == "s3" else str(tmp_path / "share"))
    file = tmp_path / "model.bin"
    file.write_bytes(os.urandom(1 << 20) * 12)
    name = "abcdefgh/1/sub/model ü #1%.bin"
    store.put(file, name)
    assert b"".join(store.read(name)) == file.read_bytes()
    store.delete(name)
    with pytest.raises(StoreError, match="could not read the file"):
        store.read(name)
    store.delete(name)


def test_a_signed_address_gives_it_to_a_browser(s3, tmp_path):
    """CML-O1: so that a download goes past the console."""
    file = tmp_path / "x"
    file.write_text("hello")
    store = Store(s3)
    store.put(file, "a/x")
    with urllib.request.urlopen(store.signed("a/x")) as answer:
        assert answer.read() == b"hello"
    assert Store(str(tmp_path)).signed("x") == ""
    assert Store(str(tmp_path)).file("x") == file


@pytest.mark.parametrize(
    ("wrong", "message"),
    [("bucket", "NoSuchBucket"), ("port", "error sending request|Connection")],
)
def test_a_destination_that_fails_says_so_in_one_line(s3, tmp_path, wrong, message):
    """CML-O1: which destination, and its own word; no secret, no debug output."""
    bad = s3.replace("/bucket/", "/nobucket/") if wrong == "bucket" else "s3://127.0.0.1:9/bucket"
    file = tmp_path / "x"
    file.write_text("hello")
    with pytest.raises(StoreError, match=message) as error:
        Store(bad).put(file, "x")
    assert bad in str(error.value) and "\n" not in str(error.value) and "s3cret" not in str(error.value)


def test_a_worker_without_credentials_is_told_so(tmp_path, monkeypatch):
    """CML-O1: not the address of a cloud's own machines, which is asked last."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    message = _reason(RuntimeError("Error performing PUT http://169.254.169.254/latest/api/token: refused"))
    assert message.startswith("no credentials.")


def test_a_folder_that_may_not_be_written(tmp_path):
    """CML-O1: a file where the folder should be."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="could not store the file"):
        Store(str(tmp_path / "file" / "below")).put(tmp_path / "file", "x")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_file_that_cannot_be_written_back_is_not_stored(tmp_path, monkeypatch, number):
    """TD-S2: network file systems and full disks may report an error only when the data is flushed."""

    def fail(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    folder, file = tmp_path / "share", tmp_path / "model.bin"
    file.write_bytes(b"weights")
    with pytest.raises(StoreError, match=os.strerror(number)):
        Store(str(folder)).put(file, "abcdefgh/1/model.bin")
    assert [path for path in folder.rglob("*") if path.is_file()] == []
