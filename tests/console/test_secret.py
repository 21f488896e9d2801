"""The secret that an installation makes for itself."""

import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from console import secret_key

pytestmark = pytest.mark.once


def test_only_its_owner_can_read_it(tmp_path):
    secret_key.read_or_make(tmp_path / "deep" / "secret")
    assert stat.S_IMODE((tmp_path / "deep" / "secret").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "deep").stat().st_mode) == 0o700


def test_it_is_made_once(tmp_path):
    made = secret_key.read_or_make(tmp_path / "secret")
    assert len(made) >= 40
    assert secret_key.read_or_make(tmp_path / "secret") == made
    assert secret_key.read_or_make(tmp_path / "another") != made


def test_many_that_make_it_at_once_get_the_same(tmp_path):
    for round in range(20):
        path = tmp_path / str(round) / "secret"
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda _, path=path: secret_key.read_or_make(path), range(8)))
        assert len(set(made)) == 1
        assert [file.name for file in path.parent.iterdir()] == ["secret"]
