import dataclasses
import io
import math

import numpy as np
import pytest
from PIL import Image
from test_cues import colour_lost, encoded, photograph, through_jpeg

from pairs.answers import exact_interval, holm, regression, sign_test
from pairs.cues import NUMBERS, measure
from pairs.giveaways import NAMES, CueTable, GiveAwayError, search
from pairs.relation import Relation, relate

N = 24
APART = Relation(0, 0, 0.0, False, False)


def planted(leak=lambda pixels: pixels, *, encode=encoded, n=N):
    """Pairs of photographs and, with the leak, the same without their colour."""
    rows = []
    for seed in range(n):
        real = photograph(seed, 96)
        fake = leak(colour_lost(real))
        rows.append((f"p{seed:03}", measure(encoded(real), real), measure(encode(fake), fake), relate(real, fake)))
    return CueTable.of(rows)


def drawn(rng, n, fake_shift=None):
    """Pairs whose cues are drawn independently on both sides, and then shifted on the fake side."""
    real, fake = rng.normal(100, 10, (2, n, len(NUMBERS) + 1))
    for name, shift in (fake_shift or {}).items():
        fake[:, NUMBERS.index(name)] += shift
    ids = tuple(str(i) for i in range(n))
    settings = tuple("ab"[i % 2] for i in range(n))  # two encoders, alike on both sides
    return CueTable(ids, real, fake, settings, settings, ((),) * n, ((),) * n, (APART,) * n)


def found(table, **options):
    """Every result that is no pass, by name."""
    return {result.name: result for result in search(table, **options).cues if result.verdict != "pass"}


def framed(value):
    def leak(pixels):
        pixels = pixels.copy()
        pixels[[0, -1]] = pixels[:, [0, -1]] = value
        return pixels

    return leak


def blurred(pixels):
    small = Image.fromarray(pixels).resize((48, 48), Image.Resampling.BOX)
    return np.asarray(small.resize((96, 96), Image.Resampling.BICUBIC))


def test_pairs_whose_fakes_lost_their_colour_give_nothing_away():
    result = search(planted())
    assert [cue.name for cue in result.cues] == list(NAMES)
    assert {cue.verdict for cue in result.cues} == {"pass"}
    assert result.notes == ()


@pytest.mark.parametrize(
    ("name", "leak"),
    [
        ("jpeg grid", lambda pixels: through_jpeg(pixels, 95)),
        ("jpeg grid", lambda pixels: through_jpeg(pixels, 75)),
        ("mean luminance", lambda pixels: np.clip(np.rint(pixels * 1.01), 0, 255).astype(np.uint8)),
        ("mean luminance", lambda pixels: pixels - (pixels > 0)),
        ("border", framed(0)),
        ("border", framed(255)),
        ("alignment", lambda pixels: np.roll(pixels, 1, axis=1)),
    ],
)
def test_planted_leak_of_the_road_is_a_failure_by_name(name, leak):
    result = found(planted(leak))[name]
    assert (result.verdict, result.cause) == ("failure", "road")
    assert result.accuracy > 0.95
    assert result.low > 0.75


def test_brighter_fakes_are_told_in_numbers():
    result = found(planted(lambda pixels: np.clip(pixels + 3.0, 0, 255).astype(np.uint8)))["mean luminance"]
    assert result.explanation.startswith(f"The fake is brighter in {N} of {N} pairs, by 3 of 255 on average.")


@pytest.mark.parametrize(
    "encode",
    [lambda pixels: encoded(pixels, "PNG", compress_level=6), lambda pixels: encoded(pixels, "WEBP", lossless=True)],
)
def test_other_encoder_on_one_side_fails_by_size_compression_and_settings(encode):
    result = found(planted(encode=encode))
    assert {"file size", "compression ratio", "encoder settings", "all road cues"} <= result.keys()
    assert {one.verdict for one in result.values()} == {"failure"}


def test_metadata_in_a_single_file_is_a_failure_however_rare():
    exif = Image.Exif()
    exif[0x0131] = "generator"
    files = iter([True] + [False] * N)

    def encode(pixels):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG", compress_level=0, **({"exif": exif} if next(files) else {}))
        return buffer.getvalue()

    result = found(planted(encode=encode))
    assert result["metadata"].verdict == "failure"
    assert "real files hold none and fake files hold eXIf in 1" in result["metadata"].explanation


def test_blur_is_content_unless_the_two_sides_were_treated_differently():
    table = planted(blurred)
    as_content = found(table)
    assert (as_content["sharpness"].verdict, as_content["sharpness"].cause) == ("content", "content")
    why = "24 of 24 reals were reduced in size, 0 of 24 fakes"
    as_road = found(table, unequal_road=why)
    assert (as_road["sharpness"].verdict, as_road["sharpness"].cause) == ("failure", "road")
    assert why in as_road["sharpness"].explanation


def test_content_alone_leaves_all_cues_content_and_the_road_clean():
    result = found(drawn(np.random.default_rng(0), 200, {"noise level": 20}))
    assert {name: one.verdict for name, one in result.items()} == {"noise level": "content", "all cues": "content"}


def test_accepted_leak_is_named_and_left_out_of_the_regressions():
    table = drawn(np.random.default_rng(0), 200, {"file size": 40})
    assert {name: one.verdict for name, one in found(table).items()} == {
        "file size": "failure",
        "all road cues": "failure",
        "all cues": "failure",
    }
    result = found(table, accepted=frozenset({"file size"}))
    assert {name: one.verdict for name, one in result.items()} == {"file size": "accepted"}
    assert search(table, accepted=frozenset({"file size"})).notes == (
        "The regressions do without what the design accepts: file size.",
    )


