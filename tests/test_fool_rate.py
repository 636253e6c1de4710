"""Fool rates: what counts, d' as published, and a simulated observer whose rate is recovered."""

import numpy as np
import pandas as pd
import pytest
from observers import population_rate, simulate_table

from analysis.fool_rate import FoolRate, PairRate, counted_trials, fool_rates, pair_rates, participant_rates, tag_rates
from analysis.intervals import participants_only, two_way, wilson
from analysis.margins import margins_of
from analysis.reading.table import check_responses
from protocol.responses import COLUMNS


def table_of(*trials: tuple, **everywhere: str) -> pd.DataFrame:
    """A checked table of (participant, pair, kind, real_side, chosen_side, rt_ms) in condition "cgan"."""
    rows = [
        {
            **dict.fromkeys(COLUMNS),
            **{"study": "s", "session": f"of-{participant}", "participant": participant, "origin": "human"},
            **{"condition": "cgan", "pair": pair, "trial_index": index, "kind": kind},
            **{"real_side": real_side, "chosen_side": chosen_side, "rt_ms": rt_ms},
            **everywhere,
        }
        for index, (participant, pair, kind, real_side, chosen_side, rt_ms) in enumerate(trials)
    ]
    return check_responses(pd.DataFrame(rows, columns=list(COLUMNS)), "the test")


def ranked(table: pd.DataFrame) -> list[PairRate]:
    trials = counted_trials(table)
    return [
        one for name, of in trials.groupby("condition", observed=True) for one in pair_rates(str(name), margins_of(of))
    ]


def test_only_answered_main_trials_count_and_the_wrong_side_is_fooled() -> None:
    table = table_of(
        ("ann", "x", "practice", "left", "right", 500),
        ("ann", "x", "main", "left", "right", 900),
        ("ann", "y", "main", "right", "right", 1100),
        ("ann", "z", "main", "left", None, None),
        ("ben", "x", "catch", "left", "right", 500),
        ("ben", "y", "repeat", "left", "right", 500),
        ("ben", "y", "main", "left", "left", 1300),
    )
    assert counted_trials(table)["fooled"].tolist() == [True, False, False]
    (rate,) = fool_rates(table)
    assert (rate.condition, rate.fool_rate, rate.n_trials) == ("cgan", pytest.approx(1 / 3), 3)
    assert (rate.n_participants, rate.n_pairs, rate.median_rt_ms) == (2, 2, 1100)
    assert (rate.naive.low, rate.naive.high) == (wilson(1, 3).low, wilson(1, 3).high)
    assert rate.side_bias == pytest.approx(1 / 3 - 1 / 2)  # one of three answers was "left"


def test_pictures_in_sequence_count_as_first_and_second() -> None:
    table = table_of(("ann", "x", "main", "first", "second", 900), ("ben", "x", "main", "second", "second", 900))
    (rate,) = fool_rates(table)
    assert (rate.fool_rate, rate.side_bias) == (0.5, -0.5)


def test_one_picture_at_a_time_counts_what_was_said_of_what_was_shown() -> None:
    table = table_of(
        ("ann", "x", "main", "fake", "real", 900),
        ("ann", "y", "main", "fake", "fake", 900),
        ("ann", "z", "main", "real", "real", 900),
        ("ann", "w", "main", "real", "real", 900),
    )
    (rate,) = fool_rates(table)
    assert rate.fool_rate == 0.25
    assert (rate.yes_no.on_fakes.rate, rate.yes_no.on_reals.rate, rate.yes_no.mean.rate) == (0.5, 0.0, 0.25)


def test_photographs_and_fakes_count_half_each_however_many_there_were() -> None:
    # 3 photographs, one taken for a fake, and 1 fake, taken for real: errors 1/3 and 1, their mean 2/3 (and not 2/4).
    table = table_of(
        ("ann", "x", "main", "real", "real", 900),
        ("ann", "y", "main", "real", "fake", 900),
        ("ben", "x", "main", "real", "real", 900),
        ("ben", "z", "main", "fake", "real", 900),
    )
    (rate,) = fool_rates(table)
    assert rate.fool_rate == pytest.approx(2 / 3)
    assert rate.fool_rate == pytest.approx(rate.yes_no.mean.rate)
    assert rate.n_trials == 4
    # "real" was said to 2/3 of the photographs and to all fakes: 5/6 on average.
    assert rate.side_bias == pytest.approx(5 / 6 - 1 / 2)


def test_who_calls_nearly_everything_real_is_fooled_half_the_time() -> None:
    rng = np.random.default_rng(3)
    table = simulate_table(rng, {"cgan": 0.0}, n_participants=30, n_practice=0)
    shown = np.where(rng.random(len(table)) < 0.8, "real", "fake")
    said = np.where(rng.random(len(table)) < 0.85, "real", "fake")
    (rate,) = fool_rates(table.assign(real_side=shown, chosen_side=said))
    assert (said != shown).mean() < 0.35
    assert rate.interval.low < 0.5 < rate.interval.high


