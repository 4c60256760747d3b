"""From a run file to a finished run: prepare the data, plan exactly, build, train or go on, and write the model."""

from __future__ import annotations

import io
import shlex
import shutil
from collections.abc import Generator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO

import torch

from huohou import records
from huohou.assemble import assemble_trainer, keep_result, kept_tokenizer
from huohou.config import RunConfig
from huohou.errors import RunFailed, UserError
from huohou.language import Text
from huohou.model.hub import model_folder
from huohou.plan.base import base_of
from huohou.plan.facts import Prepared, prepare
from huohou.plan.result import Plan
from huohou.records import RunFolder
from huohou.train import checkpoint, distributed, metrics, processes, saving, take_up
from huohou.train.carried import carry, check_carried
from huohou.train.checkpoint import Checkpoint
from huohou.train.distributed import World
from huohou.train.engines import engine_name
from huohou.train.environment import environment
from huohou.train.execution import device_of, settle
from huohou.train.lock import RunLock
from huohou.train.manifest import read_manifest
from huohou.train.progress import Progress
from huohou.train.saving import SaveFailed
from huohou.train.signals import Signals, Stopped
from huohou.train.take_up import NO_CONSENT, Consent, Resume, TakenUp
from huohou.train.task import Counters
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
    consent: Consent = NO_CONSENT,
    quiet: bool = False,
    stream: TextIO | None = None,
) -> RunResult:
    """Do what the run file says, in its run folder.

    ``strict`` stops at a damaged checkpoint instead of falling back to the one before; ``consent`` says what a run
    that goes on does with a changed plan; ``quiet`` leaves out the
    progress; ``stream`` is where sentences go (standard output).

    Where a launcher started this process as one of several, it takes its part in the run that they make together.

    Raises :class:`UserError` for a mistake that shows before the first update, :class:`RunFailed` for a run that
    could not be finished, :class:`Stopped` where a signal asked for an end, after a checkpoint was written, and
    :class:`processes.Left` where another process says why the run ended.
    """
    found = distributed.started()
    check_processes(run, found)
    with processes.joined(found, device=device_of(run.train), timeout=run.train.timeout) as world:
        return _train(run, world, resume, strict, consent, quiet, stream)


def _train(
    run: RunConfig, world: World, resume: Resume, strict: bool, consent: Consent, quiet: bool, stream: TextIO | None
) -> RunResult:
    folder, leads = RunFolder(run.folder), world.leads
    # Only rank 0 talks.
    progress = Progress(
        every=run.train.print_every, quiet=quiet or not leads, stream=stream if leads else io.StringIO()
    )
    if run.optimizer.state == "carried":
        check_carried(run.optimizer.name, engine_name(run.train.engine, world))
    if leads:
        take_up.goes_on(folder, resume)
    with _empty_folder_removed(folder) if leads else nullcontext(), _disk_trouble(folder):
        if leads:
            folder.path.mkdir(parents=True, exist_ok=True)
        with RunLock(folder.path) if leads else nullcontext(), Signals(progress.say) as signals:
            # Another process may have begun a run here before the lock was taken.
            goes_on = bool(leads and take_up.goes_on(folder, resume))
            prepared = processes.first_rank_0("prepared", lambda: _prepare(run, progress))
            processes.mark(0, "building the model")
            goes_on = world.of_rank_0(goes_on)
            taken = _as_rank_0(
                world,
                None
                if not leads
                else take_up.take_up(run, folder, prepared, consent=consent, strict=strict, say=progress.say)
                if goes_on
                else TakenUp(_settled_plan(run, prepared.plan), None),
            )
            plan, newest = taken.plan, taken.newest
            if newest is not None and newest.manifest.position.update == plan.updates and _result(folder).is_dir():
                if leads:
                    take_up.record(folder, taken, metrics.now())
                return _finished(folder, plan, newest, progress)
            trainer = assemble_trainer(run, folder, plan, prepared, progress, signals, world)
            if leads:
                _check_space(folder, trainer)
                if goes_on:
                    take_up.record(folder, taken, metrics.now())
            if goes_on:
                _go_on(run, folder, prepared, trainer, newest)
            else:
                if (plan.optimizer or {}).get("state") == "carried":
                    progress.say(carry(trainer.engine, str((plan.optimizer or {})["from"])))
                _begin(run, folder, plan, prepared, trainer)
            try:
                counters = trainer.run()
            except Stopped:
                progress.say(_how_to_go_on(run, trainer))
                raise
            _keep(run, plan, trainer, folder, prepared, progress)
    return RunResult(folder, plan, counters)


def check_processes(run: RunConfig, found: World) -> None:
    """Raise :class:`UserError` where the run file and the launcher disagree about how many processes there are."""
    wanted, nproc = run.batch.gpus, f"--nproc {run.batch.gpus}"
    if wanted == found.size:
        return
    if found.alone:
        raise UserError(
            f"batch.gpus is {wanted}, but this is one process: start it by huohou train RUN.yaml {nproc}, or "
            "by torchrun.",
            f"batch.gpus 为 {wanted}，但这里只有一个进程：请用 huohou train RUN.yaml {nproc} 或 torchrun 启动。",
        )
    raise UserError(
        f"batch.gpus is {wanted}, but the launcher started {found.size} processes: leave batch.gpus out, or make "
        "them equal.",
        f"batch.gpus 为 {wanted}，但启动器启动了 {found.size} 个进程：请去掉 batch.gpus，或使两者一致。",
    )


