"""Whether studies driven through the real survey recover the true fool rates: python benchmarks/recovery.py

Serves the survey and runs N studies in it, one after the other. Each is a new draw of 24 pictures and 20 simulated participants with 12 trials,
who take every page over HTTP; its fool rate is known. The answers are exported and analysed as a researcher would, and it is
counted how often each interval holds the truth: the headline that of new people and new pictures, the participants-only one
that of new people and the study's own pictures. Nominal is 95 %; with N studies chance alone moves the share by some
1.4 × 95/√N points (binomial, N = 100: 4 points). Exit code 1 where fewer hold it than chance explains in one in a thousand.
"""

import argparse
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import requests
from PIL import Image
from rich.progress import track
from scipy.stats import binom

from analysis.findings import Options, analyse
from analysis.reading.source import read_source
from study_app.config import Config
from study_app.db import open_migrated
from study_app.export import export_study
from study_app.observers import Observers, draw_truth
from study_app.schema import upgrade
from study_app.simulate import simulate, study_pairs
from study_app.studies import create_study

N_PAIRS, N_PEOPLE, N_TRIALS = 24, 20, 12
STUDY = """
name = "study-{n}"
title = "Study {n}"
protocol = "pix2pix2017"
[trials]
practice = 0
main = {trials}
[conditions]
cgan = "pairs"
"""
OBSERVERS = Observers(pair_sd=0.6, participant_sd=0.5, side_bias=0.2, lapse=0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=100, help="studies  [100]")
    n = parser.parse_args().n
    with tempfile.TemporaryDirectory(prefix="realism-benchmark-") as name:
        folder = Path(name)
        make_pairs(folder)
        held = np.zeros(2)
        with served(folder) as (config, url, secret):
            for number in track(range(n), "Studies"):
                held += run_study(folder, config, url, secret, number)
    for what, k in zip(("headline, new people and new pictures", "new people, these pictures"), held, strict=True):
        print(f"{what}: {int(k)} of {n} studies hold the true fool rate ({100 * k / n:.0f} %)")
    sys.exit(0 if min(held) >= binom.ppf(0.001, n, 0.95) else 1)


def make_pairs(folder: Path) -> None:
    """Pictures of smooth noise: simulated participants look at none."""
    rng = np.random.default_rng(0)
    for kind in ("real", "fake"):
        (folder / kind).mkdir()
        for i in range(N_PAIRS):
            noise = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(noise).resize((64, 64), Image.Resampling.BICUBIC).save(folder / kind / f"{i:02d}.png")
    realism(folder, "pairs", "import", "--real", "real", "--fake", "fake", "--condition", "cgan", "--out", "pairs")


def realism(folder: Path, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "realism", *arguments], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"realism {' '.join(arguments)}: {done.stderr}")


@contextmanager
def served(folder: Path) -> Iterator[tuple[Config, str, str]]:
    config, secret = Config(folder / "instance", f"sqlite:///{folder / 'realism.sqlite'}"), secrets.token_hex(32)
    upgrade(config.database)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "realism", "serve", "--port", str(port), "--database", config.database]
    command += ["--instance", str(config.instance)]
    log = folder / "server.log"
    with log.open("w") as file:
        server = subprocess.Popen(command, env={**os.environ, "REALISM_SECRET_KEY": secret}, stdout=file, stderr=file)
    try:
        yield config, wait_for(log, f"http://127.0.0.1:{port}"), secret
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=60)


def wait_for(log: Path, url: str) -> str:
    """The address, once the server answers there."""
    for _ in range(600):
        if answers(url):
            return url
        time.sleep(0.1)
    sys.exit(f"the server did not start: {log.read_text()}")


def answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=5).ok
    except requests.ConnectionError:
        return False


def run_study(folder: Path, config: Config, url: str, secret: str, number: int) -> tuple[bool, bool]:
    """Whether the headline interval, and the one for these pictures, hold what is true of this study."""
    rng = np.random.default_rng(number)
    rate = float(rng.uniform(0.15, 0.5))
    design = folder / f"study-{number}.toml"
    design.write_text(STUDY.format(n=number, trials=N_TRIALS))
    engine, name = open_migrated(config.database), f"study-{number}"
    create_study(engine, config.store, design)
    truth = draw_truth(study_pairs(engine, name), {"cgan": rate}, OBSERVERS, rng)
    simulate(engine, name, url, secret, truth, OBSERVERS, N_PEOPLE, rng)
    export_study(engine, config.store, name, folder / name, images=False)
    (found,) = analyse(read_source(folder / name), Options(replicates=0)).conditions
    engine.dispose()
    of_these = float(np.mean(list(truth.fool_rates.values())))
    headline, these = found.interval, found.participants_interval
    return headline.low <= rate <= headline.high, these.low <= of_these <= these.high


if __name__ == "__main__":
    main()
