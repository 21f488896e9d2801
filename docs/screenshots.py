"""Takes the pictures of the README from a real console with real searches: python -m docs.screenshots [folder]

Starts `manage.py up` on an empty data folder, lets a few experiments run, waits for twenty trials of the
demo, signs in through the printed link and photographs the pages. Needs Chromium; takes some minutes on two
cores. Run from the project's folder.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from playwright.sync_api import Browser, Page, TimeoutError, sync_playwright

from tests.conftest import find_chromium
from tests.support.processes import Console, manage
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[1]
WIDE, TALL, LOW = ({"width": 1280, "height": height} for height in (860, 1180, 640))
PHONE = {"width": 390, "height": 844}
DEMO, TRIALS = "distorted digits", 20
WITHIN_S = 1800  # for each step, however busy the machine is
DRAFT, FILES = "digits on the GPU machines", "nearest point, by TPE"

# Small real searches, so that the list has something to show.
OTHERS = """
import os, sys
from pathlib import Path
from experiments.models import *
owner, workspace = User.objects.get(), Workspace.open("demo", name="Demo", owner=User.objects.get())
space = {"x": {"_type": "uniform", "_value": [-5, 5]}, "y": {"_type": "uniform", "_value": [-5, 5]}}
path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
def make(name, tags, **told):
    return Experiment.draft(workspace, by=owner, name=name, tags=tags, settings=Settings.checked({
        "command": "python sdk.py", "directory": str(Path.cwd() / "examples" / "first"), "environment": {"PATH": path},
        "space_document": space, "metric": "loss", "direction": "minimize", "concurrency": 2, **told}))
keeps = 'cp "$TRIALDECK_PARAMETERS" "$TRIALDECK_OUTPUT_DIR/point.json"'
make("nearest point, by TPE", ["first"], max_trials=40, command=f"python sdk.py\\n{keeps}").enqueue(by=owner)
make("nearest point, at random", ["first", "baseline"], max_trials=30, algorithm="Random").enqueue(by=owner)
make("nearest point, from a shell that forgot its file", ["first"], command="sh no_such_file.sh", max_trials=40,
     breaker=5).enqueue(by=owner)
make("nearest point, finer", ["first"], max_trials=200)
change = '''--- a/train.py
+++ b/train.py
@@ -12,3 +12,4 @@
 net = Net(layers=args.layers)
-loss = nn.CrossEntropyLoss()
+loss = nn.CrossEntropyLoss(label_smoothing=0.1)
+print("with label smoothing")
 train(net, loss)
'''
make("digits on the GPU machines", ["next"], command="", directory="", script="train.py", binary="python3.12",
     repository="https://git.example.org/vision/digits.git", reference="label-smoothing", diff=change, max_trials=100,
     packages_from="list", packages="torch==2.4.1\\ntorchvision==0.19.1\\nnumpy<2", gpus=1, cores=8,
     image="pytorch/pytorch:2.4.1-cuda12.4-cudnn9-runtime", image_arguments="--ipc=host",
     destination="s3://storage.example.org:9000/vision")
