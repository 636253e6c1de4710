"""``realism pairs import``: whatever real and fake are, they end alike, and nothing stays behind when something is wrong."""

import hashlib
import shutil

import numpy as np
import pytest
from pictures import colourful
from PIL import Image

import realism
from pairs.importing import Found, common_size
from pairs.matching import Match
from protocol.pairset import read_manifest, read_pairset, sha256_hex


def run(capfd, *arguments):
    """Exit code, what was printed, and what was complained of."""
    capfd.readouterr()
    with pytest.raises(SystemExit, match="^[012]$") as ended:
        realism.main([str(argument) for argument in arguments])
    printed = capfd.readouterr()
    return ended.value.code, printed.out, printed.err


def import_(capfd, folder, *options, fakes=("theirs",), out="set"):
    sides = [word for name in fakes for word in ("--fake", folder / name, "--condition", name)]
    return run(capfd, "pairs", "import", "--real", folder / "real", *sides, "--out", folder / out, *options)


def refused(outcome, *expected):
    """Exit code 2 and one sentence that says these things."""
    code, out, err = outcome
    assert (code, out) == (2, "")
    assert err.startswith("Error: ")
    assert len(err.splitlines()) == 1, err
    for words in expected:
        assert words in err
    return True


def save(path, seed, size=32, mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    colourful(seed, size).convert(mode).save(path, **options)


def write_sides(folder, n=4, size=32, names=("real", "theirs")):
    for side, name in enumerate(names):
        for number in range(n):
            save(folder / name / f"{number}.png", 100 * side + number, size)


def images(folder):
    return {path.name: path.read_bytes() for path in (folder / "images").iterdir()}


@pytest.fixture
def folder(tmp_path):
    write_sides(tmp_path)
    return tmp_path


def test_pictures_of_every_kind_become_alike(tmp_path, capfd):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "taken by a camera"
    kinds = [
        ("jpg", "RGB", {"exif": exif, "dpi": (300, 300), "comment": b"hello"}),
        ("png", "P", {}),
        ("tif", "CMYK", {"exif": exif}),
        ("webp", "RGBA", {"exif": exif}),
        ("bmp", "1", {}),
        ("jpeg", "L", {}),
        ("PNG", "LA", {"exif": exif}),
    ]
    for number, (suffix, mode, options) in enumerate(kinds):
        save(tmp_path / "real" / f"{number}.{suffix}", number, 40 + number, mode, **options)
        suffix, mode, options = kinds[-1 - number]
        save(tmp_path / "theirs" / f"{number}.{suffix}", 100 + number, 33 + number, mode, **options)
    code, out, err = import_(capfd, tmp_path)
    assert (code, err) == (0, "")
    assert out.startswith(f"{tmp_path / 'set'}: 7 pairs of condition theirs, 33x33; 6 of 7 fakes differ in size")
    pairset = read_pairset(tmp_path / "set")
    assert pairset.image_size == (33, 33)
    found = images(tmp_path / "set")
    assert len(found) == 14
    assert len({len(data) for data in found.values()}) == 1
    for name in found:
        with Image.open(tmp_path / "set" / "images" / name) as picture:
            picture.load()
            assert (picture.format, picture.mode, picture.size, picture.info) == ("PNG", "RGB", (33, 33), {})
    assert pairset.road["real"]["resized"] == 7
    assert pairset.road["fake"]["resized"] == 6
    assert pairset.road["real"]["from a lossy file"] == pairset.road["fake"]["from a lossy file"] == 3


def test_what_needs_no_change_keeps_its_pixels(folder, capfd):
    assert import_(capfd, folder)[0] == 0
    pairset = read_pairset(folder / "set")
    assert pairset.road["real"] == pairset.road["fake"] == {}
    by_hash = {sha256_hex((folder / "real" / f"{n}.png").read_bytes()): n for n in range(4)}
    for pair in pairset.pairs:
        number = by_hash[pair.photo_sha256]
        for image, seed in ((pair.real, number), (pair.fake, 100 + number)):
            with Image.open(folder / "set" / image.file) as picture:
                assert np.array_equal(np.asarray(picture), np.asarray(colourful(seed, 32)))


def found(real, *fakes):
    return Found(Match("real", ("fake",) * len(fakes)), "0" * 64, (real, *fakes))


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([((300, 200), (256, 128)), ((256, 128), (256, 128))], (256, 128)),  # the fakes' own
        ([((300, 200), (256, 256))], (200, 200)),  # a real is smaller: nothing is enlarged
        ([((300, 200), (64, 64)), ((300, 200), (80, 60))], (60, 60)),  # the largest square in every picture
        ([((300, 200), (64, 64), (80, 80))], (64, 64)),  # conditions of two sizes
    ],
)
def test_size_is_that_of_all_fakes_or_the_largest_square_in_every_picture(sizes, expected):
    assert common_size([found(*one) for one in sizes]) == expected


