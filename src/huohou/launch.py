"""From a run file to a finished run: prepare the data, plan exactly, build, train or go on, and write the model."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TextIO

from huohou import records
from huohou.assemble import assemble_model, assemble_stage, check_prompts
from huohou.config import RunConfig
from huohou.errors import RunFailed, UserError
from huohou.language import Text
from huohou.model import Llama, write_model
from huohou.plan.facts import Prepared, cache_folder, prepare
from huohou.plan.result import Plan
from huohou.records import RunFolder
from huohou.train import checkpoint, take_up
from huohou.train.checkpoint import Checkpoint, SaveFailed
from huohou.train.environment import environment
from huohou.train.execution import keep_compiled, prepare_process, settle
from huohou.train.lock import RunLock
from huohou.train.optim import OptimizerSettings, make_optimizer
from huohou.train.progress import Progress
from huohou.train.signals import Signals, Stopped
from huohou.train.take_up import Resume
from huohou.train.task import Counters, Task
from huohou.train.trainer import Trainer


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished run: its folder, its plan, and what was counted."""

    folder: RunFolder
    plan: Plan
    counters: Counters


def train(
    run: RunConfig,
    *,
    resume: Resume = False,
    strict: bool = False,
    quiet: bool = False,
    stream: TextIO | None = None,
) -> RunResult:
    """Do what the run file says, in its run folder.

    ``strict`` stops at a damaged checkpoint instead of falling back to the one before; ``quiet`` leaves out the
    progress; ``stream`` is where sentences go (standard output).

    Raises :class:`UserError` for a mistake that shows before the first update, :class:`RunFailed` for a run that
    could not be finished, and :class:`Stopped` where a signal asked for an end, after a checkpoint was written.
    """
    folder = RunFolder(run.folder)
    progress = Progress(every=run.train.print_every, quiet=quiet, stream=stream)
    _check_processes(run)
    take_up.goes_on(folder, resume)
    with _empty_folder_removed(folder), _disk_trouble(folder):
        folder.path.mkdir(parents=True, exist_ok=True)
        with RunLock(folder.path), Signals(progress.say) as signals:
            # Another process may have begun a run here before the lock was taken.
            goes_on = take_up.goes_on(folder, resume)
            prepared = prepare(run, say=progress.say)
            plan = (
                take_up.recorded_plan(run, folder, prepared.plan, progress.say)
                if goes_on
                else _settled_plan(run, prepared.plan)
            )
            newest = take_up.newest(folder, plan, strict, progress.say) if goes_on else None
            if newest is not None and newest.manifest.position.update == plan.updates and folder.model.is_dir():
                return _finished(folder, plan, newest, progress)
            trainer = _trainer(run, folder, plan, prepared, progress, signals)
            _check_space(folder, trainer)
            if goes_on:
                _go_on(run, folder, trainer, newest)
            else:
                _begin(run, folder, plan, prepared, trainer)
            try:
                counters = trainer.run()
            except Stopped:
                progress.say(_how_to_go_on(run, trainer))
                raise
            _write_model(trainer, folder, prepared, progress)
    return RunResult(folder, plan, counters)


def _check_processes(run: RunConfig) -> None:
    if run.batch.gpus != 1:
        raise UserError(
            f"batch.gpus is {run.batch.gpus}, but this version trains in one process: write 1.",
            f"batch.gpus 为 {run.batch.gpus}，但当前版本只支持单进程训练：请写 1。",
        )


