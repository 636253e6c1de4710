"""The screening for colour vision: plates of a session's own, what they tell of their numbers, and how answers are judged."""

import re
from io import BytesIO

import pytest
from PIL import Image
from test_participate import start
from test_step_pages import address, begin, numbers, send, session_of, stored

from protocol.sections import ColourVision
from study_app.colour_screening import judged, read_plates, session_plates


def test_plates_of_a_session_are_its_own_and_always_the_same():
    section = ColourVision()
    assert session_plates(7, section) == session_plates(7, section)
    assert session_plates(7, section) != session_plates(8, section)
    assert len(session_plates(7, section)) == section.plates


def test_plates_are_judged_by_their_numbers():
    section = ColourVision(plates=3, min_correct=2)
    plates = session_plates(7, section)
    right = [plate.digit for plate in plates]
    assert judged(plates, right, section)["correct"] == 3
    assert judged(plates, [right[0], right[1], ""], section)["passed"]
    failed = judged(plates, [right[0], "", "x"], section)
    assert (failed["correct"], failed["passed"]) == (1, False)
    assert failed["plate_3"] == {"axis": plates[2].axis, "number": plates[2].digit, "answer": "x"}


def test_each_plate_needs_a_number_or_that_none_is_seen():
    form = {"plate0": [" 12\x00 "], "plate1": [""], "none2": ["yes"], "plate3": ["7"], "none3": ["yes"]}
    assert read_plates(form, 5) == (["12", "", "", "7", ""], [1, 4])


def test_plates_are_shown_to_their_own_session_alone(sqlite_workshop):
    client = begin(sqlite_workshop, colour_vision={"plates": 3, "min_correct": 2})
    page = client.get(address("colour_vision")).text
    addresses = re.findall(r'src="([^"]+/plate/[^"]+)"', page)
    assert len(addresses) == 3
    pictures = [client.get(one) for one in addresses]
    assert len({reply.data for reply in pictures}) == 3
    for reply in pictures:
        assert Image.open(BytesIO(reply.data)).size == (400, 400)
        assert reply.headers["Cache-Control"] == "no-store"
    assert client.get(addresses[0][:-1] + "3").status_code == 404
    stranger, second = sqlite_workshop.client(), sqlite_workshop.client()
    start(second)
    for other in (stranger, second):
        assert other.get(addresses[0]).status_code == 403


def test_neither_page_nor_header_tells_the_number(sqlite_workshop):
    client = begin(sqlite_workshop, colour_vision={"plates": 20, "min_correct": 2})
    page = client.get(address("colour_vision")).text
    plain = re.sub(r"Disc \d+ of 20|plate-?\d+|none-?\d+|plate/\w+/\d+", "", page)
    spoken = set(re.findall(r"\d+", plain)) - {"400", "20", "8", "1"}  # sizes, lengths, utf-8
    assert not spoken & set(numbers(sqlite_workshop).values())
    headers = dict(client.get(re.search(r'src="([^"]+/plate/[^"]+)"', page)[1]).headers)
    assert not {"ETag", "Last-Modified", "Content-Disposition"} & headers.keys()


def test_a_plate_without_an_answer_is_told_and_the_others_are_kept(sqlite_workshop):
    client = begin(sqlite_workshop, colour_vision={"plates": 3, "min_correct": 2})
    reply = send(client, "colour_vision", plate0="4711", none2="yes")
    assert reply.status_code == 422
    assert 'href="#plate-1"' in reply.text
    assert 'href="#plate-0"' not in reply.text
    assert 'value="4711"' in reply.text
    assert re.search(r'name="none2" value="yes" checked', reply.text)
    assert stored(sqlite_workshop) == {}


@pytest.mark.parametrize(("exclude", "leads_to"), [(True, "/study/spots/done"), (False, address("instructions"))])
def test_only_a_study_that_says_so_excludes_by_plates(sqlite_workshop, exclude, leads_to):
    client = begin(sqlite_workshop, colour_vision={"plates": 3, "min_correct": 2, "exclude": exclude})
    right = numbers(sqlite_workshop)
    reply = send(client, "colour_vision", plate0=right["plate0"], none1="yes", none2="yes")
    assert reply.headers["Location"] == leads_to
    assert (stored(sqlite_workshop)["colour_vision"]["correct"], session_of(sqlite_workshop).outcome) == (
        1,
        "screened_out" if exclude else None,
    )