def test_unknown_accepted_cue_is_refused_with_the_known_ones():
    with pytest.raises(
        GiveAwayError, match="the design accepts 'colour', which is no cue; known are: file size, .* all cues"
    ):
        search(drawn(np.random.default_rng(0), 20), accepted=frozenset({"colour"}))


def test_no_pair_is_refused():
    with pytest.raises(GiveAwayError, match="there is no pair to search for give-aways; give at least one"):
        search(CueTable.of([]))


def test_tell_that_goes_both_ways_is_found_by_all_cues_together():
    table = drawn(np.random.default_rng(1), 300)
    luminance = NUMBERS.index("mean luminance")
    table.fake[:, luminance] = 100 + 0.2 * (table.fake[:, luminance] - 100)  # always near the middle
    result = found(table)
    assert "mean luminance" not in result
    assert result["all road cues"].verdict == "failure"


def test_small_number_of_pairs_proves_nothing_and_says_so():
    result = search(drawn(np.random.default_rng(0), 8, {"file size": 1000}))
    assert {cue.verdict for cue in result.cues} == {"pass"}
    assert result.notes == ("8 pairs cannot tell any difference from chance; give at least 12.",)
    assert found(drawn(np.random.default_rng(0), 12, {"file size": 1000}))["file size"].verdict == "failure"


@pytest.mark.parametrize("n", [1, 2, 3])
def test_one_pair_and_a_few_are_searched(n):
    assert {cue.verdict for cue in search(drawn(np.random.default_rng(0), n)).cues} == {"pass"}


def test_one_shifted_pair_in_thirty_is_a_warning_and_one_in_ten_a_failure():
    table = drawn(np.random.default_rng(0), 30)
    same, moved = Relation(0, 0, 0.9, False, False), Relation(1, 0, 0.9, False, False)
    lonely = Relation(4, 4, 0.1, False, False)
    for shifted, verdict in ((1, "warning"), (3, "failure")):
        relations = (*(same,) * (30 - shifted), *(moved,) * shifted)
        result = found(CueTable(**{**vars(table), "relations": relations}))["alignment"]
        assert result.verdict == verdict
        assert "29" in result.explanation
    assert not found(CueTable(**{**vars(table), "relations": (lonely,) * 30}))


def test_exact_interval_is_the_published_one():
    # 81 of 263: Newcombe (1998), table I, method 5.
    assert exact_interval(81, 263) == (pytest.approx(0.2527, abs=5e-5), pytest.approx(0.3676, abs=5e-5))
    assert exact_interval(80.5, 263) == (exact_interval(80, 263)[0], exact_interval(81, 263)[1])


def test_sign_test_counted_by_hand():
    # 8 of 10 that differ: 2 * (1 + 10 + 45) / 1024; two ties.
    assert sign_test(np.array([1.0] * 8 + [-1.0] * 2 + [0.0] * 2)) == pytest.approx(2 * 56 / 1024)
    assert sign_test(np.zeros(5)) == 1


def test_holm_counted_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_accuracy_of_a_simulated_observer_is_recovered():
    # A difference of d standard deviations of one picture is told in Phi(d / sqrt 2) of the pairs.
    for d in (0.3, 0.6, 1.2):
        results = search(drawn(np.random.default_rng(2), 4000, {"file size": 10 * d})).cues
        expected = 0.5 * (1 + math.erf(d / 2))
        for result in results:
            if result.name in ("file size", "all road cues"):
                assert result.accuracy == pytest.approx(expected, abs=0.025)
        assert results[0].low < expected < results[0].high


def test_chance_of_the_regression_is_what_it_says():
    # Under chance at most a share p of the p-values lies below p; 100 draws, three standard errors.
    rng = np.random.default_rng(3)
    folds = np.arange(40) % 4
    p_values = np.array([regression(rng.normal(size=(40, 4)), folds)[1] for _ in range(100)])
    for p in (0.05, 0.2, 0.5):
        assert (p_values <= p).mean() <= p + 3 * math.sqrt(p * (1 - p) / 100)


def test_photographs_at_random_on_both_sides_pass():
    cues = [measure(encoded(pixels), pixels) for pixels in (photograph(seed, 96) for seed in range(120))]
    alarms = 0
    for seed in range(8):
        order = np.random.default_rng(seed).permutation(120)
        rows = [(str(i), cues[order[2 * i]], cues[order[2 * i + 1]], APART) for i in range(60)]
        alarms += bool(found(CueTable.of(rows), seed=seed))
    assert alarms == 0


def test_same_seed_gives_the_same_results():
    table = drawn(np.random.default_rng(4), 50, {"border": 5})
    assert search(table, seed=1) == search(table, seed=1)


def test_size_of_files_that_one_encoder_wrote_is_content():
    """It tells how well the picture compresses: less, if the generator blurs."""
    table = drawn(np.random.default_rng(0), 200, {"file size": 40})
    same = dataclasses.replace(table, real_settings=("a",) * 200, fake_settings=("a",) * 200)
    assert found(table)["file size"].verdict == "failure"
    assert found(same)["file size"].verdict == "content"
    noted = dataclasses.replace(same, fake_metadata=(("eXIf",),) * 200)
    assert found(noted)["file size"].verdict == "failure"