def _prepare(run: RunConfig, progress: Progress) -> Prepared:
    base: Path | None = None
    if run.model.path is not None and base_of(run) is None:
        base = model_folder(
            run.model.path, revision=run.model.revision, hub=run.model.hub, remote_code=run.model.remote_code
        )
    return prepare(run, base=base, say=progress.say)


def _as_rank_0(world: World, taken: TakenUp | None) -> TakenUp:
    """The plan and the checkpoint that rank 0 has settled on, on every rank."""
    if world.alone:
        assert taken is not None
        return taken
    plain = None
    if taken is not None:
        plain = {"plan": taken.plan.to_plain(), "newest": str(taken.newest.folder) if taken.newest else None}
    told = world.of_rank_0(plain)
    if taken is not None:
        return taken
    place = Path(told["newest"]) if told["newest"] else None
    newest = Checkpoint(place, read_manifest(place)) if place else None
    return TakenUp(Plan.from_plain(told["plan"], where="plan.json"), newest)


def _result(folder: RunFolder) -> Path:
    """Where the run has put its result, if it has one."""
    adapter = folder.path / "adapter"
    return adapter if adapter.is_dir() else folder.model


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


def _check_space(folder: RunFolder, trainer: Trainer) -> None:
    """Weights and two moments must fit on the disk, or training is not worth beginning."""
    size = 3 * sum(p.numel() * p.element_size() for p in trainer.engine.model.parameters() if p.requires_grad)
    try:
        saving.check_space(folder.checkpoints, size)
    except SaveFailed as error:
        raise UserError(error.text.en, error.text.zh) from error


def _begin(run: RunConfig, folder: RunFolder, plan: Plan, prepared: Prepared, trainer: Trainer) -> None:
    """Write what is known before the first update."""
    if not trainer.engine.world.leads:
        return
    records.write_json(folder.plan, plan.to_plain())
    if prepared.rejects is not None:
        shutil.copyfile(prepared.rejects, folder.path / "rejects.jsonl")
    _write_surroundings(run, folder, prepared)
    trainer.history.event("start", update=0, updates=plan.updates, overrides=list(run.overrides))


def _write_surroundings(run: RunConfig, folder: RunFolder, prepared: Prepared) -> None:
    """The run file as written, what the run runs on, and its tokenizer, without which no checkpoint can be used.

    A run that goes on keeps what it began with.
    """
    if not folder.config.exists():
        records.write_atomically(folder.config, run.source)
    if not folder.environment.exists():
        records.write_json(folder.environment, environment())
    if not folder.tokenizer.exists():
        beside = folder.tokenizer.with_name(f"{folder.tokenizer.name}.tmp")
        shutil.rmtree(beside, ignore_errors=True)
        kept_tokenizer(run, prepared).save(beside)
        beside.rename(folder.tokenizer)


def _go_on(run: RunConfig, folder: RunFolder, prepared: Prepared, trainer: Trainer, newest: Checkpoint | None) -> None:
    """Put the run where it stood."""
    if trainer.engine.world.leads:
        _write_surroundings(run, folder, prepared)
    if newest is not None:
        trainer.restore(checkpoint.load(newest), newest.folder)
    counters = trainer.counters
    trainer.history.event("resume", update=counters.update, batches=counters.batches)
    trainer.progress.say(
        Text(
            f"going on after update {counters.update} of {trainer.task.updates}.",
            f"从更新步 {counters.update}/{trainer.task.updates} 之后继续。",
        )
    )


def _how_to_go_on(run: RunConfig, trainer: Trainer) -> Text:
    size = trainer.engine.world.size
    overrides = [text for text in run.overrides if size == 1 or text != f"batch.gpus={size}"]
    several = ["--nproc", str(size)] if size > 1 else []
    command = shlex.join(["huohou", "train", str(run.path or "run.yaml"), *overrides, *several, "--resume"])
    saved = trainer.saved.name if trainer.saved else None
    en, zh = (f"{saved} is there", f"已有 {saved}") if saved else ("no checkpoint was written yet", "尚未写入检查点")
    return Text(f"stopped; {en}. Go on with: {command}", f"已停止；{zh}。继续：{command}")


def _keep(
    run: RunConfig, plan: Plan, trainer: Trainer, folder: RunFolder, prepared: Prepared, progress: Progress
) -> None:
    """Write what was trained; rank 0 does it, and the others wait as long as it takes."""
    with trainer.engine.written() as model:
        place = processes.first_rank_0("written", partial(_write, model, run, plan, prepared, folder, trainer))
    if place is None:
        return
    path = shlex.quote(str(folder.path))
    what = Text("adapter", "适配器") if place.name == "adapter" else Text("model", "模型")
    progress.say(
        Text(
            f"{what.en}: {place}; a page about the run: huohou report {path}",
            f"{what.zh}：{place}；查看训练报告：huohou report {path}",
        )
    )


def _write(
    model: torch.nn.Module | None, run: RunConfig, plan: Plan, prepared: Prepared, folder: RunFolder, trainer: Trainer
) -> Path | None:
    if model is None:
        return None
    try:
        return keep_result(model, run, plan, prepared, folder)
    except OSError as error:
        why, where = error.strerror or str(error), error.filename or folder.model
        raise RunFailed(
            f"the run is finished and saved in {trainer.saved}, but {where} could not be written: {why}; "
            f"--resume tries again.",
            f"训练已完成并保存于 {trainer.saved}，但无法写入 {where}：{why}；可用 --resume 重试。",
        ) from error
