"""The loop. It knows a plan, a stage and a model, and no concrete kind of any of them.

An update reads the next batch, writes the planned rate into the optimizer, sums the loss over the micro-batches,
clips, steps, and records the rate that the optimizer held. An update whose loss or gradients are not finite is
skipped: its batch is consumed, but it takes no place on the curve, and the run goes on until every planned update
was applied.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from huohou.errors import RunFailed
from huohou.language import Text
from huohou.records import RunFolder
from huohou.train import applied, processes, saving, state
from huohou.train.checkpoint import Snapshot
from huohou.train.engine import Engine, Outcome
from huohou.train.faults import PATIENCE, Fault, disk_failed, fault_of, memory_failed, never_finite
from huohou.train.history import History
from huohou.train.manifest import Position
from huohou.train.optim import rates_of, set_rates
from huohou.train.progress import Progress, Shown
from huohou.train.saving import SaveFailed
from huohou.train.shards import PRIVATE
from huohou.train.signals import Signals, Stopped
from huohou.train.task import BatchLike, Counters, Stage, Task


@dataclass(slots=True)
class Trainer:
    """One run, from wherever it stands to its end."""

    task: Task
    stage: Stage
    engine: Engine
    folder: RunFolder
    progress: Progress
    signals: Signals
    counters: Counters = field(default_factory=Counters)
    saved: Path | None = None
    """The last good checkpoint, once there is one."""
    history: History = field(init=False)
    validation: float | None = None
    """The validation loss after the update just applied, where it was measured."""

    def __post_init__(self) -> None:
        self.history = History(self.folder, self.progress, self.engine.world)

    def run(self) -> Counters:
        """Train until every planned update was applied, then prove that they were."""
        task, counters = self.task, self.counters
        self.signals.begin()
        self.progress.begin(counters.update, task.updates, task.phases)
        try:
            self.history.begin(counters.batches)
            while counters.update < task.updates:
                processes.mark(counters.update + 1, "reading the batch")
                line = self.attempt(self.stage.batch(counters.batches))
                if not line["skipped"]:
                    self.look(line)
                self.history.line(line)
                if line["skipped"]:
                    self.check_patience()
                self.answer(saving=not line["skipped"] and self.save_due(line))
            return self.finish()
        except OSError as error:
            raise disk_failed(error, self.folder.path, self.counters.update, self.last_good()) from error
        except torch.OutOfMemoryError as error:
            raise memory_failed(self.task.device, self.counters.update + 1, self.last_good()) from error
        finally:
            self.progress.end()

    def answer(self, *, saving: bool) -> None:
        """Save and stop where it is time or anybody asked any of the processes for it; all do it together."""
        stop, save = self.engine.world.largest([self.signals.stop or 0, self.signals.save])
        if save or saving:
            self.signals.save = False
            self.save()
        if stop:
            self.stop(stop)

    def attempt(self, batch: BatchLike) -> dict[str, Any]:
        """Apply one update, or skip it; returns its line for the metrics."""
        counters, began = self.counters, time.monotonic()
        update = counters.update + 1
        rates = set_rates(self.engine.optimizer, applied.rates_at(self.task.curves, update))
        found = self.gradients(batch)
        loss, norm = found.loss, found.norm
        fault = fault_of(found, self.engine.scaler.scale if self.engine.scaler else 1.0)
        line: dict[str, Any] = {
            "update": update,
            "rate": applied.plain(rates),
            "loss": loss,
            "tokens": batch.tokens,
            "gradient_norm": norm,
            "clipped": False,
            "skipped": fault is not None,
        }
        counters.batches += 1
        counters.tokens += batch.tokens
        if fault is None:
            line["clipped"] = self.engine.clip(norm, self.task.max_grad_norm)
            self.engine.step()
            used = rates_of(self.engine.optimizer)
            line["rate"] = applied.plain(used)
            counters.update = update
            counters.in_a_row = 0
            counters.digest = applied.extend(counters.digest, used)
            if self.due(self.task.layers_every) or update == 1:
                line["layers"] = self.engine.layer_norms()
        else:
            self.skip(fault, batch, line)
        line["seconds"] = time.monotonic() - began
        counters.seconds += line["seconds"]
        if fault is None:
            self.progress.show(Shown(update, loss, rates, norm, batch.tokens, line["seconds"]))
        return line

    def gradients(self, batch: BatchLike) -> Outcome:
        """Forward and backward over the micro-batches: the mean loss and the gradient norm of the whole batch.

        Every micro-batch's sum is divided by the targets of the whole batch, so that it does not matter into how
        many pieces of which sizes the batch is cut.
        """
        engine, update = self.engine, self.counters.update + 1
        engine.begin()
        total = torch.zeros((), device=self.task.device)
        targets = max(1, batch.targets)
        micros = list(self.stage.micro_batches(batch))
        for number, micro in enumerate(micros, start=1):
            processes.mark(update, "computing")
            total += engine.accumulate(partial(self._loss, micro, targets), last=number == len(micros))
        processes.mark(update, "adding up gradients")
        return engine.reduce(total)

    def _loss(self, micro: Any, targets: int, model: Any) -> torch.Tensor:
        return self.stage.loss(model, micro) / targets

    def skip(self, fault: Fault, batch: BatchLike, line: Mapping[str, Any]) -> None:
        """Leave the weights, the optimizer and the place on the curve as they are, and say so."""
        self.engine.skip()
        self.counters.skipped += 1
        if not fault.healing:
            self.counters.in_a_row += 1
        update, index = line["update"], batch.index
        self.history.event(
            "skip", update=update, batch=index, reason=fault.text.plain(), gradient_norm=line["gradient_norm"]
        )
        self.history.say(
            Text(
                f"update {update} was skipped with batch {index}: {fault.text.en}; the next batch is tried.",
                f"更新步 {update} 连同批 {index} 被跳过：{fault.text.zh}；将用下一批重试。",
            )
        )

    def check_patience(self) -> None:
        """Give up a run whose numbers stay broken."""
        if self.counters.in_a_row < PATIENCE:
            return
        update = self.counters.update
        good = self.last_good()
        self.history.event(
            "failed", update=update, reason="not finite", checkpoint=str(self.saved) if self.saved else None
        )
        raise never_finite(update, good)

    def last_good(self) -> Text:
        """Where the run can be taken up again."""
        if self.saved is None:
            return Text("there is no checkpoint yet", "尚无检查点")
        return Text(f"the last good checkpoint is {self.saved}", f"最近的有效检查点为 {self.saved}")

    def due(self, every: int | None) -> bool:
        """Whether something at this cadence is to be done after the update just applied: also after the last one."""
        update = self.counters.update
        return bool(every) and (update % every == 0 or update == self.task.updates)

    def look(self, line: dict[str, Any]) -> None:
        """Evaluate and sample where it is time."""
        update, engine = self.counters.update, self.engine
        self.validation = None
        if self.due(self.task.evaluate_every):
            processes.mark(update, "evaluating")
            with engine.looking():
                result = engine.apply(self.stage.evaluate)
            if result is not None:
                self.validation = result["loss"]
                line["evaluation"] = result
                self.history.evaluated(update, result)
        if self.due(self.task.sample_every):
            processes.mark(update, "sampling")
            with engine.looking(whole=True):
                samples = self.stage.samples(engine.model, update)
            for sample in samples:
                self.history.sampled(update, sample)

    def save_due(self, line: Mapping[str, Any]) -> bool:
        """Whether the update just applied is to be kept: by the cadence, or as the best so far."""
        lowest, counters = self.validation, self.counters
        best = lowest is not None and (counters.lowest is None or lowest < counters.lowest)
        if best:
            counters.lowest = lowest
        return self.due(self.task.checkpoint_every) or (best and self.task.keep_best)

    def save(self, *, last: bool = False) -> None:
        """Write a checkpoint. A disk that refuses one in the middle is reported, and tried again the next time."""
        try:
            processes.mark(self.counters.update, "saving")
            self.history.flush()
            self.saved = saving.save(
                self.folder.checkpoints,
                self.snapshot(),
                keep=self.task.keep,
                keep_best=self.task.keep_best,
                world=self.engine.world,
            )
        except SaveFailed as error:
            good = self.last_good()
            if last:
                raise RunFailed(f"{error.text.en} {_sentence(good.en)}.", f"{error.text.zh}{good.zh}。") from error
            self.history.event("checkpoint failed", update=self.counters.update, reason=error.text.plain())
            self.history.say(
                Text(
                    f"NO CHECKPOINT was written after update {self.counters.update}, the run goes on: {error.text.en}",
                    f"更新步 {self.counters.update} 之后未能写入检查点，训练继续：{error.text.zh}",
                )
            )
        else:
            self.history.event("checkpoint", update=self.counters.update, path=f"checkpoints/{self.saved.name}")

    def snapshot(self) -> Snapshot:
        """Everything that the rest of the run depends on, as far as this process holds it."""
        random_tensors, random_plain = state.random_state()
        engine, counters = self.engine, self.counters
        return Snapshot(
            position=Position(counters.update, counters.batches, counters.tokens),
            tensors={**engine.pieces(), PRIVATE: random_tensors},
            plain={
                "counters": asdict(counters),
                "random": random_plain,
                "ranks": engine.world.gather(random_plain)[1:],
                "scaler": engine.scaler.plain() if engine.scaler else None,
                "validation": self.validation,
                "engine": {"name": engine.name, "processes": engine.world.size},
            },
            plan=self.task.fingerprints,
        )

    def restore(self, snapshot: Snapshot, place: Path) -> None:
        """Stand where the snapshot was taken, whatever number of processes took it."""
        engine, plain, rank = self.engine, snapshot.plain, self.engine.world.rank
        engine.restore(*(state.source(snapshot.tensors.get(part, {})) for part in ("model", "optimizer")))
        drawn = [plain["random"], *plain.get("ranks", [])]
        if rank < len(drawn):
            state.load_random(snapshot.tensors[f"{PRIVATE}.{rank}" if rank else PRIVATE], drawn[rank])
        if engine.scaler and plain["scaler"]:
            engine.scaler.restore(plain["scaler"])
        self.counters = Counters(**plain["counters"])
        self.saved = place

    def stop(self, status: int) -> None:
        """Save and leave, because somebody asked for it."""
        if self.counters.update == self.task.updates:
            return
        self.save(last=True)
        self.history.event("stop", update=self.counters.update, status=status)
        raise Stopped(status)

    def finish(self) -> Counters:
        """The last checkpoint, and the proof."""
        task, counters = self.task, self.counters
        if self.saved is None or self.saved.name != f"checkpoint-{counters.update}":
            self.save(last=True)
        if counters.digest != applied.planned(task.curves, task.updates):
            raise applied.difference(task.curves, self.folder.metrics)
        if counters.batches != counters.update + counters.skipped:
            raise RunFailed(
                f"planned != applied: {counters.batches} batches read for {counters.update} updates and "
                f"{counters.skipped} skipped ones.",
                f"planned != applied：共读 {counters.batches} 批，"
                f"而更新 {counters.update} 次、跳过 {counters.skipped} 次。",
            )
        self.history.ended(update=counters.update, skipped=counters.skipped, batches=counters.batches)
        self.progress.end()
        self.history.say(proof(counters, task.updates))
        return counters


def proof(counters: Counters, updates: int) -> Text:
    """The sentence that every run ends with, the same in every language."""
    line = (
        f"planned == applied: {counters.update} of {updates} updates, {counters.skipped} skipped, "
        f"{counters.batches} batches read"
    )
    return Text(line, line)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
