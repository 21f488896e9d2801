"""The keeper: a small process supervisor that ends processes together with everything they started.

Run by `process.Keeper` as `python -I -S …/keeper/__main__.py <owner's pid>`: standard library only, one thread, Linux
5.3 or later. The keeper is the child subreaper of everything it starts, so that processes that double-fork or call
setsid are reparented to it. It reads JSON lines on stdin (`launch`, `stop`, `lease`, `close`) and writes `started`,
`refused` and `exited` events on stdout. When its owner exits (end of file, or the owner's pid ends) or on SIGTERM, it
ends everything and exits. When the last `lease` expires, it ends everything that runs, because its owner may be stopped
or hang.

`-I -S` starts it without the worker's environment, site packages and working directory, so that nothing installed or
importable there affects it. Its modules import only the standard library and one another.
"""

from pathlib import Path

PROGRAM = str(Path(__file__).with_name("__main__.py"))
