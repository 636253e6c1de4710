"""Manifests and pictures that nobody would make: each ends in one clear error, with nothing else said and nothing left."""

import io
import json
import shutil
import struct
import warnings
import zlib

import pytest
from handmade import chunk, png
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import colourful, write_pictures
from PIL import Image
from test_importing import import_, run, save

from pairs.road import open_named, upright_size
from protocol import InputError
from protocol.pairset import (
    PairSet,
    PairSetError,
    parse_manifest,
    read_manifest,
    read_pairset,
    sha256_hex,
    write_manifest,
)
from protocol.place import Place

bounded = settings(
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def refusal(read):
    """The text of the error in which it ends, or None if it ends well."""
    try:
        read()
    except InputError as error:
        return str(error)
    return None


def is_one_clear_line(message):
    """What was found; what to do."""
    return message.isprintable() and "; " in message and len(message) < 500


# Manifests.


@pytest.fixture(scope="module")
def pairset_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("valid") / "set"
    write_pictures(folder, "cgan", n=2, size=16)
    return folder


def parsed(text):
    """What a manifest's text is read as, or None if it is refused as it should be."""
    refused = refusal(lambda: parse_manifest(text, "set/manifest.json"))
    if refused is not None:
        assert refused.startswith("set/manifest.json")
        assert is_one_clear_line(refused)
        return None
    pairset = parse_manifest(text, "set/manifest.json")
    assert parse_manifest(pairset.to_json(), "again") == pairset
    return pairset


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -1, 0, 2**63, 1e308, float("nan"), float("inf"), -0.0])
    | st.text('aB0._-/\\"é\0\n\ud800', max_size=20)  # half of a surrogate pair too
    | st.sampled_from(
        [
            "\ud800",
            "\0",
            "\n",
            "../../etc/passwd",
            "images/..",
            "images/a\n.png",
            "é" * 10,
            "x" * 10_000,
            "realism-pairset/1",
        ]
    )
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@bounded
@given(values)
def test_json_that_is_no_manifest_is_refused(value):
    assert parsed(json.dumps(value)) is None
    assert parsed(json.dumps({"format": value})) is None
    assert parsed(json.dumps({"format": "realism-pairset/1", "pairs": value})) is None


@bounded
@given(st.binary(max_size=200) | st.text(max_size=200))
def test_text_that_is_no_json_is_refused(text):
    assert parsed(text) is None


def places(content, path=()):
    """The path of everything in a manifest."""
    yield path
    if isinstance(content, (dict, list)):
        for name in content if isinstance(content, dict) else range(len(content)):
            yield from places(content[name], (*path, name))


def changed(content, path, change, value):
    """The manifest's text with one thing in it replaced, removed, added or doubled."""
    content = json.loads(json.dumps(content))
    *way, last = path
    inside = content
    for name in way:
        inside = inside[name]
    if change == "replace":
        inside[last] = value
    elif change == "remove":
        del inside[last]
    elif isinstance(inside, list):
        inside.insert(last, inside[last])
    elif change == "add":
        inside[str(value)[:50]] = value
    else:
        return json.dumps(content).replace(f"{json.dumps(last)}: ", f"{json.dumps(last)}: 1, {json.dumps(last)}: ", 1)
    return json.dumps(content)


@bounded
@given(st.data())
def test_mutated_manifest_is_refused_or_still_one(pairset_folder, data):
    content = json.loads((pairset_folder / "manifest.json").read_text())
    path = data.draw(st.sampled_from([path for path in places(content) if path]))
    change = data.draw(st.sampled_from(["replace", "remove", "add", "double"]))
    pairset = parsed(changed(content, path, change, data.draw(values)))
    if change == "double" and isinstance(path[-1], str):
        assert pairset is None
    assert pairset is None or isinstance(pairset, PairSet)


@bounded
@given(st.data())
def test_mutated_pair_set_is_refused_by_name_and_never_half_read(pairset_folder, tmp_path, data):
    folder = tmp_path / "set"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(pairset_folder, folder)
    content = json.loads((folder / "manifest.json").read_text())
    path = data.draw(st.sampled_from([path for path in places(content) if path and path[0] in ("pairs", "image_size")]))
    write_manifest(folder, changed(content, path, data.draw(st.sampled_from(["replace", "remove"])), data.draw(values)))
    refused = refusal(lambda: read_pairset(folder))
    if refused is None:
        assert all(
            sha256_hex((folder / pair.fake.file).read_bytes()) == pair.fake.sha256
            for pair in read_manifest(folder).pairs
        )
    else:
        assert is_one_clear_line(refused)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[" * 900 + "]" * 900, "9" * 5000, "1e999", "NaN"])