@contextmanager
def _empty_folder_removed(folder: RunFolder) -> Generator[None]:
    """A run that failed before it wrote anything leaves nothing behind."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            folder.path.rmdir()
        raise


@contextmanager
def _disk_trouble(folder: RunFolder) -> Generator[None]:
    """What the disk refuses outside the loop becomes a sentence."""
    try:
        yield
    except OSError as error:
        where, why = error.filename or folder.path, error.strerror or str(error)
        raise UserError(f"{where} could not be written: {why}.", f"无法写入 {where}：{why}。") from error


def _settled_plan(run: RunConfig, plan: Plan) -> Plan:
    """The plan with everything that depends on this machine decided."""
    execution = settle(run.train, fused=run.optimizer.fused, seed=run.seed, seconds=plan.budget.get("seconds"))
    return plan.with_execution(execution)


def _finished(folder: RunFolder, plan: Plan, newest: Checkpoint, progress: Progress) -> RunResult:
    progress.say(
        Text(
            f"{folder.path} is finished: {plan.updates} of {plan.updates} updates; nothing was done.",
            f"{folder.path} 已完成：{plan.updates}/{plan.updates} 个更新步；未做任何改动。",
        )
    )
    return RunResult(folder, plan, Counters(**checkpoint.load(newest).plain["counters"]))


def _trainer(
    run: RunConfig, folder: RunFolder, plan: Plan, prepared: Prepared, progress: Progress, signals: Signals
) -> Trainer:
    """Everything that trains, as it stands before the first update."""
    execution, optimizer = plan.execution or {}, plan.optimizer or {}
    prepare_process(execution)
    if execution["compile"]:
        keep_compiled(cache_folder(run) / "compiled")
    model = assemble_model(plan, prepared, folder)
    check_prompts(run, prepared, model)
    settings = OptimizerSettings(
        betas=tuple(optimizer["betas"]),
        eps=optimizer["eps"],
        weight_decay=optimizer["weight_decay"],
        fused=execution["fused"],
    )
    return Trainer(
        task=Task(
            updates=plan.updates,
            curves=plan.all_groups(),
            fingerprints=take_up.fingerprints(plan),
            phases=plan.phases,
            max_grad_norm=optimizer["max_grad_norm"],
            dtype=execution["dtype"],
            device=execution["device"],
            evaluate_every=run.train.evaluate_every,
            sample_every=run.train.sample_every,
            layers_every=run.train.layers_every,
            checkpoint_every=run.checkpoint.every,
            keep=run.checkpoint.keep,
        ),
        stage=assemble_stage(run, plan, prepared),
        model=model,
        optimizer=make_optimizer(model, settings),
        folder=folder,
        progress=progress,
        signals=signals,
    )


def _check_space(folder: RunFolder, trainer: Trainer) -> None:
    """Weights and two moments must fit on the disk, or training is not worth beginning."""
    size = 3 * sum(p.numel() * p.element_size() for p in trainer.model.parameters())
    try:
        checkpoint.check_space(folder.checkpoints, size)
    except SaveFailed as error:
        raise UserError(error.text.en, error.text.zh) from error


def _begin(run: RunConfig, folder: RunFolder, plan: Plan, prepared: Prepared, trainer: Trainer) -> None:
    """Write what is known before the first update."""
    records.write_json(folder.plan, plan.to_plain())
    if prepared.rejects is not None:
        shutil.copyfile(prepared.rejects, folder.path / "rejects.jsonl")
    _write_surroundings(run, folder)
    trainer.event("start", update=0, updates=plan.updates, overrides=list(run.overrides))


def _write_surroundings(run: RunConfig, folder: RunFolder) -> None:
    """The run file as written, and what the run runs on; a run that goes on keeps what it began with."""
    if not folder.config.exists():
        records.write_atomically(folder.config, run.source)
    if not folder.environment.exists():
        records.write_json(folder.environment, environment())


def _go_on(run: RunConfig, folder: RunFolder, trainer: Trainer, newest: Checkpoint | None) -> None:
    """Put the run where it stood."""
    _write_surroundings(run, folder)
    if newest is not None:
        trainer.restore(checkpoint.load(newest), newest.folder)
    counters = trainer.counters
    trainer.event("resume", update=counters.update, batches=counters.batches)
    trainer.progress.say(
        Text(
            f"going on after update {counters.update} of {trainer.task.updates}.",
            f"从更新步 {counters.update}/{trainer.task.updates} 之后继续。",
        )
    )


def _how_to_go_on(run: RunConfig, trainer: Trainer) -> Text:
    command = shlex.join(["huohou", "train", str(run.path or "run.yaml"), *run.overrides, "--resume"])
    saved = trainer.saved.name if trainer.saved else None
    en, zh = (f"{saved} is there", f"已有 {saved}") if saved else ("no checkpoint was written yet", "尚未写入检查点")
    return Text(f"stopped; {en}. Go on with: {command}", f"已停止；{zh}。继续：{command}")


def _write_model(trainer: Trainer, folder: RunFolder, prepared: Prepared, progress: Progress) -> None:
    assert isinstance(trainer.model, Llama)
    try:
        write_model(trainer.model, folder.model, prepared.tokenizer)
    except OSError as error:
        why = error.strerror or str(error)
        raise RunFailed(
            f"the run is finished and saved in {trainer.saved}, but {folder.model} could not be written: {why}; "
            f"--resume tries again.",
            f"训练已完成并保存于 {trainer.saved}，但无法写入 {folder.model}：{why}；可用 --resume 重试。",
        ) from error
    path = shlex.quote(str(folder.path))
    progress.say(
        Text(
            f"model: {folder.model}; a page about the run: huohou report {path}",
            f"模型：{folder.model}；查看训练报告：huohou report {path}",
        )
    )
