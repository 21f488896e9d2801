"""Makes messages of what happened, and delivers them: control does both, a few seconds after the cause."""
