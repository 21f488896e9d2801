"""Many browsers with the same page open: what their polls cost one web process, and how long they wait.

    python -m benchmarks.viewers [--idle 500] [--running 100] [--trials 10000] [--seconds 20] [--pg] [--json]

The viewers have Overview of a running experiment open, over HTTP and compressed, each with a connection of its own, and
poll every two seconds like the page's script: one request for all live fragments, with the entity tags that they have.
First nothing changes while `--idle` viewers poll; then the experiment changes once per second for `--running` viewers.
Printed are the processor time of the web process as a share of one core, polls per second, and the times between a
poll and its response. The viewers run in another process, beside the web process on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import re
import statistics
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from benchmarks.rows import seed, settle_in, write_metrics
from benchmarks.stage import machine, stage
from benchmarks.web_process import web_process

POLL_S = 2.0
CHANGE_S = 1.0
EARLY_S = 0.5  # as in static/js/live.js


@dataclass(frozen=True)
class Page:
    """An open page: its URL, the fragment that polls, and its tag. `beside` are the fragments that its request also
    fetches: their names, after how many seconds each is due, and their tags."""

    port: int
    url: str
    session: str
    target: str
    tag: str
    beside: tuple[tuple[str, float, str], ...]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--idle", type=int, default=500, help="viewers while nothing changes")
    parser.add_argument("--running", type=int, default=100, help="viewers while the experiment changes")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--pg", action="store_true", help="PostgreSQL (an embedded one) instead of SQLite")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args()
    with stage(uses_postgres=options.pg):
        from django.db import connections
        from django.db.models import F
        from django.test import Client
        from django.urls import reverse

        from experiments.models import Experiment, User, Workspace

        user = User.objects.create_superuser("bench")
        workspace = Workspace.open("bench", owner=user)
        experiment = seed(workspace, user, trials=options.trials, name=f"with {options.trials:,} trials")
        write_metrics(experiment)
        settle_in()
        client = Client(HTTP_HOST="localhost")
        client.force_login(user)
        session = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
        url = reverse("experiment", args=[workspace.slug, experiment.public_id])
        on = machine(uses_postgres=options.pg)

        def change(ending: threading.Event) -> None:
            while not ending.wait(CHANGE_S):
                Experiment.objects.filter(pk=experiment.pk).update(version=F("version") + 1)
            connections.close_all()

        if not options.json:
            print(f"{on}, {options.trials:,} trials\n\n{HEAD}")
        with web_process(session=session) as web:
            for label, viewers in (
                ("nothing changes", options.idle),
                ("a change per second", options.running),
            ):
                page = page_of(client.get(url).content.decode(), web.connection.port, url, session)
                web.get(url)
                ending = threading.Event()
                if label != "nothing changes":
                    threading.Thread(target=change, args=[ending], daemon=True).start()
                before, began = web.cpu_s(), time.monotonic()
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    times, statuses, size = pool.apply(watch, [page, viewers, options.seconds])
                elapsed_s, cpu_s = time.monotonic() - began, web.cpu_s() - before
                ending.set()
                result = result_of(label, viewers, times, statuses, size, cpu_s, elapsed_s)
                print(json.dumps({**result, "machine": on}) if options.json else row(result), flush=True)


def page_of(html: str, port: int, url: str, session: str) -> Page:
    """Return the open page from its HTML. The first tags are not current: each viewer's first poll gets new ones."""
    target = re.search(r'<\w+[^>]*\bid="([\w-]+)"[^>]*\bdata-live="[^>]*?\bdata-tag="([^"]*)"', html)
    assert target, "the page has no live fragment"
    pattern = (
        r'<\w+[^>]*\bid="([\w-]+)"[^>]*\bdata-beside="[^>]*?\bdata-every="([\d.]+)"[^>]*?\bdata-tag="([^"]*)"'
    )
    beside = [(name, float(seconds), tag) for name, seconds, tag in re.findall(pattern, html)]
    return Page(port, url, session, target[1], target[2], tuple(beside))