def sizes_told(capfd, tmp_path, reals, fakes, *options):
    """What is printed after the size, of pictures of these sizes."""
    for name, sizes in (("real", reals), ("theirs", fakes)):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
        for number, size in enumerate(sizes):
            save(tmp_path / name / f"{number}.png", number + 100 * (name == "real"), size)
    code, out, err = import_(capfd, tmp_path, "--replace", *options)
    assert (code, err) == (0, "")
    return out.split(" of condition theirs, ")[1]


def test_size_that_is_not_the_fakes_own_is_explained(tmp_path, capfd):
    real, theirs = tmp_path / "real", tmp_path / "theirs"
    assert sizes_told(capfd, tmp_path, [40] * 4, [40, 40, 32, 36]).splitlines()[0] == (
        f"32x32; 2 of 4 fakes differ in size, so all are brought to 32x32 (the smallest is {theirs / '2.png'}); "
        "choose another with --size"
    )
    assert sizes_told(capfd, tmp_path, [40, 30, 40], [40] * 3).splitlines()[0] == (
        f"30x30; 1 of 3 reals is smaller than the fakes, so all are brought to 30x30 (the smallest is {real / '1.png'}); "
        "choose another with --size"
    )
    assert "; 1 of 3 fakes differs in size, so" in sizes_told(capfd, tmp_path, [40] * 3, [40, 40, 48])
    assert sizes_told(capfd, tmp_path, [40] * 4, [40, 40, 32, 36], "--size", "32").splitlines()[0] == "32x32"


@pytest.mark.parametrize(
    ("reals", "fakes", "note"),
    [
        ([48] * 4, [32] * 4, "reals were reduced in size and fakes were not: blur can then come from the road; give "
         "the reals at the size the generator saw, or make larger fakes"),
        ([48] * 4, [32, 32, 32, 40], "reals were reduced in size and fakes were less often: blur can"),
        ([32] * 4, [40] * 4, "fakes were reduced in size and reals were not: blur can then come from the road; give larger"),
        ([48] * 4, [40] * 4, None),
        ([32] * 4, [32] * 4, None),
        ([48] + [32] * 19, [32] * 20, None),  # 5 %, which the check does not mind either
        ([48] * 2 + [32] * 18, [32] * 20, "reals were reduced in size and fakes were not"),
    ],
)  # fmt: skip
def test_one_side_that_alone_was_reduced_is_noted(tmp_path, capfd, reals, fakes, note):
    _, *notes = sizes_told(capfd, tmp_path, reals, fakes, "--size", "32").splitlines()
    assert len(notes) == (note is not None)
    assert all(line.startswith(f"note: {note}") for line in notes)


def test_mislabelled_file_has_one_remedy(folder, capfd):
    colourful(0, 32).save(folder / "theirs" / "2.png", format="JPEG")
    path = folder / "theirs" / "2.png"
    assert import_(capfd, folder) == (2, "", f"Error: {path} is a JPEG, not what its name says; rename it\n")


def test_same_folder_for_both_sides_is_told(folder, capfd):
    assert refused(import_(capfd, folder, fakes=("real",)), "real: the same folder is given as --real and --fake;")


def test_help_says_when_the_fakes_own_size_is_taken(capfd):
    said = " ".join(run(capfd, "pairs", "import", "--help")[1].split())
    assert said.count("if they all have one and no real is smaller") == 2


