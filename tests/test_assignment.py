"""Drawing a participant's trials: balanced, reproducible, no photo twice, pairs evenly used."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.design import parse_design
from study_app.assignment import AssignmentError, AvailablePair, draw_trials


def design(conditions=2, practice=2, main=8, assignment="within"):
    return parse_design(
        {
            "title": "t",
            "trials": {"practice": practice, "main": main},
            "conditions": {f"c{i}": "x" for i in range(conditions)},
            "assignment": {"conditions": assignment},
        },
        "study.toml",
    )


def pairs(conditions=2, photos=24, uses=lambda condition, photo: 0):
    return [
        AvailablePair(1000 * c + p, f"c{c}", f"photo{p:04d}", uses(c, p))
        for c in range(conditions)
        for p in range(photos)
    ]


@settings(max_examples=200, deadline=None)
@given(
    conditions=st.integers(1, 4),
    per_condition=st.integers(1, 12),
    practice=st.integers(0, 8),
    spare=st.integers(0, 10),
    assignment=st.sampled_from(["within", "between"]),
    seed=st.integers(0, 2**63 - 1),
)
def test_every_drawn_session_is_balanced(conditions, per_condition, practice, spare, assignment, seed):
    main = per_condition * (conditions if assignment == "within" else 1)
    available = pairs(conditions, main + practice + spare)
    trials = draw_trials(design(conditions, practice, main, assignment), available, seed)
    by_id = {pair.pair_id: pair for pair in available}

    assert [trial.kind for trial in trials] == ["practice"] * practice + ["main"] * main
    photos = [by_id[trial.pair_id].photo_sha256 for trial in trials]
    assert len(set(photos)) == len(photos)
    shown = Counter(by_id[trial.pair_id].condition for trial in trials if trial.kind == "main")
    assert set(shown.values()) == {per_condition if assignment == "within" else main}
    assert len(shown) == (conditions if assignment == "within" else 1)
    for condition in shown:
        sides = Counter(t.real_side for t in trials if t.kind == "main" and by_id[t.pair_id].condition == condition)
        assert abs(sides["left"] - sides["right"]) <= shown[condition] % 2


def test_same_seed_draws_the_same_trials_whatever_the_order_of_the_pairs():
    available = pairs()
    assert draw_trials(design(), available, 7) == draw_trials(design(), available[::-1], 7)
    assert draw_trials(design(), available, 7) != draw_trials(design(), available, 8)


def test_conditions_come_in_blocks_that_hold_each_once():
    available = pairs(3, 40)
    main = [t for t in draw_trials(design(3, 2, 12), available, 1) if t.kind == "main"]
    blocks = [{trial.pair_id // 1000 for trial in main[i : i + 3]} for i in range(0, 12, 3)]
    assert blocks == [{0, 1, 2}] * 4
    orders = {tuple(trial.pair_id // 1000 for trial in main[i : i + 3]) for i in range(0, 12, 3)}
    assert len(orders) > 1


def test_least_used_pairs_come_first():
    used = {(0, p): 1 for p in range(12)}
    trials = draw_trials(design(1, 0, 8), pairs(1, 20, lambda c, p: used.get((c, p), 0)), 3)
    assert all(trial.pair_id >= 12 for trial in trials)


def test_pairs_stay_evenly_used_over_many_sessions():
    uses: Counter[int] = Counter()
    for seed in range(30):
        available = pairs(2, 24, lambda c, p: uses[1000 * c + p])
        uses.update(trial.pair_id for trial in draw_trials(design(), available, seed) if trial.kind == "main")
    counts = [uses[pair.pair_id] for pair in pairs()]
    assert sum(counts) == 30 * 8
    assert max(counts) - min(counts) <= 2  # 1 where two conditions do not want the same photo


def test_between_participants_the_condition_shown_least_comes_next():
    available = pairs(2, 24, lambda c, p: 1 if c == 0 and p < 8 else 0)
    trials = draw_trials(design(assignment="between"), available, 5)
    assert {trial.pair_id // 1000 for trial in trials} == {1}


def test_sides_and_order_are_not_the_same_for_everyone():
    drawn = [draw_trials(design(), pairs(), seed) for seed in range(50)]
    left_first = sum(trials[2].real_side == "left" for trials in drawn)
    assert 10 < left_first < 40
    assert len({trials[2].pair_id for trials in drawn}) > 10


def test_conditions_with_different_photos_share_what_they_can():
    available = [AvailablePair(p, "c0", f"p{p}") for p in range(4)]
    available += [AvailablePair(1000 + p, "c1", f"p{p}") for p in range(2, 8)]
    trials = draw_trials(design(2, 0, 8), available, 2)
    assert sorted(t.pair_id for t in trials if t.pair_id < 1000) == [0, 1, 2, 3]


def test_too_few_photos_are_told():
    with pytest.raises(AssignmentError, match="8 main trials need 8 different photos, found 7"):
        draw_trials(design(), pairs(2, 7), 1)
    with pytest.raises(AssignmentError, match="2 practice trials need 2 different photos, found 1 left"):
        draw_trials(design(), pairs(2, 9), 1)
