"""``--to huohou``: the same run as a run file of ours, with where each value came from and what differs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from huohou.audit.convert.carried import Carried, Key, carried, is_elsewhere
from huohou.audit.convert.conversion import Converted, origin, said
from huohou.audit.convert.our_schedule import Chosen, apart, chosen
from huohou.audit.convert.target import remark
from huohou.audit.convert.wanted import Wanted
from huohou.audit.document import Document
from huohou.audit.examine import Audit
from huohou.audit.reading import Given, Reading, Role
from huohou.audit.values import Value
from huohou.errors import UserError
from huohou.language import Text

_SECTIONS = ("model", "tokenizer", "data", "batch", "schedule", "lora", "optimizer", "train", "checkpoint")
_SOURCES: Mapping[str, tuple[str, ...]] = {
    "peak": (
        "learning_rate", "lr", "optimizer.lr", "optimizer.params.lr", "optimizer.init_args.lr", "peak_value", "max_lr",
        "scheduler.params.warmup_max_lr", "actor_learning_rate", "critic_learning_rate", "adam.lr", "schedule.peak",
    ),
    "warmup": (
        "warmup_ratio", "warmup_steps", "num_warmup_steps", "lr_warmup_fraction", "lr_warmup_iters",
        "lr_warmup_samples", "lr_scheduler.warmup_steps", "lr_scheduler.num_warmup_steps", "train.lr_warmup_steps",
        "scheduler.params.warmup_num_steps", "warmup_iters", "lr_warmup_ratio", "schedule.warmup",
    ),
    "decay": (
        "lr_scheduler_type", "lr_scheduler", "lr_decay_style", "lr_scheduler.decay_type", "scheduler.type",
        "lr_scheduler._component_", "schedule.decay",
    ),
    "floor": (
        "lr_scheduler_kwargs", "min_lr", "min_lr_ratio", "cosine_min_lr_ratio", "lr_scheduler.min_lr_factor",
        "lr_scheduler.lr_min", "train.min_lr", "end_value", "eta_min", "scheduler.params.cos_min_ratio",
        "scheduler.params.warmup_min_lr", "lr_scheduler_kwargs.min_lr_rate", "lr_scheduler_kwargs.min_lr",
        "lr_scheduler_kwargs.min_lr_ratio", "schedule.floor",
    ),
    "updates": (
        "max_steps", "train_iters", "training.steps", "train.max_steps", "max_iters", "max_steps_per_epoch",
        "num_train_epochs", "num_epochs", "scheduler.params.total_num_steps", "decay_steps", "num_training_steps",
        "T_max", "total_steps", "train.updates",
    ),
}  # fmt: skip
"""Where the frameworks write what our schedule says."""
_READ = (("data", "train"), ("data", "dataset"))
"""What a run can read; the generated corpus takes its place where the source names nothing."""


def run_file(
    name: str, role: Role, reading: Reading, audit: Audit, wanted: Wanted, given: Given, *, intended: bool
) -> Converted:
    """The run file of one role.

    Raises:
        UserError: No schedule of ours fits the run.
    """
    found = chosen(wanted)
    if found is None:
        raise UserError(
            f"no schedule of huohou fits the {wanted.updates} updates of {name}.",
            f"{name} 的 {wanted.updates} 个更新步没有可用的 huohou 学习率计划。",
        )
    away = apart(wanted, found.curve)
    notes = [origin(audit, reading, name, intended), said(away, found.curve, "huohou")]
    if not away.same:
        notes += _where_apart(wanted, found)
    taken, left = carried(reading, given)
    draft = _Draft(name, role, reading, audit, wanted, found)
    draft.fill(taken)
    if draft.refused:
        notes.append(
            Text(
                f"not carried over, because a run file takes it otherwise: {', '.join(draft.refused)}",
                f"未带入（配置文件不接受这样的值）：{'、'.join(draft.refused)}",
            )
        )
    left = [key for key in left if not _of_the_schedule(key)]
    if left:
        notes.append(
            Text(
                f"not carried over, because a run file has no such key: {', '.join(left)}",
                f"未带入（配置文件没有对应的键）：{'、'.join(left)}",
            )
        )
    text = "".join(f"# {remark(note)}\n" for note in notes) + draft.text()
    return Converted(name, "huohou", ".yaml", text, found.curve, away, tuple(notes))


def _of_the_schedule(key: str) -> bool:
    return key.startswith(("lr_scheduler", "scheduler.")) or any(key in names for names in _SOURCES.values())


def _where_apart(wanted: Wanted, found: Chosen) -> list[Text]:
    """The rates of the two at the places where conventions differ."""
    places = dict.fromkeys((1, 2, wanted.top, wanted.updates))
    lines: list[Text] = []
    for update in places:
        if 1 <= update <= wanted.updates:
            theirs, ours = wanted.curve.rate(update), found.curve(update)
            if abs(theirs - ours) > 1e-12 * wanted.peak:
                lines.append(
                    Text(
                        f"  update {update}: {theirs:.6g} there, {ours:.6g} here",
                        f"  更新步 {update}：原来 {theirs:.6g}，这里 {ours:.6g}",
                    )
                )
    return lines


class _Draft:
    """A run file in the making: keys, and the comment of each."""

    def __init__(self, name: str, role: Role, reading: Reading, audit: Audit, wanted: Wanted, found: Chosen) -> None:
        self.reading, self.wanted = reading, wanted
        self.refused: list[str] = []
        self.values: dict[Key, Any] = {}
        self.comments: dict[Key, Text] = {}
        stem = PurePath(audit.document.source.name).stem
        usable = re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "run"
        self.put(("name",), usable if name == "model" else f"{usable}-{name}")
        if role.model is not None and re.search(r"[$`\n]", role.model) is None:
            self._model(role.model)
        for key, word in found.words.items():
            value: Any = word
            if key == "cycles":
                value = int(word)
            self.put(("schedule", key), value, self._written(key))
        self.put(("train", "updates"), wanted.updates, self._written("updates"))

    def put(self, path: Key, value: Any, comment: Text | None = None) -> None:
        self.values[path] = value
        if comment is not None:
            self.comments[path] = comment

    def _model(self, path: str) -> None:
        if not is_elsewhere(path):
            self.put(("model", "path"), path, Text("the model that it trains", "所训练的模型"))
            return
        absent = Text(f"{path}, which is not here: say where it is", f"{path} 不在这里：请写出模型的位置")
        self.put(("model", "path"), "MODEL", absent)

    def _written(self, key: str) -> Text | None:
        """Where the source says what a key of the schedule says."""
        settings = self.reading.settings
        for name in _SOURCES.get(key, ()):
            value = settings.values.get(name)
            if value is not None:
                return _place(name, value)
        if key == "updates":
            return Text("--updates, or counted from the data", "由 --updates 给出，或由数据算出")
        return None

    def fill(self, taken: list[Carried]) -> None:
        """Take everything that a run file accepts, the stage and the data first."""
        self._stage(taken)
        batch: list[Carried] = []
        for each in taken:
            if each.path == ("train", "epochs"):
                # A run has one length; its updates decide, the epochs are said beside them.
                self.comments[("train", "updates")] = _both(self.comments.get(("train", "updates")), each)
            elif each.path not in self.values:
                batch.append(each)
        if not self._accepts(batch):
            kept: list[Carried] = []
            for each in batch:
                if self._accepts([*kept, each]):
                    kept.append(each)
                else:
                    self.refused.append(each.key or ".".join(each.path))
            batch = kept
        for each in batch:
            self.put(each.path, each.value, _place(each.key, each.written) if each.key else _default(self.reading))
        if not any(path[0] == "model" for path in self.values):
            said = Text(
                "the source describes no model that we know; this is the default", "来源没有写可识别的模型；此为默认"
            )
            self.put(("model", "preset"), "4m", said)
        if not any(path[:2] in _READ for path in self.values):
            self.put(
                ("data", "embedded"),
                {},
                Text("the source names no files: write data.train here", "来源没有写数据文件：请改为 data.train"),
            )

    def _stage(self, taken: list[Carried]) -> None:
        stage = _stage(self.reading)
        for each in taken:
            if each.path == ("model", "path") and isinstance(each.value, str) and each.path not in self.values:
                self._model(each.value)
        model = ("model", "path") in self.values
        if stage == "pretrain" and model:
            stage = "continue"
        if stage != "pretrain" and not model:
            self.put(("model", "path"), "MODEL", Text("the source names no model", "来源没有写模型"))
        self.put(("stage",), stage)
        if not self._accepts([]):
            known = "continue" if ("model", "path") in self.values else "pretrain"
            self.put(
                ("stage",),
                known,
                Text(
                    f"the source's stage is {stage}, which a run file does not know",
                    f"来源的阶段是 {stage}，配置文件没有",
                ),
            )

    def _accepts(self, more: list[Carried]) -> bool:
        from huohou.config.run import RunConfig

        values = {**self.values, **{each.path: each.value for each in more}}
        if not any(path[:2] in _READ for path in values):
            values[("data", "embedded")] = {}
        try:
            RunConfig.from_plain(_nested(values))
        except UserError:
            return False
        return True

    def text(self) -> str:
        """The file, its sections in their order."""
        lines: list[str] = []
        for path in (("name",), ("stage",), ("seed",)):
            if path in self.values:
                lines.append(self._line(path, ""))
        for section in _SECTIONS:
            inner = [path for path in self.values if path[0] == section]
            if not inner:
                continue
            if inner == [(section,)]:
                lines.append(self._line((section,), ""))
                continue
            lines += ["", f"{section}:"]
            lines += [self._line(path, "  ") for path in inner if len(path) > 1]
        return "\n".join(lines) + "\n"

    def _line(self, path: Key, indent: str) -> str:
        line = f"{indent}{path[-1]}: {_yaml(self.values[path])}"
        comment = self.comments.get(path)
        return line if comment is None else f"{line.ljust(34)}  # {remark(comment)}"


def _nested(values: Mapping[Key, Any]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for path, value in sorted(values.items(), key=lambda item: len(item[0])):
        inner = data
        for key in path[:-1]:
            inner = inner.setdefault(key, {})
        inner[path[-1]] = dict(value) if isinstance(value, dict) else value  # pyright: ignore[reportUnknownArgumentType]
    return data


def _yaml(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"[\w./%+-][\w./%+ -]*", value) and _plain_word(value):
        return value
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, tuple):
        value = list(value)  # pyright: ignore[reportUnknownArgumentType,reportUnknownVariableType]
    return json.dumps(value, ensure_ascii=False, default=str)


def _plain_word(value: str) -> bool:
    words = {"y", "n", "yes", "no", "on", "true", "false", "null", "none"}
    return value.lower() not in words and not value.startswith(("-", "%")) and value == value.strip()


def _place(key: str, written: Value | None) -> Text:
    """Where a value stands in the source, and what was written there."""
    if written is None:
        return Text(key, key)
    text = _one_line(written.written or str(written.value))
    said = f"{key} = {text}" if len(text) <= 32 else key
    return Text(f"{said}, line {written.line}", f"{said}，第 {written.line} 行") if written.line else Text(said, said)


def _both(one: Text | None, other: Carried) -> Text:
    place = _place(other.key, other.written)
    epochs = "epoch" if other.value == 1 else "epochs"
    said = Text(f"{place.en}: {other.value} {epochs}", f"{place.zh}：{other.value} 轮")
    return said if one is None or one.en.startswith(other.key) else Text(f"{one.en}; {said.en}", f"{one.zh}；{said.zh}")


def _default(reading: Reading) -> Text:
    return Text(f"the default of {reading.title}", f"{reading.title} 的默认值")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _stage(reading: Reading) -> str:
    """What kind of training it is, in our words."""
    settings = reading.settings
    written = settings.text("stage", "rlhf_type")
    named = {"pt": "continue", "sft": "sft", "rm": "reward", "reward": "reward", "dpo": "dpo", "ppo": "ppo"}
    if written in named:
        return named[written]
    if reading.dialect == "deepspeed-chat":
        words = str(reading.facts.get("stage", "")).lower()
        return next((stage for key, stage in named.items() if key in words and key != "pt"), "sft")
    if reading.dialect == "ms-swift":
        return "continue" if reading.title.endswith(" pt") else "sft"
    if reading.dialect in ("axolotl", "torchtune", "openrlhf"):
        return "sft"
    document = reading.facts.get("document")
    module = document.module if isinstance(document, Document) else None
    classes = [] if module is None else [call.last_name for call in module.calls]
    script = " ".join([settings.name, *(name for name in classes if name.endswith(("Config", "Trainer")))]).lower()
    if "sft" in script:
        return "sft"
    for kind, stage in (("reward", "reward"), ("dpo", "dpo"), ("ppo", "ppo")):
        if kind in script:
            return stage
    return "pretrain"
