"""TensorBoard's event files, read without TensorBoard.

An event file is a chain of records: the length (8 bytes, little end first), 4 bytes of check sum, the record, 4 more
bytes. A record is a protobuf message; of it only the step (field 2) and the scalars of its summary (field 5) matter.
The package that wrote it takes more than a second to import and brings a compiler of messages with it; what is read
here is six fields.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from huohou.audit.logs.formats.columns import is_rate
from huohou.audit.logs.log import Log, Rows
from huohou.errors import UserError
from huohou.language import Text

name = "tensorboard"
title = Text("a TensorBoard event file", "TensorBoard 事件文件")


def sees_bytes(data: bytes) -> bool:
    """A first record that says which version of events this is."""
    return len(data) > 40 and b"brain.Event:" in data[:64]


def read_bytes(file: str, data: bytes) -> Log:
    """The scalars that are called after a learning rate."""
    found: dict[str, list[tuple[int, float, int]]] = {}
    for number, record in enumerate(_records(data), 1):
        try:
            step, scalars = _event(record)
        except (IndexError, struct.error, ValueError):
            raise UserError(f"{file}: event {number} is damaged.", f"{file}：第 {number} 个事件已损坏。") from None
        for tag, value in scalars:
            if is_rate(tag):
                found.setdefault(tag, []).append((step, value, number))
    rows = Rows()
    for tag, values in found.items():
        role = "model" if len(found) == 1 else tag
        for step, value, number in values:
            rows.add(role, step, value, number)
    return Log(file, name, rows.tracks(ordered=False))


def _records(data: bytes) -> Iterator[bytes]:
    place = 0
    while place + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        begin, end = place + 12, place + 12 + length
        if end + 4 > len(data):
            # The last record is still being written.
            return
        yield data[begin:end]
        place = end + 4


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == 0:
            value, place = _varint(message, place)
            yield key >> 3, value
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            yield key >> 3, message[place : place + size]
            place += size
        elif kind == 2:
            size, place = _varint(message, place)
            if place + size > len(message):
                raise ValueError("a field longer than its message")
            yield key >> 3, message[place : place + size]
            place += size
        else:
            raise ValueError(f"wire type {kind}")


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("a number too long")


def _event(record: bytes) -> tuple[int, list[tuple[str, float]]]:
    step, scalars = 0, list[tuple[str, float]]()
    for number, value in _fields(record):
        if number == 2 and isinstance(value, int):
            step = value
        elif number == 5 and isinstance(value, bytes):
            for inner, content in _fields(value):
                if inner == 1 and isinstance(content, bytes):
                    scalar = _scalar(content)
                    if scalar is not None:
                        scalars.append(scalar)
    return step, scalars


def _scalar(message: bytes) -> tuple[str, float] | None:
    tag, number = "", None
    for field, value in _fields(message):
        if not isinstance(value, bytes):
            continue
        if field == 1:
            tag = value.decode("utf-8", "replace")
        elif field == 2:
            (number,) = struct.unpack("<f", value)
        elif field == 8:
            number = _tensor(value)
    return None if number is None else (tag, float(number))


def _tensor(message: bytes) -> float | None:
    """A tensor of one number, as newer writers keep scalars: type (1), content (4), floats (5), doubles (6)."""
    kind, number = 1, None
    for field, value in _fields(message):
        if field == 1 and isinstance(value, int):
            kind = value
        elif field == 4 and isinstance(value, bytes) and len(value) in (4, 8):
            (number,) = struct.unpack("<f" if kind == 1 else "<d", value)
        elif field in (5, 6) and isinstance(value, bytes) and len(value) >= 4:
            wide = field == 6
            (number,) = struct.unpack_from("<d" if wide else "<f", value)
    return number
