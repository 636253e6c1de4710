"""The whole road on photographs that come along: crops, two generators, pair sets, a study, simulated people, a report.

Every stage is one of the commands that a researcher would run; each is shown before it runs, and none is repeated
when its result is there already.
"""

import csv
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import click
from PIL import Image, ImageStat

from protocol import InputError

HERE = Path(__file__).resolve().parent
STUDY = "demo"
CONDITIONS = ("cgan", "wgan")
GENERATORS = HERE / "generators"  # trained on photographs of flowers; the demonstration's they have never seen
PAIRS = 30  # in each pair set, where the generators come along
TRUE_RATES = {"cgan": 0.42, "wgan": 0.34}
PARTICIPANTS = 40
CROP = 128
# Colour photographs that these packages ship: (package, path in it, licence as the package states it).
PHOTOGRAPHS = (
    ("skimage", "data/astronaut.png", "public domain, NASA"),
    ("skimage", "data/chelsea.png", "CC0, Stéfan van der Walt"),
    ("skimage", "data/coffee.png", "CC0, Rachel Michetti"),
    ("skimage", "data/rocket.jpg", "public domain, SpaceX"),
    ("skimage", "data/motorcycle_left.png", "Middlebury stereo benchmark 2014, as scikit-image ships it"),
    ("sklearn", "datasets/images/china.jpg", "CC BY 2.0, danielbuechele"),
    ("sklearn", "datasets/images/flower.jpg", "CC BY 2.0, vultilion"),
    ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", "public domain, US Navy, as matplotlib ships it"),
)
DESIGN = """\
name = "demo"
title = "Real colours, or a computer's?"
description = "Each pair shows the same photograph twice: once as the camera took it, once coloured by a computer."
protocol = "zhang2016"

[trials]
practice = 2
main = 20

[conditions]
cgan = "pairs/cgan"
wgan = "pairs/wgan"

[assignment]
conditions = "within"
"""


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for everything; what is finished there is used again.  [default: realism-demo, or realism-demo-train]",
)
@click.option(
    "--train", "trains", is_flag=True, help="Train two small generators first, instead of those that come along."
)
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the survey.  [default: 8000, or a free one]")
@click.option("--serve/--no-serve", default=True, show_default=True, help="Leave the survey running at the end.")
def demo(out: Path | None, trains: bool, port: int | None, serve: bool) -> None:
    """The whole road on photographs that come along: colour, pair, ask simulated people, report, serve.

    \b
    Example:  realism demo
              realism demo --train --no-serve
    """
    began = time.monotonic()
    if serve and port and _free_port(port) != port:
        raise InputError(f"port {port} of 127.0.0.1 is in use; stop what uses it, or choose another with --port")
    out = (out or Path("realism-demo-train" if trains else "realism-demo")).resolve()
    out.mkdir(parents=True, exist_ok=True)
    database = ["--instance", str(out / "instance")]

    _heading(1, "Photographs: cut into crops of 128 × 128")
    photos = out / "photos"
    _cut_crops(photos)

    for number, condition in enumerate(CONDITIONS, start=2):
        _heading(
            number, f"{'Train' if trains else 'Take'} the {condition.upper()} and colour photographs that it never saw"
        )
        _pair(condition, photos, out, trains)
    sheet = out / "pairs.png"
    if not sheet.exists():
        _run("pairs", "show", str(out / "pairs"), "--out", str(sheet))

    _heading(4, "Study: freeze the design and both pair sets")
    _create_study(out, database)

    _heading(5, f"Survey: {PARTICIPANTS} simulated participants through the real web pages")
    asked = _simulate(out, database)

    _heading(6, "Report")
    report = out / "report"
    if asked or not (report / "report.html").exists():
        _run("report", STUDY, "--origin", "simulated", "--out", str(report), *database)
    else:
        _say("there already")

    click.secho(f"\nDone in {time.monotonic() - began:.0f} s. Everything is in {out}", bold=True)
    click.echo(f"Pairs:   {sheet}\nReport:  {report / 'report.html'}")
    if serve:
        _serve(port or _free_port(8000), report, database)
    else:
        command = ["realism", "serve", *database, "--report", str(report)]
        click.echo(f"Survey:  {' '.join(command)}")


def _heading(number: int, text: str) -> None:
    click.secho(f"\n[{number}/6] {text}", bold=True)


def _say(text: str) -> None:
    click.echo(f"  {text}")


def _run(*arguments: str, capture: bool = False) -> str:
    """Run a ``realism`` command as the user would; it writes to the same terminal."""
    if not capture:
        click.secho(f"  $ realism {' '.join(arguments)}", dim=True)
    command = [sys.executable, "-m", "realism", *arguments]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE if capture else None, text=True)
    if done.returncode:
        raise InputError(f"the demonstration stopped at 'realism {arguments[0]}', which says above what is wrong")
    return done.stdout or ""


def _cut_crops(folder: Path) -> None:
    """Non-overlapping crops at full and half scale, and ``sources.csv``, which ties each to its photograph's hash."""
    if (folder / "sources.csv").exists():
        _say("there already")
        return
    aside = folder.with_name(f".{folder.name}-new")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    rows = []
    for path, licence in _photographs():
        source = hashlib.sha256(path.read_bytes()).hexdigest()
        with Image.open(path) as photograph:
            for name, crop in _crops(photograph.convert("RGB")):
                file = f"{path.stem}-{name}.png"
                crop.save(aside / file)
                rows.append((file, source, path.name, licence))
    with (aside / "sources.csv").open("w", newline="", encoding="utf-8") as table:
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(["file", "source_sha256", "photograph", "licence"])
        writer.writerows(rows)
    aside.rename(folder)
    _say(f"{len(rows)} crops of {len(PHOTOGRAPHS)} photographs in {folder}")


