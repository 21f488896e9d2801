"""Setup of a trial before its process starts: its code, packages and model, its command line and environment."""
