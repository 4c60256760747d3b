"""What a run file says is read: one corpus or several, documents or dialogues, each with what is held out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huohou.config import RunConfig
from huohou.language import Text
from huohou.plan.dialogues import dialogue_settings, dialogues_of

if TYPE_CHECKING:
    from huohou.config.data import Embedded
    from huohou.data.corpus import Generated, HeldOut
    from huohou.data.dialogues import DialogueCorpus
    from huohou.data.documents import Documents
    from huohou.data.embedded import Split
    from huohou.data.mixing import Source
    from huohou.data.tokenizer import Tokenizer

    AnyCorpus = Documents | HeldOut | Generated

Say = Callable[[Text], None]
"""Told what is being done, before each thing that takes a while."""


def cache_folder(run: RunConfig) -> Path:
    """Where the run's token caches and trained tokenizer are."""
    return Path(run.data.cache) if run.data.cache else run.folder.parent / ".cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One corpus of a run.

    Attributes:
        name: Its name in a mixture; empty where it is the only one.
        weight: Its weight in a mixture.
        train: What is learned from: documents, or dialogues.
        validation: What is held out of it.
        rejects: Where records that could not be used are kept.
    """

    name: str = ""
    weight: Fraction = Fraction(1)
    train: Any
    validation: Any = None
    rejects: Path | None = None


def readings(run: RunConfig) -> list[Reading]:
    """Every corpus that a run learns from, in the order of the run file.

    Raises:
        UserError: Files are missing or cannot be read.
    """
    data = run.data
    if data.mix is None:
        return [_reading(run, "", Fraction(1), data.train, data.embedded, data.text)]
    return [
        _reading(run, name, source.weight, source.train, source.embedded, source.text or data.text)
        for name, source in data.mix.items()
    ]


def validation_files(run: RunConfig) -> Any | None:
    """The corpus of the validation files, where the run file names any."""
    files = run.data.validation_files
    if not files:
        return None
    return (
        dialogues_of(run, files, cache_folder(run), datasets=False)
        if run.stage == "sft"
        else _documents(run, files, run.data.text)
    )


def _reading(
    run: RunConfig,
    name: str,
    weight: Fraction,
    files: tuple[str, ...] | None,
    embedded: Embedded | None,
    text: str | None,
) -> Reading:
    share = float(run.data.validation_share)
    if embedded is not None:
        return _generated(run, name, weight, embedded, share)
    if run.stage == "sft":
        from huohou.data.dialogues import HeldOutDialogues

        dialogues = dialogues_of(run, files or (), cache_folder(run), datasets=True)
        apart = [HeldOutDialogues(dialogues, share, side) for side in ("train", "validation")] if share else []
        return Reading(
            name=name,
            weight=weight,
            train=apart[0] if apart else dialogues,
            validation=apart[1] if apart else None,
            rejects=dialogues.rejects,
        )
    from huohou.data.corpus import HeldOut

    documents = _documents(run, files or (), text)
    held = [HeldOut(documents, share, side) for side in ("train", "validation")] if share else []
    return Reading(
        name=name,
        weight=weight,
        train=held[0] if held else documents,
        validation=held[1] if held else None,
        rejects=documents.rejects,
    )


def _generated(run: RunConfig, name: str, weight: Fraction, embedded: Embedded, share: float) -> Reading:
    if run.stage == "sft":
        from huohou.data.embedded import embedded_dialogues

        dialogues = embedded_dialogues(embedded.seed, embedded.samples, "train")
        apart = max(1, round(embedded.samples * share))
        held = embedded_dialogues(embedded.seed, apart, "validation") if share else None
        return Reading(name=name, weight=weight, train=dialogues, validation=held)
    characters = embedded.characters
    documents = _embedded(embedded.seed, characters, "train")
    held = _embedded(embedded.seed, max(1, round(characters * share)), "validation") if share else None
    return Reading(name=name, weight=weight, train=documents, validation=held)


def _embedded(seed: int, characters: int, split: Split) -> Generated:
    from huohou.data.corpus import Generated
    from huohou.data.embedded import GENERATOR_VERSION, documents

    def make() -> Iterator[str]:
        return documents(seed, characters=characters, split=split)

    return Generated(make, f"embedded {GENERATOR_VERSION} {seed} {characters} {split}", characters)


def _documents(run: RunConfig, files: Sequence[str], text: str | None) -> Documents:
    from huohou.data.documents import Documents

    data = run.data
    documents = Documents(
        list(files),
        text=text,
        split=data.split,
        encoding=data.encoding,
        on_bad=data.on_bad,
    )
    if data.on_bad == "skip":
        # What was refused lies beside the token cache, since a later run that finds the cache reads nothing again.
        documents.rejects = cache_folder(run) / f"rejects-{documents.quick_key()}.jsonl"
    return documents


def rejects(run: RunConfig, found: Sequence[Reading]) -> Path | None:
    """The training records that could not be used, in one file, where there are any."""
    there = [one.rejects for one in found if one.rejects is not None and one.rejects.is_file()]
    if len(there) < 2:
        return there[0] if there else None
    from huohou import records
    from huohou.data.corpus import key_of

    whole = cache_folder(run) / f"rejects-{key_of(*(path.name for path in there))}.jsonl"
    records.write_atomically(whole, "".join(path.read_text(encoding="utf-8") for path in there))
    return whole


def sequences(run: RunConfig, corpus: Any, tokenizer: Tokenizer, *, make: bool, say: Say) -> Source | None:
    """A corpus as sequences, from the cache or made; ``None`` where it would have to be made and may not be."""
    folder = cache_folder(run)
    if run.stage == "sft":
        return _of_dialogues(run, corpus, tokenizer, folder, make=make, say=say)
    from huohou.data.cache import find_cache, token_cache
    from huohou.data.packing import Packed

    cache = token_cache(corpus, tokenizer, folder) if make else find_cache(corpus, tokenizer, folder)
    return None if cache is None else Packed(cache, run.data.sequence_length, attention=run.data.attention)


def _of_dialogues(
    run: RunConfig, dialogues: DialogueCorpus, tokenizer: Tokenizer, folder: Path, *, make: bool, say: Say
) -> Source | None:
    from huohou.data.dialogue_cache import dialogue_source, find_dialogue_source

    settings = dialogue_settings(run)
    if not make:
        return find_dialogue_source(dialogues, tokenizer, settings, folder)
    return dialogue_source(dialogues, tokenizer, settings, folder, say=say)


def counted(source: Any) -> dict[str, Any]:
    """What a cache knows of a corpus, exactly."""
    cache = source.cache
    documents = getattr(cache, "documents", None)
    return {
        "documents": cache.samples if documents is None else documents,
        "characters": cache.characters,
        "bytes": cache.bytes,
        # A document's tokens follow each other in one stream; a dialogue's last id is only a target.
        "tokens": source.tokens if documents is None else len(cache),
        "padded": source.padded,
        "content": cache.key,
    }