def _photographs() -> Iterator[tuple[Path, str]]:
    for package, inside, licence in PHOTOGRAPHS:
        spec = find_spec(package)
        path = Path(spec.origin).parent / inside if spec and spec.origin else None
        if path is None or not path.exists():
            raise InputError(
                f"photograph {inside} of {package} is missing; run \"pip install 'realism[train,demo]'\", which brings it"
            )
        yield path, licence


def _crops(photograph: Image.Image) -> Iterator[tuple[str, Image.Image]]:
    for scale in (1, 2):
        scaled = photograph.reduce(scale)
        for top in range(0, scaled.height - CROP + 1, CROP):
            for left in range(0, scaled.width - CROP + 1, CROP):
                crop = scaled.crop((left, top, left + CROP, top + CROP))
                if ImageStat.Stat(crop.convert("L")).stddev[0] > 12:  # empty sky shows nothing to judge
                    yield f"{scale}-{top:03d}-{left:03d}", crop


def _pair(condition: str, photos: Path, out: Path, trains: bool) -> None:
    pairs = out / "pairs" / condition
    if (pairs / "manifest.json").exists():
        _say("there already")
        return
    if trains:
        generator, which = _train(condition, photos, out), ["--split", "held-out"]
    else:
        generator, which = GENERATORS / f"flowers-{condition}", ["--split", "all", "-n", str(PAIRS)]
    options = ["--checkpoint", str(generator), "--photos", str(photos), "--condition", condition, "--keep-luminance"]
    _run("pairs", "make", *options, *which, "--out", str(pairs))


def _train(condition: str, photos: Path, out: Path) -> Path:
    run = out / "runs" / condition
    if not (run / "checkpoint.safetensors").exists():
        shutil.rmtree(run, ignore_errors=True)  # stopped before it had anything to go on from
    resume = ["--resume"] if run.exists() else []
    _run("train", str(HERE / "configs" / f"{condition}-demo.toml"), "--photos", str(photos), "--out", str(run), *resume)
    return run


def _create_study(out: Path, database: list[str]) -> None:
    secret = out / "instance" / "secret_key"
    if not secret.exists():
        secret.parent.mkdir(exist_ok=True)
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_hex(32) + "\n")
    _run("db", "upgrade", *database)
    if any(study["name"] == STUDY for study in json.loads(_run("study", "list", "--json", *database, capture=True))):
        _say("there already")
        return
    (out / "study.toml").write_text(DESIGN, encoding="utf-8")
    _run("study", "create", str(out / "study.toml"), *database)


def _simulate(out: Path, database: list[str]) -> bool:
    """Let the participants that are still missing take part; whether there were any."""
    progress = json.loads(_run("study", "show", STUDY, "--json", *database, capture=True))
    missing = PARTICIPANTS - progress["completed"].get("simulated", 0)
    if missing <= 0:
        _say("there already")
        return False
    port = _free_port()
    with _survey(port, database):
        rates = [word for name, rate in TRUE_RATES.items() for word in ("--fool-rate", f"{name}={rate}")]
        url = f"http://127.0.0.1:{port}"
        truth = ["--truth", str(out / "truth.csv")]
        _run("simulate", STUDY, "-n", str(missing), "--url", url, *rates, *truth, *database)
    return True


@contextmanager
def _survey(port: int, database: list[str], *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A running survey, stopped at the end."""
    command = [sys.executable, "-m", "realism", "serve", "--port", str(port), *database, *more]
    # In a session of its own: a Ctrl-C in the terminal reaches this program alone, which then stops the server once.
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        _await(f"http://127.0.0.1:{port}/health", server)
        yield server
    finally:
        server.send_signal(signal.SIGINT)  # at once: nobody is at work any more
        server.wait()


def _await(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if server.poll() is not None:
            raise InputError("the survey did not start; the line above says why")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise InputError(f"the survey did not answer at {url} within a minute; see whether a firewall blocks it")


def _serve(port: int, report: Path, database: list[str]) -> None:
    address = f"http://127.0.0.1:{port}"
    with _survey(port, database, "--report", str(report)) as server:
        click.echo(f"Survey:  {address}/study/{STUDY}/   (take it yourself)")
        click.echo(f"Report:  {address}/report/\n\nPress Ctrl-C to stop.")
        if _has_screen():
            webbrowser.open(f"{address}/report/")
            webbrowser.open(f"{address}/study/{STUDY}/")
        try:
            if server.wait() != 0:
                raise InputError("the survey stopped; the line above says why")
        except KeyboardInterrupt:
            click.echo("\nStopped. 'realism demo' shows it again at once.")


def _has_screen() -> bool:
    """Whether a browser would have a window; without one Python would start a text browser in this terminal."""
    screens = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in screens)


def _free_port(wanted: int = 0) -> int:
    """``wanted`` if it is free, else any that is."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return _free_port()
        return int(probe.getsockname()[1])
