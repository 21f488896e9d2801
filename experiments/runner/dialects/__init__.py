"""The dialects of trials: how a script gets its parameters and reports its metrics (native, NNI, ClearML).

All are prepared and read for every trial, so that no setting is needed. A dialect is a module with `prepare(context)`,
which writes the files that the trial reads and returns environment variables, and `listen(context)`, which returns the
reader of its reports.
"""
