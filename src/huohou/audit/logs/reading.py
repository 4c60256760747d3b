"""Reading a log: which of the known forms it is in, and its tracks."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from huohou.audit.logs.formats import (
    deepspeed,
    json_lines,
    megatron,
    metrics,
    minimind,
    prints,
    table,
    tensorboard,
    trainer_log,
    trainer_state,
)
from huohou.audit.logs.log import Lines, Log
from huohou.errors import UserError
from huohou.language import Text

LARGEST = 256 * 1024 * 1024
"""Bytes of a log at most."""

_IN_A_FOLDER = ("metrics.jsonl", "trainer_log.jsonl", "trainer_state.json")


class Format(Protocol):
    """A form of text log: a module with these names."""

    name: str
    title: Text

    def sees(self, log: Lines) -> int:
        """How surely the log is in this form, 0 to 100."""
        ...

    def read(self, log: Lines) -> Log:
        """Its tracks."""
        ...


FORMATS: tuple[Format, ...] = (
    metrics,
    trainer_state,
    trainer_log,
    deepspeed,
    minimind,
    megatron,
    table,
    prints,
    json_lines,
)


def names() -> list[str]:
    """What ``--log-as`` takes."""
    return sorted([*(form.name for form in FORMATS), tensorboard.name])


def titles() -> dict[str, Text]:
    """What each form is called to people."""
    return {**{form.name: form.title for form in FORMATS}, tensorboard.name: tensorboard.title}


def read_log(path: str, form: str | None = None) -> Log:
    """Read a log, or the one that lies in a folder.

    Raises:
        UserError: It is missing, too large, in no known form, or holds no rates.
    """
    place = Path(path)
    if place.is_dir():
        place = _in_folder(place)
    data = _bytes(place)
    if form is not None and form not in names():
        known = ", ".join(names())
        raise UserError(
            f"--log-as {form}: no such form; there are {known}.", f"--log-as {form}：没有这种格式；可选 {known}。"
        )
    name = str(place)
    if form == tensorboard.name or (form is None and tensorboard.sees_bytes(data)):
        log = tensorboard.read_bytes(name, data)
    else:
        log = _read_text(name, data, form)
    log.tracks = [track for track in log.tracks if track.points]
    if not log.tracks:
        raise UserError(f"{name} holds no learning rate that could be read.", f"{name} 中没有可读的学习率。")
    return log


def _in_folder(folder: Path) -> Path:
    for name in _IN_A_FOLDER:
        if (folder / name).is_file():
            return folder / name
    events = sorted(folder.rglob("events.out.tfevents.*"))
    if not events:
        raise UserError(
            f"{folder} holds none of {', '.join(_IN_A_FOLDER)} and no TensorBoard events.",
            f"{folder} 中既没有 {'、'.join(_IN_A_FOLDER)}，也没有 TensorBoard 事件文件。",
        )
    return max(events, key=lambda file: file.stat().st_size)


def _bytes(place: Path) -> bytes:
    try:
        with open(place, "rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise UserError(f"{place} does not exist.", f"{place} 不存在。") from None
    except OSError as error:
        why = error.strerror or str(error)
        raise UserError(f"{place} cannot be read: {why}.", f"无法读取 {place}：{why}。") from None
    if len(data) > LARGEST:
        most = LARGEST // (1024 * 1024)
        raise UserError(f"{place} is larger than {most} MB.", f"{place} 超过 {most} MB。")
    return data


def _read_text(name: str, data: bytes, form: str | None) -> Log:
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    if b"\0" in data[:65536] and not wide:
        raise UserError(f"{name} is a binary file of no known form.", f"{name} 是无法识别的二进制文件。")
    # A log may hold anything that a program printed; what is no text stands in nobody's way.
    log = Lines(name, data.decode("utf-16" if wide else "utf-8-sig", "replace"))
    if form is not None:
        return next(each for each in FORMATS if each.name == form).read(log)
    sure, best = max(((each.sees(log), each) for each in FORMATS), key=lambda pair: pair[0])
    if not sure:
        raise UserError(
            f"{name} is a log of no known form; say which by --log-as ({', '.join(names())}).",
            f"无法识别日志 {name} 的格式；请用 --log-as 指明（{'、'.join(names())}）。",
        )
    return best.read(log)
