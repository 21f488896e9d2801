"""Mask known secrets in a trial's output: its log, failure details, notes and metrics.

In the log, a secret becomes as many asterisks as it has bytes, so that offsets are the same as on the worker's disk.
"""

import html
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from urllib.parse import quote, quote_plus, unquote

from experiments.runner.report import Report

MASK = "***"
MIN_MARKED = 4  # characters; shorter ones would mask numbers and words everywhere
MIN_NAMED = 8  # of a value that is a secret only by its variable's name
MIN_ENCODED = 8  # of a secret that is also masked in base64 and hexadecimal
HEAD_BYTES = 4  # of a secret, which few places in a log begin with
MAX_BYTES = 4096  # of one pattern; longer secrets are masked in pieces

_SECRET_NAME = re.compile(
    r"(?:^|.*_)(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|PASS|PWD|PAT|CREDENTIALS?|APIKEY"
    r"|(?:API|ACCESS|SECRET|PRIVATE)_KEY)",
    re.IGNORECASE,
)
_SECRET_PART = re.compile(
    r".*(SECRET|PASSW|PASSPHRASE|CREDENTIAL).*|.*(KEY|KEYS|TOKEN|TOKENS)|PASS|PWD|PAT|AUTH|DSN|COOKIE"
)
_LIKELY_NAME = re.compile(
    r"(?:[A-Z\d_]*_)?(?:KEYS?|TOKENS?|SECRETS?|PASSWORDS?|AUTH|COOKIE)(?:_[A-Z\d_]*)?"
)  # OPENAI_KEY, TOKEN_2
_WORD_OR_NUMBER = re.compile(r"[A-Za-z_.-]*|[\d.,_-]*")  # SORT_KEY=timestamp, MAX_TOKENS=16777216
_IN_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^\s/@:'\"]*)(?::([^\s/@'\"]*))?@")


# API_TOKEN=…, export API_TOKEN="…", api_key = '…'; --password …, --api-key=…
_VALUE = r"""(?:"([^"\n]*)"|'([^'\n]*)'|([^\s"';|&]+))"""
_ASSIGNED = re.compile(rf"(?<![\w$-])([A-Za-z_]\w*)( ?)= ?{_VALUE}")
_OPTION = re.compile(rf"(?<!\S)--?([A-Za-z][\w-]*)(?:=|( +)){_VALUE}")
_BEARER = re.compile(r"(?i)\b(?:bearer|basic|token)[ ]+([\w.~+/=-]{16,})")
_NO_VALUE = re.compile(r"[${<(\[]|%\(|^[/.-]|^[A-Za-z_.-]+(?:/[A-Za-z_.-]+)+$")  # a reference, a call, a path
_IDENTIFIER = re.compile(r"[A-Za-z_]+(?:\.[A-Za-z_]\w*)*|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")


def has_secret_name(name: str) -> bool:
    """Return whether a variable is likely to hold a secret, by its name."""
    return any(_SECRET_PART.fullmatch(part) for part in re.split(r"[_\d]+", name.upper()))


def secrets_in(environment: Mapping[str, str], texts: Iterable[str] = ()) -> set[str]:
    """Return the values of variables with a secret's name, and the credentials in URLs in all values and `texts`. A
    user name without a password counts in http and https URLs, where it can only be a token. In `texts`, such as
    commands, also values that are assigned to variables and options with a secret's name."""
    texts = list(texts)
    secrets = {
        value
        for name, value in environment.items()
        if len(value) >= MIN_NAMED
        and not value.startswith("/")
        and (_SECRET_NAME.fullmatch(name) or _is_likely_secret(name, value))
    }
    for text in texts:
        secrets |= _assigned_in(text)
    for text in (*environment.values(), *texts):
        for scheme, user, password in _IN_URL.findall(text) if "@" in text else ():
            if password:
                secrets |= {password, unquote(password)}
            elif scheme.lower() in ("http", "https") and len(user) >= MIN_NAMED:
                secrets |= {user, unquote(user)}
    return secrets


def without_credentials(text: str, mask: str = MASK) -> str:
    """Return a text with a mask for the credentials in its URLs, however short they are."""
    if "@" not in text:
        return text

    def masked(match: re.Match[str]) -> str:
        scheme, user, password = match.groups()
        if password:
            return f"{scheme}://{user}:{mask}@"
        is_token = scheme.lower() in ("http", "https") and len(user) >= MIN_NAMED
        return f"{scheme}://{mask}@" if is_token else match[0]

    return _IN_URL.sub(masked, text)


def _assigned_in(text: str) -> set[str]:
    """Return the values that a text assigns to names of secrets."""
    secrets = {match[1] for match in _BEARER.finditer(text)}
    for expression in (_ASSIGNED, _OPTION):
        for name, space, *quoted, bare in expression.findall(text):
            value = "".join(quoted) or bare
            name = name.replace("-", "_")
            is_secret = _SECRET_NAME.fullmatch(name) or _is_likely_secret(name, value)
            is_code = bare and space and expression is _ASSIGNED and _IDENTIFIER.fullmatch(bare)
            if is_secret and not is_code and len(value) >= MIN_NAMED and not _NO_VALUE.search(value):
                secrets.add(value)
    return secrets


def _is_likely_secret(name: str, value: str) -> bool:
    """Return whether an environment variable with a secret-like name also has a value that looks like a secret."""
    return bool(_LIKELY_NAME.fullmatch(name)) and not _WORD_OR_NUMBER.fullmatch(value)