def test_a_simulated_observers_rate_is_recovered() -> None:
    pairs = [f"pair{i:03d}" for i in range(100)]
    table = simulate_table(np.random.default_rng(11), {"cgan": -0.3, "wgan": -1.2}, n_participants=50, pairs=pairs)
    for rate, mean_logit in zip(fool_rates(table), (-0.3, -1.2), strict=True):
        truth = population_rate(mean_logit, 0.5, 0.7)
        assert rate.fool_rate == pytest.approx(truth, abs=0.06)
        assert rate.interval.low < truth < rate.interval.high


def test_design_effect_is_the_clustered_variance_over_the_binomial_one() -> None:
    # Two people, two pairs, one answer each; ann was always fooled, ben once: r = 3/4, errors 1/4, 1/4, 1/4, -3/4.
    # In fourths: people 2, -2; pairs 2, -2; cells 1, 1, 1, -3. V = (2 * 8 + 2 * 8 - 4/3 * 12) / 16 / 16 = 1/16;
    # r (1 - r) / n = 3/64; the ratio is 4/3.
    table = table_of(
        ("ann", "x", "main", "left", "right", 900),
        ("ann", "y", "main", "left", "right", 900),
        ("ben", "x", "main", "right", "left", 900),
        ("ben", "y", "main", "right", "right", 900),
    )
    assert fool_rates(table)[0].design_effect == pytest.approx(4 / 3)


def test_few_people_or_pairs_are_warned_of() -> None:
    rng = np.random.default_rng(2)
    few_people = simulate_table(rng, {"cgan": 0.0}, n_participants=9)
    few_pairs = simulate_table(rng, {"cgan": 0.0}, pairs=["x", "y", "z"])
    enough = simulate_table(rng, {"cgan": 0.0}, n_participants=10, pairs=[f"pair{i}" for i in range(10)])
    assert "only 9 participants" in fool_rates(few_people)[0].warnings[0]
    assert "only 3 pairs" in fool_rates(few_pairs)[0].warnings[0]
    assert fool_rates(enough)[0].warnings == ()
    one_person = fool_rates(few_people[few_people["participant"] == "p000"])[0]
    assert "one participant only" in one_person.warnings[0]
    assert (one_person.design_effect, one_person.interval.method) == (None, "undetermined")


def test_all_right_and_all_wrong_are_answered() -> None:
    table = simulate_table(np.random.default_rng(2), {"cgan": 0.0})
    right = fool_rates(table.assign(chosen_side=table["real_side"]))[0]
    assert (right.fool_rate, right.design_effect, right.interval.method) == (0.0, None, "clopper_pearson")
    assert right.dprime > 3.9
    assert "every answer was right" in right.warnings[0]
    wrong = fool_rates(table.assign(chosen_side=table["real_side"].map({"left": "right", "right": "left"})))[0]
    assert (wrong.fool_rate, wrong.interval.high, wrong.dprime) == (1.0, 1.0, pytest.approx(-right.dprime))


def test_nothing_to_count_gives_no_rate() -> None:
    table = simulate_table(np.random.default_rng(2), {"cgan": 0.0})
    for nothing in (table.iloc[:0], table[table["kind"] == "practice"], table.assign(chosen_side=None)):
        assert fool_rates(nothing) == []


def test_the_order_of_rows_changes_nothing() -> None:
    table = simulate_table(np.random.default_rng(4), {"cgan": -0.2, "wgan": -1.0})
    shuffled = table.sample(frac=1, random_state=9)
    for rate, again in zip(fool_rates(table), fool_rates(shuffled), strict=True):
        assert again.fool_rate == rate.fool_rate
        assert (again.interval.low, again.interval.high) == pytest.approx((rate.interval.low, rate.interval.high))
        assert (again.dprime, again.side_bias, again.median_rt_ms) == (rate.dprime, rate.side_bias, rate.median_rt_ms)
    assert ranked(shuffled) == ranked(table)


def test_swapping_left_and_right_turns_the_side_bias_only() -> None:
    table = simulate_table(np.random.default_rng(4), {"cgan": -0.2})
    swap = {"left": "right", "right": "left"}
    (rate,) = fool_rates(table)
    (mirrored,) = fool_rates(
        table.assign(real_side=table["real_side"].map(swap), chosen_side=table["chosen_side"].map(swap))
    )
    assert mirrored.side_bias == pytest.approx(-rate.side_bias)
    assert rate.side_bias != 0
    assert (mirrored.fool_rate, mirrored.interval) == (rate.fool_rate, rate.interval)
    assert mirrored.dprime == pytest.approx(rate.dprime)
    assert mirrored.detection.criterion == pytest.approx(-rate.detection.criterion)


