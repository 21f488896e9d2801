"""The verbs of the audit log, each with its label and its kind."""

from __future__ import annotations

KINDS = {
    "sign-in": "Sign-in and accounts",
    "members": "Workspaces and members",
    "tokens": "API tokens",
    "settings": "Settings",
    "links": "Links",
    "downloads": "Downloads",
    "experiments": "Experiments and models",
    "compute": "Queues and workers",
    "administration": "Administration",
}

# verb → (label, kind)
VERBS: dict[str, tuple[str, str]] = {
    "sign_in": ("Signed in", "sign-in"),
    "sign_in_failed": ("Failed sign-in", "sign-in"),
    "sign_out": ("Signed out", "sign-in"),
    "session_end": ("Ended session", "sign-in"),
    "sessions_end": ("Ended other sessions", "sign-in"),
    "password_change": ("Changed password", "sign-in"),
    "password_reset": ("Reset password by email", "sign-in"),
    "email_change": ("Changed email address", "sign-in"),
    "factor_add": ("Turned on two-factor", "sign-in"),
    "factor_remove": ("Turned off two-factor", "sign-in"),
    "factor_codes": ("Created recovery codes", "sign-in"),
    "factor_code_use": ("Used a recovery code", "sign-in"),
    "account_create": ("Created account", "sign-in"),
    "sign_in_link_create": ("Created sign-in link", "sign-in"),
    "workspace_create": ("Created workspace", "members"),
    "member_add": ("Added member", "members"),
    "member_role": ("Changed role", "members"),
    "member_remove": ("Removed member", "members"),
    "token_create": ("Created API token", "tokens"),
    "token_revoke": ("Revoked API token", "tokens"),
    "settings_change": ("Changed settings", "settings"),
    "limit_change": ("Changed usage limit", "settings"),
    "channel_create": ("Created channel", "settings"),
    "channel_change": ("Changed channel", "settings"),
    "channel_secret": ("Replaced webhook secret", "settings"),
    "channel_delete": ("Deleted channel", "settings"),
    "project_create": ("Created project", "settings"),
    "project_change": ("Changed project", "settings"),
    "project_delete": ("Deleted project", "settings"),
    "link_create": ("Created share link", "links"),
    "link_open": ("Opened share link", "links"),
    "link_revoke": ("Revoked share link", "links"),
    "download": ("Downloaded", "downloads"),
    "export": ("Exported", "downloads"),
    "import": ("Imported", "experiments"),
    "admin_add": ("Added in administration", "administration"),
    "admin_change": ("Changed in administration", "administration"),
    "admin_delete": ("Deleted in administration", "administration"),
    "retention": ("Deleted old files and rows", "administration"),
    "backup": ("Created a backup", "administration"),
    # events of experiments, by their names
    "experiment.create": ("Created experiment", "experiments"),
    "experiment.describe": ("Changed details", "experiments"),
    "experiment.annotate": ("Changed user properties", "experiments"),
    "experiment.edit": ("Edited experiment", "experiments"),
    "experiment.update": ("Updated experiment", "experiments"),
    "experiment.enqueue": ("Enqueued experiment", "experiments"),
    "experiment.dequeue": ("Dequeued experiment", "experiments"),
    "experiment.move_to": ("Moved to another queue", "experiments"),
    "experiment.front": ("Moved to the front", "experiments"),
    "experiment.back": ("Moved to the back", "experiments"),
    "experiment.before": ("Changed queue position", "experiments"),
    "experiment.pause": ("Paused experiment", "experiments"),
    "experiment.unpause": ("Unpaused experiment", "experiments"),
    "experiment.stop": ("Stopped experiment", "experiments"),
    "experiment.kill": ("Skipped the grace period", "experiments"),
    "experiment.resume": ("Resumed experiment", "experiments"),
    "experiment.reset": ("Reset experiment to draft", "experiments"),
    "experiment.publish": ("Published experiment", "experiments"),
    "experiment.delete": ("Deleted experiment", "experiments"),
    "experiment.restore": ("Restored experiment", "experiments"),
    "experiment.import": ("Imported experiment", "experiments"),
    "experiment.register": ("Registered model", "experiments"),
    "experiment.store": ("Stored output files", "experiments"),
    "experiment.delete_model": ("Deleted model", "experiments"),
    "experiment.delete_results": ("Deleted uploaded results", "experiments"),
    "experiment.release": ("Released trials of a worker", "experiments"),
    "experiment.pin_baseline": ("Pinned baseline", "experiments"),
    "experiment.unpin_baseline": ("Unpinned baseline", "experiments"),
    "experiment.schedule": ("Scheduled experiment", "experiments"),
    "experiment.pause_schedule": ("Paused schedule", "experiments"),
    "experiment.unpause_schedule": ("Resumed schedule", "experiments"),
    "experiment.unschedule": ("Removed schedule", "experiments"),
    "experiment.repeat": ("Ran the schedule", "experiments"),
    "experiment.retention": ("Removed old data", "experiments"),
    # events of queues and workers, by their names
    "compute.create": ("Created queue", "compute"),
    "compute.change": ("Changed queue", "compute"),
    "compute.rename": ("Renamed queue", "compute"),
    "compute.grant": ("Changed access to queue", "compute"),
    "compute.share": ("Changed fair share", "compute"),
    "compute.pause": ("Paused queue", "compute"),
    "compute.unpause": ("Unpaused queue", "compute"),
    "compute.delete": ("Deleted queue", "compute"),
    "compute.drain": ("Drained worker", "compute"),
    "compute.undrain": ("Undrained worker", "compute"),
    "compute.release": ("Released worker", "compute"),
    "compute.forget": ("Removed worker from the list", "compute"),
}


def label_of(verb: str) -> str:
    """Return the label on pages; for an event without a label, its name."""
    if verb in VERBS:
        return VERBS[verb][0]
    return verb.rpartition(".")[2].replace("_", " ").capitalize()


def kind_of(verb: str) -> str:
    """Return the kind of a verb. Raise `ValueError` for one that is neither listed nor an event's."""
    if verb in VERBS:
        return VERBS[verb][1]
    prefix, dot, _ = verb.partition(".")
    kinds = {"experiment": "experiments", "compute": "compute"}
    if not dot or prefix not in kinds:
        raise ValueError(f"{verb!r} is not an audit log verb; add it to VERBS.")
    return kinds[prefix]
