"""Drawing a participant's trials: balanced, reproducible, no photo twice, pairs evenly used."""

from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from protocol.design import parse_design
from study_app import assignment
from study_app.assignment import CATCH, AssignmentError, AvailablePair, draw_trials

LAYOUTS = {
    "side_by_side": {"task": "2afc", "presentation": "side_by_side"},
    "sequential": {"task": "2afc", "presentation": "sequential"},
    "yes_no": {"task": "yes_no"},
}


def design(conditions=2, practice=2, main=8, assignment="within", layout="side_by_side", **trials):
    raw = {
        "title": "t",
        "protocol": "ding2018",
        "trials": {"practice": practice, "main": main, **trials},
        "conditions": {f"c{i}": "x" for i in range(conditions)},
        **({"catch": {"pairset": "x"}} if trials.get("catch") else {}),
        "assignment": {"conditions": assignment},
        **LAYOUTS[layout],
    }
    return parse_design(raw, "study.toml")


def pairs(conditions=2, photos=24, uses=lambda condition, photo: 0, catch=0):
    """The same photos in every condition, and the first of them for catch trials, under the ids from 9000 on."""
    main = [
        AvailablePair(1000 * c + p, f"c{c}", f"photo{p:04d}", uses(c, p))
        for c in range(conditions)
        for p in range(photos)
    ]
    return main + [AvailablePair(9000 + p, CATCH, f"photo{p:04d}", uses(9, p)) for p in range(catch)]


def scattered_pairs(photos_of, seed):
    """Pairs of these photos (numbers) in each condition, used now and then, in no order."""
    random = Random(seed)
    numbered = enumerate((condition, photo) for condition, photos in photos_of.items() for photo in photos)
    available = [AvailablePair(i, name, f"photo{photo:04d}", random.randrange(4)) for i, (name, photo) in numbered]
    random.shuffle(available)
    return available


