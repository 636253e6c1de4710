import csv
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from photographs import write_photos
from pictures import colourful
from PIL import Image

from pairs.road import PhotoError
from train.cache import read_pictures
from train.photos import (
    Split,
    find_photos,
    freeze_split,
    is_held_out,
    never_trained_on,
    side_of,
    split_photos,
    unsuitable,
)


def hashes(photos):
    return {photo.sha256 for photo in photos}


def test_split_follows_the_bytes_and_not_the_names(tmp_path):
    first = split_photos(find_photos(write_photos(tmp_path / "a")), 0.4)
    for number, path in enumerate(sorted((tmp_path / "a").iterdir())):
        renamed = tmp_path / "b" / str(number % 3) / f"{99 - number}.PNG"
        renamed.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, renamed)
    second = split_photos(find_photos(tmp_path / "b"), 0.4)
    assert hashes(first.train) == hashes(second.train)
    assert first.digest() == second.digest()
    assert first.train
    assert first.held_out


def test_photo_keeps_its_side_when_others_are_added(tmp_path):
    before = split_photos(find_photos(write_photos(tmp_path, 10)), 0.4)
    after = split_photos(find_photos(write_photos(tmp_path, 20)), 0.4)
    assert hashes(before.train) <= hashes(after.train)
    assert hashes(before.held_out) <= hashes(after.held_out)
    assert before.digest() != after.digest()


def test_held_out_side_is_the_stated_fraction_of_many_hashes():
    many = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(4000)]
    assert np.mean([is_held_out(sha256, 0.2) for sha256 in many]) == pytest.approx(0.2, abs=0.025)
    assert is_held_out("0" * 64, 0.001)
    assert not is_held_out("f" * 64, 0.999)
    assert is_held_out("7" + "f" * 63, 0.5)
    assert not is_held_out("8" + "0" * 63, 0.5)


def test_crops_of_one_photograph_stand_on_one_side(tmp_path):
    write_photos(tmp_path, 12)
    names = sorted(path.name for path in tmp_path.iterdir())
    sources = {name: ("0" if number < 6 else "f") * 64 for number, name in enumerate(names)}
    table = "".join(f"{name},{source},any\n" for name, source in sources.items())
    (tmp_path / "sources.csv").write_text("file,source_sha256,licence\n" + table)
    split = split_photos(find_photos(tmp_path), 0.5)
    assert {photo.path.name for photo in split.held_out} == set(names[:6])
    assert {photo.path.name for photo in split.train} == set(names[6:])


def test_photo_that_sources_csv_does_not_name_is_refused(tmp_path):
    write_photos(tmp_path, 2)
    (tmp_path / "sources.csv").write_text(f"file,source_sha256\nphoto-000.png,{'a' * 64}\n")
    with pytest.raises(PhotoError, match=r"photo-001.png has no line in .*sources.csv; add one"):
        find_photos(tmp_path)


@pytest.mark.parametrize("row", ["photo-000.png,abc", "photo-000.png", ",".join(["", "a" * 64])])
def test_bad_line_of_sources_csv_is_named(tmp_path, row):
    write_photos(tmp_path, 1)
    (tmp_path / "sources.csv").write_text(f"file,source_sha256\n{row}\n")
    with pytest.raises(PhotoError, match=r"sources.csv: line 2 is .*each line needs"):
        find_photos(tmp_path)


@pytest.mark.parametrize("content", [b"file,source_sha256\n\xff\xfe,a\n", b"file,source_sha256\n" + b"a" * 200_000])
def test_sources_csv_that_is_no_table_is_named(tmp_path, content):
    write_photos(tmp_path, 1)
    (tmp_path / "sources.csv").write_bytes(content)
    with pytest.raises(PhotoError, match=r"sources.csv cannot be read \(.+\); make it a UTF-8 table, or remove it"):
        find_photos(tmp_path)


def test_sources_csv_that_is_a_folder_is_named(tmp_path):
    write_photos(tmp_path, 1)
    (tmp_path / "sources.csv").mkdir()
    with pytest.raises(PhotoError, match=r"sources.csv cannot be read \(Is a directory\); make it a UTF-8 table"):
        find_photos(tmp_path)


