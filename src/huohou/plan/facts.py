"""From a run file to a plan: what is known of its corpus, tokenizer and model, measured or counted.

The token cache and a trained tokenizer live in ``.cache`` beside the run folders, so that runs on the same data share
them. ``plan`` looks there, and measures a sample where nothing is there yet; ``train`` and ``plan --exact`` fill it.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huohou.config import RunConfig, load_run
from huohou.config.shapes import count_parameters, flops_per_token
from huohou.errors import UserError
from huohou.language import Text
from huohou.plan.planner import Request, make_plan
from huohou.plan.result import Plan
from huohou.plan.sizes import Asked
from huohou.schedule.recipes import ScheduleSpec
from huohou.units import Duration

if TYPE_CHECKING:
    from huohou.data.cache import TokenCache
    from huohou.data.corpus import Generated, HeldOut
    from huohou.data.documents import Documents
    from huohou.data.embedded import Split
    from huohou.data.packing import Packed
    from huohou.data.sampling import CorpusFacts
    from huohou.data.tokenizer import Tokenizer

    AnyCorpus = Documents | HeldOut | Generated

Say = Callable[[Text], None]
"""Told what is being done, before each thing that takes a while."""

MICRO_BATCH_TOKENS = 16_384
"""Where the run file names no micro-batch, one holds at most this many tokens."""

TOKENIZER_VERSION = 1
"""Part of a trained tokenizer's key: raised when training would give other pieces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A run file with everything counted: the plan is exact.

    Attributes:
        plan: The plan.
        tokenizer: Loaded, or trained on the training data.
        train: The training sequences.
        validation: The held-out sequences, where the run file asks for any.
        rejects: The training records that could not be used, with their reasons, where there are any.
    """

    plan: Plan
    tokenizer: Tokenizer
    train: Packed
    validation: Packed | None
    rejects: Path | None


def cache_folder(run: RunConfig) -> Path:
    """Where the run's token caches and trained tokenizer are."""
    return Path(run.data.cache) if run.data.cache else run.folder.parent / ".cache"


def corpora(run: RunConfig) -> tuple[AnyCorpus, AnyCorpus | None]:
    """The training documents and the held-out ones."""
    from huohou.data.corpus import HeldOut

    data = run.data
    share = float(data.validation_share)
    held_out = _documents(run, data.validation_files) if data.validation_files else None
    if data.embedded is not None:
        characters = data.embedded.characters
        apart = _embedded(data.embedded.seed, max(1, round(characters * share)), "validation") if share else held_out
        return _embedded(data.embedded.seed, characters, "train"), apart
    documents = _documents(run, data.train or ())
    if share:
        return HeldOut(documents, share, "train"), HeldOut(documents, share, "validation")
    return documents, held_out


def _embedded(seed: int, characters: int, split: Split) -> AnyCorpus:
    from huohou.data.corpus import Generated
    from huohou.data.embedded import GENERATOR_VERSION, documents

    def make() -> Iterator[str]:
        return documents(seed, characters=characters, split=split)

    return Generated(make, f"embedded {GENERATOR_VERSION} {seed} {characters} {split}", characters)


def _documents(run: RunConfig, files: Sequence[str]) -> AnyCorpus:
    from huohou.data.documents import Documents

    data = run.data
    documents = Documents(
        list(files),
        text=data.text if run.is_set("data.text") else None,
        split=data.split,
        encoding=data.encoding,
        on_bad=data.on_bad,
    )
    if data.on_bad == "skip":
        # What was refused lies beside the token cache, since a later run that finds the cache reads nothing again.
        documents.rejects = cache_folder(run) / f"rejects-{documents.quick_key()}.jsonl"
    return documents


def rejects(documents: AnyCorpus) -> Path | None:
    """The records of a corpus that could not be used, where there are any."""
    from huohou.data.corpus import HeldOut
    from huohou.data.documents import Documents

    inner = documents.documents if isinstance(documents, HeldOut) else documents
    path = inner.rejects if isinstance(inner, Documents) else None
    return path if path is not None and path.is_file() else None


def _trained_tokenizer(run: RunConfig, documents: AnyCorpus) -> Path:
    """Where a tokenizer trained on these documents is kept."""
    key = f"{documents.quick_key()} {run.tokenizer.vocab_size} {TOKENIZER_VERSION}"
    return cache_folder(run) / f"tokenizer-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _tokenizer(run: RunConfig, documents: AnyCorpus, *, train: bool, say: Say) -> Tokenizer | None:
    """The run's tokenizer; ``None`` where it would have to be trained and may not be."""
    from huohou.data.tokenizer import Tokenizer

    if run.tokenizer.path is not None:
        return Tokenizer.load(run.tokenizer.path)
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


def _vocab_size(run: RunConfig) -> int:
    """Pieces of the tokenizer that the run file names, or asks to be trained."""
    from huohou.data.tokenizer import Tokenizer

    if run.tokenizer.path is not None:
        return Tokenizer.load(run.tokenizer.path).vocab_size
    return run.tokenizer.vocab_size or 0


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


