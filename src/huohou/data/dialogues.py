"""The dialogues of files, in order, whatever form they are in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from huohou.data.corpus import Side, kept_apart, key_of
from huohou.data.dataset_info import read_dataset_info, split_names
from huohou.data.dialogue import Dialogue, Unusable
from huohou.data.dialogue_forms import FORMS, Form, Layout, dialogue_of
from huohou.data.files import shown_path
from huohou.data.formats import Record, RecordFile
from huohou.data.reading import Reader
from huohou.errors import UserError
from huohou.language import Text

DIALOGUE_VERSION = 1
"""Changes whenever the same files would give other dialogues."""


class Dialogues(Reader[Dialogue]):
    """The dialogues of files. Every pass over it reads the files anew and counts afresh.

    ``layouts`` says for some files (by path) how they are read; the others are read by ``layout``, whose form, where
    it has none, is told record by record. A record that holds nothing is *empty*; one that is no dialogue is *bad*.
    """

    named = Text("dialogue", "对话")

    def __init__(
        self,
        sources: str | Path | Sequence[str | Path],
        *,
        layout: Layout | None = None,
        layouts: Mapping[Path, Layout] | None = None,
        encoding: str = "auto",
        on_bad: Literal["stop", "skip"] = "stop",
        rejects: Path | None = None,
    ) -> None:
        super().__init__(sources, on_bad=on_bad, rejects=rejects)
        self.layout, self.layouts, self.encoding = layout or Layout(), dict(layouts or {}), encoding
        self._form: Form | None = None

    def begin(self, path: Path) -> tuple[RecordFile, Callable[[Record], tuple[Dialogue | None, Text | None]]]:
        file = RecordFile(path, encoding=self.encoding)
        if file.format == "txt":
            raise UserError(
                f"{shown_path(path)}: dialogues are read from json, jsonl, csv, tsv or parquet, not from plain text.",
                f"{shown_path(path)}：对话须来自 json、jsonl、csv、tsv 或 parquet，不能是纯文本。",
            )
        layout = self.layouts.get(path, self.layout)
        self._form = layout.form

        def dialogue(record: Record) -> tuple[Dialogue | None, Text | None]:
            if record.problem is not None:
                return None, record.problem
            try:
                made, form = dialogue_of(record.value, layout, f"{shown_path(path)}:{record.line}")
            except Unusable as unusable:
                return None, unusable.text
            self._form = self._form or form
            return made, None

        return file, dialogue

    def field_of(self, file: RecordFile) -> str | None:
        return self._form

    def quick_key(self) -> str:
        """Changes when a file's path, size or time of change does, or the way of reading."""
        layouts = [
            (str(path), layout.form, dict(layout.columns), dict(layout.tags))
            for path, layout in sorted({**self.layouts, Path(): self.layout}.items(), key=lambda item: item[0])
        ]
        return key_of("dialogues", DIALOGUE_VERSION, self.state_of_files(), layouts, self.encoding, self.on_bad)


class DialogueCorpus(Protocol):
    """Dialogues that can be gone through again, with a key that is cheap to have and changes when they may have."""

    def __iter__(self) -> Iterator[Dialogue]: ...

    def quick_key(self) -> str: ...


class HeldOutDialogues:
    """One side of dialogues of which a share is kept apart, as :class:`huohou.data.corpus.HeldOut` is of documents."""

    def __init__(self, dialogues: DialogueCorpus, share: float, side: Side = "train") -> None:
        self.dialogues, self.share = dialogues, share
        self.side: Side = side

    def __iter__(self) -> Iterator[Dialogue]:
        return kept_apart(self.dialogues, Dialogue.canonical, self.share, self.side)

    def quick_key(self) -> str:
        return key_of("held out", self.dialogues.quick_key(), self.share, self.side)


def dialogues_of_files(
    files: Sequence[str | Path] = (),
    *,
    format: str = "auto",
    dataset_info: str | Path | None = None,
    dataset: str | Sequence[str] | None = None,
    encoding: str = "auto",
    on_bad: Literal["stop", "skip"] = "stop",
    rejects: Path | None = None,
) -> Dialogues:
    """The dialogues of files, of the named datasets of a ``dataset_info.json``, or of both, the files first.

    ``format``: auto, alpaca, sharegpt or messages; it says how ``files`` are read, the datasets say it themselves.
    """
    form: Form | None = next((known for known in FORMS if known == format), None)
    if form is None and format != "auto":
        raise UserError(
            f"data.format: {format} is not known; write auto, {', '.join(FORMS)}.",
            f"data.format: 不认识 {format}；请写 auto、{'、'.join(FORMS)}。",
        )
    sources: list[str | Path] = list(files)
    layouts: dict[Path, Layout] = {}
    if dataset_info is not None:
        for source, layout in read_dataset_info(Path(dataset_info).expanduser(), split_names(dataset)):
            sources.append(source)
            for path in Dialogues(source).sources[0].files:
                if layouts.setdefault(path, layout) != layout:
                    raise UserError(
                        f"data.dataset: two of the datasets read {path} in different ways; take one of them.",
                        f"data.dataset: 有两个数据集以不同方式读取 {path}；请只取其一。",
                    )
    elif dataset is not None:
        raise UserError(
            "data.dataset names datasets, but data.dataset_info does not say where they are described; write its path.",
            "data.dataset 指定了数据集，但没有写 data.dataset_info；请写出 dataset_info.json 的路径。",
        )
    return Dialogues(
        sources, layout=Layout(form), layouts=layouts, encoding=encoding, on_bad=on_bad, rejects=rejects
    )  # fmt: skip
