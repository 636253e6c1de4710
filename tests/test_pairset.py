"""Pair sets: written whole, read back only when every byte is as it was."""

import json
import pickle
import sys
import zipfile

import fsspec
import pytest
import s3fs
from conftest import free_port
from pictures import colourful, write_pictures
from PIL import Image, PngImagePlugin

from pairs.writing import About, Picture, write_pairset
from protocol.encoding import encode_png
from protocol.pairset import PairSetError, read_manifest, read_pairset, sha256_hex, write_manifest
from protocol.place import Place, PlaceError
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
        "format", "condition", "image_size", "encoding", "generator", "source", "created", "pairs", "excluded", "road",
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
    with pytest.raises(
        PairSetError, match=r"fake images/\S+ is 47x47, the manifest says 48x48; make the pair set again"
    ):
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


def test_folder_of_pair_sets_names_them(tmp_path):
    for name, named in (("wgan", "pair set wgan; give that"), ("cgan", "pair sets cgan and wgan; give one of them")):
        write_pictures(tmp_path / name, name, n=2)
        with pytest.raises(PairSetError, match=f"^{tmp_path} is not a pair set: it holds the {named}$"):
            read_pairset(tmp_path)
    write_pictures(tmp_path / "lab", "lab", n=2)
    with pytest.raises(PairSetError, match="holds the pair sets cgan and lab and wgan; give one of them"):
        read_pairset(tmp_path)


def test_missing_file_missing_bucket_and_dead_endpoint_need_different_things(s3, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    reach = "; see that the address is right and reachable$"
    with pytest.raises(PairSetError, match=f"/manifest.json cannot be read .Not a directory.{reach}"):
        read_pairset(tmp_path / "file")
    with pytest.raises(PairSetError, match=r"/set is not a pair set: .* \(No such file or directory\); make one"):
        read_pairset(f"{s3}/set")
    for address in ("s3://no-such-bucket/set", "s3://no-such-bucket/set.zip"):
        with pytest.raises(PairSetError, match=f"^{address}/.* cannot be read .The specified bucket does not.*{reach}"):
            read_pairset(address)
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(PairSetError, match=f"^{s3}/set/manifest.json cannot be read .Could not connect.*{reach}"):
        read_pairset(f"{s3}/set")


def test_bucket_that_is_called_bucket_is_told_from_a_missing_one(s3):
    with pytest.raises(PairSetError, match=r"^s3://my-bucket/set/manifest.json cannot be read \(The specified bucket"):
        read_pairset("s3://my-bucket/set")
    fsspec.filesystem("s3").mkdir("my-bucket")
    try:
        for address in ("s3://my-bucket/set", "s3://my-bucket/bucket.zip"):
            with pytest.raises(PairSetError, match=rf"^{address} is not a pair set: .*\(No such file or directory\)"):
                read_pairset(address)
    finally:
        fsspec.filesystem("s3").rmdir("my-bucket")


def test_existing_pair_set_is_not_overwritten_unless_asked(folder):
    before = manifest(folder)
    with pytest.raises(FolderError, match="already exists; choose another --out"):
        write_pictures(folder, "other", n=2)
    assert manifest(folder) == before


def test_pictures_of_two_sizes_leave_nothing_behind(tmp_path):
    small, large = colourful(1, 32), colourful(2, 48)
    pictures = [Picture("a" * 64, small, (small,)), Picture("b" * 64, large, (large,))]
    with pytest.raises(PairSetError, match="real is 48x48, the set is 32x32"):
        write_pairset(tmp_path / "set", pictures, About("c", {}, {}))
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


# Where a pair set lies.


def zipped(folder, target, inside="", notes=()):
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, f"{inside}{path.relative_to(folder)}")
        for name in notes:
            archive.writestr(name, b"note")
    return target


@pytest.mark.parametrize(
    ("inside", "notes"),
    [("", ()), ("cgan/", ()), ("cgan/", ("__MACOSX/cgan/._manifest.json", ".DS_Store")), ("", ("README.txt",))],
    ids=["plain", "folder", "mac", "with a note"],
)
def test_zip_is_read_like_the_folder_that_it_holds(folder, tmp_path, inside, notes):
    target = zipped(folder, tmp_path / "set.ZIP", inside, notes)
    assert read_pairset(target) == read_pairset(folder)
    place, pairs = Place(target), read_manifest(target).pairs
    assert place.exists()
    assert place.exists("manifest.sha256")
    assert not place.exists("other.json")
    assert {"manifest.json", pairs[0].real.file} <= set(place.names())
    found = place.read_many([pairs[0].fake.file, "images/none.png"])
    assert sha256_hex(found[0]) == pairs[0].fake.sha256
    assert str(found[1]) == f"{target}/images/none.png: No such file or directory"


