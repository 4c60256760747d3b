"""``huohou plan``: what a run will do, from a run file or from flags alone."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huohou.errors import UserError
from huohou.language import Text
from huohou.plan.result import Plan
from huohou.plan.words import WORDS, plan_of_words
from huohou.schedule.recipes import ScheduleSpec
from huohou.units import exact, whole

HELP = Text(
    "Say what a run will do, before anything is spent: from a run file, or from flags alone.",
    "在花费任何资源之前说明训练会做什么：可用训练配置，也可只用参数。",
)

_OUTPUTS = frozenset({"run", "set", "rates", "json", "csv", "png", "compare", "exact", "hardware", "speed", "price"})
"""What may stand beside a run file; the other flags would say again what the file says."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add(
        "run",
        nargs="*",
        metavar="RUN.yaml [a.b=c …]",
        help=str(Text("a run file, and overrides", "训练配置，以及覆盖项")),
    )
    add("--set", action="append", default=[], metavar="a.b=c", help=str(Text("an override", "覆盖一个键")))
    size = parser.add_argument_group(str(Text("how long", "训练多长")))
    add = size.add_argument
    add("--updates", "--max-steps", "--steps", help=str(Text("updates of the run (T)", "更新步总数 (T)")))
    add("--tokens", help=str(Text("tokens of the whole run, such as 2B", "全程的词元数，例如 2B")))
    add("--epochs", "--num-train-epochs", help=str(Text("passes over the data", "数据遍数")))
    add("--sequences", help=str(Text("sequences in the data", "数据中的序列数")))
    add("--sequence-length", "--seq-len", help=str(Text("tokens of a sequence", "每条序列的词元数")))
    add("--batch", "--batch-size", help=str(Text("sequences of an update, or 4M tokens", "每步的序列数，或 4M tokens")))
    add("--micro-batch", help=str(Text("sequences of one pass in one process", "单进程一次前向的序列数")))
    add("--accumulation", "--gradient-accumulation-steps", help=str(Text("micro-batches of an update", "每步的微批数")))
    add("--gpus", "--world-size", help=str(Text("processes", "进程数")))
    curve = parser.add_argument_group(str(Text("which rates", "学习率")))
    add = curve.add_argument
    add("--peak", "--learning-rate", "--lr", help=str(Text("the highest rate", "最高学习率")))
    add(
        "--warmup",
        help=str(Text("10%%, 1000 steps, 2B tokens, 1 epoch, off", "10%%、1000 steps、2B tokens、1 epoch、off")),
    )
    add("--warmup-rate", help=str(Text("as a share of the run", "占全程的比例")))
    add("--warmup-ratio", help=str(Text("the same", "同上")))
    add("--num-warmup-steps", help=str(Text("in updates", "以步数计")))
    add("--warmup-steps", help=str(Text("the same", "同上")))
    add("--warmup-shape", help="linear, cosine, 1-sqrt, exponential, logarithmic")
    add("--warmup-start", help=str(Text("the level at the origin", "起点的高度")))
    add("--decay", "--lr-scheduler-type", help="cosine, linear, constant, 1-sqrt, polynomial, inverse_sqrt, …")
    add("--decay-length", help=str(Text("updates below the peak at the end", "末尾低于峰值的步数")))
    add("--decay-shape", help=str(Text("how wsd falls", "wsd 如何下降")))
    add("--floor", help=str(Text("10%% of the peak, or a rate", "峰值的 10%%，或一个学习率")))
    for name in ("--power", "--cycles", "--timescale", "--half-life"):
        add(name)
    need = parser.add_argument_group(str(Text("what it needs", "所需资源")))
    add = need.add_argument
    add("--params", help=str(Text("parameters of the model, such as 7B", "模型参数量，例如 7B")))
    add("--stage", choices=("pretrain", "continue", "sft"), help=str(Text("what the run is", "训练的阶段")))
    add("--hardware", help="cpu, rtx3090, rtx4090, v100, a100, h100, …")
    add("--speed", help=str(Text("measured tokens a second", "实测每秒词元数")))
    add("--price", help=str(Text("of one device for an hour", "单卡每小时价格")))
    out = parser.add_argument_group(str(Text("what to show", "输出")))
    add = out.add_argument
    add("--rates", metavar="1,500,…", help=str(Text("only these updates' rates", "只输出这些步的学习率")))
    add("--json", action="store_true", help=str(Text("one JSON object", "一个 JSON 对象")))
    add("--csv", metavar="FILE", help=str(Text("every update's rate", "每一步的学习率")))
    add("--png", metavar="FILE", help=str(Text("a picture of the curve", "曲线图")))
    add("--compare", metavar="OTHER.yaml", help=str(Text("another run file", "另一个训练配置")))
    add("--exact", action="store_true", help=str(Text("tokenise first where needed", "需要时先分词")))


