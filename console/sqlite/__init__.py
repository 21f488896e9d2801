"""Django's SQLite backend, with a lock file for writers: see `base`."""
