"""Encrypted hyperparameters: sealed when they are entered, opened only by the worker that runs a trial.

{group: {name: {"secret": sealed text, "type": …, "description": …}}}, as in `Execution.hyperparameters`.
"""

from __future__ import annotations

import base64
import re
from functools import cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

HIDDEN = "••••"  # shown instead of a secret
LONGEST = 100_000  # characters of a secret

_SEALED = re.compile(r"sealed:[A-Za-z0-9_-]{40,}=*")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

Traits = dict[str, str]
Groups = dict[str, dict[str, Traits]]


class Unreadable(Exception):
    """A secret that was encrypted with another key. `str()` names it and says what to do."""


def seal(text: str) -> str:
    """Return the text, encrypted with the key of this installation."""
    return f"sealed:{_keys(*_phrases()).encrypt(text.encode()).decode()}"


def unsealed(text: str, *, name: str) -> str:
    """Return the text that was passed to `seal`. Raise `Unreadable`, which calls it the secret `name`."""
    try:
        return _keys(*_phrases()).decrypt(text.removeprefix("sealed:").encode()).decode()
    except InvalidToken:
        raise Unreadable(
            f"The secret {name} cannot be decrypted: it was encrypted with another secret key. Start this worker with "
            "the console's TRIALDECK_SECRET_KEY, list the former key in TRIALDECK_FORMER_SECRET_KEYS, or enter the "
            "secret again."
        ) from None


def is_sealed(text: str) -> bool:
    """Whether the text has the form of a result of `seal`."""
    return bool(_SEALED.fullmatch(text))


def hidden(groups: Groups) -> Groups:
    """Return the groups with dots instead of secrets."""
    return {
        group: {
            name: {**traits, "secret": HIDDEN} if "secret" in traits else traits
            for name, traits in parameters.items()
        }
        for group, parameters in groups.items()
    }


def hidden_in(text: str) -> str:
    """Return the text with dots instead of sealed secrets."""
    return _SEALED.sub(HIDDEN, text)


def sealed(groups: object, *, stored: Groups) -> object:
    """Return the groups with their secrets sealed. Dots stand for the secret that is `stored` under that name.

    Invalid secrets are returned unchanged; `Settings.checked` reports them.
    """
    if not isinstance(groups, dict):
        return groups
    return {
        group: {
            name: _sealed(traits, stored.get(group, {}).get(name, {})) for name, traits in parameters.items()
        }
        if isinstance(parameters, dict)
        else parameters
        for group, parameters in groups.items()
    }


def opened(groups: Groups) -> Groups:
    """Return the groups with decrypted secrets, for a trial, never for users. Raise `Unreadable`."""
    return {
        group: {name: _opened(f"{group}/{name}", traits) for name, traits in parameters.items()}
        for group, parameters in groups.items()
    }


def texts(groups: Groups) -> list[str]:
    """The secrets that this process can read, to mask them."""
    plain_texts = []
    for parameters in groups.values():
        for name, traits in parameters.items():
            if "secret" not in traits:
                continue
            try:
                plain_texts.append(_opened(name, traits)["value"])
            except Unreadable:
                continue  # no trial of this worker gets it either
    return plain_texts


def _sealed(traits: object, stored: Traits) -> object:
    if not isinstance(traits, dict):
        return traits
    text = traits.get("secret")
    if text == HIDDEN and "secret" in stored:
        return {**traits, "secret": stored["secret"]}
    if not isinstance(text, str) or text == HIDDEN or len(text) > LONGEST or _UNSTORABLE.search(text):
        return traits
    return {**traits, "secret": seal(text)}


def _opened(name: str, traits: Traits) -> Traits:
    if "secret" not in traits:
        return traits
    opened_traits = {key: text for key, text in traits.items() if key != "secret"}
    return {**opened_traits, "value": unsealed(traits["secret"], name=name)}


def _phrases() -> tuple[str, ...]:
    return (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)


@cache
def _keys(*phrases: str) -> MultiFernet:
    return MultiFernet([Fernet(_key(phrase)) for phrase in phrases])


def _key(phrase: str) -> bytes:
    derive = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"trialdeck hyperparameters")
    return base64.urlsafe_b64encode(derive.derive(phrase.encode()))
