"""The commands ``realism pairs make``, ``import``, ``select``, ``catch`` and ``show``, as somebody types them."""

import dataclasses
import hashlib
import shutil
from collections import Counter

import pytest
from photographs import SMALL, write_photos
from pictures import colourful, write_pictures
from PIL import Image
from test_pairs import train
from test_train_cli import call, refused
from test_workers import marked, wait_until

from pairs.writing import About, Picture, write_pairset
from protocol.encoding import Encoder
from protocol.pairset import Exclusion, read_pairset, sha256_hex
from train.checkpoint import load_generator


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Photographs in two folders, which are their classes."""
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder / "lily", 12)
    write_photos(folder / "rose", 24, first=50)
    return folder


@pytest.fixture(scope="module")
def runs(photos, tmp_path_factory):
    """Two generators that held out other photographs, and one of larger pictures."""
    folder = tmp_path_factory.mktemp("runs")
    train(photos, dataclasses.replace(SMALL, name="one"), folder / "one")
    train(photos / "rose", dataclasses.replace(SMALL, name="two", held_out=0.2), folder / "two")
    train(photos, dataclasses.replace(SMALL, name="large", image_size=24), folder / "large")
    return folder


@pytest.fixture
def many(tmp_path):
    """So many photographs that other processes help."""
    return write_photos(tmp_path / "many", 150, size=17, first=1000)


@pytest.fixture(scope="module")
def tagged(tmp_path_factory):
    """A folder of two conditions of 24 pairs: every third a lily, the others roses; JPEG."""
    folder = tmp_path_factory.mktemp("tagged")
    for condition, turn in (("cgan", 90), ("wgan", 180)):
        pictures = []
        for seed in range(24):
            real = colourful(seed, 32)
            tags = ("lily" if seed % 3 == 0 else "rose",)
            pictures.append(Picture(sha256_hex(real.tobytes()), real, (real.rotate(turn),), tags))
        about = About(condition, {"name": condition}, {"name": "spots", "licence": "CC0"})
        write_pairset(folder / condition, pictures, about, encoder=Encoder("jpeg", 90))
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def contents(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "images").iterdir()}


def at_work(running, folder, left=()):
    """Wait until the command has written some pictures; ``left`` are those that another left."""

    def has_begun():
        assert running.process.poll() is None, running.end()
        return len(set(folder.glob(".set.unfinished-*/images/*")) - set(left)) > 5

    wait_until(has_begun, within_s=60)


# ---- make


def test_several_checkpoints_make_sets_of_the_same_photographs_that_none_saw(photos, runs, tmp_path):
    out = tmp_path / "both"
    made = call("pairs", "make", "--checkpoint", runs / "one", "--checkpoint", runs / "two", "--photos", photos,
                "--out", out, "--licence", "CC0")  # fmt: skip
    assert made.exit_code == 0, made.output
    assert names(out) == ["one", "two"]
    one, two = (read_pairset(out / name) for name in ("one", "two"))
    assert f"{out}: {len(one.pairs)} pairs of conditions one and two, 16x16; passed over " in made.output
    assert [pair.id for pair in one.pairs] == [pair.id for pair in two.pairs]
    assert [pair.real for pair in one.pairs] == [pair.real for pair in two.pairs]
    reals = {pair.real.file: (out / "one" / pair.real.file).read_bytes() for pair in one.pairs}
    assert reals == {pair.real.file: (out / "two" / pair.real.file).read_bytes() for pair in two.pairs}
    assert all(a.fake.sha256 != b.fake.sha256 for a, b in zip(one.pairs, two.pairs, strict=True))
    trained = [load_generator(runs / name, "cpu").photos.trained for name in ("one", "two")]
    assert trained[0] - trained[1]  # or the next line would prove nothing
    assert trained[1] - trained[0]
    assert not {pair.photo_sha256 for pair in one.pairs} & (trained[0] | trained[1])
    assert one.source == {"name": photos.name, "licence": "CC0", "split": "held-out"}
    assert one.generator["checkpoint_sha256"] != two.generator["checkpoint_sha256"]


def test_conditions_are_named_as_asked(photos, runs, tmp_path):
    command = ["pairs", "make", "--checkpoint", runs / "one", "--checkpoint", runs / "one", "--photos", photos]
    made = call(*command, "--condition", "a", "--condition", "b", "-n", 2, "--tag", "rose", "--out", tmp_path / "both")
    assert made.exit_code == 0, made.output
    assert names(tmp_path / "both") == ["a", "b"]
    pairset = read_pairset(tmp_path / "both" / "b")
    assert (pairset.condition, pairset.generator["name"]) == ("b", "one")
    assert [pair.tags for pair in pairset.pairs] == [("rose",)] * 2


def test_what_cannot_go_together_is_refused_before_the_photographs_are_read(runs, tmp_path, capsys):
    def told(*checkpoints, **options):
        arguments = [text for name in checkpoints for text in ("--checkpoint", runs / name)]
        arguments += [text for name in options.pop("conditions", ()) for text in ("--condition", name)]
        out = options.pop("out", tmp_path / "out")
        return refused(capsys, "pairs", "make", *arguments, "--photos", tmp_path / "no-photos", "--out", out)

    assert "condition one occurs twice; give each condition its own name" in told("one", "one")
    assert "generators make pictures of different sizes (one 16x16 and large 24x24)" in told("one", "large")
    assert "2 --checkpoint and 1 --condition; give one name for each" in told("one", "two", conditions=["a"])
    assert "condition '../evil': a name is lower-case letters" in told("one", "two", conditions=["../evil", "b"])
    assert "a zip holds one pair set; give a folder for one and two" in told("one", "two", out=tmp_path / "out.zip")
    assert "folder" in told("one")
    assert names(tmp_path) == []


def test_make_killed_leaves_nothing_that_verifies_and_completes_when_run_again(many, runs, tmp_path):
    command = ["pairs", "make", "--checkpoint", runs / "one", "--photos", many, "--split", "all", "--out"]
    with marked("-m", "realism", *command, tmp_path / "set") as running:
        at_work(running, tmp_path)
        running.process.kill()
        assert running.left_alive() == []
    assert not (tmp_path / "set").exists()
    (left,) = tmp_path.glob(".set.*")
    assert not (left / "manifest.json").exists()
    made = call(*command, tmp_path / "set")
    assert made.exit_code == 0, made.output
    assert len(read_pairset(tmp_path / "set").pairs) == 150
    assert names(tmp_path) == ["many", "set"]


# ---- import


def test_import_killed_or_stopped_leaves_nothing_that_verifies_and_completes_when_run_again(many, tmp_path):
    theirs = shutil.copytree(many, tmp_path / "theirs")
    command = ["pairs", "import", "--real", many, "--fake", theirs, "--condition", "theirs", "--out", tmp_path / "set"]
    for stop in ("kill", "ctrl-c"):
        left = list(tmp_path.glob(".set.unfinished-*/images/*"))
        with marked("-m", "realism", *command) as running:
            at_work(running, tmp_path, left)
            if stop == "kill":
                running.process.kill()
                running.process.communicate()
                assert len(list(tmp_path.glob(".set.unfinished-*"))) == 1
            else:
                running.press_ctrl_c()
                assert running.end() == (1, "", "\nAborted!\n")
                assert names(tmp_path) == ["many", "theirs"]  # what was left by the kill has gone, too
            assert running.left_alive() == []
        assert not (tmp_path / "set").exists()
    done = call(*command)
    assert done.exit_code == 0, done.output
    assert len(read_pairset(tmp_path / "set").pairs) == 150
    assert names(tmp_path) == ["many", "set", "theirs"]


# ---- select


def test_selection_is_the_same_in_every_condition_and_the_files_stay_as_they_are(tagged, tmp_path):
    ids = {}
    for condition in ("cgan", "wgan"):
        for encoding, out in (("folder", tmp_path / condition), ("zip", tmp_path / f"{condition}.zip")):
            done = call("pairs", "select", tagged / condition, "--stratified", "-n", 7, "--seed", 3, "--out", out)
            assert done.output == f"{out}: 7 pairs of condition {condition}, 32x32\n"
            chosen = read_pairset(out)
            ids[condition, encoding] = [pair.id for pair in chosen.pairs]
        strata = Counter(pair.tags[0] for pair in chosen.pairs)
        assert sorted(strata.values()) == [3, 4]
        source, copied = contents(tagged / condition), contents(tmp_path / condition)
        assert len(copied) == 14
        assert copied.items() <= source.items()
        before = read_pairset(tagged / condition)
        assert set(chosen.pairs) < set(before.pairs)
        assert (chosen.encoding, chosen.quality, chosen.road) == ("jpeg", 90, before.road)
    assert len({tuple(chosen) for chosen in ids.values()}) == 1


def test_tag_number_and_seed_choose(tagged, tmp_path):
    def chosen(*options):
        out = tmp_path / str(len(names(tmp_path)))
        assert call("pairs", "select", tagged / "cgan", *options, "--out", out).exit_code == 0
        return read_pairset(out).pairs

    assert {pair.tags for pair in chosen("--tag", "lily")} == {("lily",)}
    assert len(chosen("--tag", "lily")) == 8
    assert len(chosen("--tag", "lily", "--tag", "rose")) == 24
    assert chosen("-n", 5) == chosen("-n", 9)[:5] == chosen("-n", 5, "--seed", 0)
    assert chosen("-n", 5) != chosen("-n", 5, "--seed", 1)


def test_exclusions_are_kept_through_a_second_selection(tagged, tmp_path, capsys):
    first, second, third = (pair.id for pair in read_pairset(tagged / "cgan").pairs[:3])
    (tmp_path / "list.csv").write_text(f"id,reason\n{second},a person\n")
    done = call("pairs", "select", tagged / "cgan", "--exclude", f"{first}=a watermark",
                "--exclusions", tmp_path / "list.csv", "--out", tmp_path / "first")  # fmt: skip
    assert done.output.endswith("22 pairs of condition cgan, 32x32; 2 excluded\n")
    again = call("pairs", "select", tmp_path / "first", "--exclude", f"{third}=blurred", "--out", tmp_path / "second")
    assert again.output.endswith("21 pairs of condition cgan, 32x32; 1 excluded\n")
    pairset = read_pairset(tmp_path / "second")
    reasons = {first: "a watermark", second: "a person", third: "blurred"}
    assert pairset.excluded == tuple(Exclusion(id=identity, reason=reason) for identity, reason in reasons.items())
    assert not {pair.id for pair in pairset.pairs} & set(reasons)
    told = refused(capsys, "pairs", "select", tmp_path / "second", "--exclude", f"{first}=x", "--out", tmp_path / "x")
    assert f"exclusion {first} (x): none of the 21 pairs has this id" in told


def test_selection_of_a_set_that_does_not_verify_leaves_nothing_behind(tmp_path, capsys):
    pairset = write_pictures(tmp_path / "set", "cgan", n=4)
    (tmp_path / "set" / pairset.pairs[2].fake.file).write_bytes(b"no picture")
    told = refused(capsys, "pairs", "select", tmp_path / "set", "--out", tmp_path / "out")
    assert f"pair {pairset.pairs[2].id}: fake " in told
    assert "the manifest says" in told
    assert names(tmp_path) == ["set"]


# ---- show


def test_sheet_shows_the_photographs_that_all_conditions_share(tagged, tmp_path, capsys):
    call("pairs", "select", tagged / "wgan", "-n", 5, "--out", tmp_path / "few.zip")
    shown = call("pairs", "show", tagged / "cgan", tmp_path / "few.zip", "--out", tmp_path / "new" / "sheet.html")
    assert shown.output == f"{tmp_path / 'new' / 'sheet.html'}: 5 photographs\n"
    page = (tmp_path / "new" / "sheet.html").read_text()
    assert all(pair.id in page for pair in read_pairset(tmp_path / "few.zip").pairs)
    assert page.index("Ground truth") < page.index("CGAN") < page.index("WGAN")
    write_pictures(tmp_path / "other", "other", n=2)
    told = refused(capsys, "pairs", "show", tagged / "cgan", tmp_path / "other", "--out", tmp_path / "sheet.png")
    assert "share no photograph; give conditions of the same photographs" in told


def test_folder_of_sets_stands_for_its_sets(tagged, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    assert call("pairs", "show", tagged, "--out", sheet, "--title", "Spots").output == f"{sheet}: 12 photographs\n"
    with Image.open(sheet) as four_columns:
        assert four_columns.width > 4 * 128
    before = sheet.read_bytes()
    assert "sheet.png exists already; choose another --out, or replace" in refused(
        capsys, "pairs", "show", tagged, "--out", sheet
    )
    assert sheet.read_bytes() == before
    assert call("pairs", "show", tagged, "-n", 2, "--tag", "lily", "--out", sheet, "--replace").exit_code == 0
    assert sheet.read_bytes() != before
    told = refused(capsys, "pairs", "show", tmp_path, "--out", tmp_path / "x.png")
    assert f"{tmp_path} holds neither a manifest nor pair sets; give a pair set" in told
    told = refused(capsys, "pairs", "show", tmp_path / "none", "--out", tmp_path / "x.png")
    assert "none holds neither a manifest nor pair sets" in told
    told = refused(capsys, "pairs", "show", tagged, "--out", tmp_path / "sheet.jpg")
    assert "sheet.jpg is neither .png nor .html; give a name that ends so" in told


def test_sheet_at_an_address_or_in_place_of_a_folder_is_refused(tagged, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = refused(capsys, "pairs", "show", tagged, "--out", "s3://bucket/sheet.png")
    assert "s3://bucket/sheet.png is an address; give a file's name as --out" in told
    (tmp_path / "old.png").mkdir()
    told = refused(capsys, "pairs", "show", tagged, "--out", "old.png", "--replace")
    assert "old.png is a folder; give a file's name as --out" in told
    assert names(tmp_path) == ["old.png"]


def test_help_states_how_many_pairs_each_command_takes():
    for command, number in (("show", "12"), ("select", "all"), ("import", "all")):
        said = " ".join(call("pairs", command, "--help").output.split())
        assert f"How many pairs. [default: {number}]" in said


# ---- S3


def test_commands_take_addresses(s3, photos, runs, tagged, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make = ["pairs", "make", "--checkpoint", runs / "one", "--photos", photos, "-n", 3, "--out", f"{s3}/made"]
    assert call(*make).output.startswith(f"{s3}/made: 3 pairs of condition one, 16x16")
    assert len(read_pairset(f"{s3}/made").pairs) == 3
    assert "/made: there is a pair set already; choose another --out" in refused(capsys, *make)
    a, b = (shutil.copytree(photos / "lily", tmp_path / name) for name in "ab")
    imported = call("pairs", "import", "--real", photos / "lily", "--fake", a, "--condition", "a",
                    "--fake", b, "--condition", "b", "-n", 2, "--out", f"{s3}/both")  # fmt: skip
    assert imported.exit_code == 0, imported.output
    assert call("pairs", "select", f"{s3}/both/a", "-n", 1, "--out", f"{s3}/one").exit_code == 0
    assert len(read_pairset(f"{s3}/one").pairs) == 1
    shown = call("pairs", "show", f"{s3}/both", "--out", tmp_path / "sheet.png")
    assert shown.output == f"{tmp_path / 'sheet.png'}: 2 photographs\n"
    told = refused(capsys, "pairs", "show", f"{s3}/nothing", "--out", tmp_path / "x.png")
    assert f"{s3}/nothing holds neither a manifest nor pair sets" in told
    told = refused(capsys, "pairs", "show", f"{s3}/both", "--out", f"{s3}/sheet.png")
    assert f"{s3}/sheet.png is an address; give a file's name as --out" in told
    assert names(tmp_path) == ["a", "b", "sheet.png"]
