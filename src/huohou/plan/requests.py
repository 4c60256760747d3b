"""What a plan of a run file is made from: its tokenizer, its model and what was counted of its data, as a request."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huohou.config import RunConfig
from huohou.config.shapes import count_parameters, flops_per_token
from huohou.errors import UserError
from huohou.language import Text
from huohou.plan.advice_continued import FRESH, State
from huohou.plan.base import (
    Base,
    Vocabulary,
    base_tokenizer,
    last_rate,
    model_facts,
    sizes_of_parts,
    vocabulary,
)
from huohou.plan.corpora import Reading, Say, cache_folder, counted
from huohou.plan.groups import GroupSpec, with_plus_ratio
from huohou.plan.planner import Request
from huohou.plan.sizes import Asked
from huohou.units import Duration

if TYPE_CHECKING:
    from huohou.data.corpus import Corpus
    from huohou.data.mixing import Source
    from huohou.data.sampling import CorpusFacts
    from huohou.data.tokenizer import Tokenizer

MICRO_BATCH_TOKENS = 16_384
"""Where the run file names no micro-batch, one holds at most this many tokens."""

TOKENIZER_VERSION = 1
"""Part of a trained tokenizer's key: raised when training would give other pieces."""


def _whole(found: Sequence[Reading]) -> Corpus:
    """All training documents, for a tokenizer that is trained on them."""
    from huohou.data.corpus import Joined

    return found[0].train if len(found) == 1 else Joined([one.train for one in found])


def _trained_tokenizer(run: RunConfig, documents: Corpus) -> Path:
    """Where a tokenizer trained on these documents is kept."""
    key = f"{documents.quick_key()} {run.tokenizer.vocab_size} {TOKENIZER_VERSION}"
    return cache_folder(run) / f"tokenizer-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def tokenizer_of(
    run: RunConfig, base: Base | None, found: Sequence[Reading], *, train: bool, say: Say
) -> Tokenizer | None:
    """The run's tokenizer; ``None`` where it would have to be trained, or fetched with its model, and may not be."""
    from huohou.data.tokenizer import Tokenizer

    if run.tokenizer.path is not None:
        return Tokenizer.load(run.tokenizer.path)
    if run.model.path is not None:
        own = None if base is None else base_tokenizer(base)
        if own is None and base is not None:
            raise UserError(
                f"{base.folder} holds no tokenizer; write tokenizer.path.",
                f"{base.folder} 中没有分词器；请写 tokenizer.path。",
            )
        return own
    documents = _whole(found)
    folder = _trained_tokenizer(run, documents)
    if folder.is_dir():
        return Tokenizer.load(folder)
    if not train:
        return None
    from huohou.data.tokenizer_training import train_tokenizer

    size = run.tokenizer.vocab_size or 0
    say(Text(f"training a tokenizer of {size} pieces", f"正在训练 {size} 个词的分词器"))
    tokenizer = train_tokenizer(documents, size)
    beside = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(beside, ignore_errors=True)
    tokenizer.save(beside)
    if not folder.is_dir():
        beside.replace(folder)
    return Tokenizer.load(folder)


