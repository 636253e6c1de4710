"""Files that no program here writes: colour profiles (ICC.1:2001-04), and PNG and TIFF byte by byte."""

import struct
import zlib


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(colour_type, bits, samples, width=1, height=1, more=b""):
    """A PNG without a filter, of one line unless the samples say more (PNG, 3rd edition, 5)."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    data = chunk(b"IHDR", header) + more + chunk(b"IDAT", zlib.compress(b"\0" + samples)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def tiff(bits, photometric, data, samples=1):
    """An uncompressed TIFF (revision 6.0, section 3); photometric 0: white is 0, 1: black is 0, 2: RGB."""
    data += bytes(len(data) % 2)
    depth = struct.pack("<3H", bits, bits, bits)
    end = 8 + len(data) + len(depth)
    tags = [(256, 1), (257, 1), (258, bits), (259, 1), (262, photometric), (273, 8), (277, samples), (278, 1)]
    entries = [struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags]
    if samples == 3:
        entries[2] = struct.pack("<HHII", 258, 3, 3, 8 + len(data))
    entries.append(struct.pack("<HHII", 279, 4, 1, len(data)))
    return (
        struct.pack("<2sHI", b"II", 42, end)
        + data
        + depth
        + struct.pack("<H", 9)
        + b"".join(entries)
        + struct.pack("<I", 0)
    )


def fixed(*numbers):
    return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))


def profile(space, connection, tags, kind=b"mntr"):
    """A profile of version 2 for the colour space; tags are (signature, content)."""
    tags = [
        (b"desc", b"desc" + bytes(4) + struct.pack(">I", 12) + b"Linear sRGB\0" + bytes(78)),
        (b"cprt", b"text" + bytes(4) + b"none\0\0\0\0"),
        (b"wtpt", b"XYZ " + bytes(4) + fixed(0.9642, 1, 0.8249)),
        *tags,
    ]
    table, data = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for signature, content in tags:
        table += signature + struct.pack(">II", start + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    header = struct.pack(">I4sI4s4s4s12s4s", start + len(data), b"", 0x02400000, kind, space, connection, b"", b"acsp")
    header += bytes(28) + fixed(0.9642, 1, 0.8249)
    return header + bytes(128 - len(header)) + table + data


def rgb_profile(order="rgb"):
    """Light that is proportional to the values, in sRGB's primaries or with these exchanged; called 'Linear sRGB'."""
    primaries = {  # seen in D50's light (lindbloom.com, Bradford)
        "r": fixed(0.4360747, 0.2225045, 0.0139322),
        "g": fixed(0.3850649, 0.7168786, 0.0971045),
        "b": fixed(0.1430804, 0.0606169, 0.7141733),
    }
    tags = [(f"{to}XYZ".encode(), b"XYZ " + bytes(4) + primaries[of]) for to, of in zip("rgb", order, strict=True)]
    return profile(b"RGB ", b"XYZ ", [*tags, *((f"{c}TRC".encode(), b"curv" + bytes(8)) for c in "rgb")])


def gray_profile():
    return profile(b"GRAY", b"XYZ ", [(b"kTRC", b"curv" + bytes(8))])


def cmyk_profile():
    """A press whose cyan ink is a gray of L* 50.2, and all others white."""
    ramp, white, gray = bytes(range(256)), b"\xff\x80\x80", b"\x80\x80\x80"
    table = white * 8 + gray * 8  # cyan varies slowest
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1) + ramp * 4 + table + ramp * 3
    return profile(b"CMYK", b"Lab ", [(b"A2B0", lut)], kind=b"prtr")
