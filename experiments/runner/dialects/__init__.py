"""The dialects that a trial may speak: how it learns its values, and how it reports.

Every trial may speak any of them, without a setting: all are prepared, all are listened to. A dialect is a module
with `prepare(told)`, which writes what the trial reads and gives the variables of its environment, and
`listen(told)`, which gives the reader of what it reports.
"""
