"""Commands of `manage.py` and of the console."""
