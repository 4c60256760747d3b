"""``huohou export``: from a run, an adapter or a foreign file of weights to a Hugging Face folder."""

from __future__ import annotations

import argparse
import re

from huohou.errors import UserError, missing_extra
from huohou.language import Text

HELP = Text(
    "Merge adapters and write a Hugging Face folder; its logits are compared with the live model's before it is done.",
    "合并适配器并写出 Hugging Face 文件夹；完成之前会把它的 logits 与在线模型对比。",
)

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add(
        "source",
        metavar="RUN|FOLDER|FILE",
        help=str(
            Text(
                "a run folder, a model, an adapter, or a .pth or .bin file",
                "训练目录、模型、适配器，或 .pth、.bin 文件",
            )
        ),
    )
    add("--output", required=True, metavar="DIR", help=str(Text("the folder to write", "要写出的文件夹")))
    add(
        "--adapter",
        action="append",
        default=[],
        metavar="DIR",
        help=str(Text("merge this adapter too; may be repeated, in order", "再合并这个适配器；可重复，按顺序")),
    )
    add(
        "--base",
        metavar="DIR",
        help=str(Text("the base of an adapter (default: the one it names)", "适配器的基座（默认：它自己记录的基座）")),
    )
    add(
        "--checkpoint",
        metavar="N|best|last",
        help=str(Text("this checkpoint of a run, not its final model", "用训练的这个检查点，而不是最终模型")),
    )
    add("--dtype", metavar="TYPE", help=str(Text("float32, float16 or bfloat16", "float32、float16 或 bfloat16")))
    add(
        "--shard-size",
        default="5GB",
        metavar="SIZE",
        help=str(Text("the largest file, e.g. 5GB; memory holds one", "最大的文件，例如 5GB；内存中只有一个")),
    )
    add(
        "--no-check",
        action="store_true",
        help=str(Text("do not compare with the live model", "不与在线模型对比")),
    )


def run(options: argparse.Namespace) -> int:
    """Export; the exit status is 0."""
    size = _size(options.shard_size)
    try:
        from huohou.export import export
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "safetensors"):
            raise
        raise missing_extra(error.name, "train") from error
    export(
        options.source,
        options.output,
        adapters=options.adapter,
        base=options.base,
        checkpoint=options.checkpoint,
        dtype=options.dtype,
        shard_bytes=size,
        check=not options.no_check,
    )
    return 0


def _size(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?B?)", text.strip().upper())
    unit = found[2] if found else None
    if unit in ("K", "M", "G"):
        unit += "B"
    size = int(float(found[1]) * _UNITS[unit]) if found and unit is not None else 0
    if size < 1:
        raise UserError(
            f"--shard-size is {text!r}; write a size such as 5GB or 500MB.",
            f"--shard-size 是 {text!r}；请写 5GB 或 500MB 这样的大小。",
        )
    return size
