"""What a machine lacks for tests of the boundary around trials."""

import os
import shutil
import subprocess
from functools import cache

ACCOUNT = "games"  # every Debian has it


@cache
def no_accounts() -> str:
    """Return why processes of another account cannot be started; "" when they can."""
    if os.geteuid() != 0:
        return "this is not root"
    return _fault_of("true")


@cache
def no_sandbox() -> str:
    """Return why bubblewrap cannot be used by another account; "" when it can."""
    if not shutil.which("bwrap"):
        return "apt-get install bubblewrap"
    return no_accounts() or _fault_of("bwrap --ro-bind / / --dev /dev --proc /proc --unshare-pid true")


def _fault_of(command: str) -> str:
    words = command.split()
    try:
        done = subprocess.run(words, user=ACCOUNT, cwd="/", capture_output=True, text=True, timeout=30)
    except (OSError, LookupError, subprocess.TimeoutExpired) as error:
        return f"{ACCOUNT} cannot run {words[0]}: {error}"
    return f"{ACCOUNT} cannot run {words[0]}: {done.stderr.strip()[-200:]}" if done.returncode else ""
