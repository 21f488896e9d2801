"""The second factor of a sign-in with a password: codes of an authenticator app, and recovery codes."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

import pyotp
from django.db import models, transaction

from experiments import database_clock
from experiments.models import audit
from experiments.models import secret as sealing
from experiments.models.fields import StampField
from experiments.models.status import Refused

from .user import User

STEP_S = 30
TOLERANCE = 1  # steps before and after, for clocks that differ
CODES = 10
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # without characters that are easily confused


class SecondFactor(models.Model):
    """An authenticator app of a person. Its secret is stored encrypted."""

    user = models.OneToOneField(User, models.CASCADE, related_name="second_factor")
    sealed_secret = models.TextField()
    last_step = models.BigIntegerField(default=0)  # of the last accepted code: no code is accepted twice
    created_at = StampField()
    last_used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"authenticator app of {self.user}"

    @classmethod
    def of(cls, user: User) -> SecondFactor | None:
        return cls.objects.filter(user=user).first()

    @staticmethod
    def new_secret() -> str:
        """Return a secret for a new app, in base32."""
        return pyotp.random_base32()

    @staticmethod
    def address(secret: str, *, user: User, host: str) -> str:
        """Return the otpauth:// URI that the app reads."""
        return pyotp.TOTP(secret).provisioning_uri(
            name=user.get_username(), issuer_name=f"Trialdeck ({host})"
        )

    @classmethod
    def turn_on(cls, user: User, *, secret: str, code: str) -> list[str]:
        """Turn it on with the first code of the new app. Return the recovery codes, which are shown once. Raise
        `Refused` for a wrong code, or if it is already on."""
        step = _step_of(secret, code, after=0)
        if step is None:
            raise Refused(
                "Wrong code. Enter the current one, and check that the phone and server clocks agree."
            )
        with transaction.atomic():
            _, is_new = cls.objects.get_or_create(
                user=user, defaults={"sealed_secret": sealing.seal(secret), "last_step": step}
            )
            if not is_new:
                raise Refused("Two-factor is already on. Turn it off first to use another app.")
            audit.record("factor_add", by=user, subject=user)
            return RecoveryCode.renew(user)

    def accepts(self, code: str) -> bool:
        """Return whether this is a valid code of the app, or a recovery code, and use it up."""
        text = "".join(code.split()).replace("-", "").lower()
        if not (text.isascii() and text.isdecimal()):
            return RecoveryCode.use(self.user, text)
        secret = sealing.unsealed(self.sealed_secret, name=f"of the app of {self.user}")
        step = _step_of(secret, text, after=self.last_step)
        if step is None:
            return False
        unused = SecondFactor.objects.filter(pk=self.pk, last_step__lt=step)
        return bool(unused.update(last_step=step, last_used_at=database_clock.now()))

    def turn_off(self, *, by: User) -> None:
        """Turn it off, with its recovery codes."""
        with transaction.atomic():
            RecoveryCode.objects.filter(user=self.user).delete()
            self.delete()
            audit.record("factor_remove", by=by, subject=self.user)


class RecoveryCode(models.Model):
    """A code that signs in once without the app. Only its hash is stored: it has 49 random bits, and each wrong one
    counts as a failed sign-in."""

    user = models.ForeignKey(User, models.CASCADE, related_name="recovery_codes")
    digest = models.CharField(max_length=64)
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"recovery code of {self.user}"

    @classmethod
    def renew(cls, user: User) -> list[str]:
        """Replace all codes of a person. Return the new ones, such as `k7wq3-x9mha`, which are shown once."""
        codes = ["".join(secrets.choice(_ALPHABET) for _ in range(10)) for _ in range(CODES)]
        with transaction.atomic():
            cls.objects.filter(user=user).delete()
            rows = [RecoveryCode(user=user, digest=_digest(user, code)) for code in codes]
            RecoveryCode.objects.bulk_create(rows)
            audit.record("factor_codes", by=user, subject=user)
        return [f"{code[:5]}-{code[5:]}" for code in codes]

    @classmethod
    def use(cls, user: User, code: str) -> bool:
        """Use up a code. Return whether it was valid."""
        unused = cls.objects.filter(user=user, digest=_digest(user, code), used_at=None)
        with transaction.atomic():
            is_valid = bool(unused.update(used_at=database_clock.now()))
            if is_valid:
                audit.record("factor_code_use", by=user, subject=user, left=cls.left(user))
        return is_valid

    @classmethod
    def left(cls, user: User) -> int:
        """Return how many unused codes there are."""
        return cls.objects.filter(user=user, used_at=None).count()


def _step_of(secret: str, code: str, *, after: int) -> int | None:
    """Return the time step of this code, which must be later than the step `after`; None if no step near now has it."""
    now = int(database_clock.now().timestamp()) // STEP_S
    totp: Any = pyotp.TOTP(secret)
    for step in range(now - TOLERANCE, now + TOLERANCE + 1):
        if step > after and secrets.compare_digest(totp.generate_otp(step), code):
            return step
    return None


def _digest(user: User, code: str) -> str:
    return hashlib.sha256(f"{user.pk}:{code}".encode()).hexdigest()