def test_deep_and_huge_json_is_refused(text):
    assert parsed(text) is None


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("generator", '{"config": NaN}', "is no JSON that could be written again"),
        ("generator", '{"config": 1e999}', "is no JSON that could be written again"),
        ("source", '{"name": "\\ud800"}', "is no JSON that could be written again"),
        ("generator", '{"a": ' + "[" * 400 + "]" * 400 + "}", "is no JSON that could be written again"),
        ("generator", "[" * 900 + "]" * 900, "generator: Input should be a valid dictionary"),
        ("source", '{"name": 1, "name": 2}', "'name' occurs twice in an object"),
        ("road", '{"real": {"resized": "all"}}', "road: .*must be counted in whole numbers"),
        ("road", '{"fake": []}', "road: .*must be counted in whole numbers"),
        ("image_size", "[1000000, 16]", "image_size.0: Input should be less than or equal to 65535"),
        ("image_size", "[16]", "image_size.1: Field required"),
        ("one\\nline", "1", r"'one.nline': Extra inputs are not permitted"),
    ],
)
def test_what_could_not_be_worked_with_is_refused(pairset_folder, name, value, told):
    content = json.loads((pairset_folder / "manifest.json").read_text())
    content.pop(name, None)
    text = json.dumps(content)[:-1] + f', "{name}": {value}}}'
    with pytest.raises(PairSetError, match=told) as caught:
        parse_manifest(text, "set/manifest.json")
    assert is_one_clear_line(str(caught.value))


@bounded
@given(content=st.binary(max_size=90))
def test_hash_of_a_manifest_that_is_none_is_refused(pairset_folder, tmp_path, content):
    folder = tmp_path / "set"
    folder.mkdir(exist_ok=True)
    shutil.copy(pairset_folder / "manifest.json", folder)
    (folder / "manifest.sha256").write_bytes(content)
    with pytest.raises(PairSetError, match="has sha256 .*manifest.sha256 says") as caught:
        read_manifest(folder)
    assert is_one_clear_line(str(caught.value))


# Pictures.


def encoded(kind, **options):
    buffer = io.BytesIO()
    colourful(5, 24).save(buffer, format=kind, **options)
    return buffer.getvalue()


EXIF = Image.Exif()
EXIF[0x0112] = 6
EXIF[0x010F] = "camera"
FILES = [
    (".png", encoded("PNG", exif=EXIF)),
    (".jpg", encoded("JPEG", exif=EXIF)),
    (".jpg", encoded("JPEG", progressive=True)),
    (".webp", encoded("WEBP", exif=EXIF)),
    (".webp", encoded("WEBP", lossless=True)),
    (".bmp", encoded("BMP")),
    (".tif", encoded("TIFF", exif=EXIF)),
    (".tif", encoded("TIFF", compression="tiff_lzw")),
    (".tif", encoded("TIFF", compression="tiff_adobe_deflate")),
    (".tif", encoded("TIFF", compression="jpeg")),
]


@settings(bounded, max_examples=250)
@given(
    file=st.sampled_from(FILES),
    cut=st.none() | st.floats(0, 1),
    writes=st.lists(
        st.tuples(
            st.floats(0, 1, exclude_max=True),
            st.booleans(),
            st.sampled_from([b"\0", b"\xff", b"\x7f\xff\xff\xff", b"\x01", b"\x80"]),
        ),
        max_size=5,
    ),
)
def test_damaged_picture_is_decoded_or_refused_without_another_word(tmp_path, capfd, file, cut, writes):
    suffix, data = file
    data = bytearray(data)
    for where, is_early, value in writes:
        at = int(where * (min(len(data), 200) if is_early else len(data)))
        data[at : at + len(value)] = value
    data = bytes(data if cut is None else data[: int(cut * len(data))])
    path = tmp_path / f"x{suffix}"
    path.write_bytes(data)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        refused = [refusal(lambda: open_named(path, data)), refusal(lambda: upright_size(path))]
    for message in filter(None, refused):
        assert message.startswith(f"{path} cannot be decoded (") or message.endswith(
            "not what its name says; rename it"
        )
        assert is_one_clear_line(message)
    assert not warned
    assert capfd.readouterr() == ("", "")


def square_png(side, more=b""):
    return png(2, 8, bytes(side * (1 + 3 * side) - 1) if side < 100 else b"", side, side, more)