def _asked(run: RunConfig, sequences: int | None) -> Asked:
    size = run.batch.size
    return Asked(
        updates=run.train.updates,
        tokens=run.train.tokens,
        epochs=run.train.epochs,
        sequences=sequences,
        sequence_length=run.data.sequence_length,
        batch=size.number if isinstance(size, Duration) else Fraction(size),
        batch_in_tokens=isinstance(size, Duration),
        micro_batch=run.batch.micro_batch,
        accumulation=run.batch.accumulation,
        world_size=run.batch.gpus,
        drop_last=run.data.drop_last,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The model and vocabulary of a run, as far as they are known."""

    base: Base | None
    words: Vocabulary | None
    vocab_size: int
    tokenizer: str | None = None


def model_of(run: RunConfig, base: Base | None, tokenizer: Tokenizer | None) -> Model:
    if base is not None and tokenizer is not None:
        words = vocabulary(base, tokenizer, pad_rows_to=run.model.pad_rows_to)
        if run.lora is not None and run.lora.rows == "new" and words.new == 0:
            where = run.place("lora.rows") or "lora.rows"
            raise UserError(
                f"{where}: lora.rows is new, but the tokenizer adds no pieces to the model's: there are no new rows; "
                "write rows: all, or none.",
                f"{where}：lora.rows 为 new，但分词器没有给模型增加新词，没有新增的行；请写 rows: all 或 none。",
            )
        return Model(base=base, words=words, vocab_size=words.pieces, tokenizer=tokenizer.fingerprint)
    if tokenizer is not None:
        return Model(base=base, words=None, vocab_size=tokenizer.vocab_size, tokenizer=tokenizer.fingerprint)
    size = run.tokenizer.vocab_size or (base.rows if base is not None else None) or 0
    return Model(base=base, words=None, vocab_size=size)


def _shape(run: RunConfig, model: Model) -> dict[str, Any] | None:
    """What the plan says of the model; ``None`` for one that is not on this machine."""
    if run.model.path is not None:
        if model.base is None:
            return None
        longest = model.base.shape.get("max_position_embeddings")
        if isinstance(longest, int) and run.data.sequence_length > longest:
            where = run.place("data.sequence_length") or "data.sequence_length"
            raise UserError(
                f"{where}: data.sequence_length is {run.data.sequence_length}, but {model.base.folder} is made for at "
                f"most {longest} positions (max_position_embeddings); write at most that.",
                f"{where}：data.sequence_length 是 {run.data.sequence_length}，而 {model.base.folder} 最多支持 "
                f"{longest} 个位置（max_position_embeddings）；请写不超过它的数。",
            )
        return model_facts(run, model.base, model.words)
    dims = run.model.shape()
    return {
        **dims,
        "vocab_size": model.vocab_size,
        "depth_scaled_init": run.model.depth_scaled_init,
        "parameters": count_parameters(dims, model.vocab_size).total,
    }


def _group_specs(run: RunConfig) -> dict[str, GroupSpec]:
    """What the run file says of parts."""
    said: dict[str, GroupSpec] = {}
    for part, group in run.groups.given().items():
        values = {name: getattr(group, name) for name in group.SCHEDULE}
        said[part] = GroupSpec(
            peak=group.peak,
            start=group.start,
            length=group.length,
            after=group.after,
            said={name: value for name, value in values.items() if value is not None},
        )
    return with_plus_ratio(said, None if run.lora is None else run.lora.plus_ratio)


def _flops(run: RunConfig, model: dict[str, Any] | None, groups: dict[str, GroupSpec]) -> int | None:
    """Operations a token, with what does not move left out."""
    if model is None or any(model.get(name) is None for name in ("hidden_size", "intermediate_size", "parameters")):
        return None
    lora = model.get("lora")
    sizes = sizes_of_parts(model) if lora is not None else None
    still = {part for part, group in groups.items() if group.peak is None}
    return flops_per_token(
        model,
        model.get("rows") or model["vocab_size"],
        run.data.sequence_length,
        body=lora is None and "body" not in still,
        head=(lora is None or lora["rows"] == "all") and "old_rows" not in still,
        adapters=0 if sizes is None else sizes["adapters"] + sizes["adapters_b"],
        recompute=run.train.recompute,
    )


def request_of(run: RunConfig, model: Model, **facts: Any) -> Request:
    """Everything that the run file itself says, with what is known of the data."""
    shape, groups = _shape(run, model), _group_specs(run)
    optimizer, train = run.optimizer, run.train
    sequences_, data = facts.pop("sequences"), facts.pop("data")
    carried = State(carried=True, rate=last_rate(optimizer.from_)) if optimizer.from_ is not None else FRESH
    return Request(
        data={**data, "attention": run.data.attention, "tokenizer": model.tokenizer},
        most_micro_batch_tokens=MICRO_BATCH_TOKENS,
        spec=run.schedule_spec(),
        asked=_asked(run, sequences_),
        name=run.name,
        stage=run.stage,
        scratch=run.stage == "pretrain",
        model=shape,
        flops_per_token=_flops(run, shape, groups),
        optimizer={
            "name": optimizer.name,
            "betas": list(optimizer.betas),
            "eps": optimizer.eps,
            "weight_decay": optimizer.weight_decay,
            "max_grad_norm": optimizer.max_grad_norm,
            "state": optimizer.state,
            "from": optimizer.from_,
        },
        execution={
            "device": train.device,
            "dtype": train.dtype,
            "compile": train.compile,
            "threads": train.threads,
            "deterministic": train.deterministic,
            "fused": optimizer.fused,
            "seed": run.seed,
        },
        config=run.resolved(),
        groups=groups,
        grown=model.words is not None and model.words.new > 0,
        state=carried,
        sizes_of_parts=sizes_of_parts(shape) if shape is not None and run.model.path is not None else None,
        engine=train.engine,
        zero_stage=train.zero_stage,
        offload=train.offload,
        recompute=train.recompute,
        **facts,
    )


def counted_facts(run: RunConfig, found: Sequence[Reading], sources: Sequence[Source]) -> dict[str, Any]:
    """What the caches know, exactly."""
    each = [counted(source) for source in sources]
    data: dict[str, Any] = each[0]
    if run.data.mix is not None:
        data = {
            name: sum(one[name] for one in each) for name in ("documents", "characters", "bytes", "tokens", "padded")
        }
        contents = [[one.name, str(one.weight), facts["content"]] for one, facts in zip(found, each, strict=True)]
        data["content"] = hashlib.sha256(repr(contents).encode()).hexdigest()[:32]
        total = sum(one.weight for one in found)
        data["sources"] = [
            {
                "name": one.name,
                "share": float(one.weight / total),
                "documents": facts["documents"],
                "tokens": facts["tokens"],
                "sequences": source.count,
            }
            for one, facts, source in zip(found, each, sources, strict=True)
        ]
    return {"sequences": sum(source.count for source in sources), "exact": True, "interval": None, "data": data}


def sampled_facts(run: RunConfig, found: Sequence[Reading], samples: Sequence[CorpusFacts]) -> dict[str, Any]:
    """What samples say, with their interval."""
    from huohou.data.packing import pack_counts

    length = run.data.sequence_length
    low, middle, high = (
        sum(max(1, pack_counts(getattr(sample, name), length)[0]) for sample in samples)
        for name in ("low", "tokens", "high")
    )
    data: dict[str, Any] = {
        name: sum(getattr(sample, name) for sample in samples)
        for name in ("documents", "characters", "bytes", "tokens")
    }
    data["basis"] = samples[0].basis.plain()
    if run.data.mix is not None:
        total = sum(one.weight for one in found)
        data["sources"] = [
            {
                "name": one.name,
                "share": float(one.weight / total),
                "documents": sample.documents,
                "tokens": sample.tokens,
                "sequences": max(1, pack_counts(sample.tokens, length)[0]),
            }
            for one, sample in zip(found, samples, strict=True)
        ]
    return {
        "sequences": middle,
        "exact": all(sample.exact for sample in samples),
        "interval": (low, high),
        "data": data,
    }
