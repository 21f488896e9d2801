"""The error that all readers raise."""


class ReadError(ValueError):
    """The file cannot be imported. `str()` is a message for users: what is wrong, where, and what to do."""
