"""The error that all readers raise."""


class ReadError(ValueError):
    """The file cannot be imported. `str()` is one sentence for people: what is wrong, where, and what to do."""
