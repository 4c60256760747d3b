"""``huohou train``: from a run file to a trained model."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from huohou.errors import UserError, missing_extra
from huohou.language import Text

if TYPE_CHECKING:
    from huohou.train.take_up import Resume

HELP = Text(
    "Train what a run file describes, applying exactly the planned learning rates.",
    "按训练文件训练，严格使用计划中的学习率。",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add("run", metavar="RUN.yaml", help=str(Text("the run file", "训练文件")))
    add("overrides", nargs="*", metavar="a.b=c", help=str(Text("keys to override", "要覆盖的键")))
    add("--set", action="append", default=[], metavar="a.b=c", help=str(Text("the same, as a flag", "同上，写作参数")))
    add("--output", metavar="DIR", help=str(Text("the run folder (default: runs/NAME)", "训练目录（默认 runs/NAME）")))
    add(
        "--resume",
        nargs="?",
        const=True,
        default=False,
        metavar="auto",
        help=str(
            Text(
                "go on with the run in its folder; auto: begin where there is none", "继续已有训练；auto：没有则新开始"
            )
        ),
    )
    add("--strict", action="store_true", help=str(Text("stop at a damaged checkpoint", "遇到损坏的检查点即停止")))
    add("--quiet", action="store_true", help=str(Text("no progress lines", "不显示进度")))


def run(options: argparse.Namespace) -> int:
    """Train; the exit status is 0, or that of the signal that stopped the run."""
    resume, path, overrides = _resume(options)
    if options.output is not None:
        overrides.append(f"output={options.output}")
    from huohou.config import load_run

    config = load_run(path, overrides=tuple(overrides))
    try:
        from huohou.launch import train
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "safetensors"):
            raise
        raise missing_extra(error.name, "train") from error
    from huohou.train.signals import Stopped

    try:
        train(config, resume=resume, strict=options.strict, quiet=options.quiet, stream=sys.stdout)
    except Stopped as stopped:
        return stopped.status
    return 0


def _resume(options: argparse.Namespace) -> tuple[Resume, str, list[str]]:
    """What ``--resume`` says, the run file, and the overrides."""
    if options.resume not in (True, False, "auto"):
        raise UserError(
            f"--resume {options.resume}: write --resume alone or --resume auto, after the run file.",
            f"--resume {options.resume}：请在训练文件之后写 --resume 或 --resume auto。",
        )
    return options.resume, options.run, [*options.overrides, *options.set]
