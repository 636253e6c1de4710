"""study.toml: what it fills in, and what it refuses in one sentence."""

from pathlib import Path

import pytest

from protocol.design import DesignError, canonical_sha256, parse_design, read_design

MINIMAL = {"title": "Dogs and flowers", "conditions": {"cgan": "pairs/cgan", "wgan": "pairs/wgan"}}


def test_protocol_fills_in_what_is_not_said():
    design = parse_design(MINIMAL, "study.toml")
    assert design.name == "dogs-and-flowers"
    assert (design.trials.practice, design.trials.main) == (10, 40)
    assert design.exposure_ms == 1000
    assert design.question == "fake"


def test_study_may_differ_from_its_protocol_key_by_key():
    design = parse_design({**MINIMAL, "trials": {"main": 20}, "exposure": {"duration_ms": "unlimited"}}, "study.toml")
    assert (design.trials.practice, design.trials.main) == (10, 20)
    assert design.exposure_ms is None


def test_cyclegan_asks_for_the_real_one():
    assert parse_design({**MINIMAL, "protocol": "cyclegan2017"}, "study.toml").question == "real"


@pytest.mark.parametrize(
    ("differing", "message"),
    [
        ({"trails": {"main": 4}}, "unknown key 'trails'; did you mean 'trials'"),
        ({"trials": {"mian": 4}}, r"unknown key 'trials\.mian'; did you mean 'main'"),
        ({"analysis": {"levle": 0.9}}, r"unknown key 'analysis\.levle'; did you mean 'level'"),
        ({"protocol": "zhang2061"}, "did you mean 'zhang2016'"),
        ({"protocol": "mine"}, "known are cyclegan2017, pix2pix2017, zhang2016"),
        ({"trials": {"main": 5}}, "2 conditions cannot share equally; make it a multiple of 2"),
        ({"trials": {"main": 0}}, r"trials\.main.*greater than or equal to 1"),
        ({"trials": 3}, r"trials: .*found 3"),
        ({"conditions": {}}, "conditions: .*at least 1"),
        ({"conditions": {"CGAN Flowers": "x"}}, "conditions.CGAN Flowers"),
        ({"question": "which"}, "question: .*'real' or 'fake'"),
        ({"analysis": {"level": 95}}, r"analysis\.level: .*less than 1"),
        ({"protocol": ["zhang2016"]}, "protocol is"),
        (
            {"exposure": {"duration_ms": "forever"}},
            r"exposure\.duration_ms: give whole milliseconds .* or \"unlimited\"",
        ),
        ({"exposure": {"duration_ms": 3}}, "from 16 to 60000"),
        ({"trials": {"practice": True}}, r"trials\.practice: .*integer"),
        ({"trials": {"main": "40"}}, r"trials\.main: .*integer"),
        ({"analysis": {"min_median_rt_ms": float("inf")}}, r"analysis\.min_median_rt_ms: .*finite"),
        ({"conditions": {"cgan": "pairs\0"}}, r"conditions\.cgan: "),
        ({"title": "Цветы"}, "name is missing, and the title gives none"),
    ],
)
def test_wrong_design_is_told_by_key(differing, message):
    with pytest.raises(DesignError, match=message):
        parse_design({**MINIMAL, **differing}, "study.toml")


def test_missing_title_is_told():
    with pytest.raises(DesignError, match="is missing; add it"):
        parse_design({"conditions": {"a": "b"}}, "study.toml")


def test_unreadable_and_broken_files_are_told(tmp_path: Path):
    with pytest.raises(DesignError, match=r"nowhere\.toml cannot be read \(No such file"):
        read_design(tmp_path / "nowhere.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("title = ")
    with pytest.raises(DesignError, match="is not TOML"):
        read_design(broken)


def test_plan_hash_follows_the_plan_alone():
    one = parse_design(MINIMAL, "study.toml")
    other = parse_design({**MINIMAL, "title": "Another"}, "study.toml")
    stricter = parse_design({**MINIMAL, "analysis": {"exclude_unfinished": True}}, "study.toml")
    assert canonical_sha256(one.analysis) == canonical_sha256(other.analysis)
    assert canonical_sha256(one.analysis) != canonical_sha256(stricter.analysis)
