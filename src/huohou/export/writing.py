"""``huohou export``: merge what is to be merged, write a Hugging Face folder, and compare it before it is in place."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from huohou.errors import UserError
from huohou.export.comparing import Comparison, compare, live_logits
from huohou.export.opened import TOKENIZER, Opened, open_source, record
from huohou.export.tokenizers import elsewhere
from huohou.language import Text
from huohou.model.adapter import check_before
from huohou.model.config import ModelConfig, NotCovered
from huohou.model.folder import CONFIG, GENERATION_CONFIG, SHARD_BYTES, replacing
from huohou.model.load import open_model
from huohou.model.merge import Ends, Merged, write_tensors
from huohou.model.peft_layers import end_names
from huohou.model.weights import read_json
from huohou.records import write_json

Say = Callable[[Text], object]
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: the folder, and how it compared with the live model (``None``: it was not asked)."""

    folder: Path
    comparison: Comparison | None


def export(
    source: str | Path,
    output: str | Path,
    *,
    adapters: Sequence[str | Path] = (),
    base: str | None = None,
    checkpoint: str | None = None,
    dtype: str | None = None,
    shard_bytes: int = SHARD_BYTES,
    check: bool = True,
    say: Say = print,
) -> Exported:
    """Write a model as the Hugging Face folder ``output``.

    ``source`` is a run folder, a model's or an adapter's folder, or a file of weights (``.pth``, ``.bin``, read without
    running anything); ``adapters`` are merged after what it holds, in order, each checked to belong to what it is
    merged onto. ``base`` is the base of an adapter, or a minimind file's ``config.json``; ``checkpoint`` is ``last``,
    ``best`` or an update; ``dtype`` a name of :data:`DTYPES` (default: the base's own). Memory holds one file of
    ``shard_bytes`` while merging, and one model while comparing (``check``).

    Raises ``UserError`` for what cannot be exported and ``RunFailed`` where the result computes something else than
    the live model; then ``output`` is as it was.
    """
    target = _dtype(dtype)
    opened = open_source(
        Path(source).expanduser(), adapters=[Path(one) for one in adapters], base=base, checkpoint=checkpoint
    )
    _check_base(opened, say)
    merged = Merged(opened.tensors, opened.adapters, _ends(opened))
    stored = target or merged.dtype(merged.ends.embedding)
    folder = Path(output).expanduser()
    _check_tokenizer(opened, merged)
    with replacing(folder) as new:
        write_tensors(merged, new, target, shard_bytes)
        config = _config(opened, merged, stored)
        write_json(new / CONFIG, config)
        _write_generation(opened, merged, config, new)
        if opened.tokenizer is not None:
            for path in sorted(opened.tokenizer.iterdir()):
                if path.is_file() and TOKENIZER.fullmatch(path.name):
                    shutil.copyfile(path, new / path.name)
        note = elsewhere(new)
        for file in new.glob("*.safetensors"):
            # safetensors leaves its files to their owner alone; a model is passed around like any other file.
            shutil.copymode(new / CONFIG, file)
        comparison = compare(new, stored, live_logits(opened, merged.rows)) if check else None
    _say_what(say, folder, opened, comparison, note, stored)
    return Exported(folder, comparison)


def _say_what(
    say: Say, folder: Path, opened: Opened, comparison: Comparison | None, note: Text | None, stored: torch.dtype
) -> None:
    if comparison is not None:
        say(comparison.said())
        warning = comparison.warning()
        if warning is not None:
            say(warning)
    else:
        say(Text("the result was not compared with the live model.", "没有与在线模型对比。"))
    if note is not None:
        say(note)
    count, type_name = len(opened.adapters), str(stored).removeprefix("torch.")
    say(
        Text(
            f"model: {folder} ({type_name}, {count} adapter{'s' * (count != 1)} merged)",
            f"模型：{folder}（{type_name}，合并了 {count} 个适配器）",
        )
    )