def test_size_of_a_turned_photograph_is_that_of_the_upright_one(tmp_path, capfd):
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix in ("jpg", "tif", "png", "webp"):
        (tmp_path / "real").mkdir(exist_ok=True)
        colourful(ord(suffix[0]), 60).crop((0, 0, 60, 40)).save(tmp_path / "real" / f"{suffix}.{suffix}", exif=exif)
        (tmp_path / "theirs").mkdir(exist_ok=True)
        colourful(9, 60).crop((0, 0, 40, 60)).save(tmp_path / "theirs" / f"{suffix}.png")
    assert import_(capfd, tmp_path)[0] == 0
    pairset = read_pairset(tmp_path / "set")
    assert pairset.image_size == (40, 60)
    assert set(pairset.road["real"]) == {"from a lossy file"}


def test_too_small_pictures_are_refused_and_counted(folder, capfd):
    outcome = import_(capfd, folder, "--size", "64")
    assert refused(
        outcome, "real/0.png is 32x32, smaller than 64x64 (and 7 more are too small)", "give a smaller --size"
    )
    assert refused(import_(capfd, folder, "--size", "8"), "pictures of 8x8 show nothing to judge")
    assert not (folder / "set").exists()


def test_two_files_of_one_photograph_are_refused(folder, capfd):
    shutil.copy(folder / "real" / "1.png", folder / "real" / "3.png")
    assert refused(import_(capfd, folder), "real/1.png and", "real/3.png are the same file; remove one of them")


def test_class_folders_become_tags_and_can_be_chosen(tmp_path, capfd):
    for number in range(6):
        label = ("roses", "tulips")[number % 2]
        save(tmp_path / "real" / label / f"{number}.png", number)
        save(tmp_path / "theirs" / f"{number}.png", 100 + number)
    assert import_(capfd, tmp_path)[0] == 0
    assert sorted(pair.tags for pair in read_manifest(tmp_path / "set").pairs) == [("roses",)] * 3 + [("tulips",)] * 3
    assert import_(capfd, tmp_path, "--tag", "roses", "-n", 2, out="roses")[0] == 0
    assert [pair.tags for pair in read_pairset(tmp_path / "roses").pairs] == [("roses",)] * 2
    assert import_(capfd, tmp_path, "--stratified", "-n", 4, out="even")[0] == 0
    assert sorted(pair.tags for pair in read_pairset(tmp_path / "even").pairs) == [("roses",)] * 2 + [("tulips",)] * 2
    assert refused(import_(capfd, tmp_path, "--tag", "lilies", out="no"), "no pair has the tag 'lilies'")
    assert refused(import_(capfd, tmp_path, "-n", 7, out="no"), "there are 6 pairs, 7 are wanted")
    assert not (tmp_path / "no").exists()


def test_conditions_share_photographs_ids_and_the_very_bytes_of_the_real_side(tmp_path, capfd):
    write_sides(tmp_path, n=5, names=("real", "one", "two"))
    assert import_(capfd, tmp_path, "-n", 3, fakes=("one", "two"))[0] == 0
    one, two = (read_pairset(tmp_path / "set" / name) for name in ("one", "two"))
    assert [pair.id for pair in one.pairs] == [pair.id for pair in two.pairs]
    assert [pair.real for pair in one.pairs] == [pair.real for pair in two.pairs]
    assert {pair.fake.sha256 for pair in one.pairs}.isdisjoint(pair.fake.sha256 for pair in two.pairs)
    assert import_(capfd, tmp_path, "-n", 3, fakes=("two",), out="alone")[0] == 0
    assert read_manifest(tmp_path / "alone").pairs == two.pairs


def test_table_says_which_go_together(folder, capfd):
    (folder / "table.csv").write_text("real,fake,tags\n0.png,3.png,a;b\n1.png,2.png,\n2.png,,c\n")
    code, out, _ = import_(capfd, folder, "--table", folder / "table.csv")
    assert code == 0
    assert out.endswith("2 pairs of condition theirs, 32x32; passed over 1 real picture without a partner\n")
    pairset = read_pairset(folder / "set")
    assert sorted(pair.tags for pair in pairset.pairs) == [(), ("a", "b")]
    assert pairset.road["pairing"] == "table"
    assert sorted(pair.fake.sha256 for pair in pairset.pairs) == sorted(
        sha256_hex(encoded(colourful(seed, 32))) for seed in (102, 103)
    )


