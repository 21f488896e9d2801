"""Known secrets are masked wherever they are printed."""

import base64
import json
from html import escape
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.runner.output.masking import (
    MASK,
    MAX_BYTES,
    MaskedStream,
    Masker,
    has_secret_name,
    secrets_in,
)
from experiments.runner.report import Report

KEY = "-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA\n4711/+=\n-----END KEY-----\n"
SECRETS = ["hunter2!", "hunter2!longer", 'a"b\\c&d ü', KEY, "x" * (2 * MAX_BYTES + 100)]


def streamed(masker: Masker, data: bytes, sizes: list[int]) -> bytes:
    """What a stream shows of data that arrives in pieces of these sizes, then in one piece."""
    stream, shown, begin = MaskedStream(masker), bytearray(), 0
    for size in [*sizes, len(data)]:
        for offset, part in stream.feed(begin, data[begin : begin + size]):
            assert offset == len(shown)
            shown += part
        begin = min(len(data), begin + size)
    for offset, part in stream.end():
        assert offset == len(shown)
        shown += part
    return bytes(shown)


@pytest.mark.parametrize(
    "printed",
    [
        *SECRETS,
        *(json.dumps(secret) for secret in SECRETS),
        *(json.dumps(secret, ensure_ascii=False) for secret in SECRETS[:3]),
        *(f"https://user:{quote(secret, safe='')}@example.org" for secret in SECRETS[:3]),
        *(escape(secret) for secret in SECRETS[:3]),
        *(escape(secret, quote=False) for secret in SECRETS[:3]),
        KEY.replace("\n", "\r\n"),
    ],
)
def test_a_secret_is_masked_however_it_is_spelled(printed):
    """TD-Z4: as it is, as JSON, in addresses and in HTML; of one with several lines each line."""
    masker = Masker(SECRETS)
    shown = masker.data(printed.encode())
    assert len(shown) == len(printed.encode())
    for secret in (
        "hunter2",
        "longer",
        'a"b',
        "a&quot;b",
        "c&d",
        "c&amp;d",
        "c%26d",
        "MIIEp",
        "4711/",
        "xxxx",
    ):
        assert secret.encode() not in shown
        assert secret not in masker.text(printed)


@given(
    words=st.lists(
        st.sampled_from([*SECRETS[:3], "hunter", "2!", "hunter2!lon", "ger", "\n", "ab"]), max_size=8
    ),
    sizes=st.lists(st.integers(1, 9), max_size=60),
)
def test_a_secret_is_masked_wherever_the_pieces_divide_it(words, sizes):
    """TD-Z4: across chunks; nothing is lost, moved or masked besides."""
    masker, data = Masker(SECRETS[:3]), "".join(words).encode()
    shown = streamed(masker, data, sizes)
    assert len(shown) == len(data)
    assert b"hunter2!" not in shown and b'a"b' not in shown
    assert all(now in (before, ord("*")) for now, before in zip(shown, data, strict=True))
    if not any(secret.encode() in data for secret in SECRETS[:3]):
        assert shown == data


def test_what_may_be_the_beginning_of_a_secret_waits_and_is_shown_at_the_end():
    """TD-Z4: also before a part that was dropped."""
    stream = MaskedStream(Masker(["hunter2!"]))
    assert list(stream.feed(0, b"I hunt")) == [(0, b"I ")]
    assert list(stream.feed(6, b"ed.\nhun")) == [(2, b"hunted.\n")]
    assert list(stream.feed(100, b"ter2!")) == [(10, b"hun"), (100, b"ter2!")]
    assert list(stream.feed(105, b"hunter2")) == []
    assert list(stream.end()) == [(105, b"hunter2")] and list(stream.end()) == []


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode, base64.b16encode])
@pytest.mark.parametrize("before", ["", "u", "us", "user:"])
@pytest.mark.parametrize("after", ["", "@", "@h", "@host"])
def test_an_encoded_secret_is_masked(encode, before, after):
    """TD-Z4: alone, and as a part of what was encoded, such as a header for basic authentication."""
    secret = "s3cr3t/+v~?=?&x9ü"
    masker = Masker([secret])
    encoded = encode(f"{before}{secret}{after}".encode()).decode()
    shown = masker.text(f"Basic {encoded}.")
    assert MASK in shown and shown.startswith("Basic ") and shown.endswith(".")
    left = shown.removeprefix("Basic ").removesuffix(".").replace(MASK, "")
    assert len(left) <= 2 * len(before + after) + 4
    assert masker.data(encoded.encode()).count(b"*") >= len(encode(secret.encode())) - 4
    assert Masker(["s3cr3t"]).text(base64.b64encode(b"s3cr3t").decode()) != MASK, "short: only as it is"