"""


def main() -> None:
    images = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "docs" / "images")
    images.mkdir(parents=True, exist_ok=True)
    chromium = find_chromium() or sys.exit("No Chromium was found; CHROMIUM may name one.")
    data = Path(tempfile.mkdtemp(prefix="trialdeck-pictures-")).resolve()
    env = {**os.environ, "TRIALDECK_DATA": str(data), "TRIALDECK_STATIC": str(data / "static")}
    for name in ("DATABASE_URL", "REDIS_URL"):
        env.pop(name, None)
    try:
        with Console(env, "--no-demo") as console, sync_playwright() as playwright:
            entrance = console.says(r"http://\S+/enter/\S+/", within=WITHIN_S)[0]
            run(env, "shell", "-c", OTHERS)
            eventually(
                lambda: settled(data, "nearest%") >= 70, within=WITHIN_S, every=0.5, what="the small searches"
            )
            run(env, "demo")
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            state = enter(browser, entrance)
            eventually(
                lambda: settled(data, DEMO) >= TRIALS, within=WITHIN_S, every=1, what=f"{TRIALS} trials"
            )
            photograph(browser, state, f"http://127.0.0.1:{console.port}", data, images)
            browser.close()
            console.end()
    finally:
        shutil.rmtree(data, ignore_errors=True)


def run(env: dict[str, str], *words: str) -> None:
    done = manage(*words, env=env, within=WITHIN_S)
    if done.returncode:
        sys.exit(done.stderr)


def enter(browser: Browser, entrance: str) -> dict:
    """Signs in through the printed link; the cookies."""
    page = browser.new_page()
    page.set_default_timeout(120_000)
    page.goto(entrance)
    page.click("form button[type=submit]")
    page.wait_for_url(lambda address: "/enter/" not in address)
    return page.context.storage_state()


def photograph(browser: Browser, state: dict, home: str, data: Path, images: Path) -> None:
    public_id, best = ask(
        data, "SELECT public_id, best_number FROM experiments_experiment WHERE name = ?", DEMO
    )
    listed = f"{home}/w/demo/experiments/"
    experiment = f"{listed}{public_id}/"
    draft, files = (
        ask(data, "SELECT public_id FROM experiments_experiment WHERE name = ?", name)[0]
        for name in (DRAFT, FILES)
    )

    def shoot(
        name: str, address: str, *, scheme: str = "light", size: dict | None = None, fill: bool = False
    ) -> None:
        context = browser.new_context(
            storage_state=state, color_scheme=scheme, viewport=size or WIDE, reduced_motion="reduce"
        )
        context.set_default_timeout(120_000)
        page = context.new_page()
        page.goto(address)
        page.wait_for_load_state("networkidle")
        if address == experiment:
            with suppress(TimeoutError):  # a short trial may be between two refreshments all the time
                page.wait_for_selector("li[data-key^=trial-] svg", timeout=15_000)
        if fill:
            create(page)
        page.screenshot(path=images / f"{name}.png")
        print(f"{name}.png: {(images / f'{name}.png').stat().st_size / 1000:.0f} kB", flush=True)
        context.close()

    shoot("overview-light", experiment)
    shoot("overview-dark", experiment, scheme="dark")
    shoot("overview-390", experiment, size=PHONE)
    shoot("list", listed)
    shoot("trials", f"{experiment}trials/")
    shoot("trial", f"{experiment}trials/{best}/")
    shoot("create", f"{listed}new/", size=TALL, fill=True)
    shoot("home", f"{home}/w/demo/", size={"width": 1360, "height": 860})
    shoot("execution", f"{listed}{draft}/execution/")
    shoot("artifacts", f"{listed}{files}/artifacts/", scheme="dark", size=LOW)


def create(page: Page) -> None:
    """Types an experiment, so that the preview has something to draw."""
    page.fill("[name=name]", "resnet on digits")
    page.fill("[name=command]", "python train.py --lr ${lr} --layers ${layers}")
    for row, values in enumerate([("lr", "loguniform", "0.0001, 0.1"), ("layers", "randint", "1, 5")]):
        page.fill(f"[name=space-{row}-name]", values[0])
        page.select_option(f"[name=space-{row}-type]", values[1])
        page.fill(f"[name=space-{row}-values]", values[2])
    page.locator("[name=metric]").focus()
    page.wait_for_selector("#preview table")
    page.evaluate("window.scrollTo(0, 0)")


def settled(data: Path, name: str) -> int:
    """How many trials of the experiments with this name (LIKE) have ended."""
    columns = "+".join(f"{state}_count" for state in ("succeeded", "failed", "early_stopped", "stopped"))
    return ask(
        data, f"SELECT coalesce(sum({columns}), 0) FROM experiments_experiment WHERE name LIKE ?", name
    )[0]


def ask(data: Path, query: str, *values: str) -> tuple:
    connection = sqlite3.connect(f"file:{data / 'db.sqlite3'}?mode=ro", uri=True, timeout=20)
    try:
        return connection.execute(query, values).fetchone()
    finally:
        connection.close()


if __name__ == "__main__":
    main()
