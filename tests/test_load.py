"""The load driver against a real server: nothing fails, is lost or is doubled, and who begin together are given even work."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SMALL = ("--size", "32", "--pairs", "12")


@pytest.fixture
def load(monkeypatch, tmp_path):
    """Runs benchmarks/load.py; its exit code and what it found."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import load

    def run(*words):
        with ThreadPoolExecutor(1) as pool:  # a browser of other tests may have left its loop running in this thread
            code = pool.submit(load.main, [*SMALL, *words, "--json", str(tmp_path / "found.json")]).result()
        return code, json.loads((tmp_path / "found.json").read_text())

    return run


def test_twenty_who_do_not_stop_to_think_lose_nothing(load, capsys):
    code, found = load("--participants", "20", "--trials", "10")
    [measured] = found["rounds"]
    assert (code, measured["failures"], measured["losses"]) == (0, [], [])
    assert measured["answers"] == 200
    assert measured["server_ms"] > 0
    assert "failed, lost or doubled: 0" in capsys.readouterr().out


def test_a_hundred_who_begin_in_the_same_second_are_all_given_even_work(load):
    code, found = load("--participants", "100", "--trials", "2", "--start-together", "--no-pictures")
    [measured] = found["rounds"]
    assert (code, measured["failures"], measured["losses"]) == (0, [], [])
    assert measured["answers"] == 200
    assert found["unevenness"] <= 2
