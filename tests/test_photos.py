import hashlib
import shutil

import numpy as np
import pytest
from photographs import write_photos
from pictures import colourful
from PIL import Image

from train.photos import (
    PhotoError,
    Split,
    find_photos,
    is_held_out,
    never_trained_on,
    open_photo,
    read_pictures,
    split_photos,
    square_picture,
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


def test_file_that_is_no_picture_is_named(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"not a picture")
    with pytest.raises(PhotoError, match=r"x.jpg cannot be decoded \(not a picture\); remove it or replace it"):
        open_photo(tmp_path / "x.jpg")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_truncated_file_is_named(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    colourful(0, 64).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(PhotoError, match=rf"x.{suffix} cannot be decoded \(.+\); remove it or replace it"):
        open_photo(path)


def test_photo_is_turned_upright(tmp_path):
    picture = Image.new("RGB", (8, 4), "red")
    exif = picture.getexif()
    exif[0x0112] = 6  # orientation: turn a quarter clockwise
    picture.save(tmp_path / "x.jpg", exif=exif)
    assert open_photo(tmp_path / "x.jpg").size == (4, 8)


def test_square_picture_is_the_middle():
    picture = Image.new("RGB", (30, 10), "red")
    picture.paste("blue", (10, 0, 20, 10))
    square = square_picture(picture, 5)
    assert square.size == (5, 5)
    assert np.abs(np.asarray(square) - np.array([0, 0, 255])).max() < 20


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


def test_unreadable_photo_stops_the_reading(tmp_path):
    write_photos(tmp_path, 2)
    (tmp_path / "bad.jpg").write_bytes(b"")
    with pytest.raises(PhotoError, match=r"bad.jpg cannot be decoded"):
        read_pictures(find_photos(tmp_path), 16)


def test_digest_tells_the_sides_apart(tmp_path):
    a, b = find_photos(write_photos(tmp_path, 2))
    assert Split((a,), (b,)).digest() != Split((b,), (a,)).digest() != Split((a, b), ()).digest()
