"""The sections ``data`` and ``batch``."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field, model_validator

from huohou.config.kinds import Wrong, choice, count, string, strings
from huohou.config.section import ABSENT, Section, key
from huohou.config.values import BATCH_SIZE, EXPONENT, NAMES, SWITCH, VALIDATION
from huohou.language import Text
from huohou.units import Duration

SOURCES = ("train", "embedded", "mix", "dataset")
"""The keys of which a run has one: what it reads."""

DIALOGUE_KEYS = (
    "dataset",
    "dataset_info",
    "format",
    "template",
    "system",
    "learn",
    "too_long",
    "nothing_to_learn",
    "packing",
)
"""The keys of dialogues: the stage sft alone has them."""


class Embedded(Section):
    """The corpus that the package makes itself."""

    title = Text("The corpus that the package generates; it needs no files.", "软件包自带的生成语料；不需要文件。")

    characters: Annotated[int, count(1000, unit="character", example=2_000_000)] = key(
        2_000_000, "How much text, in characters; 2M and 200万 are understood.", "文本量（字符数）；可写 2M、200万。"
    )
    samples: Annotated[int, count(1, example=2000)] = key(
        2000, "How many dialogues; for the stage sft.", "多少段对话；用于 sft 阶段。"
    )
    seed: Annotated[int, count(0, example=0)] = key(0, "Another seed makes another text.", "换一个种子，就换一份文本。")


class MixSource(Section):
    """One of several corpora."""

    title = Text(
        "Several corpora at once, by name: each has train or embedded, and a weight.",
        "同时用多个语料，各有名字：每个写 train 或 embedded，以及权重。",
    )

    train: Annotated[tuple[str, ...] | None, strings("a path, or a list of them", "一个路径，或路径的列表")] = key(
        None, "Its files, as in data.train.", "其文件，同 data.train。", said=ABSENT
    )
    embedded: Embedded | None = key(
        None, "The generated corpus instead of files.", "用生成的语料代替文件。", said=ABSENT
    )
    weight: Annotated[Fraction, EXPONENT] = Field(
        description="Its share of the sequences is weight over the sum of all weights; begin with replay at 1% to 25%.",
        json_schema_extra={"zh": "它占序列的比例为其权重除以权重之和；回放可从 1% 到 25% 开始。"},
    )
    text: Annotated[str | None, string("the name of a field", "字段名")] = key(
        None, "Its text field, as in data.text.", "其正文字段，同 data.text。", said=Text("data.text", "同 data.text")
    )


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
    mix: dict[str, MixSource] | None = key(
        None,
        "Several corpora with weights, instead of one.",
        "用多个带权重的语料代替一个。",
        said=ABSENT,
    )
    dataset: Annotated[tuple[str, ...] | None, NAMES] = key(
        None,
        "Names in dataset_info, instead of files (stage sft).",
        "dataset_info 中的名字，代替文件（sft 阶段）。",
        said=ABSENT,
    )
    dataset_info: Annotated[str | None, string("the path of a dataset_info.json", "dataset_info.json 的路径")] = key(
        None,
        "LLaMA-Factory's description of datasets: files, formats, columns.",
        "LLaMA-Factory 的数据集说明：文件、格式、列。",
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
    format: Annotated[
        Literal["auto", "alpaca", "sharegpt", "messages"],
        choice("auto", "alpaca", "sharegpt", "messages", spellings={"openai": "messages"}),
    ] = key("auto", "What dialogues look like (stage sft).", "对话数据的格式（sft 阶段）。")
    template: Annotated[str | None, string("a template's name or a .jinja file", "模板名，或 .jinja 文件")] = key(
        None,
        "How a dialogue becomes text: llama2, alpaca2, llama3, chatml, minimind, or a .jinja file.",
        "对话怎样变成文本：llama2、alpaca2、llama3、chatml、minimind，或 .jinja 文件。",
        said=Text("the tokenizer's own", "分词器自带的"),
    )
    system: Annotated[str | None, string("a text", "一段文字")] = key(
        None,
        "What is said before dialogues that have no system text.",
        "没有系统文本的对话之前说什么。",
        said=Text("nothing", "无"),
    )
    learn: Annotated[Literal["all", "last"], choice("all", "last")] = key(
        "all",
        "Which answers are learned: all, or the last of each dialogue.",
        "学习哪些回答：全部，或每段对话的最后一个。",
    )
    too_long: Annotated[Literal["cut", "skip", "stop"], choice("cut", "skip", "stop")] = key(
        "cut",
        "A dialogue longer than sequence_length is cut so that answers stay, skipped, or stops the run.",
        "超过 sequence_length 的对话：裁剪并保住回答、跳过，或停下。",
    )
    nothing_to_learn: Annotated[Literal["stop", "skip"], choice("stop", "skip")] = key(
        "stop",
        "A dialogue without an answer to learn stops the run, or is skipped.",
        "没有可学回答的对话：停下，或跳过。",
    )
    packing: Annotated[bool, SWITCH] = key(
        True,
        "Several dialogues in one sequence, attention kept inside each.",
        "一条序列装多段对话，注意力不越过各段。",
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
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) > 1:
            one, other = given[:2]
            raise Wrong(
                f"data.{one} and data.{other} are both given, but a run reads one of them; keep one, or put both "
                "under data.mix",
                f"data.{one} 与 data.{other} 同时给出，而一次训练只读其一；请只留一个，或都写到 data.mix 下",
                whole=True,
                keys=(f"data.{other}", f"data.{one}"),
            )
        if not given:
            raise Wrong(
                "there is nothing to read; write data.train: corpus.jsonl, or data.embedded: {} for the generated text",
                "没有可读的数据；请写 data.train: corpus.jsonl，或用 data.embedded: {} 取自带的生成语料",
                whole=True,
                keys=("data",),
            )
        if self.dataset is not None and self.dataset_info is None:
            raise Wrong(
                f"data.dataset is {', '.join(self.dataset)}, which names entries of a dataset_info.json; say where it "
                "is with data.dataset_info, or write files under data.train",
                f"data.dataset 是 {'、'.join(self.dataset)}，即 dataset_info.json 中的名字；请用 data.dataset_info "
                "写出其位置，或把文件写在 data.train",
                whole=True,
                keys=("data.dataset",),
            )
        for name, source in (self.mix or {}).items():
            if (source.train is None) == (source.embedded is None):
                raise Wrong(
                    f"data.mix.{name} needs one of train and embedded",
                    f"data.mix.{name} 需要 train 与 embedded 之一",
                    whole=True,
                    keys=(f"data.mix.{name}",),
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
