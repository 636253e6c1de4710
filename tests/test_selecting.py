import json
import random
from collections import Counter
from dataclasses import dataclass

import pytest
from pictures import write_pictures

from pairs.matching import TableError
from pairs.selecting import Choice, SelectionError, choose, exclude, parse_exclusion, read_exclusions, select_pairs
from protocol.pairset import Exclusion, read_pairset, write_manifest
from protocol.whole_folder import FolderError


@dataclass(frozen=True)
class Item:
    id: str
    tags: tuple[str, ...] = ()


def pick(items, **options):
    return choose(items, key=lambda item: item.id, tags=lambda item: item.tags, **options)


def items(**counts):
    """So many items of each first tag, every third of them with the tag ``night`` too."""
    return [
        Item(f"{tag}-{n}", (tag, "night") if n % 3 == 0 else (tag,))
        for tag, count in counts.items()
        for n in range(count)
    ]


def strata(chosen):
    return Counter(item.tags[0] for item in chosen)


def test_fewer_are_a_prefix_of_more():
    pool = items(rose=20, lily=10)
    everything = pick(pool, seed=1)
    assert sorted(item.id for item in everything) == sorted(item.id for item in pool)
    assert all(pick(pool, n=n, seed=1) == everything[:n] for n in range(1, 31))


def test_choice_depends_on_seed_and_keys_and_not_on_the_order_given():
    pool = items(rose=20, lily=20)
    shuffled = random.Random(5).sample(pool, len(pool))
    for stratified in (False, True):
        first = pick(pool, n=10, seed=1, stratified=stratified)
        assert pick(shuffled, n=10, seed=1, stratified=stratified) == first
        assert set(pick(pool, n=10, seed=2, stratified=stratified)) != set(first)


def test_order_of_a_seed_stays_what_it_was():
    # As `printf 7:a | sha256sum` orders them: what was chosen for a study can be chosen again.
    assert "".join(item.id for item in pick([Item(letter) for letter in "abcdef"], seed=7)) == "ceafdb"


def test_each_item_is_chosen_as_often_as_any_other():
    pool = items(rose=10)
    times = Counter(item.id for seed in range(2000) for item in pick(pool, n=3, seed=seed))
    assert all(abs(times[item.id] - 600) < 90 for item in pool)  # 4.4 standard deviations of B(2000, 0.3)


def test_an_item_with_any_wanted_tag_counts():
    pool = items(rose=6, lily=6, iris=6)
    chosen = pick(pool, wanted=["rose", "night"])
    assert {item.id for item in chosen} == {item.id for item in pool if {"rose", "night"} & set(item.tags)}
    assert len(chosen) == 6 + 2 + 2


def test_unknown_tag_is_refused_with_those_there_are():
    with pytest.raises(
        SelectionError, match=r"no pair has the tag 'lilly'; the tags are lily \(9\), night \(5\), rose \(4\);"
    ):
        pick(items(rose=4, lily=9), wanted=["rose", "lilly"])
    with pytest.raises(SelectionError, match="no pair has the tag 'rose'; the tags are none"):
        pick([Item("a")], wanted=["rose"])
    with pytest.raises(SelectionError, match=r"t18 \(1\), t19 \(1\), …; choose"):
        pick([Item(str(n), (f"t{n % 30}",)) for n in range(50)][:40], wanted=["rose"])


def test_fewer_than_asked_for_are_refused():
    with pytest.raises(SelectionError, match="there are 3 pairs, 4 are wanted; ask for fewer"):
        pick(items(rose=3), n=4)
    with pytest.raises(SelectionError, match="there are 3 pairs with the tags rose, 4 are wanted"):
        pick(items(rose=3, lily=5), n=4, wanted=["rose"])
    with pytest.raises(SelectionError, match="there are 0 pairs, 1 are wanted"):
        pick([])


def test_strata_differ_by_one_at_most_and_fewer_are_a_prefix_of_more():
    pool = items(rose=30, lily=12, iris=9)
    most = pick(pool, n=27, seed=1, stratified=True)
    assert strata(most) == {"rose": 9, "lily": 9, "iris": 9}
    for n in range(1, 28):
        chosen = pick(pool, n=n, seed=1, stratified=True)
        assert chosen == most[:n]
        counts = [strata(chosen)[tag] for tag in ("rose", "lily", "iris")]
        assert max(counts) - min(counts) <= 1


def test_which_stratum_has_one_more_depends_on_the_seed():
    pool = items(rose=5, lily=5, iris=5)
    more = Counter(
        tag for seed in range(60) for tag, n in strata(pick(pool, n=4, seed=seed, stratified=True)).items() if n == 2
    )
    assert set(more) == {"rose", "lily", "iris"}


def test_stratum_need_not_have_what_is_not_wanted_of_it():
    pool = items(rose=5, lily=5, iris=1)
    for seed in range(20):
        (first,) = pick(pool, n=1, seed=seed, stratified=True)
        if first.tags[0] != "iris":  # of four from three strata, the first gives two
            assert strata(pick(pool, n=4, seed=seed, stratified=True))["iris"] == 1


def test_strata_without_a_number_give_as_many_as_the_smallest():
    assert strata(pick(items(rose=30, lily=12, iris=9), stratified=True)) == {"rose": 9, "lily": 9, "iris": 9}


