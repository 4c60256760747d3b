"""``huohou train``: from a run file to a trained model."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from huohou.errors import UserError, missing_extra
from huohou.language import Text, language

if TYPE_CHECKING:
    from huohou.config import RunConfig
    from huohou.train.take_up import Resume

EXIT_MISTAKE = 2

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
    add(
        "--on-change",
        metavar="keep|retarget|rewarm",
        help=str(
            Text(
                "what --resume does where the plan has changed: go on as before, follow the new one, or rise to it",
                "--resume 时计划若已改变：按原计划、改随新计划，或再预热到新计划",
            )
        ),
    )
    add(
        "--rewarm",
        metavar="LENGTH",
        help=str(Text("how long rewarm rises: 1%%, 200 steps", "rewarm 上升多久：1%%、200 steps")),
    )
    add("--nproc", metavar="N", help=str(Text("processes on this machine that share the run", "本机共同训练的进程数")))
    add("--strict", action="store_true", help=str(Text("stop at a damaged checkpoint", "遇到损坏的检查点即停止")))
    add("--quiet", action="store_true", help=str(Text("no progress lines", "不显示进度")))


def run(options: argparse.Namespace) -> int:
    """Train; the exit status is 0, or that of the signal that stopped the run."""
    try:
        return _run(options)
    except UserError:
        # Every process reads the same run file; one of them says what is wrong with it.
        if os.environ.get("RANK", "0") != "0":
            return EXIT_MISTAKE
        raise


def _run(options: argparse.Namespace) -> int:
    resume, path, overrides = _resume(options)
    if options.output is not None:
        overrides.append(f"output={options.output}")
    from huohou.config import load_run

    size = _processes(options.nproc)
    config = _shared(load_run(path, overrides=tuple(overrides)), size)
    try:
        from huohou.launch import check_processes, train
        from huohou.train.distributed import World
        from huohou.train.local import run_local
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "safetensors"):
            raise
        raise missing_extra(error.name, "train") from error
    from huohou.train.processes import Left
    from huohou.train.signals import Stopped
    from huohou.train.take_up import Consent

    if size > 1 and "RANK" not in os.environ:
        check_processes(config, World(0, size))
        return run_local(_command(options, path, config.overrides), size, config.train.timeout)
    try:
        consent = Consent.read(options.on_change, options.rewarm)
        train(config, resume=resume, strict=options.strict, consent=consent, quiet=options.quiet, stream=sys.stdout)
    except (Stopped, Left) as stopped:
        return _over(stopped.status, size)
    return _over(0, size)


def _over(status: int, size: int) -> int:
    """The exit status; one of several processes ends here, since threads of gloo may abort an interpreter's own end."""
    if size > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _processes(nproc: str | None) -> int:
    """How many processes share the run: what the launcher says, or ``--nproc`` asks for."""
    given = os.environ.get("WORLD_SIZE") if "RANK" in os.environ else nproc
    if given is None:
        return 1
    if not given.isdecimal() or int(given) < 1:
        raise UserError(
            f"--nproc {given}: write how many processes, such as --nproc 2.",
            f"--nproc {given}：请写进程数，例如 --nproc 2。",
        )
    return int(given)


def _shared(config: RunConfig, size: int) -> RunConfig:
    """The run file with as many processes as there are, where it says nothing of them."""
    if size == 1 or config.is_set("batch.gpus"):
        return config
    from huohou.config import load_run

    assert config.path is not None
    return load_run(config.path, overrides=(*config.overrides, f"batch.gpus={size}"))


def _command(options: argparse.Namespace, path: str, overrides: Sequence[str]) -> list[str]:
    """What each process is started with."""
    words = [sys.executable, "-m", "huohou", "train", path]
    for text in overrides:
        words += ["--set", text]
    if options.resume:
        words += ["--resume"] if options.resume is True else ["--resume", options.resume]
    for flag, value in (("--on-change", options.on_change), ("--rewarm", options.rewarm)):
        words += [flag, value] if value is not None else []
    words += [flag for flag, on in (("--strict", options.strict), ("--quiet", options.quiet)) if on]
    return [*words, "--lang", language()]


def _resume(options: argparse.Namespace) -> tuple[Resume, str, list[str]]:
    """What ``--resume`` says, the run file, and the overrides."""
    if options.resume not in (True, False, "auto"):
        raise UserError(
            f"--resume {options.resume}: write --resume alone or --resume auto, after the run file.",
            f"--resume {options.resume}：请在训练文件之后写 --resume 或 --resume auto。",
        )
    if options.on_change is not None and options.resume is False:
        raise UserError(
            "--on-change says how to go on with a changed plan; it belongs to --resume.",
            "--on-change 说明计划改变后怎样继续；它属于 --resume。",
        )
    return options.resume, options.run, [*options.overrides, *options.set]