def test_folder_of_two_pair_sets_in_a_zip_is_none(folder, tmp_path):
    target = zipped(folder, tmp_path / "set.zip", "cgan/", ("wgan/manifest.json",))
    with pytest.raises(PairSetError, match=r"set.zip is not a pair set: manifest.json cannot be read \(No such file"):
        read_pairset(target)


def test_pair_set_in_memory_is_read(folder):
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), "/sets/cgan", recursive=True)
    try:
        assert read_pairset("memory://sets/cgan") == read_pairset(folder)
        assert Place("memory://sets/cgan").names() == Place(folder).names()
        with pytest.raises(PairSetError, match="^memory://sets/wgan is not a pair set"):
            read_pairset("memory://sets/wgan")
        memory.pipe_file("/sets/set.zip", zipped(folder, folder.with_name("set.zip")).read_bytes())
        assert read_pairset("memory://sets/set.zip") == read_pairset(folder)
    finally:
        memory.rm("/sets", recursive=True)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\5\6" + bytes(18), b"PK\3\4" + bytes(100)])
def test_broken_zip_is_told(tmp_path, content):
    (tmp_path / "set.zip").write_bytes(content)
    with pytest.raises(PairSetError, match=r"^\S+set.zip is not a pair set: manifest.json cannot be read \(.+\); make"):
        read_pairset(tmp_path / "set.zip")


def test_encrypted_zip_is_told(folder, tmp_path):
    data = zipped(folder, tmp_path / "set.zip").read_bytes()
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # APPNOTE 4.4.4: bit 0 of the flags
        pieces = data.split(signature)
        data = signature.join([pieces[0], *(one[: flags - 4] + b"\1" + one[flags - 3 :] for one in pieces[1:])])
    (tmp_path / "set.zip").write_bytes(data)
    with pytest.raises(PairSetError, match=r"cannot be read \(.*manifest.json.* is encrypted, password required"):
        read_pairset(tmp_path / "set.zip")


def test_altered_byte_in_a_zip_is_found(folder, tmp_path):
    data = bytearray(zipped(folder, tmp_path / "set.zip").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "set.zip").write_bytes(data)
    with pytest.raises(PairSetError, match=r"pair \w+: \w+ images/\S+ cannot be read \(.+\); make the pair set again"):
        read_pairset(tmp_path / "set.zip")


def test_zip_that_was_replaced_is_read_anew(folder, tmp_path):
    target = zipped(folder, tmp_path / "set.zip")
    before = read_pairset(target)
    write_pictures(tmp_path / "other", "wgan", n=2)
    zipped(tmp_path / "other", tmp_path / "new.zip").replace(target)
    assert read_pairset(target).condition == "wgan" != before.condition


def test_address_of_an_unknown_kind_and_missing_s3_are_told(monkeypatch):
    with pytest.raises(PairSetError, match=r"^nowhere://set/.* \(Protocol not known: nowhere.*; see that the address"):
        read_pairset("nowhere://set")
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    monkeypatch.setitem(sys.modules, "s3fs", None)  # as if it were not installed
    with pytest.raises(PairSetError, match=r"s3fs .*\(pip install 'realism\[s3\]'\)"):
        read_pairset("s3://bucket/set")


def test_place_and_errors_survive_the_way_to_another_process(folder):
    place = Place(folder)
    assert place.exists()
    again = pickle.loads(pickle.dumps(place))  # noqa: S301
    assert again.read("manifest.json") == place.read("manifest.json")
    for error in (PairSetError("set: is none; make one"), PlaceError("s3://bucket", "there is no such bucket")):
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301
        assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_manifest_in_another_encoding_is_told(folder):
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.sha256").unlink()
    for encoding in ("utf-16", "utf-8-sig"):
        (folder / "manifest.json").write_bytes(text.encode(encoding))
        with pytest.raises(PairSetError, match=r"manifest.json is not JSON \(.+\); make the pair set again"):
            read_manifest(folder)


def test_number_that_json_has_not_is_never_written(folder):
    pairset = read_manifest(folder).model_copy(update={"generator": {"loss": float("nan")}})
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        pairset.to_json()