def watch(page: Page, viewers: int, seconds: float) -> tuple[list[float], dict[int, int], int]:
    """Poll as so many viewers, evenly spread. Return the times in seconds, the number of each status, and the bytes of
    all bodies."""
    return asyncio.run(_watch(page, viewers, seconds))


async def _watch(page: Page, viewers: int, seconds: float) -> tuple[list[float], dict[int, int], int]:
    times: list[float] = []
    statuses: Counter[int] = Counter()
    sizes: list[int] = []
    until = time.monotonic() + seconds

    async def view(number: int) -> None:
        await asyncio.sleep(POLL_S * number / viewers)
        reader, writer = await asyncio.open_connection("127.0.0.1", page.port)
        tags = {page.target: page.tag, **{name: tag for name, _, tag in page.beside}}
        due = time.monotonic()
        due_at = {name: due + seconds * number / viewers for name, seconds, _ in page.beside}
        while due < until:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            began = time.monotonic()
            fetched = [(name, seconds) for name, seconds, _ in page.beside if began > due_at[name] - EARLY_S]
            due_at |= {name: began + seconds for name, seconds in fetched}
            beside = " ".join(f"{name}={tags[name]}" for name, _ in fetched)
            lines = [
                f"GET {page.url} HTTP/1.1",
                "Host: localhost",
                f"Cookie: {page.session}",
                "Accept-Encoding: br",
            ]
            lines += ["HX-Request: true", f"HX-Target: {page.target}", f"Live-With: {beside}"]
            lines += [f'If-None-Match: "{tags[page.target]}"', "", ""]
            writer.write("\r\n".join(lines).encode())
            status, headers, body = await _response(reader)
            times.append(time.monotonic() - began)
            statuses[status] += 1
            sizes.append(len(body))
            tag = headers.get("etag", "").removeprefix("W/").strip('"')
            # All fragments of a response have the same version.
            tags |= dict.fromkeys([page.target, *(name for name, _ in fetched)], tag) if tag else {}
            due = max(due + POLL_S, time.monotonic())
        writer.close()

    await asyncio.gather(*map(view, range(viewers)))
    return times, dict(statuses), sum(sizes)


async def _response(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    status = int(head[0].split()[1])
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
        return status, headers, body
    return status, headers, await reader.readexactly(int(headers.get("content-length", 0)))


def result_of(
    label: str,
    viewers: int,
    times: list[float],
    statuses: dict[int, int],
    size: int,
    cpu_s: float,
    elapsed_s: float,
) -> dict[str, Any]:
    """Return the figures of one run. Raise SystemExit if a poll was refused."""
    if refused := {status: count for status, count in statuses.items() if status not in (200, 304)}:
        raise SystemExit(f"Polls were refused: {refused}")
    percentiles = statistics.quantiles(times, n=100)
    return {
        "case": label,
        "viewers": viewers,
        "polls_per_s": round(len(times) / elapsed_s, 1),
        "core_percent": round(100 * cpu_s / elapsed_s),
        "poll_cpu_ms": round(1000 * cpu_s / len(times), 2),
        "median_ms": round(1000 * percentiles[49], 1),
        "p99_ms": round(1000 * percentiles[98], 1),
        "unchanged_percent": round(100 * statuses.get(304, 0) / len(times)),
        "kb_per_s": round(size / elapsed_s / 1000),
    }


HEAD = (
    f"{'':22}{'viewers':>8}{'polls/s':>9}{'of a core':>11}{'CPU/poll':>10}{'median':>9}{'p99':>9}"
    f"{'304':>6}{'sent':>11}"
)


def row(result: dict[str, Any]) -> str:
    return (
        f"{result['case']:22}{result['viewers']:8}{result['polls_per_s']:9}{result['core_percent']:9} %"
        f"{result['poll_cpu_ms']:7} ms{result['median_ms']:6} ms{result['p99_ms']:6} ms"
        f"{result['unchanged_percent']:4} %{result['kb_per_s']:6} kB/s"
    )


if __name__ == "__main__":
    main()