def _dtype(name: str | None) -> torch.dtype | None:
    if name is not None and name not in DTYPES:
        raise UserError(
            f"--dtype is {name!r}; write one of {', '.join(DTYPES)}.",
            f"--dtype 是 {name!r}；请写 {'、'.join(DTYPES)} 之一。",
        )
    return None if name is None else DTYPES[name]


def _check_base(opened: Opened, say: Say) -> None:
    base = record(opened)
    if base is None:
        unknown = [adapter for adapter in opened.adapters if adapter.base is None and opened.folder is not None]
    else:
        unknown = check_before(opened.adapters, base)
    for adapter in unknown:
        if (adapter.folder / "adapter_config.json").is_file():
            say(
                Text(
                    f"{adapter.folder} does not say which base it was trained on (another program wrote it); its "
                    "shapes fit, which is all that can be checked.",
                    f"{adapter.folder} 没有记录它训练时的基座（由其他程序写出）；能检查的只有形状，形状相符。",
                )
            )


def _ends(opened: Opened) -> Ends:
    """Embedding and head by name; what has other names than a LLaMA is asked by transformers."""
    tied = bool(opened.config.get("tie_word_embeddings"))
    names = set(opened.tensors.names())
    embedding, head = "model.embed_tokens.weight", "lm_head.weight"
    if embedding not in names and opened.folder is not None:
        embedding, head = (f"{name}.weight" for name in end_names(open_model(opened.folder, device="meta")).values())
    if embedding not in names:
        raise UserError(
            f"{opened.folder}: the rows of its vocabulary are not found ({embedding}).",
            f"{opened.folder}：找不到词表的各行（{embedding}）。",
        )
    # Architectures differ in what they take for granted; a head that is not in the files is the embedding.
    return Ends(embedding, head, tied or head not in names)


def _config(opened: Opened, merged: Merged, stored: torch.dtype) -> dict[str, Any]:
    """The base's settings with what has changed, in the words of transformers 4 and 5, which other programs read."""
    type_name = str(stored).removeprefix("torch.")
    changed = {"vocab_size": merged.rows, "tie_word_embeddings": merged.ends.tied}
    values = {key: value for key, value in opened.config.items() if key != "_name_or_path"} | changed
    with suppress(NotCovered):
        values |= ModelConfig.from_huggingface(values, CONFIG).to_huggingface(type_name)
    return values | {"dtype": type_name, "torch_dtype": type_name}


def _write_generation(opened: Opened, merged: Merged, config: Mapping[str, Any], folder: Path) -> None:
    values: dict[str, Any] = {}
    where = None if opened.folder is None else opened.folder / GENERATION_CONFIG
    if where is not None and where.is_file():
        values = {key: value for key, value in read_json(where).items() if key != "transformers_version"}
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        if values.get(key) is None and config.get(key) is not None:
            values[key] = config[key]
    vocabulary = _vocabulary(opened)
    if vocabulary is not None and merged.rows > opened.tensors.shape(merged.ends.embedding)[0]:
        # Rows that only fill up the grown vocabulary to a multiple are no tokens.
        values.pop("suppress_tokens", None)
        if vocabulary < merged.rows:
            values["suppress_tokens"] = list(range(vocabulary, merged.rows))
    if values:
        write_json(folder / GENERATION_CONFIG, values)


def _vocabulary(opened: Opened) -> int | None:
    if opened.tokenizer is None:
        return None
    from huohou.data.tokenizer import Tokenizer

    return Tokenizer.load(opened.tokenizer).vocab_size


def _check_tokenizer(opened: Opened, merged: Merged) -> None:
    vocabulary = _vocabulary(opened)
    if vocabulary is not None and vocabulary > merged.rows:
        raise UserError(
            f"the tokenizer in {opened.tokenizer} has {vocabulary} ids, but the model has {merged.rows} rows; an "
            "adapter with the new rows is missing, or it is the tokenizer of another model.",
            f"{opened.tokenizer} 中的分词器有 {vocabulary} 个编号，而模型只有 {merged.rows} 行；"
            "缺少含有新增行的适配器，或者它是别的模型的分词器。",
        )
