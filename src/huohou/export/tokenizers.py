"""What other programs need of an exported folder's tokenizer, and what is said where they cannot take it.

transformers and vLLM read ``tokenizer.json``. llama.cpp has rules of its own for texts: SentencePiece's, which it takes
from ``tokenizer.model``, and for each published byte-level tokenizer those of its model. Given neither it may convert
a ``tokenizer.json`` all the same, with merges in a wrong order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huohou.data.tokenizer import Tokenizer
from huohou.language import Text
from huohou.model.weights import read_json
from huohou.records import write_json

MODEL, FAST, CONFIG = "tokenizer.model", "tokenizer.json", "tokenizer_config.json"

# Texts on which the two forms must agree before the second is written: kinds of characters, and where they meet.
_PROBES = (
    "春眠不觉晓，处处闻啼鸟。",
    "机器学习（machine learning）是 1980 年代以来的科学；it's 3.14!",
    "def f(x):\n\treturn x+1  \n\n",
    " 两端有空格 ",
    "😀 龘𠮷 <s> <|im_start|>",
    "Ünïcödé, naïve — ‘quotes’… 100％",
)


def elsewhere(folder: Path) -> Text | None:
    """Make a folder's tokenizer one that llama.cpp converts, where that can be; what is left to say, if anything."""
    if (folder / MODEL).is_file():
        return None
    if not (folder / FAST).is_file():
        return Text(
            "there is no tokenizer in the folder: other programs need one to read text.",
            "文件夹中没有分词器：其他程序读取文本时需要它。",
        )
    plain = read_json(folder / FAST)
    if '"ByteLevel"' in json.dumps([plain.get("pre_tokenizer"), plain.get("decoder")]):
        return Text(
            "llama.cpp converts this tokenizer only if it is a published model's own (Llama 3, Qwen and others).",
            "只有当分词器来自已发布的模型（Llama 3、Qwen 等）且未改动时，llama.cpp 才能转换。",
        )
    if _write_model(folder, plain):
        return Text(
            "tokenizer.model was written for llama.cpp: it gives the same ids, except where several spaces stand "
            "before a word (as in indented code) and for the sign ▁.",
            "已为 llama.cpp 写出 tokenizer.model：编号相同，除非多个空格之后紧跟一个词（例如缩进的代码），"
            "或文本含有符号 ▁。",
        )
    if _is_ours(plain) and " " not in plain["model"]["vocab"]:
        return Text(
            "llama.cpp cannot convert this tokenizer: it has no piece for a space, which llama.cpp writes as another "
            "sign; transformers and vLLM take it as it is. (Train a tokenizer on texts that have spaces.)",
            "llama.cpp 无法转换这个分词器：其中没有空格，而 llama.cpp 会把空格写成另一个符号；transformers 和 vLLM "
            "可以直接使用。（请用含有空格的文本训练分词器。）",
        )
    return Text(
        "llama.cpp cannot convert this tokenizer (it has no tokenizer.model, and llama.cpp does not know the rules in "
        "its tokenizer.json); transformers and vLLM take it as it is.",
        "llama.cpp 无法转换这个分词器（没有 tokenizer.model，其 tokenizer.json 中的规则 llama.cpp 也不认识）；"
        "transformers 和 vLLM 可以直接使用。",
    )


def _write_model(folder: Path, plain: Mapping[str, Any]) -> bool:
    """Write ``tokenizer.model`` for a tokenizer of ours; whether it gives the same ids."""
    if not _is_ours(plain):
        return False
    content = _sentencepiece(plain, Tokenizer.load(folder))
    if content is None or not _agree(content, Tokenizer.load(folder / FAST)):
        return False
    (folder / MODEL).write_bytes(content)
    where = folder / CONFIG
    if where.is_file():
        # SentencePiece models of LLaMA put a space before every text; llama.cpp is told here that this one does not.
        write_json(where, {**read_json(where), "add_prefix_space": False})
    return True


def _is_ours(plain: Mapping[str, Any]) -> bool:
    """Whether a ``tokenizer.json`` is byte-fallback BPE that changes no text, as :mod:`tokenizer_training` makes it."""
    model: Any = plain.get("model") or {}
    decoders = [one.get("type") for one in (plain.get("decoder") or {}).get("decoders", ())]
    bpe = model.get("type") == "BPE" and bool(model.get("byte_fallback"))
    return bpe and not plain.get("normalizer") and decoders == ["ByteFallback", "Fuse"]


def _sentencepiece(plain: Mapping[str, Any], tokenizer: Tokenizer) -> bytes | None:
    """The same vocabulary as a SentencePiece model: what is merged first has the highest score."""
    try:
        from sentencepiece import sentencepiece_model_pb2
    except ImportError:
        return None
    library: Any = sentencepiece_model_pb2
    kinds = library.ModelProto.SentencePiece.Type
    vocabulary: dict[str, int] = plain["model"]["vocab"]
    ranks: dict[str, int] = {}
    for pair in plain["model"]["merges"]:
        ranks.setdefault("".join(pair if isinstance(pair, list) else pair.split(" ")), len(ranks))
    added: dict[str, int] = {token["content"]: token["id"] for token in plain.get("added_tokens") or ()}
    names: dict[int, str] = {i: name for name, i in {**vocabulary, **added}.items()}
    if sorted(names) != list(range(len(names))):
        return None
    proto = library.ModelProto()
    for i, name in sorted(names.items()):
        piece = proto.pieces.add()
        piece.piece, piece.score = name.replace(" ", "▁"), 0.0
        if i == tokenizer.unk_id:
            piece.type = kinds.UNKNOWN
        elif name in added:
            piece.type = kinds.CONTROL
        elif len(name) == 6 and name.startswith("<0x"):
            piece.type = kinds.BYTE
        else:
            # Single characters are never merged into, so theirs decides nothing.
            piece.score = -float(ranks.get(name, len(ranks) + i))
    trainer, normaliser = proto.trainer_spec, proto.normalizer_spec
    trainer.model_type, trainer.byte_fallback = library.TrainerSpec.BPE, True
    trainer.vocab_size = len(names)
    for role in ("unk", "bos", "eos", "pad"):
        i = getattr(tokenizer, f"{role}_id")
        setattr(trainer, f"{role}_id", -1 if i is None else i)
        if i is not None:
            setattr(trainer, f"{role}_piece", names[i])
    normaliser.name = "identity"
    normaliser.add_dummy_prefix = normaliser.remove_extra_whitespaces = False
    normaliser.escape_whitespaces = True
    return proto.SerializeToString()


def _agree(content: bytes, tokenizer: Tokenizer) -> bool:
    import sentencepiece

    try:
        other: Any = sentencepiece.SentencePieceProcessor(model_proto=content)  # pyright: ignore[reportCallIssue]
    except (RuntimeError, OSError):
        return False
    return all(other.encode(probe) == tokenizer.encode(probe).tolist() for probe in _PROBES)
