"""What a run writes about itself, by one of its processes: a line an update, events, and what is said aloud."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from huohou import records
from huohou.language import Text
from huohou.records import RunFolder
from huohou.train import metrics
from huohou.train.distributed import ALONE, World
from huohou.train.progress import Progress, one_line


@dataclass(frozen=True, slots=True)
class History:
    """The records of a run folder and the words beside them. Only rank 0 writes and talks; others do nothing."""

    folder: RunFolder
    progress: Progress
    world: World = ALONE

    def line(self, line: Mapping[str, Any]) -> None:
        """One more line of the metrics."""
        if self.world.leads:
            records.append(self.folder.metrics, line)

    def event(self, event: str, *, update: int, **values: Any) -> None:
        """One line in the run's history."""
        if self.world.leads:
            records.append(self.folder.events, {"event": event, "update": update, "time": metrics.now(), **values})

    def say(self, text: Text) -> None:
        """A sentence for people."""
        if self.world.leads:
            self.progress.say(text)

    def begin(self, batches: int) -> None:
        """Drop the lines of updates that were made after the state in which this run begins: they are made again."""
        if not self.world.leads:
            return
        lines = metrics.cut(self.folder.metrics, batches)
        if lines < batches:
            missing = batches - lines
            self.say(
                Text(
                    f"{self.folder.metrics} lacks {missing} lines from before the checkpoint; the run itself is whole.",
                    f"{self.folder.metrics} 缺少检查点之前的 {missing} 行；训练本身完整。",
                )
            )

    def flush(self) -> None:
        """Put the lines on the disk, before a checkpoint is that counts on them."""
        if self.world.leads:
            metrics.flush(self.folder.metrics)

    def ended(self, **values: Any) -> None:
        """Say that the run is finished, once."""
        if not self.world.leads:
            return
        told = [e["event"] for e in records.read(self.folder.events) if e["event"] in ("start", "resume", "end")]
        if told[-1:] != ["end"]:
            self.event("end", **values)

    def evaluated(self, update: int, result: Mapping[str, Any]) -> None:
        """An evaluation was made after an update."""
        self.event("evaluation", update=update, **result)
        bits = result.get("bits_per_byte")
        en = f"evaluation after update {update}: loss {result['loss']:.4f}"
        zh = f"更新步 {update} 后的评估：损失 {result['loss']:.4f}"
        if bits is not None:
            en, zh = f"{en}, {bits:.4f} bits per byte", f"{zh}，每字节 {bits:.4f} 比特"
        self.say(Text(f"{en}.", f"{zh}。"))

    def sampled(self, update: int, sample: Mapping[str, str]) -> None:
        """The model wrote something after an update."""
        self.event("sample", update=update, **sample)
        said = one_line(f"{sample['prompt']}│{sample['text']}")
        self.say(Text(f"sample after update {update}: {said}", f"更新步 {update} 后的样例：{said}"))
