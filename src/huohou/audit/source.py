"""What the audit is given: the text of a file, of standard input, or of a pasted command, within bounds."""

from __future__ import annotations

import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from huohou.errors import UserError

LARGEST = 8 * 1024 * 1024
"""Bytes of a configuration at most; a notebook with pictures in it is the largest that people have."""


COMMAND = "<command>"
"""The name of a source that was pasted."""


@dataclass(frozen=True, slots=True)
class Source:
    """A text and where it came from.

    Attributes:
        name: What messages call it: the path as it was given, ``<stdin>``, or ``<command>``.
        text: Its text, line ends as ``\\n``.
        path: Where it lies, if it does.
    """

    name: str
    text: str
    path: Path | None = None

    @property
    def suffix(self) -> str:
        """The ending of its name, in small letters."""
        return self.path.suffix.lower() if self.path is not None else ""


def read_source(path: str) -> Source:
    """Read a file, or standard input for ``-``.

    Raises:
        UserError: It is missing, too large, or no text.
    """
    if path == "-":
        return Source("<stdin>", _decoded(sys.stdin.buffer.read(LARGEST + 1), "<stdin>"))
    place = Path(path)
    try:
        if not _plain(place):
            raise UserError(
                f"{path} is a pipe, a device or a folder, not a file that can be read.",
                f"{path} 是管道、设备或文件夹，不是可读取的文件。",
            )
        with open(place, "rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.", f"{path} 不存在。") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path} cannot be read: {why}.", f"无法读取 {path}：{why}。") from None
    return Source(path, _decoded(data, path), place)


def _plain(place: Path) -> bool:
    """Whether reading would come to an end. A pipe that the shell has opened (``<(…)``) has its writer already."""
    mode = place.stat().st_mode
    return stat.S_ISREG(mode) or (stat.S_ISFIFO(mode) and str(place).startswith(("/dev/fd/", "/proc/self/fd/")))


def _decoded(data: bytes, name: str) -> str:
    if len(data) > LARGEST:
        most = LARGEST // (1024 * 1024)
        raise UserError(
            f"{name} is larger than {most} MB, so it is no configuration.", f"{name} 超过 {most} MB，不是配置文件。"
        )
    if b"\0" in data[:65536] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{name} is a binary file, not a configuration.", f"{name} 是二进制文件，不是配置。")
    for encoding in ("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig", "gb18030"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        return text.replace("\r\n", "\n").replace("\r", "\n")
    raise UserError(f"{name} is neither UTF-8 nor GB18030 text.", f"{name} 不是 UTF-8 或 GB18030 文本。")
