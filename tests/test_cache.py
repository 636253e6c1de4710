import dataclasses
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from photographs import SMALL, write_photos
from pictures import colourful

from pairs.road import PhotoError
from train import cache as cache_module
from train.cache import read_pictures, usable_cache
from train.photos import find_photos
from train.training_photos import load_photos

ROOT = Path(cache_module.__file__).parents[1]


@pytest.fixture
def folder(tmp_path):
    """Six good photos, and one of each kind that is left out."""
    photos = write_photos(tmp_path / "photos", 6)
    colourful(90, 12).save(photos / "small.png")
    colourful(91, 24).convert("L").save(photos / "gray.png")
    (photos / "bad.jpg").write_bytes(b"no picture")
    whole = (photos / "photo-000.png").read_bytes()
    (photos / "torn.png").write_bytes(whole[: len(whole) // 2])
    return photos


def count_decoded(monkeypatch):
    decoded = []
    open_photo = cache_module.open_photo
    monkeypatch.setattr(cache_module, "open_photo", lambda path: decoded.append(path) or open_photo(path))
    return decoded


def same(a, b):
    return a.photos == b.photos and a.left_out == b.left_out and np.array_equal(a.pixels, b.pixels)


def files(cache):
    return sorted(path.name for path in cache.iterdir())


def test_photos_are_decoded_once(folder, tmp_path, monkeypatch):
    decoded = count_decoded(monkeypatch)
    found = find_photos(folder)
    first = read_pictures(found, 16, cache=tmp_path / "cache")
    assert len(decoded) == len(found)
    again = read_pictures(found, 16, cache=tmp_path / "cache")
    assert len(decoded) == len(found)
    assert same(first, again)


def test_pictures_are_the_same_with_and_without_a_cache(folder, tmp_path):
    found = find_photos(folder)
    without = read_pictures(found, 16, stored_size=20)
    for _ in range(2):
        assert same(read_pictures(found, 16, stored_size=20, cache=tmp_path), without)
    assert without.pixels.shape == (6, 20, 20, 3)
    assert len({pixels.tobytes() for pixels in without.pixels}) == 6


def test_whole_folder_is_the_same_with_and_without_a_cache(folder, tmp_path):
    config = dataclasses.replace(SMALL, zoom=1.25)
    without, *cached = (load_photos(folder, config, cache=cache) for cache in (None, tmp_path, tmp_path))
    for photos in cached:
        assert (photos.train == without.train).all()
        assert (photos.held_out == without.held_out).all()
        assert (photos.left_out, photos.table, photos.provenance) == (
            without.left_out,
            without.table,
            without.provenance,
        )
    assert without.train.shape[1:] == (20, 20, 3)
    assert without.held_out.shape[1:] == (3, 16, 16)


def test_left_out_photos_keep_their_reasons_in_the_cache(folder, tmp_path, monkeypatch):
    read_pictures(find_photos(folder), 16, cache=tmp_path)
    monkeypatch.setattr(cache_module, "open_photo", None)  # the second reading opens nothing
    reasons = {p.path.name: why for p, why in read_pictures(find_photos(folder), 16, cache=tmp_path).left_out}
    assert reasons.pop("torn.png").startswith("cannot be decoded (")
    assert reasons == {
        "small.png": "is 12x12, smaller than 16 pixels",
        "gray.png": "has no colour",
        "bad.jpg": "cannot be decoded (not a picture)",
    }


def test_folder_of_nothing_but_left_out_photos_is_cached_too(tmp_path):
    colourful(0, 12).save(tmp_path / "small.png")
    for _ in range(2):
        pictures = read_pictures(find_photos(tmp_path), 16, cache=tmp_path / "cache")
        assert pictures.pixels.shape == (0, 16, 16, 3)
        assert [why for _, why in pictures.left_out] == ["is 12x12, smaller than 16 pixels"]


def test_other_sizes_and_changed_photos_get_caches_of_their_own(folder, tmp_path):
    found = find_photos(folder)
    for size, stored_size in ((16, None), (16, 20), (20, None)):
        read_pictures(found, size, stored_size=stored_size, cache=tmp_path / "cache")
    assert len(files(tmp_path / "cache")) == 6
    before = read_pictures(found, 16, cache=tmp_path / "cache")
    colourful(77, 24).save(folder / "photo-000.png")
    changed = read_pictures(find_photos(folder), 16, cache=tmp_path / "cache")
    assert len(files(tmp_path / "cache")) == 8
    assert not np.array_equal(before.pixels, changed.pixels)
    assert same(changed, read_pictures(find_photos(folder), 16))


def test_renamed_photos_share_a_cache(folder, tmp_path, monkeypatch):
    read_pictures(find_photos(folder), 16, cache=tmp_path / "cache")
    folder.rename(tmp_path / "renamed")
    decoded = count_decoded(monkeypatch)
    pictures = read_pictures(find_photos(tmp_path / "renamed"), 16, cache=tmp_path / "cache")
    assert len(pictures.photos) == 6
    assert decoded == []


def test_decoding_stopped_in_the_middle_leaves_nothing(folder, tmp_path):
    def stopped(chunks):
        yield from chunks
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="^$"):
        read_pictures(find_photos(folder), 16, cache=tmp_path / "cache", progress=stopped)
    assert files(tmp_path / "cache") == []


def test_cache_killed_in_the_middle_is_not_taken_for_whole(folder, tmp_path):
    script = """
        import os, signal, sys
        from pathlib import Path
        from train.cache import read_pictures, usable_cache
        from train.photos import find_photos

        def killed(chunks):
            yield from chunks
            os.kill(os.getpid(), signal.SIGKILL)

        read_pictures(find_photos(Path(sys.argv[1])), 16, cache=Path(sys.argv[2]), progress=killed)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(folder), str(tmp_path / "cache")]
    assert subprocess.run(command, cwd=ROOT, timeout=120).returncode == -signal.SIGKILL
    assert [name[0] for name in files(tmp_path / "cache")] == ["."]  # what it had begun
    found = find_photos(folder)
    assert same(read_pictures(found, 16, cache=tmp_path / "cache"), read_pictures(found, 16))


def test_pixels_without_an_index_are_made_again(folder, tmp_path):
    found = find_photos(folder)
    expected = read_pictures(found, 16)
    read_pictures(found, 16, cache=tmp_path / "cache")
    for gone in ("*.json", "*.pixels"):
        next((tmp_path / "cache").glob(gone)).unlink()
        next((tmp_path / "cache").iterdir()).write_bytes(b'{"used": [], "left_out": []}')
        assert same(read_pictures(found, 16, cache=tmp_path / "cache"), expected)


@pytest.mark.parametrize("change", [lambda pixels: pixels[:-1], lambda pixels: b"", lambda pixels: pixels + b"x"])
def test_cache_of_another_length_is_one_clear_error_and_is_made_again_once_removed(folder, tmp_path, change):
    found, cache = find_photos(folder), tmp_path / "cache"
    expected = read_pictures(found, 16)
    read_pictures(found, 16, cache=cache)
    pixels, index = next(cache.glob("*.pixels")), next(cache.glob("*.json"))
    pixels.write_bytes(change(pixels.read_bytes()))
    with pytest.raises(
        PhotoError, match=rf"cache .*{index.name} is damaged \(\d+ bytes .*\); remove it, and it is made"
    ):
        read_pictures(found, 16, cache=cache)
    index.unlink()
    assert same(read_pictures(found, 16, cache=cache), expected)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b'{"used": [0, 1',
        b"\xff",
        b"[1]",
        b"{}",
        b"[" * 100_000,
        b'{"used": 3, "left_out": []}',
        b'{"used": [0, 1, 2, 3, 4, 99], "left_out": []}',
        b'{"used": [0, 1, 2, 3, 4, 5], "left_out": [1]}',
    ],
)
def test_damaged_index_is_one_clear_error(folder, tmp_path, said):
    found = find_photos(folder)
    read_pictures(found, 16, cache=tmp_path / "cache")
    index = next((tmp_path / "cache").glob("*.json"))
    index.write_bytes(said)
    with pytest.raises(PhotoError, match=r"cache .*json is damaged \(.+\); remove it, and it is made again"):
        read_pictures(found, 16, cache=tmp_path / "cache")


def test_cache_that_cannot_be_written_is_one_clear_error(folder, tmp_path):
    (tmp_path / "file").write_text("mine")
    for cache in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(
            PhotoError, match=r"cache .* cannot be used \(.+\); make room or choose another .*REALISM_CA"
        ):
            read_pictures(find_photos(folder), 16, cache=cache)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("room", [1000, 0])
def test_disk_that_fills_up_while_decoding_is_one_clear_error_and_leaves_nothing(folder, tmp_path, room):
    found = find_photos(folder)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(
            PhotoError, match=r"cache .* cannot be used \(File too large\); make room or choose another"
        ):
            read_pictures(found, 16, cache=tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert files(tmp_path / "cache") == []
    assert same(read_pictures(found, 16, cache=tmp_path / "cache"), read_pictures(found, 16))


def test_many_threads_keep_the_order(folder, monkeypatch):
    found = find_photos(folder)
    expected = read_pictures(found, 16)
    places = {photo.path: number for number, photo in enumerate(found)}
    open_photo, finished = cache_module.open_photo, []

    def slower_at_first(path):
        time.sleep(0.01 * (len(found) - places[path]))
        finished.append(path)
        return open_photo(path)

    monkeypatch.setattr(cache_module, "open_photo", slower_at_first)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert same(read_pictures(found, 16), expected)
    assert finished != [photo.path for photo in found]  # or the threads did not overtake each other


def test_more_photos_than_a_chunk_are_all_read_once(tmp_path):
    found = find_photos(write_photos(tmp_path, 70, size=16))
    shown = []
    pictures = read_pictures(found, 16, progress=lambda chunks: shown.extend(chunks) or chunks)
    assert pictures.photos == found
    assert [number for chunk in shown for number in chunk] == list(range(70))
    assert len(shown) == 2


def test_cache_lies_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("REALISM_CACHE", str(tmp_path / "a"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert usable_cache(print) == tmp_path / "a"
    monkeypatch.delenv("REALISM_CACHE")
    assert usable_cache(print) == tmp_path / "b" / "realism"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "c"))
    assert usable_cache(print) == tmp_path / "c/.cache/realism"


def test_home_that_cannot_be_written_is_told_and_done_without(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.delenv("REALISM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    told = []
    assert usable_cache(told.append) is None
    assert len(told) == 1
    assert "photos are held in memory" in told[0]