def test_stratified_choice_of_a_stratum_is_that_of_the_stratum_alone():
    pool = items(rose=30, lily=12)
    chosen = pick(pool, n=10, seed=4, stratified=True)
    assert [item for item in chosen if item.tags[0] == "lily"] == pick(pool, n=5, seed=4, wanted=["lily"])


def test_stratum_with_too_few_is_refused():
    with pytest.raises(
        SelectionError, match=r"stratum 'iris' has 2 pairs, 4 are wanted of it \(12 from 3 strata\); ask for at most 6"
    ):
        pick(items(rose=30, lily=12, iris=2), n=12, stratified=True)


def test_item_without_a_tag_cannot_be_stratified():
    with pytest.raises(SelectionError, match="pair a has no tag to be stratified by; tag every pair"):
        pick([Item("b", ("rose",)), Item("a")], stratified=True)


def test_excluded_items_are_gone_and_the_others_keep_their_order():
    pool = items(rose=4)
    kept = exclude(pool, [Exclusion(id="rose-1", reason="blurred")], identity=lambda item: item.id)
    assert [item.id for item in kept] == ["rose-0", "rose-2", "rose-3"]
    assert pick(kept, seed=3) == [item for item in pick(pool, seed=3) if item.id != "rose-1"]


def test_exclusion_of_what_is_not_there_or_twice_is_refused():
    pool = items(rose=4)
    with pytest.raises(
        SelectionError, match=r"exclusion rose-9 \(blurred\): none of the 4 pairs has this id; correct it"
    ):
        exclude(pool, [Exclusion(id="rose-9", reason="blurred")], identity=lambda item: item.id)
    with pytest.raises(SelectionError, match="pair rose-1 is excluded twice; keep one reason"):
        exclude(
            pool,
            [Exclusion(id="rose-1", reason="a"), Exclusion(id="rose-1", reason="b")],
            identity=lambda item: item.id,
        )


def test_exclusion_is_an_id_and_a_reason():
    assert parse_exclusion("0a1b = watermark, a=b") == Exclusion(id="0a1b", reason="watermark, a=b")
    for text, lacking in (("0a1b", "reason"), ("0a1b= ", "reason"), ("=watermark", "pair id"), ("../a=b", "pair id")):
        with pytest.raises(SelectionError, match=f"exclusion '{text}' has no {lacking}; give the id of a pair"):
            parse_exclusion(text)


def test_exclusions_are_read_from_a_table(tmp_path):
    table = tmp_path / "exclusions.csv"
    table.write_text('\ufeffid,by,reason\n0a1b,me,"watermark, left"\n\n2c3d,me, a person \n', encoding="utf-8")
    assert read_exclusions(table) == (
        Exclusion(id="0a1b", reason="watermark, left"),
        Exclusion(id="2c3d", reason="a person"),
    )


@pytest.mark.parametrize(
    ("text", "error", "problem"),
    [
        ("id,reason\n0a1b,x\n2c3d, \n", SelectionError, "line 3 has no reason; give"),
        ("id,reason\n0a1b\n", SelectionError, "line 2 has no reason"),
        ("id,reason\n,x\n", SelectionError, "line 2 has no pair id"),
        ("id,reason\n0a1b,watermark, left\n", TableError, "line 2 has more cells than columns; put quotes"),
        ("0a1b,x\n", TableError, "needs one column 'id', its columns are '0a1b', 'x'"),
    ],
)
def test_exclusion_without_a_reason_is_refused(tmp_path, text, error, problem):
    (tmp_path / "exclusions.csv").write_text(text)
    with pytest.raises(error, match=problem):
        read_exclusions(tmp_path / "exclusions.csv")


def test_chosen_pairs_of_a_manifest_from_elsewhere_keep_their_file_names(tmp_path):
    """Whoever made it may name files otherwise, and use one real picture twice."""
    pairset = write_pictures(tmp_path / "set", "cgan", n=3)
    content = json.loads((tmp_path / "set" / "manifest.json").read_text())
    first, second, _ = content["pairs"]
    (tmp_path / "set" / first["real"]["file"]).rename(tmp_path / "set" / "images" / "A.photo.PNG")
    first["real"]["file"] = "images/A.photo.PNG"
    second["real"] = first["real"]
    write_manifest(tmp_path / "set", json.dumps(content))
    chosen = select_pairs(
        tmp_path / "set", tmp_path / "out", choice=Choice(excluded=(Exclusion(id=pairset.pairs[2].id, reason="x"),))
    )
    assert {pair.real.file for pair in read_pairset(tmp_path / "out").pairs} == {"images/A.photo.PNG"}
    assert len(chosen.pairs) == 2
    assert len(list((tmp_path / "out" / "images").iterdir())) == 3


def test_selection_refuses_what_is_at_its_place(tmp_path):
    write_pictures(tmp_path / "set", "cgan", n=2)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(FolderError, match="out already exists; choose another --out"):
        select_pairs(tmp_path / "set", tmp_path / "out")
    with pytest.raises(FolderError, match="holds thesis.txt. and is left alone"):
        select_pairs(tmp_path / "set", tmp_path / "out", replace=True)
    with pytest.raises(SelectionError, match="there are 2 pairs, 3 are wanted"):
        select_pairs(tmp_path / "set", tmp_path / "new", choice=Choice(3))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "set"]
