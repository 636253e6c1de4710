"""A picture file's bytes in; how it was encoded, and what it holds that no decoder needs, out: nothing is decoded."""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

# What a decoder needs of a file, next to which everything else is metadata.
PNG_NEEDED = frozenset({"IHDR", "PLTE", "IDAT", "IEND", "tRNS"})
JPEG_NEEDED = frozenset({0xC4, 0xDA, 0xDB, 0xDD, *range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC)})
WEBP_NEEDED = frozenset({"VP8 ", "VP8L", "VP8X", "ALPH", "ANIM", "ANMF"})


@dataclass(frozen=True)
class FileCues:
    """``settings`` names how a file was encoded, ``metadata`` every part that no decoder needs, in the file's order."""

    settings: str
    metadata: tuple[str, ...]
    payload: int  # bytes of compressed pixels


def read_file(data: bytes) -> FileCues:
    """How a PNG, JPEG or WebP file was encoded; of another format, its first bytes."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _read_png(data)
    if data.startswith(b"\xff\xd8"):
        return _read_jpeg(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _read_webp(data)
    return FileCues(f"unknown {data[:4].hex()}", (), len(data))


def _read_png(data: bytes) -> FileCues:
    settings, metadata, idat, at = "png", [], [], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4])
        name, body = data[at + 4 : at + 8].decode("latin-1"), data[at + 8 : at + 8 + length]
        at += 12 + length
        if name == "IHDR":
            settings += f" {':'.join(map(str, body[8:13]))}"  # depth, colour type, compression, filter, interlace
        elif name == "IDAT":
            idat.append(body)
        elif name not in PNG_NEEDED:
            metadata.append(name)
        if name == "IEND":
            break
    if at < len(data):
        metadata.append("bytes after the end")
    stream = b"".join(idat[:1])
    chunk = f"{len(idat[0])}-byte chunks" if len(idat) > 1 else "one chunk"
    settings += f" zlib {stream[:2].hex()} block {stream[2] >> 1 & 3 if len(stream) > 2 else '?'} {chunk}"
    return FileCues(settings, tuple(metadata), sum(map(len, idat)))


def _read_jpeg(data: bytes) -> FileCues:
    tables, frame, made_by, metadata, payload, at = [], "no frame", "", [], 0, 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xD9:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        body = data[at + 4 : at + 2 + length]
        at += 2 + max(length, 2)
        if marker == 0xDB:
            tables.append(body)
        elif marker == 0xDA:
            end = _end_of_scan(data, at)
            payload, at = payload + end - at, end
        elif marker in JPEG_NEEDED:
            if marker != 0xC4 and marker != 0xDD:
                sampling = ",".join(f"{byte >> 4}x{byte & 15}" for byte in body[7::3])
                frame = f"SOF{marker - 0xC0} {sampling}"
        elif (marker, body[:5]) in ((0xE0, b"JFIF\0"), (0xEE, b"Adobe")):
            made_by += f" {body[:5].decode().rstrip(chr(0))}"
        else:
            metadata.append("COM" if marker == 0xFE else f"APP{marker - 0xE0} {_printable(body)}".strip())
    if data[at : at + 2] == b"\xff\xd9" and at + 2 < len(data):
        metadata.append("bytes after the end")
    return FileCues(f"jpeg{made_by} {frame} tables {zlib.crc32(b''.join(tables)):08x}", tuple(metadata), payload)


def _end_of_scan(data: bytes, at: int) -> int:
    """Where the next marker begins that is neither a stuffed zero nor a restart."""
    found = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]").search(data, at)
    return found.start() if found else len(data)


def _printable(body: bytes) -> str:
    name = re.match(rb"[\x20-\x7e]{0,16}", body)
    return name.group().decode("ascii").split("/")[-1] if name else ""


def _read_webp(data: bytes) -> FileCues:
    kinds, metadata, payload = [], [], 0
    for name, body in _riff_chunks(data):
        if name in ("VP8 ", "VP8L"):
            kinds.append("lossy" if name == "VP8 " else "lossless")
            payload += len(body)
        elif name not in WEBP_NEEDED:
            metadata.append(name.strip())
        else:
            kinds.append(name)
    if len(data) > 8 + int.from_bytes(data[4:8], "little"):
        metadata.append("bytes after the end")
    return FileCues(" ".join(("webp", *kinds)), tuple(metadata), payload)


def _riff_chunks(data: bytes) -> Iterator[tuple[str, bytes]]:
    at = 12
    end = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    while at + 8 <= end:
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4].decode("latin-1"), data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