class Masker:
    """Masks these secrets, also in upper or lower case, as encoded in JSON, URLs, HTML, base64 and hexadecimal, and
    each line of a multi-line secret."""

    def __init__(self, secrets: Iterable[str]) -> None:
        spelled = {spelling for secret in secrets for spelling in _encodings(secret)}
        self._secrets = sorted(spelled, key=lambda secret: (-len(secret), secret))
        self._longest = len(self._secrets[0]) if self._secrets else 0
        self._first_bytes = {secret[0] for secret in self._secrets}
        # A lookahead also matches at each of several places that overlap.
        heads = {re.escape(secret[:HEAD_BYTES]) for secret in self._secrets}
        self._heads = re.compile(b"(?=" + b"|".join(sorted(heads)) + b")") if heads else None
        self._pattern = re.compile(b"|".join(map(re.escape, self._secrets))) if self._secrets else None

    def text(self, text: str) -> str:
        """Return a text with MASK in place of each secret."""
        if self._pattern is None:
            return text
        data = text.encode("utf-8", "surrogatepass")
        return self._pattern.sub(MASK.encode(), data).decode("utf-8", "surrogatepass")

    def data(self, data: bytes) -> bytes:
        """Return bytes of the same length, with asterisks in place of each secret."""
        if self._pattern is None:
            return data
        return self._pattern.sub(lambda match: b"*" * len(match[0]), data)

    def report(self, report: Report) -> Report:
        """Return a report with no secret in its name or text."""
        name, text = self.text(report.name), self.text(report.text)
        return report if (name, text) == (report.name, report.text) else replace(report, name=name, text=text)

    def cut(self, data: bytes) -> int:
        """Return how many of these bytes can be masked now: the last bytes may be the beginning of a secret."""
        if self._pattern is None:
            return len(data)
        begin = max(0, len(data) - self._longest + 1)
        cut = next(
            (place for place in self._beginnings(data, begin) if self._may_begin(data, place)), len(data)
        )
        # A whole secret is never cut in two.
        ends = (match.end() for match in self._pattern.finditer(data) if match.start() < cut < match.end())
        return next(ends, cut)

    def _beginnings(self, data: bytes, begin: int) -> Iterator[int]:
        """Yield the places from `begin` on where a secret may begin: those of the first bytes of one, and the last few,
        after which there are fewer bytes than that."""
        assert self._heads, "only with secrets"
        last = max(begin, len(data) - HEAD_BYTES + 1)
        for match in self._heads.finditer(data, begin):
            if match.start() < last:
                yield match.start()
        yield from (place for place in range(last, len(data)) if data[place] in self._first_bytes)

    def _may_begin(self, data: bytes, place: int) -> bool:
        rest = data[place:]
        return any(len(secret) > len(rest) and secret.startswith(rest) for secret in self._secrets)


class MaskedStream:
    """The pieces of one log with all secrets masked, even those split between pieces."""

    def __init__(self, masker: Masker) -> None:
        self.masker = masker
        self._offset, self._held_back = 0, b""

    def feed(self, offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield (offset, bytes) that can be shown. A possible beginning of a secret waits for the next call."""
        if offset != self._offset + len(self._held_back):  # a part of the log was dropped
            yield from self.end()
            self._offset = offset
        data = self._held_back + data
        cut = self.masker.cut(data)
        shown, self._held_back = self.masker.data(data[:cut]), data[cut:]
        begin, self._offset = self._offset, self._offset + cut
        if shown:
            yield begin, shown

    def end(self) -> Iterator[tuple[int, bytes]]:
        """Yield the rest. Call it when the log has ended."""
        tail, self._held_back = self._held_back, b""
        begin, self._offset = self._offset, self._offset + len(tail)
        if tail:
            yield begin, self.masker.data(tail)


def _encodings(secret: str) -> Iterator[bytes]:
    lines = {secret, secret.strip(), *secret.splitlines()}
    for line in (line for line in lines if len(line) >= MIN_MARKED and line.strip()):
        escaped = json.dumps(line)[1:-1]
        unicode = json.dumps(line, ensure_ascii=False)[1:-1]
        in_urls = {quote_with(line, errors="replace") for quote_with in (quote, quote_plus)}
        in_urls.add(quote(line, safe="", errors="replace"))
        in_one_case = {line.upper(), line.lower()} if len(line) >= MIN_ENCODED else set()
        in_html = {html.escape(line), html.escape(line, quote=False)}
        for spelling in {line, escaped, unicode} | in_urls | in_html | in_one_case:
            data = spelling.encode("utf-8", "surrogatepass")
            for begin in range(0, len(data), MAX_BYTES):
                piece = data[begin : begin + MAX_BYTES]
                if len(piece) >= MIN_MARKED:
                    yield piece
        if len(line) >= MIN_ENCODED:
            yield from _encoded(line.encode("utf-8", "surrogatepass")[:MAX_BYTES])


def _encoded(data: bytes) -> Iterator[bytes]:
    """Yield the bytes in hexadecimal, and the base64 characters that do not depend on the neighboring bytes (as in
    `user:password` of a header), for each of the three alignments of base64's groups of three bytes."""
    yield from (data.hex().encode(), data.hex().upper().encode())
    for before in range(3):
        begin, bits = (0, 2, 3)[before], 8 * (before + len(data))
        text = b64encode(bytes(before) + data)[begin : bits // 6]
        yield from {text, text.translate(bytes.maketrans(b"+/", b"-_"))}
