"""Read the history of a search from a file of another tool, or from our own export.

Each reader copies what its format holds into a `Staging` database. Everything after that (preview, guesses, import) is
the same for all formats.
"""

from .errors import ReadError
from .formats import FORMATS, read_file
from .staging import Staging

__all__ = ["FORMATS", "ReadError", "Staging", "read_file"]