def encoded(picture):
    from protocol.encoding import encode_png

    return encode_png(picture)


def test_unpaired_fakes_get_random_reals(tmp_path, capfd):
    write_sides(tmp_path, n=6, names=("real",))
    for number in range(3):
        save(tmp_path / "theirs" / f"made-{number}.png", 100 + number)
    assert import_(capfd, tmp_path, "--unpaired")[0] == 0
    first = read_pairset(tmp_path / "set")
    assert (len(first.pairs), first.road["pairing"]) == (3, "unpaired")
    seen = set()
    for seed in range(4):
        assert import_(capfd, tmp_path, "--unpaired", "--seed", seed, out=f"seed-{seed}")[0] == 0
        seen.add(tuple(sorted(pair.id for pair in read_manifest(tmp_path / f"seed-{seed}").pairs)))
    assert len(seen) > 1


def test_endings_tell_real_and_fake_in_one_folder(tmp_path, capfd):
    for number in range(3):
        save(tmp_path / "real" / f"{number}_real_B.png", number)
        save(tmp_path / "real" / f"{number}_fake_B.png", 100 + number)
        save(tmp_path / "real" / f"{number}_real_A.png", 200 + number)
    endings = ("--real-ending", "_real_B", "--fake-ending", "_fake_B")
    assert import_(capfd, tmp_path, *endings, fakes=("real",))[0] == 0
    assert len(read_pairset(tmp_path / "set").pairs) == 3


@pytest.mark.parametrize(
    ("options", "kind", "quality"),
    [((), "PNG", None), (("--encoding", "webp"), "WEBP", None), (("--encoding", "jpeg", "--quality", 80), "JPEG", 80)],
)
def test_both_sides_have_the_encoding_asked_for(folder, capfd, options, kind, quality):
    assert import_(capfd, folder, *options)[0] == 0
    pairset = read_pairset(folder / "set")
    assert (pairset.encoding.upper(), pairset.quality) == (kind, quality)
    for path in (folder / "set" / "images").iterdir():
        with Image.open(path) as picture:
            picture.load()
            assert (picture.format, picture.mode) == (kind, "RGB")
            assert not {"exif", "icc_profile", "xmp", "comment"} & set(picture.info)
            if kind == "JPEG":
                assert max(map(max, picture.quantization.values())) == 48  # 121 (T.81, table K.1) * 0.4
    if kind == "WEBP":
        assert not any(b"VP8 " in data for data in images(folder / "set").values())


def test_name_and_licence_come_from_source_json(folder, capfd):
    (folder / "real" / "source.json").write_text('{"name": "Spots", "licence": "CC0"}')
    assert import_(capfd, folder)[0] == 0
    assert read_manifest(folder / "set").source == {"name": "Spots", "licence": "CC0", "split": "not stated"}
    assert import_(capfd, folder, "--source", "Dots", "--licence", "CC BY 4.0", out="other")[0] == 0
    assert read_manifest(folder / "other").source == {"name": "Dots", "licence": "CC BY 4.0", "split": "not stated"}


def test_exclusions_and_their_reasons_stay_in_the_manifest(folder, capfd):
    ids = [hashlib.sha256((folder / "real" / f"{n}.png").read_bytes()).hexdigest()[:12] for n in range(4)]
    (folder / "out.csv").write_text(f"id,reason\n{ids[1]},blurred\n")
    options = ("--exclude", f"{ids[0]}=a watermark", "--exclusions", folder / "out.csv")
    assert import_(capfd, folder, *options)[0] == 0
    pairset = read_pairset(folder / "set")
    assert {pair.id for pair in pairset.pairs} == set(ids[2:])
    assert [(one.id, one.reason) for one in pairset.excluded] == [(ids[0], "a watermark"), (ids[1], "blurred")]
    assert refused(import_(capfd, folder, "--exclude", "123456=gone", out="no"), "exclusion 123456 (gone)")


