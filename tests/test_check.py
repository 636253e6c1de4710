"""The search as a researcher runs it: each planted leak is found by its name, on photographs, and clean sets pass."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageChops, PngImagePlugin

import demo
from pairs.check import CueTable, check_pairset, measure, read_trained, relate, unequal_road
from pairs.giveaways import search
from pairs.road import PhotoError
from protocol.encoding import encode_png
from protocol.pairset import read_manifest, sha256_hex, write_manifest
from realism import cli

N = 40


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """Crops of eight photographs, 96x96: reduced from 128, so that the grids of their own JPEG files are gone."""
    folder = tmp_path_factory.mktemp("crops") / "photos"
    demo._cut_crops(folder)
    paths = sorted(folder.glob("*.png"))
    for path in paths:
        Image.open(path).resize((96, 96), Image.Resampling.LANCZOS).save(path)
    np.random.default_rng(0).shuffle(paths)
    return paths


def run(*arguments):
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)
    return done.exit_code, done.output


def coloured(picture):
    """The photograph with other colours, as a generator might give it: luma is kept, but not lightness."""
    rgb = np.asarray(picture.convert("RGB"), float)
    luma = rgb @ (0.299, 0.587, 0.114)
    blue, red = (rgb[..., 2] - luma) / 2, rgb[..., 0] - luma  # half the blue, all the red
    green = -(0.299 * red + 0.114 * blue) / 0.587
    return Image.fromarray(
        np.clip(np.rint(luma[..., None] + np.stack((red, green, blue), axis=2)), 0, 255).astype(np.uint8)
    )


def jpeg(picture, folder):
    picture.save(folder / "aside.jpg", quality=90)
    return Image.open(folder / "aside.jpg").convert("RGB")


def brighter(picture, folder):
    return Image.fromarray(np.clip(np.asarray(picture) * 1.01 + 0.5, 0, 255).astype(np.uint8))


def bordered(picture, folder):
    pixels = np.array(picture)
    pixels[[0, -1]] = pixels[:, [0, -1]] = 0
    return Image.fromarray(pixels)


def shifted(picture, folder):
    moved = ImageChops.offset(picture, 2, 0)
    moved.paste(picture.crop((0, 0, 1, picture.height)).resize((2, picture.height)), (0, 0))
    return moved


def unchanged(picture, folder):
    return picture


def plant(crops, folder, leak=unchanged, generator=coloured):
    """A pair set of coloured crops with a leak in every fake, made by the real command."""
    for side in ("real", "fake"):
        (folder / side).mkdir(parents=True)
    for path in crops[:N]:
        shutil.copy(path, folder / "real")
        leak(generator(Image.open(path)), folder).save(folder / "fake" / path.name)
    sides = ["--real", folder / "real", "--fake", folder / "fake", "--condition", "theirs"]
    code, output = run("pairs", "import", *sides, "--out", folder / "set")
    assert code == 0, output
    return folder / "set"


def check(folder, *options):
    code, output = run("pairs", "check", folder, "--json", *options)
    answer = json.loads(output)
    assert code == (answer["verdict"] == "failure")
    return {one["name"]: one for one in (*answer["cues"], *answer["findings"])}


@pytest.fixture(scope="module")
def clean(crops, tmp_path_factory):
    """What is found without a leak."""
    return check(plant(crops, tmp_path_factory.mktemp("clean")))


@pytest.mark.parametrize(("leak", "name"), [(jpeg, "jpeg grid"), (bordered, "border"), (shifted, "alignment")])
def test_planted_leak_is_found_by_name(crops, clean, tmp_path, leak, name):
    assert clean[name]["verdict"] == "pass"
    found = check(plant(crops, tmp_path, leak))[name]
    assert found["verdict"] == "failure"
    assert found["accuracy"] > 0.9
    assert found["low"] > 0.75
    assert found["cause"] == "road"


def test_fakes_that_are_one_percent_brighter_are_found_by_name(crops, tmp_path):
    found = check(plant(crops, tmp_path, brighter, generator=lambda picture: picture))
    assert found["mean luminance"]["verdict"] == "failure"
    assert found["mean luminance"]["accuracy"] > 0.95
    assert found["alignment"]["verdict"] == "pass"


def test_exif_left_in_is_found_by_name(crops, tmp_path):
    folder = plant(crops, tmp_path)
    content = json.loads((folder / "manifest.json").read_text())
    exif = Image.Exif()
    exif[0x010E] = "made by a generator"
    pair = content["pairs"][3]
    with Image.open(folder / pair["fake"]["file"]) as picture:
        picture.save(folder / pair["fake"]["file"], exif=exif)
    pair["fake"]["sha256"] = sha256_hex((folder / pair["fake"]["file"]).read_bytes())
    write_manifest(folder, json.dumps(content))
    found = check(folder)["metadata"]
    assert found["verdict"] == "failure"
    assert "eXIf" in found["explanation"]


def test_import_leaves_metadata_behind(crops, tmp_path):
    noted = PngImagePlugin.PngInfo()
    noted.add_text("comment", "made by a generator")
    sides = [tmp_path / side for side in ("real", "fake")]
    for side in sides:
        side.mkdir()
        for path in crops[:3]:
            Image.open(path).save(side / path.name, pnginfo=noted, dpi=(300, 300))
    run("pairs", "import", "--real", sides[0], "--fake", sides[1], "--condition", "c", "--out", tmp_path / "set")
    assert check(tmp_path / "set")["metadata"]["verdict"] == "pass"


def test_photo_trained_on_and_shown_is_found(crops, tmp_path):
    folder = plant(crops, tmp_path)
    train = tmp_path / "train"
    train.mkdir()
    for path in crops[N:60]:
        shutil.copy(path, train)
    assert check(folder, "--train-photos", train)["trained on"]["verdict"] == "pass"
    shutil.copy(crops[4], train / "under another name.png")
    Image.open(crops[7]).resize((80, 80)).save(train / "again.jpg", quality=60)
    found = check(folder, "--train-photos", train)["trained on"]
    assert found["verdict"] == "failure"
    hashes = [sha256_hex(crops[i].read_bytes())[:12] for i in (4, 7)]
    assert sorted(id_ for case in found["cases"] for id_ in case["pairs"]) == sorted(hashes)
    details = {case["pairs"][0]: case["detail"] for case in found["cases"]}
    assert details[hashes[0]] == "is the same file as under another name.png"
    assert details[hashes[1]].startswith("looks like again.jpg")


def test_run_says_which_of_a_folders_photos_were_trained_on(crops, tmp_path):
    folder = plant(crops, tmp_path)
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    rows = [(path, sha256_hex(path.read_bytes())) for path in crops[:60]]
    lines = [f"{path.name},{sha},{sha},{'train' if i >= N else 'held-out'},," for i, (path, sha) in enumerate(rows)]
    (run_folder / "photos.csv").write_text("\n".join(["file,sha256,source_sha256,side,left_out,row", *lines]))
    assert check(folder, "--run", run_folder)["trained on"]["verdict"] == "pass"
    everything = ["--train-photos", crops[0].parent]
    assert check(folder, *everything)["trained on"]["verdict"] == "failure"
    assert check(folder, *everything, "--run", run_folder)["trained on"]["verdict"] == "pass"
    (run_folder / "photos.csv").write_text(
        "\n".join(["file,sha256,source_sha256,side,left_out,row", lines[0].replace("held-out", "train")])
    )
    found = check(folder, "--run", run_folder)["trained on"]
    assert [case["detail"] for case in found["cases"]] == ["the very file was trained on"]
    with pytest.raises(PhotoError, match=r"photos.csv cannot be read \(No such file.*\); give a run's folder"):
        read_trained(tmp_path)


def test_two_near_identical_photos_are_found(crops, tmp_path):
    for side in ("real", "fake"):
        (tmp_path / side).mkdir()
        for path in crops[:20]:
            shutil.copy(path, tmp_path / side)
        Image.open(crops[5]).save(tmp_path / side / "twin.png", dpi=(72, 72))
    Image.open(crops[5]).save(tmp_path / "twin.jpg", quality=80)
    Image.open(tmp_path / "twin.jpg").save(tmp_path / "real" / "twin.png")
    run(
        "pairs",
        "import",
        "--real",
        tmp_path / "real",
        "--fake",
        tmp_path / "fake",
        "--condition",
        "c",
        "--out",
        tmp_path / "set",
    )
    found = check(tmp_path / "set")["near-duplicates"]
    assert found["verdict"] == "warning"
    twins = {
        sha256_hex(path.read_bytes())[:12]
        for path in (tmp_path / "real" / "twin.png", tmp_path / "real" / crops[5].name)
    }
    assert [set(case["pairs"]) for case in found["cases"]] == [twins]


def test_pairs_that_nobody_could_judge_are_listed(crops, tmp_path):
    folder = plant(crops[:12], tmp_path / "a", lambda picture, _: picture)
    content = json.loads((folder / "manifest.json").read_text())
    for pair, change in zip(content["pairs"][:2], ("gray", "same"), strict=True):
        real = Image.open(folder / pair["real"]["file"])
        real = real.convert("L").convert("RGB") if change == "gray" else real
        for role, picture in (("real", real), ("fake", real if change == "same" else real.point(lambda v: v // 2))):
            data = encode_png(picture)
            (folder / pair[role]["file"]).write_bytes(data)
            pair[role]["sha256"] = sha256_hex(data)
    write_manifest(folder, json.dumps(content))
    found = check(folder)
    ids = [pair["id"] for pair in content["pairs"]]
    assert [case["pairs"] for case in found["monochrome"]["cases"]] == [[ids[0]]]
    assert [case["pairs"] for case in found["nearly identical"]["cases"]] == [[ids[1]]]
    assert found["monochrome"]["verdict"] == found["nearly identical"]["verdict"] == "warning"


def test_clean_sets_of_photographs_pass_in_nearly_every_split(crops):
    """Different photographs put at random on the real and the fake side: at most one of 20 gives a warning."""
    pictures = [Image.open(path).convert("RGB") for path in crops]
    pixels = [np.asarray(picture) for picture in pictures]
    cues = [measure(encode_png(picture), own) for picture, own in zip(pictures, pixels, strict=True)]
    alarms = 0
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(len(crops))
        sides = list(zip(order[: len(order) // 2], order[len(order) // 2 :], strict=False))
        rows = [(str(i), cues[a], cues[b], relate(pixels[a], pixels[b])) for i, (a, b) in enumerate(sides)]
        found = search(CueTable.of(rows), seed=seed)
        alarms += any(cue.verdict in ("warning", "failure", "content") for cue in found.cues)
    assert alarms <= 1


def test_design_accepts_a_cue_by_name(crops, tmp_path):
    folder = plant(crops, tmp_path, bordered)
    (tmp_path / "study.toml").write_text(
        'title = "T"\n[trials]\nmain = 4\n[conditions]\ntheirs = "set"\n[pairs]\naccept = ["border", "all road cues"]\n'
    )
    found = check(folder, "--design", tmp_path / "study.toml")
    assert found["border"]["verdict"] == "accepted"
    assert check(folder, "--accept", "border")["border"]["verdict"] == "accepted"
    code, output = run_main("pairs", "check", folder, "--accept", "boarder")
    assert code == 2
    assert "cannot accept 'boarder': there is no such cue; the cues are file size, " in output


def run_main(*arguments):
    import contextlib
    import io

    import realism

    stream = io.StringIO()
    with contextlib.redirect_stderr(stream), pytest.raises(SystemExit, match="^2$") as stopped:
        realism.main([str(argument) for argument in arguments])
    return stopped.value.code, stream.getvalue()


def test_sides_that_were_resized_unequally_make_blur_an_error_of_the_road(crops, tmp_path):
    for side in ("real", "fake"):
        (tmp_path / side).mkdir()
    for path in crops[:N]:
        picture = Image.open(path)
        shutil.copy(path, tmp_path / "real")
        picture.resize((48, 48)).save(tmp_path / "fake" / path.name)
    sides = ["--real", tmp_path / "real", "--fake", tmp_path / "fake", "--condition", "small"]
    run("pairs", "import", *sides, "--out", tmp_path / "set")
    assert unequal_road(read_manifest(tmp_path / "set")) == f"{N} of {N} reals and 0 of {N} fakes were reduced in size"
    assert {cue.cause for cue in check_pairset(tmp_path / "set").cues} == {"road"}


def test_text_names_verdicts_and_cases(crops, tmp_path):
    folder = plant(crops, tmp_path, bordered)
    code, output = run("pairs", "check", folder)
    assert code == 1
    assert f"{folder}: {N} pairs of condition theirs, 96x96; all verify" in output
    assert "Verdict: failure" in output
    assert "failure: border. The fake" in output


def test_generator_that_keeps_luma_is_no_error_of_the_road_and_a_brighter_one_is(crops, clean, tmp_path):
    """It moves lightness with every colour, as one that keeps lightness moves luma."""
    assert clean["mean luminance"]["verdict"] == "pass"
    found = check(plant(crops, tmp_path, brighter))["mean luminance"]
    assert found["verdict"] == "failure"


def test_few_pairs_are_told_for_what_they_are(crops, tmp_path):
    found = check(plant(crops[:8], tmp_path, bordered))
    assert found["border"]["verdict"] == "pass"
    assert found["number of pairs"]["verdict"] == "warning"
    assert "8 pairs cannot tell any difference from chance" in found["number of pairs"]["explanation"]


def test_large_set_is_measured_in_part_and_read_whole(crops, tmp_path, monkeypatch):
    folder = plant(crops, tmp_path, bordered)
    monkeypatch.setattr("pairs.check.MOST_MEASURED", 20)
    found = check_pairset(folder)
    cues = {cue.name: cue for cue in found.cues}
    assert (cues["border"].n_pairs, cues["border"].verdict) == (20, "failure")
    assert cues["alignment"].n_pairs > 20
    assert f"The cues in pixels and sizes are those of 20 of the {N} pairs, evenly taken." in found.notes