def _request(run: RunConfig, vocab_size: int, **facts: Any) -> Request:
    """Everything that the run file itself says, with what is known of the data."""
    dims = run.model.shape()
    parameters = count_parameters(dims, vocab_size).total
    optimizer, train = run.optimizer, run.train
    sequences, data = facts.pop("sequences"), facts.pop("data")
    return Request(
        data={**data, "attention": run.data.attention},
        most_micro_batch_tokens=MICRO_BATCH_TOKENS,
        spec=run.schedule_spec(),
        asked=_asked(run, sequences),
        name=run.name,
        stage=run.stage,
        model={
            **dims,
            "vocab_size": vocab_size,
            "depth_scaled_init": run.model.depth_scaled_init,
            "parameters": parameters,
        },
        flops_per_token=flops_per_token(dims, vocab_size, run.data.sequence_length),
        optimizer={
            "name": optimizer.name,
            "betas": list(optimizer.betas),
            "eps": optimizer.eps,
            "weight_decay": optimizer.weight_decay,
            "max_grad_norm": optimizer.max_grad_norm,
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
        **facts,
    )


def _counted(cache: TokenCache, packed: Packed) -> dict[str, Any]:
    """What a token cache knows, exactly."""
    return {
        "sequences": packed.count,
        "exact": True,
        "interval": None,
        "data": {
            "documents": cache.documents,
            "characters": cache.characters,
            "bytes": cache.bytes,
            "tokens": len(cache),
            "padded": packed.padded,
            "content": cache.key,
        },
    }


def _sampled(run: RunConfig, sample: CorpusFacts) -> dict[str, Any]:
    """What a sample says, with its interval."""
    from huohou.data.packing import pack_counts

    length = run.data.sequence_length
    low, middle, high = (max(1, pack_counts(n, length)[0]) for n in (sample.low, sample.tokens, sample.high))
    return {
        "sequences": middle,
        "exact": sample.exact,
        "interval": (low, high),
        "data": {
            "documents": sample.documents,
            "characters": sample.characters,
            "bytes": sample.bytes,
            "tokens": sample.tokens,
            "basis": sample.basis.plain(),
        },
    }


def _planned(run: RunConfig, request: Request) -> Plan:
    """The plan; what does not fit is told with its place in the run file."""
    try:
        return make_plan(request)
    except UserError as error:
        raise run.located(error) from error


_UNKNOWN: dict[str, Any] = {"sequences": None, "exact": True, "interval": None, "data": {}}


def plan_of_run(
    run: RunConfig,
    *,
    exact: bool = False,
    hardware: str | None = None,
    speed: float | None = None,
    price: float | None = None,
    say: Say = lambda _: None,
) -> Plan:
    """The plan of a run file: exact where T is given or the token cache exists, else from a sample.

    Args:
        run: The run file.
        exact: Tokenise first where needed, instead of measuring a sample.
        hardware: For the estimate of time: ``cpu`` or a GPU's name.
        speed: Tokens a second, measured by the user.
        price: Of one device for one hour.
        say: Told what is being done where it takes a while.
    """
    priced: dict[str, Any] = {"hardware": hardware, "speed": speed, "price": price}
    if exact:
        return prepare(run, say=say, **priced).plan
    known = cache_folder(run).is_dir()
    # Updates or tokens say T by themselves: such a run can be planned where its data are not.
    given = run.train.updates is not None or run.train.tokens is not None
    if given and not known and run.tokenizer.path is None:
        return _planned(run, _request(run, run.tokenizer.vocab_size or 0, **_UNKNOWN, **priced))
    try:
        documents, _ = corpora(run)
    except UserError:
        if not given:
            raise
        return _planned(run, _request(run, _vocab_size(run), **_UNKNOWN, **priced))
    tokenizer = _tokenizer(run, documents, train=False, say=say)
    vocab_size = tokenizer.vocab_size if tokenizer is not None else run.tokenizer.vocab_size or 0
    if tokenizer is not None and known:
        from huohou.data.cache import find_cache

        cache = find_cache(documents, tokenizer, cache_folder(run))
        if cache is not None:
            return _planned(run, _request(run, vocab_size, **_counted(cache, _pack(run, cache)), **priced))
    if given:
        return _planned(run, _request(run, vocab_size, **_UNKNOWN, **priced))
    from huohou.data.sampling import measure_corpus

    sample = measure_corpus(documents, tokenizer, vocab_size=vocab_size)
    return _planned(run, _request(run, vocab_size, **_sampled(run, sample), **priced))


def plan_of_file(
    path: str | Path,
    overrides: Sequence[str],
    **how: Any,
) -> tuple[Plan, ScheduleSpec]:
    """The plan of a run file by its path, and the schedule that it asks for; see :func:`plan_of_run`."""
    run = load_run(path, overrides)
    return plan_of_run(run, **how), run.schedule_spec()


def _pack(run: RunConfig, cache: TokenCache) -> Packed:
    from huohou.data.packing import Packed

    return Packed(cache, run.data.sequence_length, attention=run.data.attention)


def prepare(
    run: RunConfig,
    *,
    hardware: str | None = None,
    speed: float | None = None,
    price: float | None = None,
    say: Say = lambda _: None,
) -> Prepared:
    """Tokenizer, token caches and the exact plan of a run file; what exists already is used.

    Raises:
        UserError: The data, the tokenizer or the plan has something wrong.
    """
    from huohou.data.cache import token_cache

    documents, held_out = corpora(run)
    tokenizer = _tokenizer(run, documents, train=True, say=say)
    assert tokenizer is not None
    folder = cache_folder(run)
    say(Text("counting tokens", "正在统计词元"))
    cache = token_cache(documents, tokenizer, folder)
    packed = _pack(run, cache)
    validation = None if held_out is None else _pack(run, token_cache(held_out, tokenizer, folder))
    request = _request(
        run,
        tokenizer.vocab_size,
        **_counted(cache, packed),
        hardware=hardware,
        speed=speed,
        price=price,
    )
    return Prepared(
        plan=_planned(run, request),
        tokenizer=tokenizer,
        train=packed,
        validation=validation,
        rejects=rejects(documents),
    )
