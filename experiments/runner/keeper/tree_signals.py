"""The order in which the processes of a tree get SIGTERM: first the programs that the command is running, then the
others."""

import signal

from experiments.runner.keeper.launched_process import KeeperProcess
from experiments.runner.keeper.processes import Stat, is_sandbox, reads_from, runs_commands, send, tree

READER_S = 0.5  # how long the reader of a pipe may take to end by itself after its writer has ended

Processes = dict[int, Stat]
Targets = set[tuple[int, int]]  # (pid, ticks)


def signal_mains(run: KeeperProcess, processes: Processes) -> None:
    """SIGTERM the programs that the command is running now, so that they can save their work while their own helper
    processes still run. Shells and wrappers above them are suspended meanwhile, so that they neither orphan them nor
    run the next line. Processes that only read their output, such as tee, end by themselves.
    """
    shells, mains = mains_of(run, processes)
    readers = [pid for pid in mains if reads_from(pid, mains)]
    writers = [pid for pid in mains if pid not in readers]
    if not writers:
        readers, writers = [], mains
    for pid in shells:
        send(signal.SIGSTOP, pid, processes[pid].ticks)
    run.mains = {(pid, processes[pid].ticks) for pid in writers}
    run.readers = {(pid, processes[pid].ticks) for pid in readers}
    terminate(run.mains)


def mains_of(run: KeeperProcess, processes: Processes) -> tuple[list[int], list[int]]:
    """Return (shells, mains): the command's shells and wrappers with running children, and the programs that they
    run."""
    children: dict[int, list[int]] = {}
    for pid, process in processes.items():
        if not process.is_gone:
            children.setdefault(process.parent, []).append(pid)
    shells: list[int] = []
    mains: list[int] = []
    pending = [run.pid]
    while pending:
        pid = pending.pop()
        if children.get(pid) and runs_commands(pid):
            shells.append(pid)
            pending += children[pid]
        elif children.get(pid) and is_sandbox(pid):
            pending += children[pid]
        else:
            mains.append(pid)
    return shells, mains


def terminate(targets: Targets) -> None:
    for number in (signal.SIGTERM, signal.SIGCONT):  # a stopped process would not handle SIGTERM
        for pid, ticks in targets:
            send(number, pid, ticks)


def signal_tree(run: KeeperProcess, pids: set[int], processes: Processes) -> None:
    """SIGTERM these processes, the tree of `run`, except those that were signaled first.

    A sandbox ends with its first process and kills everything that still runs in it. So its first process is signaled
    last, by `release`, and the sandbox itself ends without a signal.
    """
    sandboxes = {pid for pid in pids if is_sandbox(pid)}
    first: dict[int, int] = {}  # the oldest process of each sandbox; later ones are orphans
    for pid in sorted(pids - sandboxes, key=lambda pid: (processes[pid].ticks, pid)):
        if processes[pid].parent in sandboxes:
            first.setdefault(processes[pid].parent, pid)
    other_pids = pids - sandboxes - {pid for pid, _ in run.mains}
    run.held = {(pid, processes[pid].ticks) for pid in other_pids.intersection(first.values())}
    terminate({(pid, processes[pid].ticks) for pid in other_pids} - run.held)
    release(run, processes)


def release(run: KeeperProcess, processes: Processes) -> None:
    """SIGTERM the first process of a sandbox once nothing else runs in it."""
    for pid, ticks in list(run.held):
        process = processes.get(pid)
        sibling_pids = tree([process.parent], processes) - {process.parent, pid} if process else set()
        if not any(each in processes and not processes[each].is_gone for each in sibling_pids):
            run.held.discard((pid, ticks))
            terminate({(pid, ticks)})


def is_rest_due(run: KeeperProcess, processes: Processes, now: float) -> bool:
    """Return whether to signal the rest of the tree: the main processes have ended, or the grace period is nearly over.
    Signal readers of their output that did not end by themselves."""
    if now >= run.helpers_at:
        return True
    if _are_living(run.mains, processes):
        return False
    if not _are_living(run.readers, processes):
        return True
    if run.readers_at == float("inf"):
        run.readers_at = now + READER_S
    elif now >= run.readers_at:
        run.mains, run.readers = run.readers, set()
        terminate(run.mains)
    return False


def _are_living(targets: Targets, processes: Processes) -> bool:
    return any(
        (process := processes.get(pid)) and not process.is_gone and process.ticks == ticks
        for pid, ticks in targets
    )