def test_pairs_come_with_the_most_deceptive_first() -> None:
    table = table_of(
        ("ann", "x", "main", "left", "left", 900),
        ("ann", "y", "main", "left", "right", 900),
        ("ben", "x", "main", "left", "right", 900),
        ("ben", "y", "main", "left", "right", 900),
        ("ben", "z", "main", "left", "right", 900),
    )
    found = [(pair.pair, pair.fool_rate, pair.n) for pair in ranked(table)]
    assert found == [("y", 1.0, 2), ("z", 1.0, 1), ("x", 0.5, 2)]


def test_fool_rate_of_a_large_table_agrees_with_its_interval() -> None:
    table = simulate_table(np.random.default_rng(8), {"cgan": -0.6})
    main = table[table["kind"] == "main"]
    fooled = main["chosen_side"] != main["real_side"]
    assert fool_rates(table, level=0.9)[0].interval == two_way(fooled, main["participant"], main["pair"], level=0.9)


def test_participants_only_interval_is_clustered_on_people_alone() -> None:
    table = simulate_table(np.random.default_rng(8), {"cgan": -0.6})
    (rate,), counted = fool_rates(table), counted_trials(table)
    by_hand = counted.groupby("participant", observed=True)["fooled"].mean()
    assert rate.participants_interval == participants_only(counted["fooled"], counted["participant"])
    # Everyone answered as often, so the variance is that of the people's means: t on the logit scale.
    half = 2.0930240544 * np.sqrt(by_hand.var() / 20) / (rate.fool_rate * (1 - rate.fool_rate))
    middle = np.log(rate.fool_rate / (1 - rate.fool_rate))
    assert rate.participants_interval.low == pytest.approx(1 / (1 + np.exp(half - middle)), abs=1e-9)
    assert rate.participants_interval.method == "participants_logit_t"
    assert rate.interval.low < rate.participants_interval.low < rate.fool_rate


def test_trials_that_set_two_conditions_against_each_other_do_not_count() -> None:
    table = simulate_table(np.random.default_rng(8), {"cgan": -0.6})
    direct = table.assign(against=["wgan"] * 10 + [None] * (len(table) - 10))
    assert len(counted_trials(direct)) == len(counted_trials(table.iloc[10:]))


def test_tags_are_rates_of_their_pairs() -> None:
    table = simulate_table(np.random.default_rng(8), {"cgan": -0.6, "wgan": 0.1})
    tags = {"roses": ["pair00", "pair01"], "nowhere": ["pair99"]}
    found = tag_rates(counted_trials(table), tags)
    assert [(one.tag, one.rate.condition, one.rate.n_pairs) for one in found] == [
        ("roses", "cgan", 2),
        ("roses", "wgan", 2),
    ]
    of_roses = table[table["pair"].isin(tags["roses"])]
    assert [one.rate.fool_rate for one in found] == [rate.fool_rate for rate in fool_rates(of_roses)]


def test_few_answers_are_pulled_to_the_mean_and_many_hardly() -> None:
    table = simulate_table(np.random.default_rng(8), {"cgan": -0.6}, n_participants=40)
    few = table.groupby("pair", observed=True).head(3)
    for pulled, rates in ((few, ranked(few)), (table, ranked(table))):
        mean = fool_rates(pulled)[0].fool_rate
        for pair in rates:
            assert abs(pair.shrunk - mean) <= abs(pair.fool_rate - mean) + 1e-12
    spread = [
        np.std([pair.shrunk for pair in rates]) / np.std([pair.fool_rate for pair in rates])
        for rates in (ranked(few), ranked(table))
    ]
    assert spread[0] < 0.8 < spread[1] < 1


def test_participants_come_with_the_most_fooled_first() -> None:
    table = table_of(("ann", "x", "main", "left", "left", 900), ("ben", "x", "main", "left", "right", 900))
    found = [
        (one.participant, one.fool_rate, one.n) for one in participant_rates("cgan", margins_of(counted_trials(table)))
    ]
    assert found == [("ben", 1.0, 1), ("ann", 0.0, 1)]


@pytest.mark.parametrize("as_text", [False, True])
def test_labels_may_be_text_or_categories(as_text: bool) -> None:
    table = simulate_table(np.random.default_rng(8), {"cgan": -0.6, "wgan": 0.1})
    labels = ["participant", "pair", "condition", "kind", "real_side", "chosen_side"]
    same: list[FoolRate] = fool_rates(table.astype(dict.fromkeys(labels, object if as_text else "category")))
    for one, other in zip(same, fool_rates(table), strict=True):
        assert (one.condition, one.fool_rate, one.n_pairs) == (other.condition, other.fool_rate, other.n_pairs)
        assert (one.interval.low, one.dprime) == pytest.approx((other.interval.low, other.dprime))