def run(options: argparse.Namespace) -> int:
    """Make the plan and show it."""
    plan, spec = _from_file(options) if options.run else _from_flags(options)
    other = _other(options)
    if options.csv:
        write_csv(plan, options.csv)
    if options.png:
        from huohou.report.plan_png import write_png

        write_png(plan, Path(options.png))
    if options.rates is not None:
        for update in _updates(options.rates, plan):
            print(update, repr(plan.curve(update)))
    elif options.json:
        shown = plan.to_plain()
        if other is not None:
            shown["compare"] = _compare(plan, other)
        print(json.dumps(shown, ensure_ascii=False, allow_nan=False))
    else:
        from huohou.report.curve_drawing import needs_ascii
        from huohou.report.plan_text import render

        columns = shutil.get_terminal_size((78, 24)).columns
        print(render(plan, spec=spec, ascii=needs_ascii(sys.stdout), columns=columns))
        if other is not None:
            from huohou.report.plan_compare import render_comparison

            print("\n" + render_comparison(plan, other))
        for kind in ("csv", "png"):
            if getattr(options, kind) not in (None, "-"):
                print(Text(f"\nwritten: {getattr(options, kind)}", f"\n已写出：{getattr(options, kind)}"))
    return 0


def _updates(text: str, plan: Plan) -> Iterator[int]:
    updates = [whole(part, key="--rates", least=1) for part in text.split(",") if part.strip()]
    if not updates:
        raise UserError("--rates is empty; write for example 1,500,1000.", "--rates 为空；请写成例如 1,500,1000。")
    past = [update for update in updates if update > plan.updates]
    if past:
        note = Text(
            f"huohou: note: update {past[0]} lies past the end of this run of {plan.updates}; "
            "the curve is constant there.",
            f"huohou: 注意：第 {past[0]} 步超出了全程 {plan.updates} 步；曲线在那里保持不变。",
        )
        print(note, file=sys.stderr)
    return iter(updates)


def write_csv(plan: Plan, target: str) -> None:
    """Write ``update,rate`` for every update, a piece at a time; ``-`` is standard output."""
    if target == "-":
        for piece in _csv(plan):
            sys.stdout.write(piece)
        return
    try:
        with open(target, "w", encoding="utf-8", newline="") as file:
            for piece in _csv(plan):
                file.write(piece)
    except OSError as error:
        raise UserError(
            f"--csv {target} cannot be written: {error.strerror}.", f"--csv {target} 无法写入：{error.strerror}。"
        ) from error


def _csv(plan: Plan) -> Iterator[str]:
    groups = plan.all_groups()
    names = list(groups) if len(groups) > 1 else ["rate"]
    yield "update," + ",".join(names) + "\n"
    curves = list(groups.values())
    piece = 10_000
    if plan.updates <= 20 * piece:
        # Evaluating one by one gives the same bits, and a short file does not have to wait for numpy.
        for begin in range(1, plan.updates + 1, piece):
            updates = range(begin, min(begin + piece, plan.updates + 1))
            yield "".join(f"{u},{','.join(repr(c(u)) for c in curves)}\n" for u in updates)
        return
    streams = zip(*(c.stream(1, plan.updates, piece) for c in curves), strict=True)
    for begin, parts in zip(range(1, plan.updates + 1, piece), streams, strict=True):
        columns = [part.tolist() for part in parts]
        yield "".join(f"{begin + i},{','.join(map(repr, row))}\n" for i, row in enumerate(zip(*columns, strict=True)))


def _from_file(options: argparse.Namespace) -> tuple[Plan, ScheduleSpec]:
    given = [key for key, value in vars(options).items() if key not in _OUTPUTS and value not in (None, [], False)]
    if given:
        flag = "--" + given[0].replace("_", "-")
        raise UserError(
            f"{flag} does not go with a run file, which says it too; override the file with --set instead.",
            f"{flag} 不能和训练配置一起用，配置里已经写了；请用 --set 覆盖。",
        )
    from huohou.plan.facts import plan_of_file

    path, *overrides = options.run
    return plan_of_file(
        path,
        [*overrides, *options.set],
        exact=options.exact,
        hardware=options.hardware,
        speed=None if options.speed is None else float(exact(options.speed, key="--speed")),
        price=None if options.price is None else float(exact(options.price, key="--price")),
    )


def _other(options: argparse.Namespace) -> Plan | None:
    if options.compare is None:
        return None
    from huohou.plan.facts import plan_of_file

    return plan_of_file(options.compare, [], exact=options.exact)[0]


def _compare(plan: Plan, other: Plan) -> dict[str, Any]:
    from huohou.report.plan_compare import comparison

    return comparison(plan, other)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _from_flags(options: argparse.Namespace) -> tuple[Plan, ScheduleSpec]:
    if options.set:
        raise UserError("--set needs a run file to override.", "--set 需要一个可覆盖的训练配置。")
    if options.peak is None and options.updates is None:
        raise UserError(
            "nothing to plan: give a run file, or flags such as --updates 10000 --peak 3e-4 --warmup-rate 0.1.",
            "没有可计划的内容：请给出训练配置，或参数，例如 --updates 10000 --peak 3e-4 --warmup-rate 0.1。",
        )
    return plan_of_words({name: value for name, value in vars(options).items() if name in WORDS}, _flag)