def test_photo_cut_from_a_trained_photograph_counts_as_trained_on(tmp_path):
    a, b, c = find_photos(write_photos(tmp_path, 3))
    crop = type(c)(c.path, c.sha256, a.sha256)
    assert never_trained_on((a, b, crop), frozenset({a.sha256})) == (b,)
    assert never_trained_on((a, b, crop), frozenset({crop.sha256})) == (a, b)


def test_equal_files_count_once(tmp_path):
    write_photos(tmp_path, 2)
    shutil.copy(tmp_path / "photo-000.png", tmp_path / "again.png")
    assert len(find_photos(tmp_path)) == 2


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(PhotoError, match=r"nowhere does not exist; give a folder"):
        find_photos(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("no photo")
    with pytest.raises(PhotoError, match="holds no photograph"):
        find_photos(tmp_path)
    with pytest.raises(PhotoError, match=r"notes.txt is not a folder"):
        find_photos(tmp_path / "notes.txt")


def test_small_and_colourless_photos_are_left_out_with_the_reason(tmp_path):
    write_photos(tmp_path, 3, size=24)
    colourful(0, 12).save(tmp_path / "small.png")
    colourful(1, 24).convert("L").save(tmp_path / "gray.jpg")
    found = find_photos(tmp_path)
    pictures = read_pictures(found, 16)
    assert pictures.pixels.shape == (3, 16, 16, 3)
    assert pictures.pixels.dtype == np.uint8
    reasons = {photo.path.name: reason for photo, reason in pictures.left_out}
    assert reasons == {"small.png": "is 12x12, smaller than 16 pixels", "gray.jpg": "has no colour"}


def test_photo_with_one_coloured_spot_has_colour():
    picture = Image.new("RGB", (16, 16), "gray")
    assert unsuitable(picture, 16) == "has no colour"
    picture.putpixel((3, 3), (200, 0, 0))
    assert unsuitable(picture, 16) is None


def test_broken_photos_are_left_out_with_the_reason(tmp_path):
    write_photos(tmp_path, 2)
    (tmp_path / "bad.jpg").write_bytes(b"")
    pictures = read_pictures(find_photos(tmp_path), 16)
    assert {photo.path.name for photo in pictures.photos} == {"photo-000.png", "photo-001.png"}
    reasons = [(photo.path.name, why) for photo, why in pictures.left_out]
    assert reasons == [("bad.jpg", "cannot be decoded (the file is empty)")]


def test_digest_tells_the_sides_apart(tmp_path):
    a, b = find_photos(write_photos(tmp_path, 2))
    assert Split((a,), (b,)).digest() != Split((b,), (a,)).digest() != Split((a, b), ()).digest()


def test_frozen_split_holds_whatever_fraction_is_asked_for_later(tmp_path):
    before = split_photos(find_photos(write_photos(tmp_path)), 0.4)
    assert freeze_split(tmp_path, before) == tmp_path / "split.csv"
    for held_out in (0.001, 0.4, 0.999):
        after = split_photos(find_photos(tmp_path), held_out)
        assert (hashes(after.train), hashes(after.held_out)) == (hashes(before.train), hashes(before.held_out))
        assert after.digest() == before.digest()


def test_frozen_split_is_a_table_that_other_software_reads(tmp_path):
    split = split_photos(find_photos(write_photos(tmp_path, 12)), 0.4)
    with freeze_split(tmp_path, split).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["source_sha256"] for row in rows if row["side"] == "train"} == hashes(split.train)
    assert {row["source_sha256"] for row in rows if row["side"] == "held-out"} == hashes(split.held_out)
    assert sorted(row["file"] for row in rows) == sorted(path.name for path in tmp_path.glob("*.png"))


def test_split_is_frozen_once(tmp_path):
    found = find_photos(write_photos(tmp_path))
    table = freeze_split(tmp_path, split_photos(found, 0.4))
    frozen = table.read_bytes()
    with pytest.raises(PhotoError, match=r"split.csv exists: the split is frozen already; remove it to draw a new one"):
        freeze_split(tmp_path, split_photos(found, 0.8))
    assert table.read_bytes() == frozen