def test_a_secret_in_one_case_is_masked():
    """TD-Z4: printed with upper() or lower(); short ones would mask words."""
    assert Masker(["S3cret-Hunter"]).text("s3cret-hunter S3CRET-HUNTER") == f"{MASK} {MASK}"
    assert Masker(["Hunt"]).text("hunt") == "hunt"


def test_short_secrets_would_mask_everything():
    masker = Masker(["", " ", "a", "1.5", "\n\n"])
    assert masker.text("a 1.5") == "a 1.5" and masker.data(b"a 1.5") == b"a 1.5"


def test_what_looks_like_a_secret():
    """TD-Z4: variables by their names, and credentials in addresses."""
    environment = {
        "HF_TOKEN": "hf_0123456789", "AWS_SECRET_ACCESS_KEY": "aws/0123456789", "OPENAI_API_KEY": "sk-0123456789",
        "DB_PASSWORD": "correct horse", "password": "battery staple",
        "TOKENIZERS_PARALLELISM": "disabled!", "MAX_TOKENS": "100000000", "SSH_PRIVATE_KEY": "/home/alice/.ssh/id",
        "SHORT_TOKEN": "1", "MONKEY": "bananas!!", "PIP_INDEX_URL": "https://bob:p%40ss%2Fword@pypi.example/simple",
    }  # fmt: skip
    assert secrets_in(environment) == {
        "hf_0123456789", "aws/0123456789", "sk-0123456789", "correct horse", "battery staple",
        "p%40ss%2Fword", "p@ss/word",
    }  # fmt: skip
    texts = ["https://ghp_0123456789@github.com/lab/net", "ssh://git@host/x", "git@github.com:lab/net", "a@b"]
    assert secrets_in({}, texts) == {"ghp_0123456789"}
    assert secrets_in({}, ["pip install git+https://x-token:s3cr3t@host/net.git"]) == {"s3cr3t"}


def test_what_pages_hide_is_masked_in_logs_too():
    """TD-Z4: other names of secrets; words and numbers are not masked for a name alone."""
    environment = {
        "GITHUB_PAT": "ghp_0123456789", "DB_PASS": "correcthorse", "MYSQL_PWD": "battery-staple",
        "OPENAI_KEY": "sk-1a2b3c4d", "API_KEY_2": "sk-2a2b3c4d", "TOKEN_FILE": "token.json",
        "SESSION_COOKIE": "id=4711;x", "BASIC_AUTH": "alice:pw1",
        "SORT_KEY": "timestamp", "PRIMARY_KEY": "customer_id", "MAX_TOKENS": "16777216", "HTTP_AUTH": "disabled",
        "PWD": "/home/alice", "special_tokens": "<pad>,<unk>",
    }  # fmt: skip
    masked = {name for name, value in environment.items() if value in secrets_in(environment)}
    assert masked == {
        "GITHUB_PAT",
        "DB_PASS",
        "MYSQL_PWD",
        "OPENAI_KEY",
        "API_KEY_2",
        "SESSION_COOKIE",
        "BASIC_AUTH",
    }
    assert all(has_secret_name(name) for name in masked)


def test_reports_and_sentences():
    """TD-Z4"""
    masker = Masker(["hunter2!"])
    report = Report("hunter2!", 0, None, "hunter2!")
    assert masker.report(report) == Report(MASK, 0, None, MASK)
    kept = Report("loss", 0, 0.5)
    assert masker.report(kept) is kept
    assert masker.text("ValueError: hunter2! is wrong") == f"ValueError: {MASK} is wrong"
