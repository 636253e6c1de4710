"""Scoring, from the page to the report: observers who always do the same get the fool rate that they must get.

They look at the pictures that the survey serves, and are asked for the fake in one study and for the real one in another. In
practice, catch trials and repeats they do otherwise than in main trials, which alone may count.
"""

import io
import re
from dataclasses import replace

import pytest
from pictures import copy_pictures
from PIL import Image
from sqlalchemy import select

from analysis.findings import analyse
from analysis.reading.source import read_source
from analysis.report import write_report
from protocol.presets import PRESETS
from study_app.db import reading
from study_app.export import export_study
from study_app.tables import Session, Trial

STUDIES = [(preset, None) for preset in PRESETS] + [("zhang2016", "sequential")]
MAIN = 6


def pixels(data):
    return Image.open(io.BytesIO(data)).convert("RGB").tobytes()


class Study:
    """A study of few trials in the way of a protocol, whose real pictures are known by sight."""

    def __init__(self, workshop, preset, presentation, question):
        copy_pictures(workshop.folder / "obvious", "obvious", strength=0)
        layout = {} if presentation is None else {"presentation": presentation}
        workshop.create_study(
            protocol=preset,
            question=question,
            trials={"practice": 2, "main": MAIN, "catch": 1, "repeat": 1},
            exposure={},
            assignment={},
            conditions={"cgan": "cgan"},
            catch={"pairset": "obvious"},
            **layout,
        )
        self.workshop, self.asks_for_fake = workshop, question == "fake"
        self.real = {pixels(path.read_bytes()) for path in (workshop.folder / "cgan" / "images").glob("*-real.png")}

    def take_part(self, picks):
        """Send a participant through it, who picks "real", "fake" or the "first" in main trials; the session's id."""
        client = self.workshop.client()
        ticket = re.search(r'name="ticket" value="([^"]+)"', client.get("/study/spots/").text)[1]
        client.post("/study/spots/start", data={"ticket": ticket})
        client.post("/study/spots/step/instructions")
        state = client.get("/study/spots/next").json
        session = next(iter(state["trial"]["pictures"].values())).split("/")[-3]
        kinds = self._kinds(session)
        while not state["done"]:
            trial = state["trial"]
            seen = {
                place: pixels(client.get(address).data) in self.real for place, address in trial["pictures"].items()
            }
            response = self._respond(seen, self._intent(picks, kinds[trial["trial_index"]]))
            body = {"trial_index": trial["trial_index"], "response": response, "rt": 900, "elapsed_ms": 901.5}
            state = client.post("/study/spots/answer", json=body).json["next"]
        return session

    def _kinds(self, session):
        with reading(self.workshop.engine) as db:
            rows = select(Trial.trial_index, Trial.kind).join(Session).where(Session.public_id == session)
            return dict(db.execute(rows).all())

    def _intent(self, picks, kind):
        if kind == "main":
            return picks
        return "real" if kind == "practice" or picks == "fake" else "fake"  # practice right: some protocols ask for it

    def _respond(self, seen, takes_for_real):
        """What somebody clicks who takes the real one or the fake for real, or who always clicks the first; ``seen`` tells
        whether the picture at each place is real.
        """
        if "picture" in seen:
            said = {"real": "real" if seen["picture"] else "fake", "fake": "fake" if seen["picture"] else "real"}
            return said.get(takes_for_real, "real")  # of two answers the first is "real"
        assert sorted(seen.values()) == [False, True]
        places = list(seen)
        if takes_for_real == "first":
            return places[0]
        wanted = (takes_for_real == "real") != self.asks_for_fake
        return next(place for place in places if seen[place] == wanted)


@pytest.mark.parametrize("question", ["real", "fake"])
@pytest.mark.parametrize(("preset", "presentation"), STUDIES)
def test_fool_rate_follows_what_was_taken_for_real(sqlite_workshop, tmp_path, preset, presentation, question):
    study = Study(sqlite_workshop, preset, presentation, question)
    expected = {study.take_part(picks): rate for picks, rate in (("real", 0.0), ("fake", 1.0), ("first", 0.5))}
    export_study(sqlite_workshop.engine, sqlite_workshop.config.store, "spots", tmp_path / "out", images=False)
    source = read_source(tmp_path / "out")
    assert set(source.table["kind"]) == {"practice", "main", "catch", "repeat"}
    for session, rate in expected.items():
        (found,) = analyse(replace(source, table=source.table[source.table["session"] == session])).conditions
        assert (found.condition, found.n_trials, found.fool_rate) == ("cgan", MAIN, rate)


def test_report_of_all_three_observers_has_their_mean(sqlite_workshop, tmp_path):
    study = Study(sqlite_workshop, "zhang2016", None, "fake")
    for picks in ("real", "fake", "fake", "first"):
        study.take_part(picks)
    export_study(sqlite_workshop.engine, sqlite_workshop.config.store, "spots", tmp_path / "out", images=False)
    report = write_report(tmp_path / "out", tmp_path / "report")
    assert report["conditions"]["cgan"]["fool_rate"] == (0 + 1 + 1 + 0.5) / 4
    assert {one["kind"]: one["shown"] for one in report["kinds"]} == {
        "practice": 8,
        "main": 4 * MAIN,
        "catch": 4,
        "repeat": 4,
    }
