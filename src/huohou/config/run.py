"""The run file as one value: read, checked, with the place of everything in it, and written in its resolved form."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError, model_validator

from huohou.config.agreement import disagreement
from huohou.config.data import Batch, Data
from huohou.config.entries import Entry, Source, collect, combine, nested
from huohou.config.groups import Groups
from huohou.config.kinds import choice, count, string
from huohou.config.load import Document, Key, read_file, read_text_as_yaml
from huohou.config.lora import Lora
from huohou.config.mistakes import told
from huohou.config.model import Model, Tokenizer
from huohou.config.overrides import read_override
from huohou.config.presets import PRESETS
from huohou.config.schedule import Schedule
from huohou.config.section import Section, key, keys_of, kind_of
from huohou.config.sections import SECTIONS, TOP
from huohou.config.training import Checkpoint, Optimizer, Train
from huohou.config.validation import of_validation
from huohou.config.values import NAME, run_name
from huohou.errors import UserError
from huohou.language import Text
from huohou.schedule.recipes import ScheduleSpec

_STAGES = {
    "pt": "pretrain",
    "cpt": "continue",
    "continued": "continue",
    "continued_pretraining": "continue",
}
"""Other spellings of the stages."""

_VOCABULARY = 8192
"""The vocabulary that is trained where neither a tokenizer nor a preset says one."""


class RunConfig(BaseModel):
    """Everything that a run file says; frozen, and complete: what was not written has its default."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    name: Annotated[str, NAME] = key(
        "run",
        "Name of the run and of its folder.",
        "训练的名字，也是训练目录的名字。",
        said=Text("the run file's name", "配置文件的名字"),
    )
    output: Annotated[str | None, string("the path of a folder", "文件夹路径")] = key(
        None, "The run folder.", "训练目录。", said=Text("`runs/<name>`", "`runs/<name>`")
    )
    stage: Annotated[
        Literal["pretrain", "continue", "sft"], choice("pretrain", "continue", "sft", spellings=_STAGES)
    ] = key(
        "pretrain",
        "What kind of training it is: a model from nothing, a model that exists on more text, or on dialogues.",
        "训练的种类：从头预训练（pretrain）、已有模型的继续预训练（continue）、对话微调（sft）。",
    )
    seed: Annotated[int, count(0, example=42)] = key(
        42, "Decides the initial weights and the order of the data.", "决定初始权重和数据顺序。"
    )
    model: Model
    tokenizer: Tokenizer
    data: Data
    batch: Batch
    schedule: Schedule
    groups: Groups
    lora: Lora | None = None
    optimizer: Optimizer
    train: Train
    checkpoint: Checkpoint

    _source: str = PrivateAttr("")
    _overrides: tuple[str, ...] = PrivateAttr(())
    _path: Path | None = PrivateAttr(None)
    _entries: dict[Key, Entry] = PrivateAttr(default_factory=dict[Key, Entry])

    @model_validator(mode="after")
    def _sections_agree(self) -> RunConfig:
        if (wrong := disagreement(self)) is not None:
            raise wrong
        if self.model.path is not None:
            return self
        if self.tokenizer.path is None and self.tokenizer.vocab_size is None:
            preset = self.model.preset
            size = PRESETS[preset].vocab_size if preset else _VOCABULARY
            object.__setattr__(self, "tokenizer", self.tokenizer.model_copy(update={"vocab_size": size}))
        length = self.data.sequence_length
        if length > self.model.max_position_embeddings:
            object.__setattr__(self, "model", self.model.model_copy(update={"max_position_embeddings": length}))
        return self

    @classmethod
    def from_text(cls, text: str, *, name: str = "run.yaml", overrides: Sequence[str] = ()) -> RunConfig:
        """Read the text of a run file; ``name`` is what messages call it.

        Raises:
            UserError: One sentence about the first mistake, with the others counted.
        """
        return _read(read_text_as_yaml(text, name=name), overrides)

    @classmethod
    def from_plain(cls, data: Mapping[str, Any], *, overrides: Sequence[str] = ()) -> RunConfig:
        """Read plain data: what a run file would hold, or :meth:`resolved` returned.

        Raises:
            UserError: As for a file; the place is the key alone.
        """
        import json

        text = json.dumps(data, ensure_ascii=False, indent=2, default=str)
        return _read(Document(dict(data), text, "run"), overrides)

    @property
    def source(self) -> str:
        """The run file's text as its author wrote it."""
        return self._source

    @property
    def overrides(self) -> tuple[str, ...]:
        """The overrides, as they were given."""
        return self._overrides

    @property
    def path(self) -> Path | None:
        """The file it was read from, if it was."""
        return self._path

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.output) if self.output else Path("runs") / self.name

    def is_set(self, key: str) -> bool:
        """Whether a key such as ``schedule.floor`` was written, under this name or another."""
        return self._entry(key) is not None

    def place(self, key: str) -> str | None:
        """Where a key was written, such as ``run.yaml:12:3`` or ``--set …``; ``None`` where it has its default."""
        entry = self._entry(key)
        return entry.where() if entry else None

    def located(self, error: UserError) -> UserError:
        """The same error with the place of the schedule's key that its sentence names first."""
        for word in re.findall(r"\w+", error.text.en):
            if word in Schedule.model_fields and (place := self.place(f"schedule.{word}")):
                return UserError(f"{place}: {error.text.en}", f"{place}: {error.text.zh}")
        return error

    def schedule_spec(self) -> ScheduleSpec:
        """What the schedule's builder takes."""
        return self.schedule.spec()

    def resolved(self) -> dict[str, Any]:
        """Plain data with every key under its canonical name; :meth:`from_plain` reads it back to the same run."""
        result: dict[str, Any] = {}
        for name in (*TOP, *SECTIONS):
            value = getattr(self, name)
            kind = kind_of(RunConfig, name)
            result[name] = _plain(value) if kind is None else kind.write(value)
        return result

    def _entry(self, key: str) -> Entry | None:
        path = tuple(key.split("."))
        return next((entry for where, entry in self._entries.items() if where[: len(path)] == path), None)


