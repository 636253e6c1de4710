"""What chance decides about a participant's trials, over many seeds: nobody can tell what comes next."""

from collections import Counter
from itertools import pairwise

import pytest
from test_assignment import design, pairs

from study_app.assignment import draw_trials


def sessions(study, available, n=300):
    return [draw_trials(study, available, seed) for seed in range(n)]


def places(trials, kind):
    return tuple(i for i, trial in enumerate(trials) if trial.kind == kind)


def test_pairs_used_alike_have_the_same_chance_in_every_place():
    drawn = sessions(design(1, 2, 8), pairs(1, 24), 600)
    for place in (0, 2, 9):
        shown = Counter(trials[place].pair_id for trials in drawn)
        assert len(shown) == 24
        assert max(shown.values()) < 50  # 25 each on average


def test_least_used_pairs_do_not_come_at_a_certain_time():
    # Four pairs were never used, so each session shows them, together with four others.
    drawn = sessions(design(1, 0, 8), pairs(1, 24, lambda c, p: int(p >= 4)))
    early = sum(trial.pair_id < 4 for trials in drawn for trial in trials[:4])
    assert early / (300 * 4) == pytest.approx(1 / 2, abs=0.04)


def test_between_participants_equal_conditions_fall_by_chance():
    drawn = sessions(design(assignment="between"), pairs(), 100)
    assert 30 < sum(trials[-1].pair_id < 1000 for trials in drawn) < 70


def test_conditions_take_their_turns_in_any_order():
    drawn = sessions(design(3, 0, 12, repeat=1), pairs(3, 40), 400)
    orders = Counter(
        tuple(trials[i].pair_id // 1000 for i in places(trials, "main")[start : start + 3])
        for trials in drawn
        for start in (0, 3, 6, 9)
    )
    assert len(orders) == 6
    assert min(orders.values()) > 0.8 * max(orders.values())


def test_first_side_is_left_for_half_of_the_participants():
    assert 120 < sum(trials[2].real_side == "left" for trials in sessions(design(), pairs())) < 180


def test_sides_of_neighbouring_main_trials_do_not_tell_each_other():
    # Two of eight balanced sides are the same with probability 3/7, wherever they stand.
    drawn = sessions(design(1, 0, 8), pairs(1, 24))
    same = sum(one.real_side == other.real_side for trials in drawn for one, other in pairwise(trials))
    assert same / (300 * 7) == pytest.approx(3 / 7, abs=0.04)


@pytest.mark.parametrize("kind", ["practice", "catch", "repeat"])
def test_sides_of_every_other_kind_come_in_any_order(kind):
    drawn = sessions(design(1, 4, 8, catch=4, repeat=4), pairs(1, 24, catch=24))
    orders = Counter(tuple(trials[i].real_side for i in places(trials, kind)) for trials in drawn)
    assert len(orders) == 6  # 4 × 3 / 2 ways to have two of four on the left
    assert max(orders.values()) < 80


def test_catch_trials_can_stand_in_any_place_but_the_first():
    drawn = sessions(design(1, 0, 8, catch=2), pairs(1, 24, catch=24), 400)
    ways = Counter(places(trials, "catch") for trials in drawn)
    assert len(ways) == 28  # each of 8 trials may have one after it: 8 × 7 / 2 ways
    assert max(ways.values()) < 40


def test_odd_catch_trial_falls_into_any_block():
    drawn = sessions(design(1, 0, 8, blocks=2, catch=1), pairs(1, 24, catch=24))
    assert 120 < sum(trials[places(trials, "catch")[0]].block for trials in drawn) < 180


def test_repeats_can_stand_in_any_place_that_is_far_enough():
    drawn = sessions(design(1, 0, 8, repeat=1), pairs(1, 24), 400)
    links = {(i, trials[i].repeat_of) for trials in drawn for i in places(trials, "repeat")}
    assert links == {(place, original) for place in range(3, 9) for original in range(place - 2)}


def test_odd_repeat_falls_on_any_condition_and_tells_nothing_of_their_order():
    drawn = sessions(design(3, 0, 12, repeat=1), pairs(3, 40), 600)
    repeated = [trials[places(trials, "repeat")[0]] for trials in drawn]
    assert min(Counter(trial.pair_id // 1000 for trial in repeated).values()) > 150
    last = sum(
        trials[places(trials, "main")[-1]].pair_id // 1000 == trial.pair_id // 1000
        for trials, trial in zip(drawn, repeated, strict=True)
    )
    assert last / 600 == pytest.approx(1 / 3, abs=0.06)


def test_repeat_of_two_pictures_draws_its_side_anew():
    drawn = sessions(design(1, 0, 8, repeat=2), pairs(1, 24), 100)
    same = sum(t.real_side == trials[t.repeat_of].real_side for trials in drawn for t in trials if t.kind == "repeat")
    assert 70 < same < 130
