"""What makes a folder a checkpoint: a manifest that names every file of it, with its size and SHA-256.

The manifest is the proof, not the folder's name, its time or the rename that put it there: on some file systems a
rename is not atomic, clocks jump, and a flipped bit leaves sizes and names as they were. The manifest proves
itself too: its own bytes must be exactly what its content is written as, and it holds a hash of that content.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from huohou.language import Text

FORMAT = 1
NAME = "MANIFEST.json"
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}")
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt", ".pickle", ".distcp")


class Unusable(Exception):
    """A folder that cannot be used as a checkpoint: damaged, made by a newer version, or not a checkpoint of ours."""

    def __init__(self, kind: Literal["damaged", "newer", "foreign"], folder: Path, en: str, zh: str) -> None:
        self.kind = kind
        self.folder = folder
        self.text = Text(en, zh)
        super().__init__(en)

    def __str__(self) -> str:
        return str(self.text)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """The size in bytes and the SHA-256 of one file."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run stands: the updates applied, the batches read (the cursor of the data) and the tokens in them."""

    update: int
    batches: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of one ``MANIFEST.json``."""

    position: Position
    plan: dict[str, str]
    """The plan's ``fingerprint`` (its curve) and ``plan_fingerprint`` (all of it)."""
    files: dict[str, FileEntry]

    def render(self) -> str:
        """The text of the file; equal manifests have equal text."""
        content: dict[str, Any] = {
            "format": FORMAT,
            "update": self.position.update,
            "batches": self.position.batches,
            "tokens": self.position.tokens,
            "plan": dict(sorted(self.plan.items())),
            "files": {name: {"bytes": e.bytes, "sha256": e.sha256} for name, e in sorted(self.files.items())},
        }
        return _text({**content, "sha256": _hash_of(content)})


def _text(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=True, indent=1) + "\n"


def _hash_of(content: dict[str, Any]) -> str:
    return hashlib.sha256(_text(content).encode("ascii")).hexdigest()


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder; raises :class:`Unusable` where there is none that can be trusted."""
    path = folder / NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise _foreign(folder) from None
    except OSError as error:
        raise _damaged(folder, NAME, f"cannot be read ({error.strerror})", f"无法读取（{error.strerror}）") from None
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise _damaged(folder, NAME, "is not whole", "不完整") from None
    if isinstance(content, dict) and isinstance(content.get("format"), int) and content["format"] > FORMAT:
        raise Unusable(
            "newer",
            folder,
            f"{folder} was made by a newer version of huohou (format {content['format']}, this one reads {FORMAT}): "
            f"update huohou to use it.",
            f"{folder} 由更新版本的 huohou 写成（格式 {content['format']}，本版本读到 {FORMAT}）："
            f"请升级 huohou 后使用。",
        )
    try:
        manifest = Manifest(
            position=Position(*(_count(content[key]) for key in ("update", "batches", "tokens"))),
            plan={str(key): str(value) for key, value in content["plan"].items()},
            files={str(k): FileEntry(_count(e["bytes"]), str(e["sha256"])) for k, e in content["files"].items()},
        )
        whole = manifest.render().encode("ascii") == data
    except (AttributeError, KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        raise _damaged(folder, NAME, "is not what was written", "与写入时不同")
    return manifest


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError
    return value


def verify(folder: Path, manifest: Manifest) -> None:
    """Check every byte of a checkpoint against its manifest; raises :class:`Unusable` naming the file at fault."""
    for name, entry in manifest.files.items():
        path = folder / name
        if not _SAFE_NAME.fullmatch(name) or path.is_symlink():
            raise _damaged(folder, name, "is not a plain file inside the folder", "不是该目录内的普通文件")
        try:
            size = path.stat().st_size
            if size != entry.bytes:
                raise _damaged(
                    folder,
                    name,
                    f"has {size} bytes and should have {entry.bytes}",
                    f"有 {size} 字节，应为 {entry.bytes}",
                )
            if sha256_of(path) != entry.sha256:
                raise _damaged(
                    folder, name, "is not what was written (its SHA-256 differs)", "与写入时不同（SHA-256 不符）"
                )
        except FileNotFoundError:
            raise _damaged(folder, name, "is missing", "缺失") from None
        except OSError as error:
            raise _damaged(
                folder, name, f"cannot be read ({error.strerror})", f"无法读取（{error.strerror}）"
            ) from None
    for path in sorted(folder.iterdir()):
        # Files that begin with a dot are put anywhere by file managers and network file systems.
        if path.name != NAME and path.name not in manifest.files and not path.name.startswith("."):
            raise _damaged(folder, path.name, "does not belong to it", "不属于该检查点")


def _damaged(folder: Path, file: str, en: str, zh: str) -> Unusable:
    return Unusable(
        "damaged",
        folder,
        f"the checkpoint {folder} is damaged: {file} {en}.",
        f"检查点 {folder} 已损坏：{file} {zh}。",
    )


def _foreign(folder: Path) -> Unusable:
    try:
        pickles = sorted(p.name for p in folder.iterdir() if p.name.endswith(_PICKLES) or p.name == ".metadata")
    except OSError:
        pickles = []
    if pickles:
        return Unusable(
            "foreign",
            folder,
            f"{folder} is not a checkpoint of huohou (it has no {NAME}); its {pickles[0]} is a pickle, which can run "
            f"code when it is read, so it was not opened.",
            f"{folder} 不是 huohou 的检查点（没有 {NAME}）；其中的 {pickles[0]} 是 pickle 文件，"
            f"读取时可能执行代码，因此没有打开。",
        )
    return Unusable(
        "foreign",
        folder,
        f"{folder} is not a checkpoint of huohou: it has no {NAME}.",
        f"{folder} 不是 huohou 的检查点：没有 {NAME}。",
    )