def test_existing_pair_set_is_replaced_only_when_asked(folder, capfd):
    assert import_(capfd, folder)[0] == 0
    before = images(folder / "set")
    assert refused(
        import_(capfd, folder, "-n", 2), "already exists; choose another --out, or replace it with --replace"
    )
    assert images(folder / "set") == before
    (folder / "theirs" / "0.png").write_bytes(b"no picture")
    assert refused(import_(capfd, folder, "--replace"), "0.png cannot be decoded (not a picture)")
    assert images(folder / "set") == before
    save(folder / "theirs" / "0.png", 7)
    assert import_(capfd, folder, "-n", 2, "--replace")[0] == 0
    assert len(read_pairset(folder / "set").pairs) == 2
    assert len(images(folder / "set")) == 4


def test_failure_leaves_nothing_behind(folder, capfd):
    before = sorted(path.name for path in folder.iterdir())
    for number in (1, 2):  # whole in its head, so that only the decoder finds out
        path = folder / "theirs" / f"{number}.png"
        path.write_bytes(path.read_bytes()[:-600])
    code, out, err = import_(capfd, folder)
    assert (code, out) == (2, "")
    assert err.splitlines()[0].endswith("2 of 4 pairs cannot be made, so none is:")
    for number, line in zip((1, 2), sorted(err.splitlines()[1:]), strict=True):
        assert f"theirs/{number}.png cannot be decoded (image file is truncated" in line
        assert line.endswith("remove it or replace it")
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize("out", ["one", "one.zip"])
def test_rebuilding_gives_the_same_bytes(folder, capfd, monkeypatch, out):
    again = out.replace("one", "two")
    assert import_(capfd, folder, out=out)[0] == import_(capfd, folder, out=again)[0] == 0
    assert read_pairset(folder / out).pairs == read_pairset(folder / again).pairs
    if out == "one":
        assert images(folder / "one") == images(folder / "two")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    for name in (out, again):
        assert import_(capfd, folder, "--replace", out=name)[0] == 0
    assert read_manifest(folder / out).created == "2023-11-14T22:13:20Z"
    if out == "one":
        assert (folder / "one/manifest.json").read_bytes() == (folder / "two/manifest.json").read_bytes()
    else:
        assert (folder / out).read_bytes() == (folder / again).read_bytes()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--table", "x.csv", "--unpaired"), "three ways of pairing"),
        (("--fake", "more"), "2 --fake and 1 --condition"),
        (("--quality", "80"), "--quality is JPEG's"),
        (("--size", "0"), "is no size"),
        (("--size", "9x9x9"), "is no size"),
        (("-n", "0"), "is not in the range"),
    ],
)
def test_options_that_do_not_fit_are_told(folder, capfd, options, told):
    code, _, err = import_(capfd, folder, *options)
    assert code == 2
    assert told in err
    assert not (folder / "set").exists()


def test_condition_that_cannot_be_a_name_is_told(folder, capfd):
    sides = ("--real", folder / "real", "--fake", folder / "theirs", "--condition", "My GAN")
    assert refused(run(capfd, "pairs", "import", *sides, "--out", folder / "set"), "condition 'My GAN': a name is")
    assert not (folder / "set").exists()


def test_names_that_are_not_utf8_are_used_and_as_tags_refused(tmp_path, capfd):
    name = b"ros\xe9".decode(errors="surrogateescape")  # Latin-1, as old archives have it
    write_sides(tmp_path / name, n=2)
    for number in range(2):
        shutil.move(tmp_path / name / "real" / f"{number}.png", tmp_path / name / "real" / f"{name}{number}.png")
        shutil.move(tmp_path / name / "theirs" / f"{number}.png", tmp_path / name / "theirs" / f"{name}{number}.png")
    assert import_(capfd, tmp_path / name)[0] == 0
    assert len(read_pairset(tmp_path / name / "set").pairs) == 2
    (tmp_path / name / "real" / name).mkdir()
    for number in range(2):
        path = tmp_path / name / "real" / f"{name}{number}.png"
        path.rename(path.parent / name / path.name)
    assert refused(import_(capfd, tmp_path / name, out="tagged"), "is no text; rename the folder")
    assert not (tmp_path / name / "tagged").exists()
