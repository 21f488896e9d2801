"""Isolation of a trial from the rest of its machine, by another account and a sandbox."""

from .accounts import Account, Accounts, BoundaryError
from .sandbox import Sandbox

__all__ = ["Account", "Accounts", "BoundaryError", "Sandbox"]
