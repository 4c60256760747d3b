"""The loop. It knows a plan, a stage and a model, and no concrete kind of any of them.

An update reads the next batch, writes the planned rate into the optimizer, sums the loss over the micro-batches,
clips, steps, and records the rate that the optimizer held. An update whose loss or gradients are not finite is
skipped: its batch is consumed, but it takes no place on the curve, and the run goes on until every planned update
was applied.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from huohou import records
from huohou.errors import RunFailed
from huohou.language import Text
from huohou.records import RunFolder
from huohou.train import applied, checkpoint, metrics, probes, state
from huohou.train.checkpoint import SaveFailed, Snapshot
from huohou.train.manifest import Position
from huohou.train.optim import rates_of, set_rates
from huohou.train.progress import Progress, Shown, one_line
from huohou.train.signals import Signals, Stopped
from huohou.train.task import BatchLike, Counters, Stage, Task

PATIENCE = 5
"""How many updates in a row may be skipped for numbers that are not finite, before the run stops."""


@dataclass(frozen=True, slots=True)
class _Fault:
    """Why an update is skipped. An overflow of fp16 is healed by a smaller loss scale; the rest may be a real fault."""

    text: Text
    healing: bool = False


@dataclass(slots=True)
class Trainer:
    """One run, from wherever it stands to its end."""

    task: Task
    stage: Stage
    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    folder: RunFolder
    progress: Progress
    signals: Signals
    counters: Counters = field(default_factory=Counters)
    scaler: torch.amp.GradScaler | None = None
    saved: Path | None = None
    """The last good checkpoint, once there is one."""

    def __post_init__(self) -> None:
        if self.task.dtype == "float16" and self.scaler is None:
            self.scaler = torch.amp.GradScaler(self.task.device)

    def run(self) -> Counters:
        """Train until every planned update was applied, then prove that they were."""
        task, counters = self.task, self.counters
        self.signals.begin()
        self.progress.begin(counters.update, task.updates, task.phases)
        try:
            self.cut_metrics()
            while counters.update < task.updates:
                line = self.attempt(self.stage.batch(counters.batches))
                if not line["skipped"]:
                    self.look(line)
                records.append(self.folder.metrics, line)
                if line["skipped"]:
                    self.check_patience()
                if self.signals.save or (not line["skipped"] and self.due(task.checkpoint_every)):
                    self.signals.save = False
                    self.save()
                if self.signals.stop is not None:
                    self.stop(self.signals.stop)
            return self.finish()
        except OSError as error:
            raise self.disk_failed(error) from error
        except torch.OutOfMemoryError as error:
            raise self.memory_failed() from error
        finally:
            self.progress.end()

    def attempt(self, batch: BatchLike) -> dict[str, Any]:
        """Apply one update, or skip it; returns its line for the metrics."""
        counters, began = self.counters, time.monotonic()
        update = counters.update + 1
        rates = set_rates(self.optimizer, applied.rates_at(self.task.curves, update))
        loss, norm, gradients, norms = self.gradients(batch)
        fault = self.fault(loss, norm)
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
            line["clipped"] = probes.clip(gradients, norm, self.task.max_grad_norm)
            self.step()
            used = rates_of(self.optimizer)
            line["rate"] = applied.plain(used)
            counters.update = update
            counters.in_a_row = 0
            counters.digest = applied.extend(counters.digest, used)
            if self.due(self.task.layers_every) or update == 1:
                line["layers"] = probes.layer_norms(self.names(), norms)
        else:
            self.skip(fault, batch, line)
        line["seconds"] = time.monotonic() - began
        counters.seconds += line["seconds"]
        if fault is None:
            self.progress.show(Shown(update, loss, rates, norm, batch.tokens, line["seconds"]))
        return line

    def gradients(self, batch: BatchLike) -> tuple[float, float, list[torch.Tensor], torch.Tensor]:
        """Forward and backward over the micro-batches: mean loss, global norm, the gradients and their norms.

        Every micro-batch's sum is divided by the targets of the whole batch, so that it does not matter into how
        many pieces of which sizes the batch is cut.
        """
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.task.device)
        targets = max(1, batch.targets)
        for micro in self.stage.micro_batches(batch):
            with self.precision():
                loss = self.stage.loss(self.model, micro) / targets
            (self.scaler.scale(loss) if self.scaler else loss).backward()
            total += loss.detach()
        if self.scaler:
            self.scaler.unscale_(self.optimizer)
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norms = probes.tensor_norms(gradients)
        loss, norm = torch.stack((total, probes.global_norm(norms))).tolist()
        return loss, norm, gradients, norms

    def names(self) -> list[str]:
        """The names of the parameters that have gradients, in the order of their norms."""
        return [name for name, parameter in self.model.named_parameters() if parameter.grad is not None]

    def precision(self) -> AbstractContextManager[object]:
        """fp32 as it is; lower precisions by autocast, which keeps weights and sums in fp32."""
        if self.task.dtype == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.task.device, dtype=getattr(torch, self.task.dtype))

    def fault(self, loss: float, norm: float) -> _Fault | None:
        """Why this update must not be applied, if so."""
        if not math.isfinite(loss):
            return _Fault(Text(f"the loss is {loss}", f"损失为 {loss}"))
        if not math.isfinite(norm):
            scale = self.scaler.get_scale() if self.scaler else 1.0
            if scale > 1.0:
                return _Fault(Text(f"fp16 overflow at loss scale {scale:g}", f"损失缩放 {scale:g} 下 fp16 溢出"), True)
            return _Fault(Text(f"the gradient norm is {norm}", f"梯度范数为 {norm}"))
        return None

    def step(self) -> None:
        """Let the optimizer change the weights."""
        if self.scaler:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()

    def skip(self, fault: _Fault, batch: BatchLike, line: Mapping[str, Any]) -> None:
        """Leave the weights, the optimizer and the place on the curve as they are, and say so."""
        if self.scaler:
            self.scaler.update()
        self.counters.skipped += 1
        if not fault.healing:
            self.counters.in_a_row += 1
        update, index = line["update"], batch.index
        self.event("skip", update=update, batch=index, reason=fault.text.plain(), gradient_norm=line["gradient_norm"])
        self.progress.say(
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
        self.event("failed", update=update, reason="not finite", checkpoint=str(self.saved) if self.saved else None)
        raise RunFailed(
            f"{PATIENCE} updates in a row were not finite after update {update}: a lower peak or bfloat16 instead of "
            f"float16 may help; {good.en}.",
            f"更新步 {update} 之后连续 {PATIENCE} 次出现非有限值：可降低峰值，或用 bfloat16 代替 float16；{good.zh}。",
        )

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
        update = self.counters.update
        if self.due(self.task.evaluate_every):
            with self.precision(), _evaluating(self.model):
                result = self.stage.evaluate(self.model)
            if result is not None:
                line["evaluation"] = result
                self.event("evaluation", update=update, **result)
                self.progress.say(_evaluation_text(update, result))
        if self.due(self.task.sample_every):
            with self.precision(), _evaluating(self.model):
                samples = self.stage.samples(self.model, update)
            for sample in samples:
                self.event("sample", update=update, **sample)
                said = one_line(f"{sample['prompt']}│{sample['text']}")
                self.progress.say(Text(f"sample after update {update}: {said}", f"更新步 {update} 后的样例：{said}"))

    def save(self, *, last: bool = False) -> None:
        """Write a checkpoint. A disk that refuses one in the middle is reported, and tried again the next time."""
        try:
            metrics.flush(self.folder.metrics)
            self.saved = checkpoint.save(self.folder.checkpoints, self.snapshot(), keep=self.task.keep)
        except SaveFailed as error:
            good = self.last_good()
            if last:
                raise RunFailed(f"{error.text.en} {_sentence(good.en)}.", f"{error.text.zh}{good.zh}。") from error
            self.event("checkpoint failed", update=self.counters.update, reason=error.text.plain())
            self.progress.say(
                Text(
                    f"NO CHECKPOINT was written after update {self.counters.update}, the run goes on: {error.text.en}",
                    f"更新步 {self.counters.update} 之后未能写入检查点，训练继续：{error.text.zh}",
                )
            )
        else:
            self.event("checkpoint", update=self.counters.update, path=f"checkpoints/{self.saved.name}")

    def snapshot(self) -> Snapshot:
        """Everything that the rest of the run depends on."""
        random_tensors, random_plain = state.random_state()
        return Snapshot(
            position=Position(self.counters.update, self.counters.batches, self.counters.tokens),
            tensors={
                "model": state.model_tensors(self.model),
                "optimizer": state.optimizer_tensors(self.optimizer, self.model),
                "random": random_tensors,
            },
            plain={
                "counters": asdict(self.counters),
                "random": random_plain,
                "scaler": self.scaler.state_dict() if self.scaler else None,
            },
            plan=self.task.fingerprints,
        )

    def restore(self, snapshot: Snapshot, place: Path) -> None:
        """Stand where the snapshot was taken."""
        state.load_model(self.model, snapshot.tensors["model"])
        state.load_optimizer(self.optimizer, self.model, snapshot.tensors["optimizer"])
        state.load_random(snapshot.tensors["random"], snapshot.plain["random"])
        if self.scaler and snapshot.plain["scaler"]:
            self.scaler.load_state_dict(snapshot.plain["scaler"])
        self.counters = Counters(**snapshot.plain["counters"])
        self.saved = place

    def cut_metrics(self) -> None:
        """Drop the lines of updates that were made after the state in which this run begins: they are made again."""
        lines = metrics.cut(self.folder.metrics, self.counters.batches)
        if lines < self.counters.batches:
            missing = self.counters.batches - lines
            self.progress.say(
                Text(
                    f"{self.folder.metrics} lacks {missing} lines from before the checkpoint; the run itself is whole.",
                    f"{self.folder.metrics} 缺少检查点之前的 {missing} 行；训练本身完整。",
                )
            )

    def stop(self, status: int) -> None:
        """Save and leave, because somebody asked for it."""
        if self.counters.update == self.task.updates:
            return
        self.save(last=True)
        self.event("stop", update=self.counters.update, status=status)
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
        told = [e["event"] for e in records.read(self.folder.events) if e["event"] in ("start", "resume", "end")]
        if told[-1:] != ["end"]:
            self.event("end", update=counters.update, skipped=counters.skipped, batches=counters.batches)
        self.progress.end()
        self.progress.say(proof(counters, task.updates))
        return counters

    def event(self, event: str, *, update: int, **values: Any) -> None:
        """One line in the run's history."""
        records.append(self.folder.events, {"event": event, "update": update, "time": metrics.now(), **values})

    def disk_failed(self, error: OSError) -> RunFailed:
        """The sentence for a disk that refused something without which the run cannot go on."""
        where, why, good = error.filename or self.folder.path, error.strerror or str(error), self.last_good()
        return RunFailed(
            f"the run stopped after update {self.counters.update}: {where}: {why}; {good.en}.",
            f"训练在更新步 {self.counters.update} 之后停止：{where}：{why}；{good.zh}。",
        )

    def memory_failed(self) -> RunFailed:
        """The sentence for a device whose memory is too small."""
        update, good = self.counters.update, self.last_good()
        return RunFailed(
            f"the memory of {self.task.device} was not enough in update {update + 1}: a smaller batch.micro_batch "
            f"needs less and leaves the batch and its curve as they are; {good.en}.",
            f"更新步 {update + 1} 时 {self.task.device} 内存不足：减小 batch.micro_batch 可节省内存，"
            f"批大小和曲线不变；{good.zh}。",
        )


def proof(counters: Counters, updates: int) -> Text:
    """The sentence that every run ends with, the same in every language."""
    line = (
        f"planned == applied: {counters.update} of {updates} updates, {counters.skipped} skipped, "
        f"{counters.batches} batches read"
    )
    return Text(line, line)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _evaluation_text(update: int, result: Mapping[str, Any]) -> Text:
    bits = result.get("bits_per_byte")
    en = f"evaluation after update {update}: loss {result['loss']:.4f}"
    zh = f"更新步 {update} 后的评估：损失 {result['loss']:.4f}"
    if bits is not None:
        en, zh = f"{en}, {bits:.4f} bits per byte", f"{zh}，每字节 {bits:.4f} 比特"
    return Text(f"{en}.", f"{zh}。")


@contextlib.contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
