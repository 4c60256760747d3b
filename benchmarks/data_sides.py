"""What the sides of ``python -m benchmarks data`` do, each in a process of its own that prints its figures."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

LENGTH, BATCH, SEED = 256, 16, 0


def prepare(work: Path, characters: int, vocab_size: int) -> None:
    """A generated corpus as JSON lines, a tokenizer trained on it, its token cache, and its blocks as a dataset."""
    import datasets

    from huohou.data.cache import token_cache
    from huohou.data.documents import Documents
    from huohou.data.embedded import documents
    from huohou.data.packing import Packed
    from huohou.data.tokenizer_training import train_tokenizer

    corpus = work / "corpus.jsonl"
    with open(corpus, "w", encoding="utf-8", newline="\n") as file:
        for text in documents(SEED, characters=characters):
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    read = Documents([str(corpus)])
    tokenizer = train_tokenizer(read, vocab_size)
    tokenizer.save(work / "tokenizer")
    packed = Packed(token_cache(read, tokenizer, work / "cache"), LENGTH)
    rows = ({"input_ids": (ids := packed.sequence(i).inputs), "labels": ids} for i in range(packed.count))
    datasets.Dataset.from_list(list(rows)).save_to_disk(str(work / "blocks"))


def characters_in(corpus: Path) -> int:
    """Of all documents."""
    with open(corpus, encoding="utf-8") as file:
        return sum(len(json.loads(line)["text"]) for line in file)


def tokenise_huohou(work: Path, corpus: Path, target: Path) -> float:
    """Reader and token cache."""
    from huohou.data.cache import token_cache
    from huohou.data.documents import Documents
    from huohou.data.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(work / "tokenizer")
    began = time.perf_counter()
    token_cache(Documents([str(corpus)]), tokenizer, target)
    return time.perf_counter() - began


def tokenise_tokenizers(work: Path, corpus: Path, target: Path) -> float:
    """A loop over the lines, a thousand documents at a time."""
    import numpy as np
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(work / "tokenizer" / "tokenizer.json"))
    end = tokenizer.token_to_id("</s>")
    began = time.perf_counter()
    target.mkdir()
    with open(corpus, encoding="utf-8") as file, open(target / "tokens.bin", "wb") as out:
        while texts := [json.loads(line)["text"] for line in islice(file, 1000)]:
            for one in tokenizer.encode_batch(texts, add_special_tokens=False):
                out.write(np.array([*one.ids, end], dtype=np.uint16).tobytes())
    return time.perf_counter() - began


def tokenise_datasets(work: Path, corpus: Path, target: Path) -> float:
    """The usual map in batches, into its own cache files."""
    import datasets
    from tokenizers import Tokenizer

    datasets.disable_progress_bars()
    tokenizer = Tokenizer.from_file(str(work / "tokenizer" / "tokenizer.json"))

    def ids(batch: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        return {"input_ids": [one.ids for one in tokenizer.encode_batch(batch["text"], add_special_tokens=False)]}

    began = time.perf_counter()
    read: Any = datasets.load_dataset("json", data_files=str(corpus), split="train", cache_dir=str(target))
    read.map(ids, batched=True, remove_columns=read.column_names)
    return time.perf_counter() - began


def batches_of_huohou(work: Path, attention: Any, count: int) -> Iterator[int]:
    """The sequences in each batch, as the training gets it."""
    from huohou.data.cache import find_cache
    from huohou.data.documents import Documents
    from huohou.data.order import Order
    from huohou.data.packing import Packed
    from huohou.data.tokenizer import Tokenizer
    from huohou.stages.lm import LanguageModelling

    tokenizer = Tokenizer.load(work / "tokenizer")
    cache = find_cache(Documents([str(work / "corpus.jsonl")]), tokenizer, work / "cache")
    assert cache is not None
    packed = Packed(cache, LENGTH, attention=attention)
    stage = LanguageModelling(packed, Order(packed.count, BATCH, SEED), micro_batch=BATCH)
    for number in range(count):
        yield sum(len(micro.inputs) for micro in stage.micro_batches(stage.batch(number)))


def batches_of_datasets(work: Path, count: int) -> Iterator[int]:
    """The same from a shuffling DataLoader in the same process, its default."""
    import datasets
    import torch

    blocks: Any = datasets.load_from_disk(str(work / "blocks")).with_format("torch")
    generator = torch.Generator().manual_seed(SEED)
    loader = torch.utils.data.DataLoader(blocks, batch_size=BATCH, shuffle=True, drop_last=True, generator=generator)
    made = 0
    while made < count:
        for batch in islice(loader, count - made):
            made += 1
            yield len(batch["input_ids"])


def main(words: list[str]) -> None:
    """Do what the first word says."""
    work = Path(words[1])
    if words[0] == "prepare":
        prepare(work, int(words[2]), int(words[3]))
    elif words[0] == "tokenise":
        side, corpus = words[2], Path(words[3])
        target = work / f"{corpus.stem}-{side}-{words[4]}"
        sides = {"huohou": tokenise_huohou, "tokenizers": tokenise_tokenizers, "datasets": tokenise_datasets}
        seconds = sides[side](work, corpus, target)
        print(json.dumps({"seconds": seconds, "characters_per_second": characters_in(corpus) / seconds}))
    else:
        side, attention, count = words[2], words[3], int(words[4])
        batches = batches_of_huohou(work, attention, count + 1) if side == "huohou" else None
        batches = batches or batches_of_datasets(work, count + 1)
        # The first batch opens files and imports; it does not count.
        next(batches)
        began = time.perf_counter()
        sequences = sum(batches)
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "sequences_per_second": sequences / seconds}))


if __name__ == "__main__":
    main(sys.argv[1:])
