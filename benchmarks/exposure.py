"""How long pictures really stay, beside how long they should: python benchmarks/exposure.py

Serves a study, takes it in a real Chromium, and prints the median and the 95th percentile of |measured − planned| at each
exposure. "ours" is the survey's trial page; "plain" shows the same pictures by a new ``src`` and takes them away by
``setTimeout``, as many survey scripts do. Both are watched from outside, frame by frame, by the same observer;
"ours, as stored" is what the page itself measured and the server keeps. Let nothing else run meanwhile.
"""

import argparse
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import requests
from PIL import Image
from sqlalchemy import select

if TYPE_CHECKING:
    from playwright.sync_api import Page

EXPOSURES_MS = (100, 500, 1000)
SIZE = 256
LIMIT_FRAMES = 1  # what is asked of the median

# At each frame, before it is painted, whether shown() was true: the times between its becoming true and false again.
OBSERVER = """(shown) => {
    window.stays = [];
    let onset = null;
    const look = (now) => {
        const is = shown();
        if (is && onset === null) onset = now;
        if (!is && onset !== null) {
            window.stays.push(now - onset);
            onset = null;
        }
        requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
}"""
WATCH_OURS = f"() => ({OBSERVER})(() => document.querySelector('#stage img.seen') !== null)"
NEXT = "n => document.querySelector('#code') !== null || document.querySelector('#progress').value > n"
PLAIN = f"""async ([address, exposure_ms, n]) => {{
    const image = document.body.appendChild(new Image());
    const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    ({OBSERVER})(() => image.hasAttribute("src") && image.complete && image.naturalWidth > 0);
    for (let i = 0; i < n; i++) {{
        image.src = address;
        await wait(exposure_ms);
        image.removeAttribute("src");
        await wait(300);
    }}
    return window.stays;
}}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=20, help="trials of each exposure")
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="Chromium's path  [default: on the PATH]")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="realism-benchmark-"))
    try:
        for exposure_ms in EXPOSURES_MS:
            create_study(folder, exposure_ms, arguments.n)
        with served(folder) as url, opened(arguments.chromium) as page:
            browser = page.context.browser
            version = browser.version if browser else "?"
            print(f"Chromium {version}, {arguments.n} trials of each exposure, by each way")
            print(f"{'':12}{'':18}{'|measured − planned|, ms':>26}{'in frames':>20}", flush=True)
            print(f"{'planned':12}{'':18}{'median':>14}{'95 %':>12}{'median':>12}{'95 %':>8}", flush=True)
            for exposure_ms in EXPOSURES_MS:
                survey = f"{url}/study/exposure{exposure_ms}/"
                watched, plain = take(page, survey, exposure_ms, arguments.n)
                stored, interval_ms = measured(folder, exposure_ms)
                report("ours", exposure_ms, watched, interval_ms)
                report("ours, as stored", exposure_ms, stored, interval_ms)
                report("plain", exposure_ms, plain, interval_ms)
    finally:
        shutil.rmtree(folder)


def create_study(folder: Path, exposure_ms: int, n: int) -> None:
    """A study of ``n`` trials with pictures of noise, in ``folder``'s database."""
    from pairs.writing import About, Picture, write_pairset
    from protocol.pairset import sha256_hex
    from study_app.config import Config
    from study_app.db import open_migrated
    from study_app.schema import upgrade
    from study_app.studies import create_study

    def pictures() -> Iterator[Picture]:
        for seed in range(n):
            rng = np.random.default_rng(seed)
            real, fake = (Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)) for _ in range(2))
            yield Picture(sha256_hex(real.tobytes()), real, (fake,))

    generator: dict[str, Any] = {"name": "noise", "checkpoint_sha256": None, "config": {}}
    source = {"name": "noise", "licence": "CC0", "split": "held-out"}
    write_pairset(folder / "pairs", pictures(), About("noise", generator, source), replace=True)
    design = folder / "study.toml"
    design.write_text(
        f'name = "exposure{exposure_ms}"\ntitle = "Exposure"\nprotocol = "zhang2016"\n'
        f"trials = {{ practice = 0, main = {n}, catch = 0 }}\nexposure = {{ duration_ms = {exposure_ms} }}\n"
        'conditions = { noise = "pairs" }\nscreen = { check = false }\ninstructions = { comprehension = false }\n'
    )
    config = Config(folder / "instance", f"sqlite:///{folder / 'realism.sqlite'}")
    upgrade(config.database)
    engine = open_migrated(config.database)
    create_study(engine, config.store, design)
    engine.dispose()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of the survey over the folder's database."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "realism", "serve", "--port", str(port), "--instance", str(folder / "instance")]
    command += ["--database", f"sqlite:///{folder / 'realism.sqlite'}"]
    environment = {**os.environ, "REALISM_SECRET_KEY": secrets.token_hex(32)}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                requests.get(f"{url}/health", timeout=5)
                break
            except requests.ConnectionError:
                time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait()


@contextmanager
def opened(chromium: str | None) -> "Iterator[Page]":
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


def take(page: "Page", survey: str, exposure_ms: int, n: int) -> tuple[list[float], list[float]]:
    """How long the pictures of each trial stayed, in milliseconds, as watched from outside: ours, and the plain way."""
    page.goto(survey)
    page.click("text=I agree")
    page.click("form button")
    page.wait_for_selector("#begin:visible")
    address = page.request.get(f"{survey}next").json()["trial"]["pictures"]["left"]
    page.evaluate(WATCH_OURS)
    page.click("#begin")
    ours: list[float] = []
    for answered in range(n):
        page.wait_for_selector("#left:not([disabled])")
        if answered == n - 1:
            ours = page.evaluate("window.stays")
        page.keyboard.press("ArrowLeft")
        page.wait_for_function(NEXT, arg=answered)
    page.wait_for_selector("#code")
    plain: list[float] = page.evaluate(PLAIN, [address, exposure_ms, n])
    return ours, plain


def measured(folder: Path, exposure_ms: int) -> tuple[list[float], float]:
    """What the page measured of each trial, in milliseconds, and the median interval of the screen's frames."""
    from study_app.db import open_migrated, reading
    from study_app.tables import Response, Trial

    engine = open_migrated(f"sqlite:///{folder / 'realism.sqlite'}")
    with reading(engine) as db:
        rows = db.execute(
            select(Response.exposure_measured_ms, Response.frame_interval_ms)
            .join(Trial)
            .where(Trial.exposure_ms == exposure_ms)
        ).all()
    engine.dispose()
    stays, intervals = np.array(rows, dtype=float).T  # (n,) each
    return stays.tolist(), float(np.median(intervals))


def report(way: str, planned_ms: int, stays_ms: list[float], interval_ms: float) -> None:
    off = np.abs(np.array(stays_ms) - planned_ms)
    median, most = np.median(off), np.percentile(off, 95)
    verdict = "" if way != "ours" else "  ok" if median <= LIMIT_FRAMES * interval_ms else "  MISSED"
    frames = f"{median / interval_ms:12.2f}{most / interval_ms:8.2f}"
    print(f"{planned_ms:7d} ms  {way:18}{median:14.2f}{most:12.2f}{frames}{verdict}", flush=True)


if __name__ == "__main__":
    main()
