"""Sentences to read and to paste: numbers in APA style, checked by hand, and nothing that was not done."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from observers import simulate_table
from scipy import stats

from analysis.comparisons import Comparison
from analysis.detection import Detection
from analysis.exclusions import Exclusion
from analysis.exposures import Settled
from analysis.findings import Findings, Options, analyse
from analysis.fool_rate import FoolRate
from analysis.half import HalfTest
from analysis.intervals import Interval
from analysis.mixed_model import MixedModel
from analysis.plan import apply_changes
from analysis.psychometric import Threshold
from analysis.ranking import Ability
from analysis.reading.source import Source
from analysis.writing.citations import references
from analysis.writing.methods import methods_paragraph
from analysis.writing.page import render_page
from analysis.writing.wording import apa_sentence, headline, number, p_value, signed, t_against_half
from protocol.design import Analysis, StudyDesign, parse_design


def findings_of(table: pd.DataFrame, **options: object) -> Findings:
    source = Source(table, "0" * 64, None, {})
    return analyse(source, Options(**{"replicates": 0, **options}))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def findings() -> Findings:
    """People who saw two conditions, cgan and wgan; without a design."""
    rng = np.random.default_rng(4)
    return findings_of(simulate_table(rng, {"cgan": -0.4, "wgan": -1.4}, n_participants=12, origin="human"))


def rate_by_hand(**changed: object) -> FoolRate:
    """41.2 % with the interval [36.0, 46.6]: on the logit scale -0.356 and [-0.575, -0.136]."""
    interval = Interval(0.360, 0.466, "two_way_logit_t", 0.95)
    rate = FoolRate(
        condition="cgan",
        fool_rate=0.412,
        interval=interval,
        participants_interval=interval,
        naive=interval,
        design_effect=4.0,
        n_trials=2400,
        n_participants=40,
        n_pairs=60,
        components=None,
        half=HalfTest(0.0022, 0.05, 0.9),
        detection=Detection(0.314, 0.12, 0.5, 0.0, 0.59, 0.41),
        side_bias=0.0,
        median_rt_ms=900.0,
        yes_no=None,
        warnings=(),
    )
    return replace(rate, **changed)


def test_apa_sentence_has_the_numbers_counted_by_hand(findings: Findings) -> None:
    # t = -0.3557 / (0.2197 / 2.0227), the quantile being Student's at 39 degrees of freedom
    by_hand = replace(findings, conditions=(rate_by_hand(),), comparisons=())
    assert apa_sentence(by_hand) == (
        "Participants took the fakes of cgan for real on 41.2% of trials (N = 40 participants, 60 pairs, 2,400 trials), "
        "95% CI [36.0, 46.6], t(39) = −3.28, p = .002 against 50%, d′ = 0.31, 95% CI [0.12, 0.50]."
    )


def test_t_is_the_one_behind_the_p_value(findings: Findings) -> None:
    for rate in findings.conditions:
        found = t_against_half(rate)
        assert found is not None
        t, df = found
        assert (df, np.sign(t)) == (11, -1)
        assert 2 * stats.t.sf(abs(t), df) == pytest.approx(rate.half.p_value, rel=1e-9)


@pytest.mark.parametrize(
    ("p", "told"), [(0.0004, "p < .001"), (0.0214, "p = .021"), (0.2, "p = .200"), (0.99999, "p > .999")]
)
def test_p_has_no_zero_before_the_point(findings: Findings, p: float, told: str) -> None:
    rate = rate_by_hand(half=HalfTest(p, 0.05, None))
    assert f", {told} against 50%, d′" in apa_sentence(replace(findings, conditions=(rate,)))


def test_equivalence_is_told_where_no_difference_was_found(findings: Findings) -> None:
    rate = rate_by_hand(half=HalfTest(0.3, 0.05, 0.012))
    told = "p = .300 against 50% (equivalence within 5 points: p = .012)"
    assert told in apa_sentence(replace(findings, conditions=(rate,)))
    assert "equivalence" not in apa_sentence(replace(findings, conditions=(rate_by_hand(),)))


def test_a_rate_without_a_t_is_not_given_one(findings: Findings) -> None:
    exact = rate_by_hand(
        fool_rate=0.0, interval=Interval(0, 0.088, "clopper_pearson", 0.95), half=HalfTest(1e-12, 0.05, 1.0)
    )
    assert "[0.0, 8.8], p < .001 (exact) against 50%" in apa_sentence(replace(findings, conditions=(exact,)))
    alone = rate_by_hand(
        n_participants=1, interval=Interval(0, 1, "undetermined", 0.95), half=HalfTest(None, 0.05, None)
    )
    sentence = apa_sentence(replace(findings, conditions=(alone,)))
    assert "N = 1 participant, 60 pairs" in sentence
    assert "which one participant or pair cannot compare with 50%" in sentence
    assert "t(" not in sentence


def test_equal_samples_are_told_once(findings: Findings) -> None:
    rates = (rate_by_hand(), rate_by_hand(condition="wgan"))
    assert apa_sentence(replace(findings, conditions=rates)).count("2,400 trials per condition") == 1
    unequal = (rates[0], replace(rates[1], n_trials=2399))
    sentence = apa_sentence(replace(findings, conditions=unequal))
    assert "2,400 trials)" in sentence
    assert "2,399 trials)" in sentence


def test_comparisons_are_told_from_the_higher_rate(findings: Findings) -> None:
    negative = Comparison("a", "b", -0.189, -0.247, -0.13, 0.0001, 0.0002)
    other = Comparison("a", "c", 0.004, -0.05, 0.058, 0.8, 0.8)
    assert apa_sentence(replace(findings, conditions=(), comparisons=(negative, other))) == (
        "The fool rate was 18.9 points higher for b than for a, 95% CI [13.0, 24.7], p < .001; 0.4 points higher for a than "
        "for c, 95% CI [−5.0, 5.8], p = .800 (p-values Holm-adjusted for 2 comparisons)."
    )


def test_one_picture_studies_tell_errors_by_kind() -> None:
    table = simulate_table(np.random.default_rng(2), {"cgan": -0.4}, n_participants=12)
    for side in ("real_side", "chosen_side"):
        table[side] = table[side].astype(object).map({"left": "real", "right": "fake"})
    findings = findings_of(table)
    (rate,) = findings.conditions
    assert rate.yes_no is not None
    assert rate.yes_no.mean is not None
    sentence = apa_sentence(findings)
    assert sentence.startswith("Simulated participants misjudged the pictures of cgan on ")
    on_fakes, on_reals = rate.yes_no.on_fakes, rate.yes_no.on_reals
    assert on_fakes is not None
    assert on_reals is not None
    assert f"; the mean of {100 * on_fakes.rate:.1f}% errors on fakes, 95% CI [" in sentence
    assert f"], and {100 * on_reals.rate:.1f}% errors on photographs, 95% CI [" in sentence
    assert "fakes and photographs counting half each" in headline(rate, findings)[0]
    paragraph = methods_paragraph(findings)
    assert "The fool rate is the mean of the error rates on fakes and on photographs (Zhou et al., 2019)." in paragraph
    assert "one picture, real or fake" in paragraph
    assert "side by side" not in paragraph


def test_methods_claim_only_what_was_done(findings: Findings) -> None:
    paragraph = methods_paragraph(findings)
    assert paragraph.startswith(
        "In all, 12 participants began 12 sessions, of which 12 were finished. No exclusion criterion was applied."
    )
    assert "side by side" in paragraph
    assert "Exposure was 1,000 ms as planned" in paragraph
    assert "Of each session 40 main trials entered the analysis." in paragraph
    assert "side by side, and told which was which." in paragraph  # a table does not tell what was asked
    for claim in ("The study followed", "frozen", "post hoc", "bootstrap", "catch", "simulated", "Bradley", "declined"):
        assert claim not in paragraph
    for claim in ("jackknife", "exact", "staircase", "practice", "mask", "mean of the error rates"):
        assert claim not in paragraph
    checked = replace(findings.conditions[0], bootstrap=Interval(0.3, 0.5, "two_way_bootstrap", 0.95))
    told = "A two-way bootstrap (Owen, 2007), which is conservative, gave 30.0 to 50.0% for "
    assert told + f"{checked.condition}." in methods_paragraph(replace(findings, conditions=(checked,)))


def design_of(**changed: object) -> StudyDesign:
    raw = {"title": "t", "protocol": "pix2pix2017", "conditions": {"cgan": "cgan", "wgan": "wgan"}, **changed}
    return parse_design(raw, "the test")


def test_methods_tell_the_design(findings: Findings) -> None:
    design = design_of(
        assignment={"conditions": "within"},
        question="fake",
        trials={"main": 40, "practice": 6, "blocks": 2, "repeat": 4},
        exposure={"duration_ms": 1000, "mask_ms": 200, "masks": 2},
    )
    paragraph = methods_paragraph(replace(findings, design=design))
    assert (
        "Each participant was to answer 40 main trials in 2 blocks and saw every condition, after 6 practice trials; "
        "4 repeated trials were mixed among them." in paragraph
    )
    assert "side by side, and was asked which was the fake." in paragraph
    assert "Exposure was 1,000 ms as planned. Afterwards 2 masks were shown, for 200 ms in all." in paragraph
    real = design_of(question="real", trials={"main": 40}, exposure={"duration_ms": "unlimited"})
    paragraph = methods_paragraph(replace(findings, design=real))
    assert "was asked which was the real photograph." in paragraph
    assert "Pictures stayed until the answer." in paragraph


def test_methods_name_the_interval_that_was_used(findings: Findings) -> None:
    rare = rate_by_hand(condition="rare", fool_rate=0.05, n_pairs=30)
    many = replace(rare, condition="many", n_pairs=31)  # people and pairs are more than 30
    exact = rate_by_hand(condition="never", fool_rate=0.0, interval=Interval(0, 0.088, "clopper_pearson", 0.95))
    alone = rate_by_hand(
        condition="alone", interval=Interval(0, 1, "undetermined", 0.95), half=HalfTest(None, 0.05, None)
    )
    every = replace(findings, conditions=(rare, many, exact, alone))
    paragraph = methods_paragraph(every)
    assert (
        "For rare, with a rate near 0 or 100% and few participants or pairs, the variance of the jackknife" in paragraph
    )
    assert (
        "For never, with a rate of 0 or 100%, the 95% interval is the exact one (Clopper & Pearson, 1934)" in paragraph
    )
    assert "uses the same variance (for never, the exact binomial test)" in paragraph
    assert "For alone, one participant or pair says nothing about others" in paragraph
    assert any("Efron" in one for one in references(every))
    paragraph = methods_paragraph(replace(findings, conditions=(exact,)))
    assert "cluster-robust over" not in paragraph
    assert "The test against 50% is the exact binomial one;" in paragraph
    assert not any("Efron" in one for one in references(findings))
    assert "test against 50%" not in methods_paragraph(replace(findings, conditions=(alone,)))


def adaptive(findings: Findings, rate: FoolRate) -> Findings:
    late = rate.interval
    settled = Settled("cgan", 260.0, 218.0, 302.0, 240.0, 24, rate.fool_rate, late.low, late.high)
    threshold = Threshold("cgan", 177.0, 150.0, 210.0, 4.0, 0.02, 24, 0, (), ())
    design = design_of(protocol="hype_time", conditions={"cgan": "cgan"})
    return replace(
        findings,
        design=design,
        conditions=(rate,),
        comparisons=(),
        settled=(settled,),
        thresholds=(threshold,),
        held_at=0.25,
    )


def test_adaptive_study_tells_exposures_and_not_that_a_rate_was_held_where_it_was_not(findings: Findings) -> None:
    low = rate_by_hand(fool_rate=0.128, interval=Interval(0.111, 0.149, "two_way_logit_t", 0.95))
    told = apa_sentence(adaptive(findings, low))
    assert told.endswith(
        "95% CI [11.1, 14.9], where the staircase was to hold 25%: it had not settled there. For cgan, the modal exposure was "
        "260 ms, 95% CI [218, 302], and the threshold of the psychometric function was 177 ms, 95% CI [150, 210]."
    )
    assert headline(low, adaptive(findings, low))[1] == (
        "The exposure followed the answers, which was to hold this rate at 25\u202f%: the staircases had not settled there. "
        "Compare the exposure instead: modal 260\u202fms, threshold 177\u202fms."
    )
    held = rate_by_hand(fool_rate=0.25, interval=Interval(0.22, 0.28, "two_way_logit_t", 0.95))
    assert "[22.0, 28.0], which the staircase holds near 25%. For cgan," in apa_sentence(adaptive(findings, held))
    assert "holds this rate near 25" in headline(held, adaptive(findings, held))[1]
    paragraph = methods_paragraph(adaptive(findings, held))
    assert "(Kaernbach, 1991): it began at 500 ms, fell by 10 ms after a right answer and rose by 30 ms" in paragraph
    assert "against 50%" not in paragraph


def test_ranking_alone_tells_whose_answers_it_rests_on(findings: Findings) -> None:
    table = findings.table.assign(against="other")
    table.loc[table.index[:7], "chosen_side"] = None
    ranking = (Ability("cgan", 0.4, 0.1, 0.7, 0.1, 200, 100), Ability("other", 0.0, None, None, 0.0, 100, 200))
    alone = replace(findings, table=table, trials=findings.trials[:0], conditions=(), comparisons=(), ranking=ranking)
    assert apa_sentence(alone) == (
        "Shown against each other, abilities in logits (Bradley–Terry) were (N = 12 participants, 20 photos, 475 trials): "
        "cgan 0.40, 95% CI [0.10, 0.70]; other 0.00."
    )
    paragraph = methods_paragraph(alone)
    assert "The ranking rests on 475 answers of 12 participants to conditions shown against each other." in paragraph
    assert "saw the fakes that two conditions made of one photograph; there were 20 photographs." in paragraph
    for claim in ("0 answers", "The analysis rests", "a generator’s fake of it", "against 50%"):
        assert claim not in paragraph
    excluded = replace(alone, exclusions=(Exclusion(table["session"].iloc[-1], "max_missed", 1.0),))
    assert "N = 11 participants" in apa_sentence(excluded)


def test_no_sentence_to_paste_begins_with_a_digit(findings: Findings) -> None:
    for text in (methods_paragraph(findings), apa_sentence(findings)):
        assert not re.search(r"(^|\. )\d", text.split("Software:")[0])


def test_methods_say_what_of_the_plan_was_fixed(findings: Findings) -> None:
    frozen = apply_changes(Analysis(min_median_rt_ms=200), {"min_median_rt_ms": "300"}, "abcdef0123456789")
    paragraph = methods_paragraph(replace(findings, applied=frozen))
    assert "frozen when the study was created (SHA-256 abcdef012345…)" in paragraph
    assert "and so post hoc: " in paragraph
    assert "min_median_rt_ms (200 → 300)" in paragraph
    assert "Sessions with a median response time below 300 ms (n = 0) were to be excluded; 0 were." in paragraph
    unfrozen = apply_changes(Analysis(), {"min_median_rt_ms": "300"})
    assert "No frozen plan shows" in methods_paragraph(replace(findings, applied=unfrozen))


def test_sides_that_are_not_known_are_not_told(findings: Findings) -> None:
    unknown = replace(findings, sides_known=False)
    assert "d′" not in apa_sentence(unknown)
    assert "side by side" not in methods_paragraph(unknown)
    assert "Side bias" not in render_page(unknown, {}, [])
    assert "Side bias" in render_page(findings, {}, [])


def test_statistics_are_in_italics_on_the_page(findings: Findings) -> None:
    page = render_page(replace(findings, conditions=(rate_by_hand(condition="<N = 5>"),), comparisons=()), {}, [])
    assert "<i>t</i>(39) = −3.28, <i>p</i> = .002 against 50%, <i>d′</i> = 0.31" in page
    assert "<N" not in page


def test_mixed_model_is_told_where_it_was_fitted(findings: Findings) -> None:
    model = MixedModel(
        *("cgan", 0.4215, 0.35, 0.5, 0.6, 0.4, 0.9, 0.8, 0.5, 1.1),
        pairs=(),
        participants=(),
        level=0.9,
        library="sampler 1.2",
        notes=("Fitted to a random part.",),
    )
    with_model = replace(findings, models=(model,))
    page = render_page(with_model, {}, [])
    assert "<td>42.1\u202f%</td><td>35.0–50.0\u202f%</td>" in page
    assert "Fitted to a random part." in page
    assert "Polson, N. G." in page
    assert methods_paragraph(with_model).endswith(", sampler 1.2.")
    assert "Polson" not in render_page(findings, {}, [])


def test_headline_says_equal_only_where_it_was_shown(findings: Findings) -> None:
    near = rate_by_hand(fool_rate=0.5, interval=Interval(0.47, 0.53, "two_way_logit_t", 0.95))
    shown = headline(replace(near, half=HalfTest(1.0, 0.05, 0.001)), findings)[1]
    assert "was shown to lie within 5 points of it" in shown
    assert "no difference from photographs was shown" in headline(near, findings)[1]


def test_numbers_have_a_minus_sign_and_no_minus_zero() -> None:
    assert (number(-1.234), number(-0.001), number(12345.6, 0)) == ("−1.23", "0.00", "12\u202f346")
    assert (signed(-0.0004), signed(0.0311), signed(-0.2)) == ("0", "+3.1", "−20.0")
    assert (p_value(0.0009), p_value(1.0), p_value(None)) == ("<\u202f.001", ">\u202f.999", "–")
