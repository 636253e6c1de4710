"""Time and memory of reading a large response table and counting its headline, beside plain pandas: python benchmarks/reading.py

Writes N answers (participants x 1,000 pairs in two conditions) as Parquet, and the first tenth as CSV too; reads each in
a fresh process, ours and pandas' (read_parquet or read_csv, then groupby of the fool rate, without any check), and prints
wall time and peak memory.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

ROOT = Path(__file__).resolve().parent.parent
N_PAIRS = 1000
CONDITIONS = ("cgan", "wgan")
LIMIT_S, LIMIT_MIB = 30, 2048  # what is asked of 10 million answers from Parquet
_ROWS_AT_ONCE = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=10_000_000, help="answers, a multiple of 1,000")
    parser.add_argument("--folder", type=Path, help="where to work; two gigabytes  [default: a temporary folder]")
    parser.add_argument("--child", nargs=2, metavar=("WAY", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        way, path = arguments.child
        print(json.dumps({"ours": read_ours, "pandas": read_plain}[way](Path(path))))
        return
    folder = Path(tempfile.mkdtemp(prefix="realism-benchmark-", dir=arguments.folder))
    try:
        print(f"Writing {arguments.n} answers …", flush=True)
        write_answers(folder / "responses.parquet", arguments.n)
        small = max(N_PAIRS, arguments.n // 10 // N_PAIRS * N_PAIRS)
        first = next(parquet.ParquetFile(folder / "responses.parquet").iter_batches(small))
        csv.write_csv(first, folder / "responses.csv")
        for name, n in (("responses.parquet", arguments.n), ("responses.csv", first.num_rows)):
            compare(folder / name, n)
    finally:
        shutil.rmtree(folder)


def write_answers(path: Path, n: int) -> None:
    """Everyone sees every pair once, half of them in each condition; one in three answers is wrong."""
    rng = np.random.default_rng(0)
    with parquet.ParquetWriter(path, answers(rng, 0, N_PAIRS).schema) as writer:
        for start in range(0, n, _ROWS_AT_ONCE):
            writer.write_table(answers(rng, start, min(_ROWS_AT_ONCE, n - start)))


def answers(rng: np.random.Generator, start: int, n: int) -> pa.Table:
    trial = np.arange(start, start + n)
    person, index = trial // N_PAIRS, trial % N_PAIRS
    pair = (index * 7 + person) % N_PAIRS
    real = rng.integers(0, 2, n)
    chosen = real ^ (rng.random(n) < 1 / 3)
    began = np.datetime64("2026-01-31T09:30:00.000", "ms") + (trial * 3000).astype("timedelta64[ms]")
    rt_ms = np.round(rng.lognormal(6.9, 0.35, n), 1)

    def words(codes: np.ndarray, spelling: str) -> pa.Array:
        found, places = np.unique(codes, return_inverse=True)
        return pa.DictionaryArray.from_arrays(places, [spelling.format(code) for code in found]).cast(pa.string())

    sides = pa.array(["left", "right"])
    time_of = pa.timestamp("ms", "UTC")
    return pa.table(
        {
            "study": pa.repeat("flowers", n),
            "session": words(person, "s{:016x}"),
            "participant": words(person, "p{:016x}"),
            "origin": pa.repeat("simulated", n),
            "condition": pa.array(CONDITIONS).take(pa.array((pair + person) % 2)),
            "pair": words(pair, "{:012x}"),
            "trial_index": index,
            "kind": pa.repeat("main", n),
            "real_side": sides.take(pa.array(real)),
            "chosen_side": sides.take(pa.array(chosen)),
            "rt_ms": rt_ms,
            "exposure_ms": np.full(n, 1000),
            "exposure_measured_ms": np.round(1000 + rng.normal(0, 4, n), 1),
            "late_frames": rng.integers(0, 2, n),
            "presented_at": pa.array(began).cast(time_of),
            "answered_at": pa.array(began + rt_ms.astype("timedelta64[ms]")).cast(time_of),
        }
    )


def compare(path: Path, n: int) -> None:
    for way in ("ours", "pandas"):
        command = [sys.executable, __file__, "--child", way, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        found = json.loads(done.stdout)
        asked = f" (asked: {LIMIT_S} s, {LIMIT_MIB} MiB)" if way == "ours" and path.suffix == ".parquet" else ""
        print(
            f"{path.name}, {n} answers, {way}: read {found['read_s']:.1f} s (peak {found['read_mib']:.0f} MiB), "
            f"counted {found['count_s']:.2f} s (peak {found['peak_mib']:.0f} MiB){asked}; "
            + ", ".join(f"{k} {v}" for k, v in found["rates"].items()),
            flush=True,
        )


def read_ours(path: Path) -> dict[str, object]:
    """Seconds, peak memory and the headline of each condition."""
    sys.path.insert(0, str(ROOT))
    from analysis.fool_rate import counted_trials
    from analysis.margins import margins_of
    from analysis.reading.table import read_table

    began = time.perf_counter()
    table = read_table(path).table
    read = time.perf_counter() - began, _peak_mib()
    trials = counted_trials(table[["condition", "participant", "pair", "kind", "real_side", "chosen_side"]])
    margins = {str(name): margins_of(group) for name, group in trials.groupby("condition", observed=True)}
    rates = {}
    for name, counts in margins.items():
        interval = counts.headline()
        rates[name] = f"{counts.rate:.4f} [{interval.low:.4f}, {interval.high:.4f}]"
    return _measured(began, read, rates)


def read_plain(path: Path) -> dict[str, object]:
    """The same for the fool rate without an interval, by pandas' own means."""
    import pandas as pd

    began = time.perf_counter()
    table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    read = time.perf_counter() - began, _peak_mib()
    main = table[(table["kind"] == "main") & table["chosen_side"].notna()]
    fooled = main["chosen_side"] != main["real_side"]
    rates = {str(name): f"{rate:.4f}" for name, rate in fooled.groupby(main["condition"]).mean().items()}
    return _measured(began, read, rates)


def _measured(began: float, read: tuple[float, float], rates: dict[str, str]) -> dict[str, object]:
    count_s = time.perf_counter() - began - read[0]
    return {"read_s": read[0], "read_mib": read[1], "count_s": count_s, "peak_mib": _peak_mib(), "rates": rates}


def _peak_mib() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