def _plain(value: Section | Mapping[str, Section] | None) -> dict[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, Section):
        return {name: _plain(section) for name, section in value.items()}
    result: dict[str, Any] = {}
    unsaid = value.unsaid()
    for key_, name in keys_of(type(value)).items():
        if name in unsaid:
            continue
        inner = getattr(value, name)
        kind = kind_of(type(value), key_)
        result[key_] = _plain(inner) if kind is None else kind.write(inner)
    return result


def load_run(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a run file.

    Args:
        path: A YAML file.
        overrides: Texts such as ``train.updates=100``; a later one takes the place of an earlier one.

    Raises:
        UserError: One sentence about the first mistake, with its place, and the others counted.
    """
    run = _read(read_file(path), overrides)
    run._path = Path(path)  # pyright: ignore[reportPrivateUsage]
    return run


def _read(document: Document, overrides: Sequence[str]) -> RunConfig:
    entries, wrong = collect(document.data, Source.of(document))
    layers: list[tuple[list[Entry], frozenset[Key]]] = [(entries, frozenset())]
    for text in overrides:
        more, replaced, mistakes = read_override(text)
        layers.append((more, replaced))
        wrong += mistakes
    known, disagreements = combine(layers)
    wrong += disagreements
    data = nested(known)
    data.setdefault("name", run_name(Path(document.name).stem))
    try:
        run = RunConfig.model_validate(data)
    except ValidationError as error:
        wrong += of_validation(error, known, document.name)
        raise told(wrong) from None
    if wrong:
        raise told(wrong)
    run._source = document.text  # pyright: ignore[reportPrivateUsage]
    run._overrides = tuple(overrides)  # pyright: ignore[reportPrivateUsage]
    run._entries = known  # pyright: ignore[reportPrivateUsage]
    return run