def absurd_tiff(tag, kind, count, value):
    """A TIFF of one pixel in which one tag is absurd."""
    tags = {
        256: (3, 1, 1),
        257: (3, 1, 1),
        258: (3, 1, 8),
        259: (3, 1, 1),
        262: (3, 1, 1),
        273: (4, 1, 8),
        278: (3, 1, 1),
    }
    tags |= {279: (4, 1, 1), tag: (kind, count, value)}
    entries = b"".join(struct.pack("<HHII", number, *tags[number]) for number in sorted(tags))
    return b"II*\0\x0a\0\0\0\xff\0" + struct.pack("<H", len(tags)) + entries + bytes(4)


TEXT_BOMB = chunk(b"zTXt", b"comment\0\0" + zlib.compress(bytes(2**24)))
ABSURD = {
    "empty.png": b"",
    "text.jpg": b"this is a letter\n",
    "jpeg.png": encoded("JPEG"),
    "gif.png": encoded("GIF"),
    "large.png": square_png(12_000),
    "huge.png": square_png(60_000),
    "huger.png": square_png(2**31 - 1),
    "text-bomb.png": square_png(16, TEXT_BOMB),
    "profile-bomb.png": square_png(16, chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(2**26)))),
    "short.jpg": encoded("JPEG")[:-50],
    "short.webp": encoded("WEBP")[:-50],
    "short.bmp": encoded("BMP")[:60],
    "short.tif": encoded("TIFF")[:-50],
    "samples.tif": absurd_tiff(277, 3, 1, 65_535),
    "wide.tif": absurd_tiff(256, 4, 1, 2**32 - 1),
    "strips.tif": absurd_tiff(279, 4, 1, 2**32 - 1),
    "offset.tif": absurd_tiff(273, 4, 1, 2**32 - 1),
    "count.tif": absurd_tiff(258, 3, 2**31, 8),
    "compression.tif": absurd_tiff(259, 3, 1, 34_925),
    "no-directory.tif": b"II*\0\xff\xff\xff\x7f",
}


@pytest.mark.parametrize("name", ABSURD)
@pytest.mark.parametrize("side", ["real", "theirs"])
def test_import_of_an_absurd_picture_ends_in_one_error_and_no_pair_set(tmp_path, capfd, recwarn, side, name):
    stem = name.split(".")[0]
    for other in ("real", "theirs"):
        save(tmp_path / other / f"{stem}.png", 1 + (other == "real"), size=16)
    (tmp_path / side / f"{stem}.png").unlink()
    (tmp_path / side / name).write_bytes(ABSURD[name])
    code, out, err = import_(capfd, tmp_path, "--size", "16")
    assert (code, out) == (2, "")
    assert err.startswith("Error: ")
    assert name in err
    assert is_one_clear_line(err.removesuffix("\n"))
    assert not recwarn.list
    assert sorted(path.name for path in tmp_path.iterdir()) == ["real", "theirs"]


@pytest.mark.parametrize(
    ("name", "data"),
    [(name, data) for name, data in ABSURD.items() if name.endswith((".png", ".jpg")) and "profile" not in name],
)
def test_pair_set_with_an_absurd_picture_does_not_verify(tmp_path, capfd, recwarn, name, data):
    write_pictures(tmp_path / "set", "cgan", n=2, size=16)
    content = json.loads((tmp_path / "set/manifest.json").read_text())
    pair = content["pairs"][1]
    (tmp_path / "set" / pair["fake"]["file"]).write_bytes(data)
    pair["fake"]["sha256"] = sha256_hex(data)
    write_manifest(tmp_path / "set", json.dumps(content))
    with pytest.raises(PairSetError, match=rf"pair {pair['id']}: fake images/\S+ is ") as caught:
        read_pairset(tmp_path / "set")
    assert is_one_clear_line(str(caught.value))
    code, out, err = run(capfd, "pairs", "check", tmp_path / "set")
    assert (code, out, err) == (2, "", f"Error: {caught.value}\n")
    assert not recwarn.list


# Zips.


@bounded
@given(
    cut=st.none() | st.floats(0, 1),
    writes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_damaged_zip_is_read_or_refused(pairset_folder, tmp_path, cut, writes):
    path = tmp_path / "set.zip"
    if not (tmp_path / "whole.zip").exists():
        shutil.make_archive(str(tmp_path / "whole"), "zip", pairset_folder)
    data = bytearray((tmp_path / "whole.zip").read_bytes())
    for where, value in writes:
        data[-1 - int(where * min(len(data), 400))] = value
    path.write_bytes(data if cut is None else data[: int(cut * len(data))])
    place = Place(path)
    for read in (place.names, lambda: place.read("manifest.json"), lambda: read_pairset(path)):
        refused = refusal(read)
        if refused is not None:
            assert str(path) in refused or refused.startswith("pair ")
            assert len(refused) < 500
            assert refused.isprintable()
