"""``huohou demo``: the same small model twice, with the planned warmup and without, and one page about both."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from huohou import records
from huohou.errors import RunFailed, UserError, missing_extra
from huohou.language import Text, language
from huohou.records import RunFolder
from huohou.units import whole

if TYPE_CHECKING:
    from huohou.config import RunConfig
    from huohou.evaluate.questions import Asked

HELP = Text(
    "Train a small Chinese LLaMA twice on the generated corpus, with warmup and without, and compare them on one page.",
    "在生成的语料上训练两次小的中文 LLaMA（有预热和无预热），并在一个页面上比较。",
)

_EVERY = 10.0
"""Seconds between two lines of progress."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One of the two runs."""

    name: str
    title: Text
    overrides: tuple[str, ...]


ARMS = (
    Arm("with-warmup", Text("with warmup", "有预热"), ()),
    Arm("without-warmup", Text("without warmup", "无预热"), ("schedule.warmup=off",)),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add("overrides", nargs="*", metavar="a.b=c", help=str(Text("keys to override in both runs", "两次训练都覆盖的键")))
    add(
        "--output",
        default="runs/demo",
        metavar="DIR",
        help=str(Text("where both run folders go", "两个训练目录的位置")),
    )
    add("--questions", default="200", help=str(Text("how many questions are asked", "提问的数量")))


def run(options: argparse.Namespace) -> int:
    """Plan, train twice side by side, ask both models, and write the page."""
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_extra("torch", "train") from error
    questions = whole(options.questions, key="--questions", least=1)
    output = Path(options.output)
    began = time.monotonic()
    runs = [_config(arm, output, options.overrides) for arm in ARMS]
    _clear(output)
    _plan(runs[0])
    _train(runs, output)
    trained = time.monotonic()
    _ask(runs, questions)
    page = _report(runs, output)
    spent = time.monotonic() - began
    print(
        Text(
            f"\nthe page: {page}\n{spent:.0f} s in all, of which training {trained - began:.0f} s",
            f"\n报告页面：{page}\n共用 {spent:.0f} 秒，其中训练 {trained - began:.0f} 秒",
        )
    )
    return 0


def _config(arm: Arm, output: Path, overrides: Sequence[str]) -> RunConfig:
    from huohou.config import load_run

    template = resources.files("huohou") / "templates" / "demo.yaml"
    with resources.as_file(template) as path:
        said = (*overrides, *arm.overrides, f"name={arm.name}", f"output={(output / arm.name).as_posix()}")
        return load_run(path, overrides=said)


def _clear(output: Path) -> None:
    """A second demonstration replaces the first; what is no run folder of it stays."""
    for arm in ARMS:
        folder = RunFolder(output / arm.name)
        if folder.path.exists():
            if not folder.plan.exists() and any(folder.path.iterdir()):
                raise UserError(
                    f"{folder.path} is in the way and is no run folder; move it, or choose another --output.",
                    f"{folder.path} 挡住了路，而它不是训练目录；请移走它，或另选 --output。",
                )
            shutil.rmtree(folder.path)


def _plan(run: RunConfig) -> None:
    """Make tokenizer and token cache once for both, and show the plan."""
    from huohou.plan.facts import prepare
    from huohou.report.curve_drawing import needs_ascii
    from huohou.report.plan_text import render

    prepared = prepare(run, say=lambda text: print(text, flush=True))
    print(
        render(prepared.plan, spec=run.schedule_spec(), ascii=needs_ascii(sys.stdout)).partition(
            "\n\n" + str(Text("advice", "建议"))
        )[0]
    )
    print(flush=True)


def _train(runs: Sequence[RunConfig], output: Path) -> None:
    """Both runs side by side, one a core; one after the other where there is one core only."""
    together = (os.cpu_count() or 1) >= len(runs)
    waiting = list(zip(ARMS, runs, strict=True))
    going: list[tuple[Arm, RunConfig, subprocess.Popen[bytes]]] = []
    shown = time.monotonic()
    try:
        while waiting or going:
            while waiting and (together or not going):
                arm, run = waiting.pop(0)
                going.append((arm, run, _start(arm, run, output)))
            time.sleep(0.2)
            for arm, run, process in list(going):
                if process.poll() is None:
                    continue
                going.remove((arm, run, process))
                if process.returncode != 0:
                    raise _failed(arm, run, output, process.returncode)
            if time.monotonic() - shown >= _EVERY:
                shown = time.monotonic()
                _progress(runs)
    except BaseException:
        for _, _, process in going:
            process.terminate()
        for _, _, process in going:
            process.wait()
        raise
    for arm, run in zip(ARMS, runs, strict=True):
        said = _log(output, arm).read_text(encoding="utf-8").splitlines()
        print(f"{arm.title}: " + next((line for line in said if line.startswith("planned == applied")), run.name))


def _log(output: Path, arm: Arm) -> Path:
    return output / f"{arm.name}.log"


def _start(arm: Arm, run: RunConfig, output: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "huohou",
        "train",
        str(run.path),
        *run.overrides,
        "train.threads=1",
        "--lang",
        language(),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    output.mkdir(parents=True, exist_ok=True)
    with open(_log(output, arm), "wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)


def _failed(arm: Arm, run: RunConfig, output: Path, status: int) -> RunFailed:
    log = _log(output, arm)
    last = (log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or [""])[-1]
    return RunFailed(
        f"the run {arm.name} ended with status {status}: {last} (all of it: {log}).",
        f"训练 {arm.name} 以状态 {status} 结束：{last}（详见 {log}）。",
    )


def _progress(runs: Sequence[RunConfig]) -> None:
    parts: list[str] = []
    for arm, run in zip(ARMS, runs, strict=True):
        lines = [line for line in records.read(RunFolder(run.folder).metrics) if not line["skipped"]]
        if lines:
            done, loss = f"{lines[-1]['update']}/{run.train.updates}", f"{lines[-1]['loss']:.3f}"
            text = Text(f"{arm.title.en}: update {done}, loss {loss}", f"{arm.title.zh}：第 {done} 步，损失 {loss}")
            parts.append(str(text))
    if parts:
        print(" · ".join(parts), flush=True)


def _ask(runs: Sequence[RunConfig], count: int) -> None:
    """Ask both models the same questions, show some answers, and record the scores as events."""
    from huohou.data.embedded import completions
    from huohou.evaluate.questions import ask
    from huohou.model import generate
    from huohou.model.opening import open_for_use
    from huohou.train.metrics import now

    seed = runs[0].data.embedded.seed if runs[0].data.embedded else 0
    beginnings = completions(seed, 2)
    answered: list[Asked] = []
    stories: list[list[str]] = []
    for arm, run in zip(ARMS, runs, strict=True):
        folder = RunFolder(run.folder)
        opened = open_for_use(folder.path, device="cpu")
        answered.append(ask(opened, seed, count))
        tokenizer, begin = opened.tokenizer, opened.begin_id()
        prompts = [[begin, *ids.tolist()] for ids in tokenizer.encode_batch(beginnings)]
        told = generate(opened.model, prompts, 40, stop_ids=(tokenizer.end_id,))
        stories.append([tokenizer.decode(ids) for ids in told])
        result = answered[-1].score
        low, high = result.interval
        records.append(
            folder.events,
            {
                "event": "score",
                "update": run.train.updates,
                "time": now(),
                "share": result.share,
                "right": result.right,
                "asked": result.total,
                "interval": [low, high],
                "by_kind": {kind: list(pair) for kind, pair in result.by_kind.items()},
            },
        )
        print(
            Text(
                f"{arm.title.en}: {result.right} of {result.total} questions right, {result.share:.0%} "
                f"(95% interval {low:.0%} to {high:.0%})",
                f"{arm.title.zh}：{result.total} 题答对 {result.right} 题，{result.share:.0%}"
                f"（95% 区间 {low:.0%} 至 {high:.0%}）",
            )
        )
    print()
    for i, question in enumerate(answered[0].questions[:4]):
        print(f"{question.prompt}  [{question.answer}]")
        for arm, given in zip(ARMS, answered, strict=True):
            print(f"    {arm.title}: {given.replies[i]}")
    for i, beginning in enumerate(beginnings):
        print(f"{beginning}…")
        for arm, told in zip(ARMS, stories, strict=True):
            print(f"    {arm.title}: {' '.join(told[i].split())}")


def _report(runs: Sequence[RunConfig], output: Path) -> Path:
    from huohou.report import page
    from huohou.report.runs import load_runs

    path = output / "report.html"
    page.write(load_runs([run.folder for run in runs]), path, "huohou demo")
    return path.resolve()
