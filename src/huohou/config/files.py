"""A run file's bytes become text, or one sentence says what they are instead."""

from __future__ import annotations

import codecs
from pathlib import Path

from huohou.errors import UserError

_ENDINGS = (".yaml", ".yml", ".json")


def read_text(path: Path, largest: int) -> str:
    """The text of a UTF-8 file of at most ``largest`` bytes, with or without a byte order mark.

    Raises:
        UserError: There is no such file, it cannot be read, it is larger, or it has another encoding.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(largest + 1)
    except FileNotFoundError:
        raise _missing(path) from None
    except IsADirectoryError:
        raise _folder(path) from None
    except PermissionError:
        if path.is_dir():  # Windows says "permission denied" of a folder.
            raise _folder(path) from None
        raise UserError(
            f"{path} cannot be read: this account has no permission to.", f"无法读取 {path}：当前用户没有权限。"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path!s} cannot be read: {error}.", f"无法读取 {path!s}：{error}。") from None
    if len(data) > largest:
        raise UserError(
            f"{path} is larger than {largest // 1024} KiB, so it is no run file; give the YAML file of the run.",
            f"{path} 大于 {largest // 1024} KiB，不是配置文件；请给出训练的 YAML 文件。",
        )
    return _decode(data, path)


def _decode(data: bytes, path: Path) -> str:
    zeros = data[:4].count(0)
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)) or zeros == 3:
        raise _encoded(path, "UTF-32")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or zeros == 2:
        raise _encoded(path, "UTF-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        start = error.start
    line = data.count(b"\n", 0, start) + 1
    try:
        text = data.decode("gb18030")
    except UnicodeDecodeError:
        raise UserError(
            f"{path}:{line}: the byte 0x{data[start]:02x} is not UTF-8; save the file as UTF-8.",
            f"{path}:{line}: 字节 0x{data[start]:02x} 不是 UTF-8；请把文件另存为 UTF-8。",
        ) from None
    if any("一" <= character <= "鿿" for character in text):
        raise _encoded(path, "GB18030 (GBK)")
    raise _encoded(path, "another encoding than UTF-8", "UTF-8 以外的编码")


def _encoded(path: Path, en: str, zh: str | None = None) -> UserError:
    return UserError(
        f"{path} is encoded as {en}; save it as UTF-8." if zh is None else f"{path} has {en}; save it as UTF-8.",
        f"{path} 的编码是 {zh or en}；请另存为 UTF-8。",
    )


def _folder(path: Path) -> UserError:
    near = _nearest(path / "run.yaml")
    return UserError(
        f"{path} is a folder, not a run file" + (f"; did you mean {near}?" if near else "."),
        f"{path} 是文件夹，不是配置文件" + (f"；是不是 {near}？" if near else "。"),
    )


def _missing(path: Path) -> UserError:
    if not path.parent.is_dir():
        return UserError(
            f"there is no folder {path.parent}, so {path} cannot be read.",
            f"没有文件夹 {path.parent}，无法读取 {path}。",
        )
    near = _nearest(path)
    return UserError(
        f"there is no file {path}"
        + (f"; did you mean {near}?" if near else f"; huohou init {path} writes an example."),
        f"没有文件 {path}" + (f"；是不是 {near}？" if near else f"；可用 huohou init {path} 写出一个示例。"),
    )


def _nearest(path: Path) -> Path | None:
    """The run file of the same folder whose name is nearest."""
    import difflib

    try:
        names = sorted(entry.name for entry in path.parent.iterdir() if entry.suffix.lower() in _ENDINGS)
    except OSError:
        return None
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.0)
    return path.parent / close[0] if close else None
