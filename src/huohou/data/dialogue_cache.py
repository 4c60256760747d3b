"""Making the sample cache of dialogues, and finding it again: from what a run file names to sequences."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from huohou import records
from huohou.data.cache_folder import (
    HashedFile,
    begin,
    intact,
    put_in_place,
    recall,
    remember,
    temporary_folder,
    unwritable,
)
from huohou.data.chat_template import ChatTemplate, open_template, template_source
from huohou.data.corpus import key_of
from huohou.data.dialogue import Dialogue
from huohou.data.dialogue_samples import Learn, LeftOut, Sample, Sampler
from huohou.data.dialogues import DialogueCorpus, Dialogues, HeldOutDialogues
from huohou.data.sample_cache import FORMAT, SampleCache, open_sample_cache
from huohou.data.sample_packing import PackedSamples
from huohou.data.tokenizer import Tokenizer
from huohou.errors import UserError
from huohou.language import Text

TODAY = "2024-07-26"
"""The day that a template is told in training (Llama's own fall back to it), so that samples are the same every day."""

_BATCH = 1 << 19
_EXAMPLES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogueSettings:
    """How dialogues become sequences; the keys of the run file's ``data`` section for SFT."""

    sequence_length: int
    template: str | None = None
    system: str | None = None
    learn: Learn = "all"
    too_long: Literal["cut", "skip", "stop"] = "cut"
    nothing_to_learn: Literal["stop", "skip"] = "stop"
    packing: bool = True


def dialogue_source(
    dialogues: DialogueCorpus,
    tokenizer: Tokenizer,
    settings: DialogueSettings,
    folder: Path,
    say: Callable[[Text], None] = lambda text: None,
) -> PackedSamples:
    """The sequences of dialogues; their samples are found again where nothing has changed, else made.

    Raises:
        UserError: Anything is wrong with the dialogues, the template, or the folder.
    """
    found = find_dialogue_source(dialogues, tokenizer, settings, folder)
    if found is None:
        begin(folder)
        # Reading dialogues is far cheaper than tokenising them, and touched files are often the same files.
        cache = None
        if any(folder.glob("*/learned.bin")):
            digest = _Digest(tokenizer, settings)
            for dialogue in _all(dialogues, settings):
                digest.add(dialogue)
            cache = intact(folder / digest.key(), open_sample_cache)
        if cache is None:
            template = open_template(settings.template, tokenizer, today=TODAY)
            try:
                cache = _make(dialogues, tokenizer, template, settings, folder)
            finally:
                template.close()
        remember(_entry(dialogues, tokenizer, settings, folder), folder, cache.key)
        found = PackedSamples(cache, settings.sequence_length, packing=settings.packing)
    _tell(found.cache, say)
    return found


def find_dialogue_source(
    dialogues: DialogueCorpus, tokenizer: Tokenizer, settings: DialogueSettings, folder: Path
) -> PackedSamples | None:
    """The sequences that these dialogues led to before, if neither they nor the cache have changed; reads none."""
    key = recall(_entry(dialogues, tokenizer, settings, folder))
    cache = None if key is None else intact(folder / key, open_sample_cache)
    return None if cache is None else PackedSamples(cache, settings.sequence_length, packing=settings.packing)


def _setting_key(tokenizer: Tokenizer, settings: DialogueSettings) -> list[Any]:
    """All but the dialogues that decides the samples; how they are packed does not."""
    plain = asdict(settings)
    del plain["packing"], plain["template"]
    source, _, _ = template_source(settings.template, tokenizer)
    variables = sorted(tokenizer.template_variables.items())
    return ["samples", FORMAT, tokenizer.fingerprint, source, variables, TODAY, plain]


def _entry(dialogues: DialogueCorpus, tokenizer: Tokenizer, settings: DialogueSettings, folder: Path) -> Path:
    return folder / "index" / f"{key_of(dialogues.quick_key(), _setting_key(tokenizer, settings))}.json"


class _Digest:
    """The key, from the dialogues, the tokenizer, the template and the settings."""

    def __init__(self, tokenizer: Tokenizer, settings: DialogueSettings) -> None:
        self._hash = hashlib.sha256(json.dumps(_setting_key(tokenizer, settings)).encode())

    def add(self, dialogue: Dialogue) -> None:
        raw = dialogue.canonical().encode()
        self._hash.update(len(raw).to_bytes(8, "little"))
        self._hash.update(raw)

    def key(self) -> str:
        return self._hash.hexdigest()[:32]


def _all(dialogues: DialogueCorpus, settings: DialogueSettings) -> Iterator[Dialogue]:
    for dialogue in dialogues:
        yield dialogue.with_system(settings.system)


def _reader(dialogues: DialogueCorpus) -> Dialogues | None:
    """The files behind dialogues, if they come from files."""
    while isinstance(dialogues, HeldOutDialogues):
        dialogues = dialogues.dialogues
    return dialogues if isinstance(dialogues, Dialogues) else None


def _make(
    dialogues: DialogueCorpus, tokenizer: Tokenizer, template: ChatTemplate, settings: DialogueSettings, folder: Path
) -> SampleCache:
    kind = np.dtype("<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4")
    reader = _reader(dialogues)
    on_bad = reader.on_bad if reader is not None else "stop"
    temporary = temporary_folder(folder)
    files: dict[str, HashedFile] = {}
    counts: Counter[str] = Counter()
    examples: list[dict[str, str]] = []
    digest = _Digest(tokenizer, settings)

    def read() -> Iterator[Dialogue]:
        for dialogue in _all(dialogues, settings):
            digest.add(dialogue)
            yield dialogue

    try:
        temporary.mkdir()
        files = {name: HashedFile(temporary / f"{name}.bin") for name in ("tokens", "learned", "ends", "token_bytes")}
        tokens = characters = size = 0
        sampler = Sampler(template, tokenizer, settings.sequence_length + 1, learn=settings.learn,
                          cut=settings.too_long == "cut")  # fmt: skip
        for group in _grouped(sampler.samples(read())):
            made: list[Sample] = []
            for one in group:
                if isinstance(one, Sample):
                    made.append(one)
                    counts["used"] += 1
                    counts["cut"] += one.cut
                    characters += len(one.text)
                    size += len(one.text.encode())
                else:
                    error = _left_out(one, template, settings)
                    if _stops(one, settings, on_bad):
                        raise error
                    counts[one.why] += 1
                    if len(examples) < _EXAMPLES:
                        examples.append({"place": one.place, "why": one.why, **error.text.plain()})
            if made:
                ends = tokens + np.cumsum([len(one.ids) for one in made])
                tokens = int(ends[-1])
                files["tokens"].write(np.concatenate([one.ids for one in made]).astype(kind))
                files["learned"].write(np.concatenate([one.learned for one in made]).astype(np.uint8))
                files["ends"].write(ends.astype("<i8"))
        if not counts["used"]:
            raise _nothing(counts, examples)
        counted = _whole(counts, reader)
        files["token_bytes"].write(tokenizer.token_bytes().astype("<i4"))
        manifest = {
            "format": FORMAT,
            "key": digest.key(),
            "tokenizer": tokenizer.fingerprint,
            "template": str(template.label.en),
            "settings": asdict(settings),
            "vocab_size": tokenizer.vocab_size,
            "dtype": f"uint{kind.itemsize * 8}",
            "samples": counts["used"],
            "tokens": tokens,
            "characters": characters,
            "bytes": size,
            "counts": counted,
            "examples": examples,
            "sources": [facts.to_plain() for facts in reader.files] if reader else [],
            "files": {f"{name}.bin": file.close() for name, file in files.items()},
        }
        records.write_json(temporary / "manifest.json", manifest)
        target = folder / digest.key()
        found = put_in_place(temporary, target, open_sample_cache)
        return found or open_sample_cache(target, verify=False)
    except OSError as error:
        raise unwritable(folder, error) from error
    finally:
        for file in files.values():
            file.abandon()
        shutil.rmtree(temporary, ignore_errors=True)


def _grouped(samples: Iterator[Sample | LeftOut]) -> Iterator[list[Sample | LeftOut]]:
    group: list[Sample | LeftOut] = []
    size = 0
    for one in samples:
        group.append(one)
        size += len(one.ids) if isinstance(one, Sample) else 1
        if size >= _BATCH:
            yield group
            group, size = [], 0
    yield group


def _whole(counts: Counter[str], reader: Dialogues | None) -> dict[str, int]:
    """All counts; those of the reading are of the whole files, also where a share of them is held out."""
    left_out = ("refused", "nothing_to_learn", "too_long")
    unread = {"bad": reader.counts.bad, "empty": reader.counts.empty} if reader else {"bad": 0, "empty": 0}
    skipped = sum(unread.values()) + sum(counts[why] for why in left_out)
    return {
        "read": counts["used"] + skipped,
        "used": counts["used"],
        "skipped": skipped,
        **unread,
        **{why: counts[why] for why in left_out},
        "cut": counts["cut"],
    }


def _stops(one: LeftOut, settings: DialogueSettings, on_bad: str) -> bool:
    if one.why == "refused":
        return on_bad == "stop"
    return (settings.nothing_to_learn if one.why == "nothing_to_learn" else settings.too_long) == "stop"


def _left_out(one: LeftOut, template: ChatTemplate, settings: DialogueSettings) -> UserError:
    place_en, place_zh = (f"{one.place}: ", f"{one.place}：") if one.place else ("", "")
    if one.why == "refused":
        return UserError(
            f"{place_en}{template.label.en} cannot say this dialogue: {one.reason}; choose another template, or go on "
            "without such dialogues (on_bad: skip).",
            f"{place_zh}{template.label.zh}无法表示这段对话：{one.reason}；请换一个模板，"
            "或跳过这样的对话（on_bad: skip）。",
        )
    if one.why == "nothing_to_learn":
        return UserError(
            f"{place_en}the assistant says nothing in this dialogue, so there is nothing to learn from it; give it an "
            "answer, or go on without such dialogues (data.nothing_to_learn: skip).",
            f"{place_zh}这段对话里没有助手的回答，没有可学的内容；请补上回答，或跳过这样的对话"
            "（data.nothing_to_learn: skip）。",
        )
    count = "more tokens than can be counted" if one.tokens is None else f"{one.tokens - 1:,} tokens"
    zh = "词元数多得无法计数" if one.tokens is None else f"有 {one.tokens - 1:,} 个词元"
    length = settings.sequence_length
    if settings.too_long == "cut":
        return UserError(
            f"{place_en}this dialogue has {count}, and cannot be cut to {length:,} so that an answer is left.",
            f"{place_zh}这段对话{zh}，无法在保留回答的前提下截到 {length:,}。",
        )
    return UserError(
        f"{place_en}this dialogue has {count}, a sequence {length:,}; choose a longer data.sequence_length, or "
        "data.too_long: cut (answers are kept) or skip.",
        f"{place_zh}这段对话{zh}，而一条序列只有 {length:,}；请加大 data.sequence_length，"
        "或写 data.too_long: cut（保留回答）或 skip。",
    )


def _nothing(counts: Counter[str], examples: list[dict[str, str]]) -> UserError:
    total = sum(counts[why] for why in ("refused", "nothing_to_learn", "too_long"))
    first = examples[0] if examples else {"en": "–", "zh": "–"}
    return UserError(
        f"none of the {total:,} dialogues can be learned from; the first: {first['en']}",
        f"{total:,} 段对话都无法学习；第一段：{first['zh']}",
    )


def _tell(cache: SampleCache, say: Callable[[Text], None]) -> None:
    """Say what was left out or cut, if anything was."""
    counts = cache.counts
    said = {
        "bad": ("bad", "坏"), "empty": ("empty", "空"), "refused": ("not sayable by the template", "模板无法表示"),
        "nothing_to_learn": ("without an answer", "没有回答"), "too_long": ("too long", "过长"),
    }  # fmt: skip
    if counts["skipped"]:
        en = ", ".join(f"{counts[key]:,} {words[0]}" for key, words in said.items() if counts[key])
        zh = "、".join(f"{counts[key]:,} 段{words[1]}" for key, words in said.items() if counts[key])
        say(Text(
            f"{counts['read']:,} dialogues = {counts['used']:,} used + {counts['skipped']:,} skipped ({en})",
            f"{counts['read']:,} 段对话 = {counts['used']:,} 段可用 + {counts['skipped']:,} 段跳过（{zh}）",
        ))  # fmt: skip
    if counts["cut"]:
        say(Text(
            f"{counts['cut']:,} of {counts['used']:,} dialogues are too long and were cut; their answers are kept",
            f"{counts['used']:,} 段对话中有 {counts['cut']:,} 段过长，已截断；回答均保留",
        ))  # fmt: skip
