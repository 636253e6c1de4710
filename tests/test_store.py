"""The store of pictures: whatever it holds, participants get one form at one length, and exports the files as they were."""

import io
import os
from pathlib import Path

import pytest
from pictures import colourful
from PIL import Image

from protocol.encoding import Encoder, encode_png
from protocol.pairset import sha256_hex
from protocol.place import Place
from study_app import store as store_module
from study_app.config import ConfigError, find_config
from study_app.store import RecentPictures, StoreError, check_store, get_image, get_served, has_image, put_image


@pytest.fixture(params=["folder", "memory"])
def store(request, tmp_path):
    """A folder, and what lies behind an address."""
    return Place(tmp_path / "store" if request.param == "folder" else f"memory://{tmp_path.name}/store")


def compressed(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def test_no_file_tells_when_it_came(tmp_path):
    """Photographs may be older than their fakes, and a web server may be asked for dates."""
    store = Place(tmp_path / "store")
    for seed in range(2):
        put_image(store, compressed(colourful(seed)))
    assert {path.stat().st_mtime for path in (tmp_path / "store").rglob("*") if path.is_file()} == {0.0}


def test_every_encoding_is_served_as_the_same_pixels_at_one_length(store):
    encodings = [compressed, *(Encoder(name).encode for name in ("png", "webp", "jpeg"))]
    files = [encode(colourful(seed)) for seed, encode in enumerate(encodings)]
    hashes = [put_image(store, data) for data in files]
    served = get_served(store, hashes)
    assert len({len(data) for data in served}) == 1
    for sha256, data, sent in zip(hashes, files, served, strict=True):
        assert get_image(store, sha256) == data
        assert Image.open(io.BytesIO(sent)).tobytes() == Image.open(io.BytesIO(data)).convert("RGB").tobytes()


def test_picture_that_is_served_as_it_is_is_kept_once(store):
    put_image(store, encode_png(colourful(1)))
    assert len(store.names()) == 1
    put_image(store, compressed(colourful(1)))
    assert len(store.names()) == 3


def test_store_knows_what_it_has(store):
    data = encode_png(colourful(1))
    check_store(store)  # one that is empty yet
    assert not has_image(store, sha256_hex(data))
    put_image(store, data)
    assert has_image(store, sha256_hex(data))
    check_store(store)


def test_picture_without_its_served_form_is_served_all_the_same(store):
    sha256 = put_image(store, compressed(colourful(1)))
    system, path = store.path_of(f"{sha256[:2]}/{sha256}.png")
    system.rm_file(path)
    assert get_served(store, [sha256]) == [encode_png(colourful(1))]


def test_missing_and_changed_pictures_are_told(store):
    with pytest.raises(StoreError, match="picture .*/ab/abc cannot be read .*; restore the store from its backup"):
        get_image(store, "abc")
    with pytest.raises(StoreError, match="picture .*/ab/abc cannot be read"):
        get_served(store, ["abc"])
    sha256 = put_image(store, compressed(colourful(1)))
    system, path = store.path_of(f"{sha256[:2]}/{sha256}")
    system.rm_file(path)  # what is served is another file
    with pytest.raises(StoreError, match="is missing or has changed; restore the store from its backup"):
        get_image(store, sha256)


def test_write_that_is_stopped_leaves_nothing_that_counts(tmp_path, monkeypatch):
    store, data = Place(tmp_path), encode_png(colourful(1))

    def stop(handle: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", stop)
        with pytest.raises(KeyboardInterrupt, match="^$"):
            put_image(store, data)
    assert not has_image(store, sha256_hex(data))
    put_image(store, data)
    assert get_image(store, sha256_hex(data)) == data


def counted(monkeypatch) -> list[list[str]]:
    """The hashes of each question that goes to the store from now on."""
    asked = []

    def get(store, hashes):
        asked.append(list(hashes))
        return get_served(store, hashes)

    monkeypatch.setattr(store_module, "get_served", get)
    return asked


def test_far_pictures_come_by_the_pair_and_stay_while_there_is_room(tmp_path, monkeypatch):
    store = Place(f"memory://{tmp_path.name}")
    hashes = [put_image(store, encode_png(colourful(seed))) for seed in range(6)]
    pairs = [tuple(hashes[i : i + 2]) for i in (0, 2, 4)]
    size = len(encode_png(colourful(0)))
    asked = counted(monkeypatch)
    pictures = RecentPictures(store, recent_bytes=4 * size)
    for real, fake in (*pairs[:2], pairs[0]):
        assert pictures.get(real, fake) == get_served(store, [real])[0]
        assert pictures.get(fake, real) == get_served(store, [fake])[0]
    assert asked == [sorted(pair) for pair in pairs[:2]]
    for first, second, questions in ((*pairs[2], 3), (*pairs[0], 3), (*pairs[1], 4)):  # the second was longest unused
        pictures.get(first, second)
        assert len(asked) == questions


def test_a_shared_real_picture_is_no_sooner_at_hand_than_its_fakes(tmp_path, monkeypatch):
    store = Place(f"memory://{tmp_path.name}")
    real, cgan, wgan = (put_image(store, encode_png(colourful(seed))) for seed in range(3))
    asked = counted(monkeypatch)
    pictures = RecentPictures(store)
    pictures.get(real, cgan)
    pictures.get(real, wgan)
    assert len(asked) == 2


def test_pair_larger_than_the_room_is_sent_and_not_kept(tmp_path):
    store = Place(f"memory://{tmp_path.name}")
    real, fake = (put_image(store, encode_png(colourful(seed))) for seed in range(2))
    pictures = RecentPictures(store, recent_bytes=1)
    assert [pictures.get(real, fake) for _ in range(2)] == get_served(store, [real, real])


def test_store_is_told_by_option_then_environment_then_instance(tmp_path, monkeypatch):
    assert str(find_config(instance=tmp_path).store) == str(tmp_path / "store")
    monkeypatch.setenv("REALISM_STORE", "s3://bucket/studies")
    assert str(find_config(instance=tmp_path).store) == "s3://bucket/studies"
    assert str(find_config(instance=tmp_path, store="memory://x").store) == "memory://x"
    monkeypatch.chdir(tmp_path)
    assert str(find_config(store="pictures").store) == str(Path.cwd() / "pictures")
    assert str(find_config(store=f"file://{tmp_path}/x").store) == str(tmp_path / "x")


def test_store_in_a_zip_is_refused():
    with pytest.raises(
        ConfigError, match="the store cannot be a zip, such as pictures.zip; give a folder or an address"
    ):
        find_config(store="pictures.zip")


def test_address_of_no_known_kind_is_told():
    with pytest.raises(StoreError, match="the store nowhere://x: Protocol not known: nowhere"):
        check_store(Place("nowhere://x"))
