"""The keeper: a small process supervisor that ends processes together with everything they started.

Run by `process.Keeper` as `python -I -S …/keeper/__main__.py <owner's pid>`: standard library only, one thread, Linux
5.3 or later. The keeper is the child subreaper of all it starts, so that processes which double-fork or call setsid are
reparented to it. It reads JSON lines on stdin (`launch`, `stop`, `lease`, `close`) and writes `started`, `refused` and
`exited` events on stdout. When its owner exits (end of file, or the owner's pid ends) or on SIGTERM, it ends everything
and exits. When the time of the last `lease` is over, it ends everything that runs: its owner may be stopped or hang.

`-I -S` starts it without the worker's environment, site packages or working directory: what is installed or importable
there must not matter. Its modules import the standard library and one another, nothing else.
"""

from pathlib import Path

PROGRAM = str(Path(__file__).with_name("__main__.py"))