def test_split_that_cannot_be_written_is_named_and_leaves_no_part_of_a_table(tmp_path, monkeypatch):
    split = split_photos(find_photos(write_photos(tmp_path)), 0.4)
    before = sorted(tmp_path.iterdir())

    def full(path, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(PhotoError, match=r"split.csv cannot be written \(No space left on device\); make room"):
        freeze_split(tmp_path, split)
    assert sorted(tmp_path.iterdir()) == before


def test_photos_added_to_a_frozen_folder_are_placed_by_their_hash(tmp_path):
    before = split_photos(find_photos(write_photos(tmp_path, 10)), 0.999)  # all held out
    freeze_split(tmp_path, before)
    assert not before.train
    write_photos(tmp_path, 10, first=10)
    after = split_photos(find_photos(tmp_path), 0.4)
    assert hashes(before.held_out) <= hashes(after.held_out)
    added = {sha256 for sha256 in hashes(after.train + after.held_out) if sha256 not in hashes(before.held_out)}
    assert len(added) == 10
    assert hashes(after.train) == {sha256 for sha256 in added if not is_held_out(sha256, 0.4)} != set()


def test_crops_follow_the_frozen_side_of_their_photograph(tmp_path):
    write_photos(tmp_path, 4)
    a, b = "0" * 64, "f" * 64  # by their hashes a is held out, b trained on: frozen, it is the other way round
    (tmp_path / "sources.csv").write_text(
        "file,source_sha256\n" + "".join(f"photo-00{n}.png,{a if n < 2 else b}\n" for n in range(4))
    )
    assert side_of(find_photos(tmp_path)[0], 0.5) == (
        "held-out" if find_photos(tmp_path)[0].source_sha256 == a else "train"
    )
    (tmp_path / "split.csv").write_text(f"source_sha256,side\n{a},train\n{b},held-out\n")
    split = split_photos(find_photos(tmp_path), 0.5)
    assert {photo.path.name for photo in split.train} == {"photo-000.png", "photo-001.png"}
    assert {photo.path.name for photo in split.held_out} == {"photo-002.png", "photo-003.png"}


def test_freezing_writes_one_line_for_each_photograph_and_not_for_each_crop(tmp_path):
    write_photos(tmp_path, 4)
    (tmp_path / "sources.csv").write_text(
        "file,source_sha256\n" + "".join(f"photo-00{n}.png,{'0f'[n > 1] * 64}\n" for n in range(4))
    )
    table = freeze_split(tmp_path, split_photos(find_photos(tmp_path), 0.5))
    assert len(table.read_text().splitlines()) == 3


@pytest.mark.parametrize("row", ["abc,train", f"{'a' * 64},test", f"{'a' * 64}", f"{'A' * 64},train", ",held-out"])
def test_bad_line_of_split_csv_is_named_by_its_number_in_the_file(tmp_path, row):
    write_photos(tmp_path, 1)
    (tmp_path / "split.csv").write_text(f"source_sha256,side\n{'b' * 64},train\n\n{row}\n")
    with pytest.raises(PhotoError, match=r"split.csv: line 4 is .*each line needs 'source_sha256' .* and 'side'"):
        find_photos(tmp_path)


def test_photograph_on_two_frozen_sides_is_named(tmp_path):
    write_photos(tmp_path, 1)
    (tmp_path / "split.csv").write_text(f"source_sha256,side\n{'b' * 64},train\n{'b' * 64},held-out\n")
    with pytest.raises(PhotoError, match=r"split.csv: line 3 puts b+ on a second side; keep one line"):
        find_photos(tmp_path)


def test_frozen_split_saved_by_a_spreadsheet_still_holds(tmp_path):
    before = split_photos(find_photos(write_photos(tmp_path)), 0.4)
    table = freeze_split(tmp_path, before)
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes().replace(b"\n", b"\r\n"))  # byte-order mark, Windows' lines
    assert split_photos(find_photos(tmp_path), 0.9).digest() == before.digest()
