"""TFRecord files, record by record: their framing and its checksums. Knows not what records hold.

A record lies there as its length (8 bytes, little-endian), the length's checksum (4 bytes), its
bytes and their checksum (4 bytes). A checksum is CRC-32C, rotated by 15 bits, plus a constant.

Source: TensorFlow, "TFRecord and tf.train.Example", and tensorflow/core/lib/hash/crc32c.h.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from fits.base.errors import UserError

MASK = 0xA282EAD8
GZIP, ZLIB = b"\x1f\x8b", (b"\x78\x01", b"\x78\x9c", b"\x78\xda")
BUFFER = 1 << 22  # bytes read at once


def masked_crc(data: bytes) -> int:
    """The checksum of `data` as it stands in TFRecord files."""
    import google_crc32c

    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + MASK) & 0xFFFFFFFF


def tfrecords(file: Path) -> Iterator[bytes]:
    """The records of `file`, in order.

    Raises:
      UserError: the file ends within a record, or a checksum is wrong: which record, at which byte.
    """
    left, number = file.stat().st_size, 0
    whole = left
    with file.open("rb", buffering=BUFFER) as stream:
        while left:
            where = f"{file}, record {number:_} at byte {whole - left:_}"
            header = stream.read(12)
            if len(header) < 12:
                raise UserError([_cut(where, f"{len(header)} of the 12 bytes of its length")])
            length, crc = struct.unpack("<QI", header)
            if masked_crc(header[:8]) != crc:
                raise UserError([_wrong_length(where, header, first=number == 0)])
            left -= 12
            if length + 4 > left:
                raise UserError([_cut(where, f"{max(0, left):_} bytes of {length + 4:_}")])
            data, trailer = stream.read(length), stream.read(4)
            if len(data) < length or len(trailer) < 4:
                raise UserError([_cut(where, "less than when reading began")])
            if masked_crc(data) != struct.unpack("<I", trailer)[0]:
                raise UserError([f"{where}: its bytes have another checksum; get the file again."])
            left -= length + 4
            yield data
            number += 1


def _cut(where: str, there: str) -> str:
    return f"{where}: the file is cut off, there are {there}; get the file again."


def _wrong_length(where: str, header: bytes, first: bool) -> str:
    if first and (header[:2] == GZIP or header[:2] in ZLIB):
        return f"{where}: the file is compressed; decompress it (gzip -d) before it is converted."
    if first:
        return f"{where}: no TFRecord file, its first length has another checksum."
    return f"{where}: its length has another checksum; get the file again."
