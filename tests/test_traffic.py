"""What a participant's browser could have seen: nothing tells the fake from the real, or what kind a trial is, too early."""

import difflib
import json
import re
from dataclasses import dataclass, field

import pytest
from participant import READY, SEEN, consent, take_survey, watched_page
from pictures import copy_pictures
from playwright.sync_api import Page
from sqlalchemy import select

from study_app.db import reading
from study_app.tables import Condition, Image, Pair, Trial

PLACES = {"side_by_side": ["left", "right"], "sequential": ["first", "second"], "single": ["picture"]}
LAYOUTS = {
    "side_by_side": {},
    "sequential": {"presentation": "sequential"},
    "single": {"task": "yes_no", "question": "real"},
}


@dataclass
class Traffic:
    """All that passed between browser and server, in order, and the page's markup at each trial."""

    exchanges: list[dict] = field(default_factory=list)
    markup: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("requestfinished", self._note)

    def _note(self, request) -> None:
        response = request.response()
        is_picture = response.headers.get("content-type", "").startswith("image/png")
        self.exchanges.append(
            {
                "url": request.url,
                "sent": request.post_data or "",
                "request": request.all_headers(),
                "headers": response.all_headers(),
                "body": "" if is_picture else response.text(),
            }
        )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_whole_sitting_tells_nothing_before_the_answer_is_in(browser, live, layout, tmp_path):
    """With catch trials and repeats, a reload, and a resume by the study's address."""
    copy_pictures(tmp_path / "obvious", "catch", strength=0.0)
    live.create_study(
        exposure={"duration_ms": 50, "fixation_ms": 0, "between_ms": 0, "mask_ms": 50},
        trials={"practice": 1, "main": 4, "catch": 1, "repeat": 1},
        catch={"pairset": str(tmp_path / "obvious")},
        **LAYOUTS[layout],
    )
    survey = live.url + "/study/spots/"
    traffic = Traffic()
    with watched_page(browser) as page:
        traffic.watch(page)
        consent(page, survey)

        def choose():
            traffic.markup.append(page.inner_html("#trial"))
            index = page.evaluate("document.querySelector('#progress').value")
            page.keyboard.press("ArrowLeft")
            if index == 2:
                page.wait_for_function("() => document.querySelector('#progress').value == 3")
                page.wait_for_timeout(500)  # what is under way is noted, and not cut short
                page.reload()
            if index == 4:
                page.wait_for_function("() => document.querySelector('#progress').value == 5")
                page.wait_for_timeout(500)
                page.goto(survey)  # left, and resumed by the study's address

        take_survey(page, choose)
        page.wait_for_load_state("networkidle")
    with reading(live.engine) as db:
        trials = db.scalars(select(Trial).order_by(Trial.trial_index)).all()
        secrets = [f'"{name}"' for name in db.scalars(select(Condition.name)) if name != "catch"]
        secrets += [*db.scalars(select(Image.sha256)), *db.scalars(select(Pair.pair))]
        secrets += db.scalars(select(Pair.photo_sha256)).all()
    assert {trial.kind for trial in trials} == {"practice", "main", "catch", "repeat"}
    assert_words_tell_nothing(traffic, [*secrets, str(live.folder)])
    assert_trials_are_described_alike(traffic, len(trials), PLACES[layout])
    assert_pictures_are_fetched_alike(traffic, len(trials), PLACES[layout])
    assert_markup_is_the_same(traffic, len(trials), PLACES[layout])


def assert_words_tell_nothing(traffic, secrets):
    # The program itself is the same for everybody.
    everything = json.dumps([one for one in traffic.exchanges if "/static/" not in one["url"]])
    for secret in [*secrets, "real_side", "-real", "-fake", "pair_id", "catch", "repeat", '\\"kind', "obvious"]:
        assert secret not in everything, secret


def assert_trials_are_described_alike(traffic, n_trials, places):
    # Before its answer a trial is described by these keys alone, and their values are no one's real side.
    described, told = {}, []
    for exchange in traffic.exchanges:
        if not exchange["headers"].get("content-type", "").startswith("application/json"):
            continue
        body = json.loads(exchange["body"])
        feedback, state = body.get("feedback"), body.get("next", body)
        if feedback is not None:  # told after the commit, in practice only
            told.append(body["trial_index"])
        if state["done"]:
            assert set(state) == {"done"}
            continue
        assert set(state["progress"]) == {"answered", "total", "practice"}
        assert state["progress"]["total"] == n_trials
        for trial in [state["trial"], *state["upcoming"]]:
            described.setdefault(trial["trial_index"], []).append(trial)
    assert told == [0]
    assert sorted(described) == list(range(n_trials))
    for index, descriptions in described.items():
        for trial in descriptions:
            assert set(trial) == {"trial_index", "practice", "exposure_ms", "pictures"}
            assert trial["practice"] == (index == 0)
            assert trial["exposure_ms"] == 50
            assert list(trial["pictures"]) == places
            stems = {address.removesuffix(f"/{index}/{place}") for place, address in trial["pictures"].items()}
            assert len(stems) == 1
            assert re.fullmatch("/study/spots/picture/[0-9a-f]{32}", stems.pop())


def assert_pictures_are_fetched_alike(traffic, n_trials, places):
    # Headers and size are the same for all; requests differ by nothing but trial and place, also on a reload.
    requested, replied = {}, set()
    for exchange in traffic.exchanges:
        if match := re.search(r"/picture/[0-9a-f]+/(\d+)/(\w+)$", exchange["url"]):
            replied.add(
                json.dumps(
                    {k: v for k, v in exchange["headers"].items() if k not in ("date", "set-cookie")}, sort_keys=True
                )
            )
            sent = {k: v for k, v in exchange["request"].items() if k not in ("date", "cookie")}
            # Each kind of request once: a reload may cut one of a trial's two pictures short.
            kind = json.dumps(sent, sort_keys=True)
            requested.setdefault(int(match[1]), {}).setdefault(match[2], set()).add(kind)
    assert len(replied) == 1
    assert sorted(requested) == list(range(n_trials))
    for index, by_place in requested.items():
        assert set(by_place) == set(places)
        one, *others = by_place.values()
        assert all(sent == one for sent in others), f"trial {index}"


def assert_markup_is_the_same(traffic, n_trials, places):
    assert len(traffic.markup) == n_trials
    plain = set()
    for markup in traffic.markup:
        addresses = re.findall(r'src="([^"]+)"', markup)
        assert [address.rsplit("/", 1)[1] for address in addresses] == places
        without = re.sub(r"/picture/[0-9a-f]+/\d+/", "/picture/", markup)
        without = re.sub(r'(\sclass="(correct|wrong)?"|value="\d+"|max="\d+"|\d+ of \d+)', "", without)
        plain.add(without)
    assert len(plain) == 1, "\n".join(difflib.ndiff(*(one.splitlines() for one in list(plain)[:2])))


def test_served_pictures_of_a_trial_are_on_the_page_only_while_they_are_shown(browser, live):
    live.create_study(exposure={"duration_ms": 50, "fixation_ms": 0})
    with watched_page(browser) as page:
        consent(page, live.url + "/study/spots/")
        page.click("#begin")
        page.wait_for_selector(READY)
        assert page.locator(SEEN).count() == 0
        assert set(
            page.evaluate("[...document.querySelectorAll('#stage img')].map(one => getComputedStyle(one).opacity)")
        ) == {"0"}
