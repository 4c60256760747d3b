"""The sections ``data`` and ``batch``."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import model_validator

from huohou.config.kinds import Wrong, choice, count, string, strings
from huohou.config.section import ABSENT, Section, key
from huohou.config.values import BATCH_SIZE, SWITCH, VALIDATION
from huohou.language import Text
from huohou.units import Duration


class Embedded(Section):
    """The corpus that the package makes itself."""

    title = Text("The corpus that the package generates; it needs no files.", "软件包自带的生成语料；不需要文件。")

    characters: Annotated[int, count(1000, unit="character", example=2_000_000)] = key(
        2_000_000, "How much text, in characters; 2M and 200万 are understood.", "文本量（字符数）；可写 2M、200万。"
    )
    seed: Annotated[int, count(0, example=0)] = key(0, "Another seed makes another text.", "换一个种子，就换一份文本。")


class Data(Section):
    """What is read."""

    title = Text("What is read, and how it becomes sequences.", "读什么数据，怎样变成序列。")

    train: Annotated[tuple[str, ...] | None, strings("a path, or a list of them", "一个路径，或路径的列表")] = key(
        None,
        "Files, folders or globs (txt, jsonl, json, csv, parquet, also .gz and .zst); path#500 takes 500 documents.",
        "文件、文件夹或通配符（txt、jsonl、json、csv、parquet，及 .gz、.zst）；path#500 只取 500 篇。",
        said=ABSENT,
    )
    embedded: Embedded | None = key(
        None,
        "The generated corpus instead of files; {} takes its defaults.",
        "用生成的语料代替文件；{} 表示全部取默认。",
        said=ABSENT,
    )
    validation: Annotated[Fraction | tuple[str, ...] | None, VALIDATION] = key(
        None,
        "What is held out for evaluation: a share of the documents, or files of their own.",
        "留作评估的数据：文档的一部分，或另外的文件。",
    )
    text: Annotated[str | None, string("the name of a field", "字段名")] = key(
        None,
        "The field of jsonl, json, csv and parquet that holds the text.",
        "jsonl、json、csv、parquet 中存放正文的字段。",
        said=Text("found by itself: text, content, …", "自动识别：text、content 等"),
    )
    split: Annotated[Literal["file", "line", "blank"], choice("file", "line", "blank")] = key(
        "line",
        "What a document of a txt file is: the file, each line, or what blank lines part.",
        "txt 中一篇文档是什么：整个文件、每一行，或以空行分隔。",
    )
    encoding: Annotated[str, string("auto or an encoding such as utf-8", "auto 或编码名，例如 utf-8")] = key(
        "auto",
        "auto tells UTF-8, GB18030 and UTF-16 apart; else the encoding's name.",
        "auto 会识别 UTF-8、GB18030、UTF-16；也可写编码名。",
    )
    on_bad: Annotated[Literal["stop", "skip"], choice("stop", "skip")] = key(
        "stop",
        "What a broken record does: stop the run before it begins, or be skipped, counted and kept aside.",
        "遇到坏记录时：在开始前停下，或跳过、计数并另存。",
    )
    sequence_length: Annotated[int, count(2, unit="token", example=512)] = key(
        512, "Input positions of a sequence, in tokens.", "每条序列的输入位置数（token）。"
    )
    attention: Annotated[Literal["packed", "documents"], choice("packed", "documents")] = key(
        "packed",
        "packed: a sequence is one text to the model; documents: attention and positions stay inside each document.",
        "packed：一条序列对模型是一整段文本；documents：注意力和位置不越过文档。",
    )
    drop_last: Annotated[bool, SWITCH] = key(False, "Leave the last, shorter batch out.", "丢弃最后不满的一批。")
    cache: Annotated[str | None, string("the path of a folder", "文件夹路径")] = key(
        None,
        "Where token caches are kept.",
        "token 缓存存放的文件夹。",
        said=Text(".cache beside the run folder", "训练目录旁的 .cache"),
    )

    @model_validator(mode="after")
    def _one(self) -> Data:
        if self.train is not None and self.embedded is not None:
            raise Wrong(
                "data.train and data.embedded are both given, but a run reads one of them; keep one",
                "data.train 与 data.embedded 同时给出，而一次训练只读其一；请只留一个",
                whole=True,
                keys=("data.embedded", "data.train"),
            )
        if self.train is None and self.embedded is None:
            raise Wrong(
                "there is nothing to read; write data.train: corpus.jsonl, or data.embedded: {} for the generated text",
                "没有可读的数据；请写 data.train: corpus.jsonl，或用 data.embedded: {} 取自带的生成语料",
                whole=True,
                keys=("data",),
            )
        return self

    @property
    def validation_share(self) -> Fraction:
        """The share of the documents that is held out; 0 where none is."""
        return self.validation if isinstance(self.validation, Fraction) else Fraction(0)

    @property
    def validation_files(self) -> tuple[str, ...]:
        """The validation files; empty where a share is held out, or nothing."""
        return self.validation if isinstance(self.validation, tuple) else ()


class Batch(Section):
    """What one update reads."""

    title = Text("What one update reads, and in which pieces.", "每个更新步读多少，分成几份。")

    size: Annotated[int | Duration, BATCH_SIZE] = key(
        0,
        "Sequences of one update over all processes, or tokens, as in 4M tokens.",
        "每个更新步的序列条数（所有进程合计），或 token 数，例如 4M tokens。",
        said=Text("micro_batch × accumulation × gpus", "micro_batch × accumulation × gpus"),
    )
    micro_batch: Annotated[int | None, count(1, example=8)] = key(
        None,
        "Sequences that one process computes at once.",
        "一个进程一次计算的序列条数。",
        said=Text("8 without size, else what fits", "未写 size 时为 8，否则取放得下的值"),
    )
    accumulation: Annotated[int | None, count(1, example=4)] = key(
        None,
        "Micro-batches that one process adds up in an update.",
        "一个进程在每个更新步累积的微批数。",
        said=Text("1 without size, else what size asks for", "未写 size 时为 1，否则由 size 决定"),
    )
    gpus: Annotated[int, count(1, example=8)] = key(
        1, "Processes that share the run (the world size).", "共同训练的进程总数。"
    )

    @model_validator(mode="after")
    def _agrees(self) -> Batch:
        micro, accumulation = self.micro_batch, self.accumulation
        if self.size == 0:
            micro = 8 if micro is None else micro
            accumulation = 1 if accumulation is None else accumulation
            object.__setattr__(self, "micro_batch", micro)
            object.__setattr__(self, "accumulation", accumulation)
            object.__setattr__(self, "size", micro * accumulation * self.gpus)
        if isinstance(self.size, int) and micro is not None and accumulation is not None:
            product = micro * accumulation * self.gpus
            if product != self.size:
                raise Wrong(
                    f"batch.size is {self.size}, but micro_batch × accumulation × gpus is "
                    f"{micro} × {accumulation} × {self.gpus} = {product}; leave one of them out",
                    f"batch.size 是 {self.size}，而 micro_batch × accumulation × gpus 是 "
                    f"{micro} × {accumulation} × {self.gpus} = {product}；请去掉其中一个",
                    whole=True,
                    keys=("batch.size", "batch.accumulation", "batch.micro_batch"),
                )
        return self
