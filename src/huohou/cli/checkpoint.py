"""``huohou checkpoint``: what a run has saved, and whether every byte of it is as it was written."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huohou.errors import UserError, missing_extra
from huohou.language import Text
from huohou.records import RunFolder

if TYPE_CHECKING:
    from huohou.train.checkpoint import Listed

HELP = Text("list a run's checkpoints, or check every byte of them", "列出训练的检查点，或逐字节校验")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, text in (
        ("ls", Text("what is there", "有哪些检查点")),
        ("verify", Text("read and hash every file", "读取每个文件并校验哈希")),
    ):
        one = verbs.add_parser(verb, help=str(text))
        one.add_argument("run", type=Path, metavar="RUN", help=str(Text("a run folder", "训练目录")))
        one.add_argument("--json", action="store_true", help=str(Text("print one JSON object", "输出一个 JSON 对象")))


def run(options: argparse.Namespace) -> int:
    """List or verify; the exit status is 1 where a checkpoint cannot be used."""
    try:
        from huohou.train.checkpoint import listing
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "safetensors"):
            raise
        raise missing_extra(error.name, "train") from error
    folder = _folder(options.run)
    found = listing(folder, every_byte=options.verb == "verify")
    if options.json:
        print(json.dumps([_plain(one) for one in found], ensure_ascii=False, indent=1))
    else:
        for one in found:
            print(_line(one, checked=options.verb == "verify"))
        if not found:
            print(Text(f"there is no checkpoint in {folder}.", f"{folder} 中没有检查点。"))
    return 1 if any(one.problem is not None for one in found) else 0


def _folder(path: Path) -> Path:
    """The folder of checkpoints that is meant: a run's, or the given one."""
    inner = RunFolder(path).checkpoints
    if inner.is_dir():
        return inner
    if not path.is_dir():
        raise UserError(f"{path} is no run folder.", f"{path} 不是训练目录。")
    return path


def _plain(one: Listed) -> dict[str, Any]:
    position = one.checkpoint.manifest.position if one.checkpoint else None
    return {
        "path": str(one.folder),
        "update": position.update if position else None,
        "tokens": position.tokens if position else None,
        "bytes": one.bytes,
        "validation_loss": one.loss,
        "problem": one.problem.plain() if one.problem else None,
    }


def _line(one: Listed, *, checked: bool) -> str:
    if one.checkpoint is None:
        return f"{one.folder.name}  {one.problem}"
    position, loss = one.checkpoint.manifest.position, one.loss
    parts = [
        one.folder.name,
        str(Text(f"update {position.update}", f"更新步 {position.update}")),
        str(Text(f"{position.tokens} tokens", f"{position.tokens} 词元")),
        f"{one.bytes / 1e6:.1f} MB",
    ]
    if loss is not None:
        parts.append(str(Text(f"validation loss {loss:.4f}", f"验证损失 {loss:.4f}")))
    if one.problem is not None:
        parts.append(str(one.problem))
    elif checked:
        parts.append(str(Text("every byte as written", "每个字节都与写入时相同")))
    return "  ".join(parts)