@st.composite
def designs(draw):
    """Designs of every layout, and how many trials one participant sees."""
    conditions, blocks = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    assignment = draw(st.sampled_from(["within", "between"]))
    main = draw(st.integers(1, 5)) * blocks * (conditions if assignment == "within" else 1)
    repeat = draw(st.integers(0, main // 2))
    catch = draw(st.integers(0, (main + repeat) // 2))
    layout = draw(st.sampled_from(list(LAYOUTS)))
    practice = draw(st.integers(0, 6))
    return design(conditions, practice, main, assignment, layout, blocks=blocks, repeat=repeat, catch=catch)


@settings(max_examples=1000, deadline=None)
@given(study=designs(), starts=st.lists(st.integers(0, 30), min_size=5, max_size=5), seed=st.integers(0, 2**63 - 1))
def test_every_drawn_session_keeps_the_rules(study, starts, seed):
    # From a photo of its own on, each condition has as many as there are trials, so that they overlap more or less.
    photos_of = {
        name: range(start, start + study.n_trials)
        for name, start in zip([*study.conditions, CATCH], starts, strict=False)
    }
    available = scattered_pairs(photos_of, seed)
    trials = draw_trials(study, available, seed)
    pair_of = {pair.pair_id: pair for pair in available}

    assert_numbers_and_photos_fit(study, trials, pair_of)
    assert_sides_are_balanced(study, trials, pair_of)
    assert_blocks_are_alike(study, trials)
    assert_catch_trials_stand_apart(trials)
    assert_repeats_fit_their_originals(study, trials, pair_of)
    assert_conditions_come_in_turn(study, trials, pair_of)
    shown = {pair_of[trial.pair_id].condition for trial in trials if trial.kind == "main"}
    used = sum(pair_of[trial.pair_id].uses for trial in trials if trial.kind in ("main", "catch"))
    assert used == fewest_uses(study, available, sorted(shown))


def assert_numbers_and_photos_fit(study, trials, pair_of):
    wanted = {kind: getattr(study.trials, kind) for kind in ("practice", "main", "catch", "repeat")}
    assert Counter(trial.kind for trial in trials) == Counter(wanted)
    assert {trial.kind for trial in trials[: study.trials.practice]} <= {"practice"}
    photos = [pair_of[trial.pair_id].photo_sha256 for trial in trials if trial.kind != "repeat"]
    assert len(set(photos)) == len(photos)
    for trial in trials:
        assert (pair_of[trial.pair_id].condition == CATCH) == (trial.kind == "catch")


def assert_sides_are_balanced(study, trials, pair_of):
    def assert_even(among):
        n = Counter(trial.real_side for trial in among)
        assert set(n) <= set(study.sides)
        assert abs(n[study.sides[0]] - n[study.sides[1]]) == len(among) % 2

    for kind in ("practice", "main", "catch", "repeat"):
        assert_even([trial for trial in trials if trial.kind == kind])
    for condition in study.conditions:
        main = [t for t in trials if t.kind == "main" and pair_of[t.pair_id].condition == condition]
        assert_even(main)
        for block in range(study.trials.blocks):
            assert_even([trial for trial in main if trial.block == block])


def assert_blocks_are_alike(study, trials):
    blocks = [trial.block for trial in trials]
    assert blocks == sorted(blocks)
    assert set(blocks[: study.trials.practice]) <= {0}
    for kind in ("main", "catch", "repeat"):
        n = Counter(dict.fromkeys(range(study.trials.blocks), 0))
        n.update(trial.block for trial in trials if trial.kind == kind)
        assert len(n) == study.trials.blocks
        assert max(n.values()) - min(n.values()) <= (0 if kind == "main" else 1)


def assert_catch_trials_stand_apart(trials):
    before = [None, *trials]
    for previous, trial in zip(before, trials, strict=False):
        if trial.kind == "catch":
            assert previous is not None
            assert previous.kind in ("main", "repeat")
            assert previous.block == trial.block


def assert_repeats_fit_their_originals(study, trials, pair_of):
    repeats = [(i, trial) for i, trial in enumerate(trials) if trial.kind == "repeat"]
    assert all((trial.repeat_of is not None) == (trial.kind == "repeat") for trial in trials)
    assert len({trial.repeat_of for _, trial in repeats}) == len(repeats)
    for i, trial in repeats:
        original = trials[trial.repeat_of]
        assert (original.kind, original.pair_id) == ("main", trial.pair_id)
        if study.task == "yes_no":
            assert original.real_side == trial.real_side
        # Where no more than two main trials are there to be repeated, the distance of three cannot be kept.
        early = sum(t.kind == "main" and t.block <= repeats[0][1].block for t in trials) <= 2
        assert i - trial.repeat_of >= (2 if early else 3)
    if study.assignment.conditions == "within":
        n = Counter(dict.fromkeys(study.conditions, 0))
        n.update(pair_of[trial.pair_id].condition for _, trial in repeats)
        assert max(n.values()) - min(n.values()) <= 1


def assert_conditions_come_in_turn(study, trials, pair_of):
    shown = [pair_of[trial.pair_id].condition for trial in trials if trial.kind == "main"]
    if study.assignment.conditions == "between":
        uses = Counter(dict.fromkeys(study.conditions, 0))
        for pair in pair_of.values():
            if pair.condition != CATCH:
                uses[pair.condition] += pair.uses
        assert len(set(shown)) == 1
        assert uses[shown[0]] == min(uses.values())
        return
    k = len(study.conditions)
    for start in range(0, len(shown), k):
        assert set(shown[start : start + k]) == set(study.conditions)


def fits(study, available, conditions):
    """For each trial, in the order main, catch, practice: the uses of the pair of each photo; infinite where none fits."""
    photos = {photo: i for i, photo in enumerate(sorted({pair.photo_sha256 for pair in available}))}
    uses = {kind: np.full(len(photos), np.inf) for kind in (*conditions, CATCH, "practice")}
    for pair in available:
        if pair.condition in uses:
            uses[pair.condition][photos[pair.photo_sha256]] = pair.uses
        if pair.condition in conditions:
            uses["practice"][photos[pair.photo_sha256]] = 0
    kinds = [c for c in conditions for _ in range(study.trials.main // len(conditions))]
    kinds += [CATCH] * study.trials.catch + ["practice"] * study.trials.practice
    return np.stack([uses[kind] for kind in kinds])


def fewest_uses(study, available, conditions):
    """The least that any choice of different photos can sum to: every trial against every photo."""
    uses = fits(study, available, conditions)
    return uses[linear_sum_assignment(uses)].sum()


@settings(max_examples=300, deadline=None)
@given(
    study=designs(),
    spare=st.lists(st.integers(-2, 12), min_size=5, max_size=5),
    seed=st.integers(0, 2**32),
)
def test_trials_are_drawn_exactly_where_there_are_photos_for_them(study, spare, seed):
    random = Random(seed)
    everything = range(study.n_trials + 4)
    photos_of = {
        name: random.sample(everything, max(1, min(len(everything), study.trials.main // 2 + extra)))
        for name, extra in zip([*study.conditions, CATCH], spare, strict=False)
    }
    available = scattered_pairs(photos_of, seed)
    by_uses = Counter(dict.fromkeys(study.conditions, 0))
    for pair in available:
        by_uses[pair.condition] += pair.uses * (pair.condition != CATCH)
    shown = list(study.conditions)
    if study.assignment.conditions == "between":
        shown = [min(study.conditions, key=by_uses.__getitem__)]
        study = study.model_copy(update={"conditions": {shown[0]: "x"}})
    possible = maximum_bipartite_matching(csr_array(np.isfinite(fits(study, available, shown))), perm_type="column")
    if (possible >= 0).all():
        draw_trials(study, available, seed)
    else:
        with pytest.raises(AssignmentError, match="different photos, found"):
            draw_trials(study, available, seed)


def test_same_seed_draws_the_same_trials_whatever_the_order_of_the_pairs():
    study, available = design(catch=2, repeat=2), pairs(catch=24)
    shuffled = Random(0).sample(available, len(available))
    assert draw_trials(study, available, 7) == draw_trials(study, available[::-1], 7) == draw_trials(study, shuffled, 7)
    assert draw_trials(study, available, 7) != draw_trials(study, available, 8)


def test_least_used_pairs_come_first():
    used = {(0, p): 1 for p in range(12)}
    trials = draw_trials(design(1, 0, 8), pairs(1, 20, lambda c, p: used.get((c, p), 0)), 3)
    assert all(trial.pair_id >= 12 for trial in trials)


def test_practice_leaves_the_least_used_pairs_to_main_trials():
    for seed in range(20):
        trials = draw_trials(design(1, 6, 8), pairs(1, 20, lambda c, p: int(p >= 8)), seed)
        assert {trial.pair_id for trial in trials if trial.kind == "main"} == set(range(8))


def test_pairs_stay_evenly_used_over_many_sessions():
    uses: Counter[int] = Counter()
    study = design(catch=3, repeat=2)
    for seed in range(30):
        available = pairs(2, 24, lambda c, p: uses[1000 * c + p], catch=12)
        uses.update(t.pair_id for t in draw_trials(study, available, seed) if t.kind in ("main", "catch"))
    for low, high, n in ((0, 9000, 8), (9000, 10000, 3)):
        counts = [uses[pair.pair_id] for pair in pairs(catch=12) if low <= pair.pair_id < high]
        assert sum(counts) == 30 * n
        assert max(counts) - min(counts) <= 2  # 1 where no two trials want the same photo


def test_between_participants_the_condition_shown_least_comes_next():
    available = pairs(2, 24, lambda c, p: 1 if c == 0 and p < 8 else 0)
    trials = draw_trials(design(assignment="between"), available, 5)
    assert {trial.pair_id // 1000 for trial in trials} == {1}


def test_conditions_with_different_photos_share_what_they_can():
    available = [AvailablePair(p, "c0", f"p{p}") for p in range(4)]
    available += [AvailablePair(1000 + p, "c1", f"p{p}") for p in range(2, 8)]
    trials = draw_trials(design(2, 0, 8), available, 2)
    assert sorted(t.pair_id for t in trials if t.pair_id < 1000) == [0, 1, 2, 3]


def test_main_trials_spare_the_photos_that_catch_trials_need():
    available = [*pairs(1, 10, lambda c, p: int(p >= 2)), *pairs(0, 0, catch=2)]
    trials = draw_trials(design(1, 0, 8, catch=2), available, 4)
    assert sorted(t.pair_id for t in trials) == [*range(2, 10), 9000, 9001]


def test_too_few_photos_are_told():
    with pytest.raises(AssignmentError, match="8 main trials need 8 different photos, found 7 that fit"):
        draw_trials(design(), pairs(2, 7), 1)
    with pytest.raises(AssignmentError, match="2 practice trials need 2 different photos, found 1 left that fit"):
        draw_trials(design(), pairs(2, 9), 1)
    with pytest.raises(AssignmentError, match="3 catch trials need 3 different photos, found 2 left that fit"):
        draw_trials(design(catch=3), pairs(2, 24, catch=2), 1)
    with pytest.raises(AssignmentError, match="2 catch trials need 2 different photos, found 0 left that fit"):
        draw_trials(design(catch=2), pairs(), 1)


def test_solver_by_itself_is_scipys_and_scipys_is_taken_where_it_lies_elsewhere(monkeypatch):
    solver = assignment._solver.__wrapped__
    rng = np.random.default_rng(5)
    for _ in range(20):
        costs = rng.integers(0, 3, (6, 15)).astype(float)  # ties, which must fall the same way
        assert np.array_equal(solver()(costs), linear_sum_assignment(costs))
    monkeypatch.setattr(assignment.PathFinder, "find_spec", lambda *_: None)
    assert solver() is linear_sum_assignment
