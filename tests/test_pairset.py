"""Pair sets: written whole, read back only when every byte is as it was."""

import json

import pytest
from pictures import colourful, write_pictures
from PIL import Image, PngImagePlugin

from protocol.pairset import (
    PairSetError,
    Picture,
    encode_png,
    read_manifest,
    read_pairset,
    sha256_hex,
    write_manifest,
    write_pairset,
)
from protocol.whole_folder import FolderError


@pytest.fixture
def folder(tmp_path):
    write_pictures(tmp_path / "set", "cgan", n=4)
    return tmp_path / "set"


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def rewrite(folder, change):
    content = manifest(folder)
    change(content)
    write_manifest(folder, json.dumps(content))


def test_what_is_written_is_read_back(folder):
    pairset = read_pairset(folder)
    assert pairset.condition == "cgan"
    assert pairset.image_size == (48, 48)
    assert len(pairset.pairs) == 4
    assert all(pair.id == pair.photo_sha256[:12] for pair in pairset.pairs)


def test_manifest_has_exactly_the_keys_of_the_format(folder):
    content = manifest(folder)
    assert list(content) == [
        "format", "condition", "image_size", "encoding", "generator", "source", "created", "pairs",
    ]  # fmt: skip
    assert list(content["pairs"][0]) == ["id", "photo_sha256", "real", "fake", "tags"]
    assert content["format"] == "realism-pairset/1"


@pytest.mark.parametrize("role", ["real", "fake"])
def test_one_altered_byte_is_found(folder, role):
    pair = manifest(folder)["pairs"][2]
    path = folder / pair[role]["file"]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(PairSetError, match=rf"pair {pair['id']}: {role} .* has sha256 .* the manifest says"):
        read_pairset(folder)


def test_any_one_altered_byte_of_the_manifest_is_found(folder):
    data = (folder / "manifest.json").read_bytes()
    for position in range(len(data)):
        altered = bytearray(data)
        altered[position] ^= 1
        (folder / "manifest.json").write_bytes(bytes(altered))
        with pytest.raises(PairSetError, match="has sha256 .* manifest.sha256 says"):
            read_manifest(folder)


def test_pair_set_without_the_hash_of_its_manifest_is_read(folder):
    (folder / "manifest.sha256").unlink()
    assert len(read_pairset(folder).pairs) == 4


def test_replacing_spares_a_folder_that_is_no_pair_set(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years of work")
    with pytest.raises(FolderError, match="no pair set .it holds thesis.txt. and is left alone"):
        write_pictures(tmp_path / "precious", "cgan", n=2, replace=True)
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "years of work"
    write_pictures(tmp_path / "set", "cgan", n=2)
    write_pictures(tmp_path / "set", "wgan", n=3, replace=True)
    assert len(read_pairset(tmp_path / "set").pairs) == 3


def test_missing_image_is_told(folder):
    (folder / manifest(folder)["pairs"][0]["fake"]["file"]).unlink()
    with pytest.raises(PairSetError, match=r"fake .* cannot be read \(No such file"):
        read_pairset(folder)


def test_repeated_pair_id_is_told(folder):
    rewrite(folder, lambda content: content["pairs"].append(content["pairs"][0]))
    with pytest.raises(PairSetError, match="occurs twice"):
        read_pairset(folder)


def test_manifest_cannot_reach_outside_its_folder(folder):
    rewrite(folder, lambda content: content["pairs"][0]["real"].update(file="../../secret.png"))
    with pytest.raises(PairSetError, match=r"pairs\.0\.real\.file"):
        read_pairset(folder)


def test_picture_of_another_size_is_told(folder):
    pair = manifest(folder)["pairs"][0]
    data = encode_png(colourful(1, size=47))
    (folder / pair["fake"]["file"]).write_bytes(data)
    rewrite(folder, lambda content: content["pairs"][0]["fake"].update(sha256=sha256_hex(data)))
    with pytest.raises(PairSetError, match="fake is 47x47, the manifest says 48x48"):
        read_pairset(folder)


def test_file_that_is_no_png_is_told(folder):
    pair = manifest(folder)["pairs"][0]
    (folder / pair["fake"]["file"]).write_bytes(b"GIF89a nonsense")
    rewrite(folder, lambda content: content["pairs"][0]["fake"].update(sha256=sha256_hex(b"GIF89a nonsense")))
    with pytest.raises(PairSetError, match="is not a readable PNG"):
        read_pairset(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "format is 'list'"),
        ('{"format": "realism-pairset/9"}', "format is 'realism-pairset/9', expected 'realism-pairset/1'"),
        ('{"format": "realism-pairset/1"}', "condition: Field required"),
    ],
)
def test_manifest_that_is_none_is_told(folder, text, message):
    write_manifest(folder, text)
    with pytest.raises(PairSetError, match=message):
        read_pairset(folder)


def test_folder_without_manifest_is_told(tmp_path):
    with pytest.raises(PairSetError, match="is not a pair set"):
        read_pairset(tmp_path)


def test_existing_pair_set_is_not_overwritten_unless_asked(folder):
    before = manifest(folder)
    with pytest.raises(FolderError, match="already exists; choose another --out"):
        write_pictures(folder, "other", n=2)
    assert manifest(folder) == before


def test_pictures_of_two_sizes_leave_nothing_behind(tmp_path):
    small, large = colourful(1, 32), colourful(2, 48)
    pictures = [Picture("a" * 64, small, small), Picture("b" * 64, large, small)]
    with pytest.raises(PairSetError, match="real is 48x48, the set is 32x32"):
        write_pairset(tmp_path / "set", pictures, condition="c", generator={}, source={})
    assert list(tmp_path.iterdir()) == []


def test_encoder_leaves_metadata_behind(tmp_path):
    noted = PngImagePlugin.PngInfo()
    noted.add_text("comment", "made by a generator")
    colourful(1).save(tmp_path / "noted.png", pnginfo=noted, dpi=(300, 300))
    with Image.open(tmp_path / "noted.png") as picture:
        assert encode_png(picture) == encode_png(colourful(1))
    assert b"tEXt" not in encode_png(picture)
    assert b"pHYs" not in encode_png(picture)


def test_same_pictures_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_pictures(tmp_path / name, "cgan", n=3)
    assert manifest(tmp_path / "one")["pairs"] == manifest(tmp_path / "two")["pairs"]
