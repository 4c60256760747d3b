"""Sections that say what does not go together: the first such contradiction, with the keys that make it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from huohou.config.data import DIALOGUE_KEYS, Data
from huohou.config.kinds import Wrong

if TYPE_CHECKING:
    from huohou.config.run import RunConfig


def disagreement(run: RunConfig) -> Wrong | None:
    """What in a run file contradicts something in another section, if anything does."""
    for check in _CHECKS:
        for en, zh, *keys in check(run):
            return Wrong(en, zh, whole=True, keys=tuple(keys))
    return None


Found = Iterator[tuple[str, ...]]


def _stage(run: RunConfig) -> Found:
    if run.stage == "pretrain" and run.model.path is not None:
        yield (
            "model.path names a model that exists, but stage is pretrain, which begins from nothing; write stage: "
            "continue (or sft), or a shape in place of the path",
            "model.path 指向已有的模型，而 stage 是 pretrain，即从头开始；请写 stage: continue（或 sft），"
            "或用形状代替 path",
            "model.path",
            "stage",
        )
    if run.stage != "pretrain" and run.model.path is None:
        yield (
            f"stage is {run.stage}, which goes on from a model that exists; write model.path: a Hugging Face folder, "
            "a run folder or a hub's name",
            f"stage 是 {run.stage}，需要已有的模型；请写 model.path：Hugging Face 目录、训练目录或模型中心的名字",
            "stage",
            "model",
        )
    if run.stage == "pretrain" and run.optimizer.state == "carried":
        yield (
            "optimizer.state is carried, but a model that begins from nothing has no moments to carry; remove it",
            "optimizer.state 是 carried，而从头训练没有可接着用的动量；请去掉",
            "optimizer.state",
        )


def _vocabulary(run: RunConfig) -> Found:
    if run.model.path is not None and run.tokenizer.vocab_size is not None:
        yield (
            "tokenizer.vocab_size asks for a new vocabulary, but model.path has rows for its own; extend that by "
            "huohou tokenizer extend and write tokenizer.path",
            "tokenizer.vocab_size 要求新词表，而 model.path 的各行属于它自己的词表；请用 huohou tokenizer extend "
            "扩展它，再写 tokenizer.path",
            "tokenizer.vocab_size",
            "model.path",
        )


def _length(run: RunConfig) -> Found:
    longest, length = run.model.max_position_embeddings, run.data.sequence_length
    if run.model.path is None and length > longest and "max_position_embeddings" in run.model.model_fields_set:
        yield (
            f"data.sequence_length is {length}, but the model is made for at most "
            f"{longest} positions (max_position_embeddings); make them fit",
            f"data.sequence_length 是 {length}，而模型最多支持 {longest} 个位置（max_position_embeddings）；请改成一致",
            "data.sequence_length",
            "model.max_position_embeddings",
        )


def _dialogues(run: RunConfig) -> Found:
    if run.stage == "sft":
        return
    for name in DIALOGUE_KEYS:
        if getattr(run.data, name) != Data.model_fields[name].default:
            yield (
                f"data.{name} is about dialogues, but stage is {run.stage}; write stage: sft, or remove it",
                f"data.{name} 用于对话，而 stage 是 {run.stage}；请写 stage: sft，或去掉它",
                f"data.{name}",
                "stage",
            )


def _adapters(run: RunConfig) -> Found:
    groups = run.groups.given()
    if run.lora is None:
        for part in ("adapters", "adapters_b"):
            if part in groups:
                yield (
                    f"groups.{part} is about adapters, but there is no section lora; write lora: {{}}, or remove it",
                    f"groups.{part} 针对适配器，而没有 lora 一节；请写 lora: {{}}，或去掉它",
                    f"groups.{part}",
                )
        return
    if run.stage == "pretrain":
        yield (
            "lora trains adapters on a model that exists, but stage is pretrain; write stage: continue, or remove lora",
            "lora 在已有模型上训练适配器，而 stage 是 pretrain；请写 stage: continue，或去掉 lora",
            "lora",
            "stage",
        )
    if run.lora.plus_ratio is not None and "adapters_b" in groups:
        yield (
            "lora.plus_ratio and groups.adapters_b both say the rate of the adapters' matrices B; keep one",
            "lora.plus_ratio 与 groups.adapters_b 都规定了矩阵 B 的学习率；请只留一个",
            "groups.adapters_b",
            "lora.plus_ratio",
        )
    if "body" in groups and groups["body"].peak is not None:
        yield (
            "groups.body has a rate, but with lora the body does not move; remove one of them",
            "groups.body 有学习率，而使用 lora 时主体不动；请去掉其一",
            "groups.body",
            "lora",
        )


def _rows(run: RunConfig) -> Found:
    groups = run.groups.given()
    if run.stage == "pretrain" and "new_rows" in groups:
        yield (
            "groups.new_rows is about pieces added to a model that exists, but stage is pretrain; remove it",
            "groups.new_rows 针对已有模型新增的词，而 stage 是 pretrain；请去掉",
            "groups.new_rows",
            "stage",
        )
    if run.lora is None or _saves_rows(run):
        return
    moving = {"none": (), "new": ("new_rows",), "all": ("new_rows", "old_rows")}[run.lora.rows]
    for part in ("new_rows", "old_rows"):
        if part in groups and groups[part].peak is not None and part not in moving:
            yield (
                f"groups.{part} has a rate, but with lora.rows: {run.lora.rows} these rows do not move; write "
                f"lora.rows: {'new' if part == 'new_rows' else 'all'}, or remove it",
                f"groups.{part} 有学习率，而 lora.rows 为 {run.lora.rows} 时这些行不动；请写 "
                f"lora.rows: {'new' if part == 'new_rows' else 'all'}，或去掉它",
                f"groups.{part}",
                "lora.rows",
            )


def _saves_rows(run: RunConfig) -> bool:
    return run.lora is not None and any(name.rpartition(".")[2] in ROW_MODULES for name in run.lora.save)


ROW_MODULES = ("embed_tokens", "lm_head")
"""The modules that hold the rows of the vocabulary, under Hugging Face's names."""


def _engine(run: RunConfig) -> Found:
    train = run.train
    if train.offload and train.engine in ("auto", "ddp"):
        yield (
            f"train.offload needs an engine that divides the state, but train.engine is {train.engine}; write engine: "
            "fsdp2 or deepspeed",
            f"train.offload 需要切分状态的引擎，而 train.engine 是 {train.engine}；请写 engine: fsdp2 或 deepspeed",
            "train.offload",
            "train.engine",
        )
    if train.zero_stage != 2 and train.engine != "deepspeed":
        yield (
            f"train.zero_stage is {train.zero_stage}, which DeepSpeed alone has, but train.engine is {train.engine}; "
            "write engine: deepspeed, or remove it",
            f"train.zero_stage 是 {train.zero_stage}，只有 DeepSpeed 才有，而 train.engine 是 {train.engine}；"
            "请写 engine: deepspeed，或去掉它",
            "train.zero_stage",
            "train.engine",
        )


_CHECKS: tuple[Callable[[RunConfig], Found], ...] = (
    _stage,
    _vocabulary,
    _length,
    _dialogues,
    _adapters,
    _rows,
    _engine,
)
