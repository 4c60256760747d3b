"""Extended tokenizers: old ids stay, every added piece occurs, and sentencepiece, tokenizers and transformers agree."""

from __future__ import annotations

import json
import random
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from huohou.data.tokenizer import Tokenizer
from huohou.data.tokenizer_compare import added_characters, compare, english_and_code
from huohou.data.tokenizer_continued import continue_training
from huohou.data.tokenizer_extend import Extended, check_extended, extend_tokenizer, report_of, save_extended
from huohou.data.tokenizer_growth import added_pieces, check_grown
from huohou.data.tokenizer_parts import read_parts
from huohou.data.tokenizer_pieces import Wanted, pieces_of, wanted
from huohou.data.tokenizer_report import HOSTILE
from huohou.data.tokenizer_shadowed import reach_of
from huohou.errors import UserError

WORDS = [
    "春天",
    "夏天",
    "秋天",
    "花园里",
    "小明",
    "小红花",
    "学习",
    "机器学习",
    "很高兴",
    "越来越",
    "公园",
    "，但是",
    "。",
    "！",
]
CHINESE = ["".join(random.Random(seed).choices(WORDS, k=30)) for seed in range(80)]
ENGLISH = [line for text in english_and_code(60_000) for line in text.splitlines() if line]
MIXED = [f"{one} {two}\n" for one, two in zip(CHINESE, ENGLISH, strict=False)]
SPACES = (
    [" " * n + "x" + " " * (n // 3) for n in range(40)] + ["=" * n for n in range(40)] + ["。" * n for n in range(9)]
)


def sentencepiece_model(folder: Path, texts: list[str], **settings: Any) -> Path:
    import sentencepiece

    prefix = folder / "m"
    sentencepiece.SentencePieceTrainer.train(  # pyright: ignore[reportAttributeAccessIssue]
        sentence_iterator=iter(texts), model_prefix=str(prefix), minloglevel=9, num_threads=1, **settings
    )
    return prefix.with_suffix(".model")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of Llama-2's kind: BPE, bytes for what it has no piece for, a space before each text, nothing folded."""
    return sentencepiece_model(
        tmp_path_factory.mktemp("llama"), [*ENGLISH, "小学习"], vocab_size=900, model_type="bpe", byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True,
        allow_whitespace_only_pieces=True, character_coverage=0.9999,
    )  # fmt: skip


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of Llama-3's and Qwen's kind, with special tokens that only the list of added tokens has."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    cut = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    built: Any = Tokenizer(models.BPE(ignore_merges=True))
    built.normalizer = normalizers.NFC()
    built.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(cut), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    built.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    built.train_from_iterator(
        [*ENGLISH, *["学1习1小1红1春1天1"] * 400],
        trainers.BpeTrainer(vocab_size=700, show_progress=False, initial_alphabet=alphabet),
    )
    built.add_special_tokens(["<|endoftext|>", "<|im_end|>"])
    folder = tmp_path_factory.mktemp("byte_level")
    built.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def chinese(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A unigram model trained with NFKC, as phase one's: a full-width comma is ``,`` in it."""
    return sentencepiece_model(tmp_path_factory.mktemp("chinese"), CHINESE, vocab_size=90, model_type="unigram")


@pytest.fixture(scope="module", params=["llama", "byte_level"])
def base(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


def extended(base: Path, source: Path, **settings: Any) -> Extended:
    parts = read_parts(base)
    pieces, folds = pieces_of(source)
    found = extend_tokenizer(parts, wanted(pieces, parts, folds, settings.pop("any_script", False)), **settings)
    check_extended(found, MIXED)
    return found


def old_of(found: Extended) -> Tokenizer:
    assert found.base.own is not None
    return found.base.own


def texts_of(found: Extended) -> list[str]:
    return [text for piece in found.added if (text := found.base.text(piece)) is not None]


@pytest.mark.parametrize("complete", [False, True])
def test_old_ids_stay_and_every_piece_occurs(base: Path, chinese: Path, tmp_path: Path, complete: bool) -> None:
    found = extended(base, chinese, complete=complete)
    old, new = old_of(found), found.tokenizer
    check_grown(old, new)
    compared = compare(old, new, CHINESE, 100_000)
    assert compared.plain_lines > 1000 and compared.changed == 0
    assert compared.after.characters_per_token >= compared.before.characters_per_token
    save_extended(found, tmp_path)
    for name in ("tokenizer.json", "tokenizer.model"):
        if (tmp_path / name).is_file():
            reach = reach_of(tmp_path / name)
            assert reach is not None and not reach.lost
    assert (tmp_path / "tokenizer.model").is_file() == (base.suffix == ".model")
    pieces = set(texts_of(found))
    assert pieces and not any(c.isascii() for piece in pieces for c in piece)
    for piece in pieces - set(map(found.base.text, found.unreachable)):
        assert piece in {new.decode([i]).strip() for i in new.encode(piece).tolist()}
    assert bool(found.completed) is complete and (not complete or not found.unreachable)
    if complete:
        assert compared.after.characters_per_token > 2 * compared.before.characters_per_token


@pytest.mark.heavy
def test_a_megabyte_of_english_and_code(base: Path, chinese: Path) -> None:
    found = extended(base, chinese, complete=True)
    old, new = old_of(found), found.tokenizer
    texts = english_and_code(1_000_000)
    assert sum(len(text.encode()) for text in texts) >= 1_000_000
    added = added_characters(old, new)
    equal = 0
    for text, before, after in zip(texts, old.encode_batch(texts), new.encode_batch(texts), strict=True):
        if added.isdisjoint(text):
            assert before.tolist() == after.tolist()
            equal += len(text.encode())
    assert equal > 800_000


def test_the_sentencepiece_model_gives_the_same_ids(llama: Path, chinese: Path, tmp_path: Path) -> None:
    import sentencepiece

    found = extended(llama, chinese, complete=True)
    save_extended(found, tmp_path)
    model: Any = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    texts = [*CHINESE, *ENGLISH, *MIXED, *SPACES, *HOSTILE.values(), "", "a", "中"]
    assert [ids.tolist() for ids in found.tokenizer.encode_batch(texts)] == model.encode(texts)
    assert model.vocab_size() == found.tokenizer.vocab_size
    assert (model.pad_id(), model.is_control(model.pad_id())) == (found.tokenizer.pad_id, True)
    scores = [model.get_score(i) for i in range(900, model.vocab_size()) if not model.is_control(i)]
    assert max(scores) < min(model.get_score(i) for i in range(900)) and scores == sorted(set(scores), reverse=True)
    # The folder is read from tokenizer.json, its tokenizer.model by itself, and both are the same.
    again = Tokenizer.load(tmp_path / "tokenizer.model")
    assert [ids.tolist() for ids in again.encode_batch(texts)] == model.encode(texts)


@given(text=st.text(st.sampled_from(sorted({*"".join(WORDS), *"ab <>_.\n▁ é龘"})), max_size=40))
def test_any_text(llama: Path, chinese: Path, text: str) -> None:
    found, model = _whole(llama, chinese)
    ids = found.tokenizer.encode(text).tolist()
    assert ids == model.encode(text)
    assert found.tokenizer.decode(ids) == text.replace("▁", " ")


_KEPT: dict[Path, tuple[Extended, Any]] = {}


def _whole(base: Path, source: Path) -> tuple[Extended, Any]:
    import sentencepiece

    if base not in _KEPT:
        found = extended(base, source, complete=True)
        proto = found.parts.proto.SerializeToString()
        _KEPT[base] = found, sentencepiece.SentencePieceProcessor(model_proto=proto)
    return _KEPT[base]


@pytest.mark.heavy
def test_transformers_loads_it_to_equal_ids(base: Path, chinese: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    found = extended(base, chinese, complete=True)
    save_extended(found, tmp_path)
    for config in (None, {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}):
        if config is not None:
            (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
        other: Any = transformers.AutoTokenizer.from_pretrained(tmp_path)
        assert other.is_fast and len(other) == found.tokenizer.vocab_size
        for text in (*CHINESE[:20], *MIXED[:20], *SPACES, *HOSTILE.values()):
            assert other(text)["input_ids"] == found.tokenizer.encode(text, special=True).tolist()
        assert (other.pad_token_id, other.eos_token_id) == (found.tokenizer.pad_id, found.tokenizer.eos_id)


def test_full_width_signs_come_back(llama: Path, chinese: Path) -> None:
    import sentencepiece

    source: Any = sentencepiece.SentencePieceProcessor(model_file=str(chinese))
    assert any("," in source.id_to_piece(i) for i in range(source.vocab_size()))
    found = extended(llama, chinese)
    assert found.wanted.folds and "，" in texts_of(found) and found.wanted.changed
    kept = extended(llama, chinese, any_script=True)
    assert "，" in texts_of(kept)


def test_the_model_beside_travels_with_the_folder(llama: Path, chinese: Path, tmp_path: Path) -> None:
    save_extended(extended(llama, chinese), tmp_path / "a")
    raw = (tmp_path / "a" / "tokenizer.model").read_bytes()
    Tokenizer.load(tmp_path / "a").save(tmp_path / "b")
    assert (tmp_path / "b" / "tokenizer.model").read_bytes() == raw
    # One that has other pieces is another tokenizer's.
    (tmp_path / "a" / "tokenizer.model").write_bytes(chinese.read_bytes())
    Tokenizer.load(tmp_path / "a").save(tmp_path / "c")
    assert not (tmp_path / "c" / "tokenizer.model").exists()
    assert read_parts(tmp_path / "a").proto is None


@pytest.mark.parametrize("rule", ["nmt_nfkc", "nfkc", "identity"])
@pytest.mark.parametrize("trimmed", [False, True], ids=["spaces", "trimmed"])
def test_bases_that_normalise(tmp_path: Path, rule: str, trimmed: bool) -> None:
    import sentencepiece

    path = sentencepiece_model(
        tmp_path, ENGLISH, vocab_size=700, model_type="bpe", byte_fallback=True, normalization_rule_name=rule,
        remove_extra_whitespaces=trimmed, add_dummy_prefix=trimmed,
    )  # fmt: skip
    base = read_parts(path)
    found = extend_tokenizer(base, wanted([("，春天", 1.0), ("春天", 1.0), ("～", 1.0)], base), complete=True)
    texts = [*HOSTILE.values(), *MIXED[:50], *SPACES, "  春天 ～ a\u3000 b，春天 \n", " "]
    check_extended(found, texts)
    own: Any = sentencepiece.SentencePieceProcessor(model_file=str(path))
    assert [ids.tolist() for ids in found.tokenizer.encode_batch(ENGLISH)] == own.encode(ENGLISH)
    assert ("春天" in texts_of(found)) and ("，春天" in texts_of(found)) is (rule == "identity")


def test_a_normaliser_of_the_base_is_kept_to(byte_level: Path) -> None:
    parts = read_parts(byte_level)
    found = wanted([("e\u0301", 1.0), ("가", 1.0), ("ガ", 1.0)], parts)
    assert found.pieces == ["é", "가", "ガ"]


def test_pieces_that_cannot_be(byte_level: Path) -> None:
    parts = read_parts(byte_level)
    source = ["", "  ", "\x01", "文" * 65, "abc", "中 文", "很。很", "12", "学", "好", "好", "<|im_end|>"]
    found = wanted([(piece, 1.0) for piece in source], parts)
    assert found.pieces == ["好"]
    assert found.left_out == {"unusable": 4, "ascii": 4, "split": 1, "present": 2}
    assert not wanted([("<|im_end|>", 1.0)], parts, any_script=True).pieces


def test_pieces_from_a_tokenizer_of_ours(llama: Path, tmp_path: Path) -> None:
    from huohou.data.tokenizer_training import train_tokenizer

    train_tokenizer(CHINESE, 320).save(tmp_path)
    found = extended(llama, tmp_path)
    assert "花园里" in texts_of(found) and not found.wanted.folds


def test_special_tokens_and_padding(llama: Path, byte_level: Path, chinese: Path, tmp_path: Path) -> None:
    found = extended(llama, chinese)
    assert (found.pad, found.tokenizer.pad_id) == ("<pad>", 900)
    save_extended(found, tmp_path / "a")
    config, names = (
        json.loads((tmp_path / "a" / name).read_text("utf-8"))
        for name in ("tokenizer_config.json", "special_tokens_map.json")
    )
    assert {role: config[role] for role in names} == names and names["pad_token"] == "<pad>"
    assert found.tokenizer.encode("<pad>好", special=True).tolist()[0] == 900
    assert 900 not in found.tokenizer.encode("<pad>好").tolist()
    # One that has a padding token keeps it, and no other is added, also to what was extended before.
    again = extended(tmp_path / "a", chinese, complete=True)
    assert again.pad is None and again.tokenizer.pad_id == 900 and again.parts.proto is not None
    other = extended(byte_level, chinese)
    assert other.pad is None and other.tokenizer.special_ids == old_of(other).special_ids
    assert other.tokenizer.id_of("<|im_end|>") == 701
    save_extended(other, tmp_path / "b")
    assert Tokenizer.load(tmp_path / "b").id_of("<|im_end|>") == 701
    assert extended(llama, chinese, pad=None).tokenizer.pad_id is None
    assert extended(llama, chinese, pad="[PAD]").tokenizer.special_ids["[PAD]"] == 900


def test_begin_tokens_stay_as_the_base_has_them(llama: Path, chinese: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "tokenizer.model").write_bytes(llama.read_bytes())
    settings = {"add_bos_token": True, "chat_template": "{{ messages }}", "pad_token": None, "eos_token": "</s>"}
    (base / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    (base / "special_tokens_map.json").write_text(json.dumps({"pad_token": "<pad>"}), "utf-8")
    (base / "added_tokens.json").write_text(json.dumps({"<tool>": 901, "<pad>": 900}), "utf-8")
    found = extended(base, chinese)
    assert found.pad is None and found.tokenizer.pad_id == 900
    save_extended(found, tmp_path / "new")
    config = json.loads((tmp_path / "new" / "tokenizer_config.json").read_text("utf-8"))
    assert config["add_bos_token"] is True and config["pad_token"] == "<pad>"
    assert Tokenizer.load(tmp_path / "new").chat_template == "{{ messages }}"
    assert Tokenizer.load(tmp_path / "new" / "tokenizer.model").id_of("<tool>") == 901


def test_sizes(llama: Path, chinese: Path) -> None:
    whole = extended(llama, chinese, complete=True)
    size = whole.tokenizer.vocab_size
    cut = extended(llama, chinese, complete=True, multiple_of=16)
    assert cut.tokenizer.vocab_size == size // 16 * 16 and cut.added == whole.added[: len(cut.added)]
    assert extended(llama, chinese, vocab_size=910).tokenizer.vocab_size == 910
    assert extended(llama, chinese, vocab_size=910).cut > 0
    for settings in ({"vocab_size": 901}, {"vocab_size": 10}, {"multiple_of": 5000}):
        with pytest.raises(UserError, match="leave no room for one; choose between 902 and"):
            extended(llama, chinese, **settings)


@pytest.mark.parametrize("more", [100, 150])
def test_pieces_learned_from_text(base: Path, tmp_path: Path, more: int) -> None:
    parts = read_parts(base)
    size = (parts.size + more) // 8 * 8
    found = continue_training(parts, [*CHINESE, *ENGLISH], size, complete=True, multiple_of=8)
    check_extended(found, MIXED)
    assert found.tokenizer.vocab_size == size
    compared = compare(old_of(found), found.tokenizer, CHINESE, 100_000)
    assert compared.changed == 0 and "机器学习" in texts_of(found)
    assert compared.after.characters_per_token > 4 * compared.before.characters_per_token
    save_extended(found, tmp_path)
    reach = reach_of(tmp_path)
    assert reach is not None and not reach.lost
    assert continue_training(parts, CHINESE, size, complete=True).tokenizer.fingerprint == found.tokenizer.fingerprint


def test_learning_stays_within_what_the_text_has(llama: Path, byte_level: Path) -> None:
    with pytest.raises(UserError, match="the largest reachable is") as caught:
        continue_training(read_parts(llama), CHINESE, 5000)
    largest = int(str(caught.value).split("reachable is ")[1].split(".")[0])
    assert continue_training(read_parts(llama), CHINESE, largest).tokenizer.vocab_size == largest
    with pytest.raises(UserError, match="--complete"):
        continue_training(read_parts(byte_level), CHINESE, 1000)
    with pytest.raises(UserError, match="lead to none of the 1 pieces; --complete adds what is on the way"):
        extend_tokenizer(read_parts(byte_level), Wanted(["龘"]))
    with pytest.raises(UserError, match="the base has 900 tokens already"):
        continue_training(read_parts(llama), CHINESE, 901)
    with pytest.raises(UserError, match="no text"):
        continue_training(read_parts(llama), [], 1000)
    # Characters that cannot be reached are no reason to learn nothing.
    few = continue_training(read_parts(byte_level), ["学习小红春天" * 3, "学习龘龘"] * 9, 705)
    assert {"学习", "红春", "小红春天"} & set(texts_of(few)) and "龘" not in texts_of(few)
    english = continue_training(read_parts(llama), ENGLISH, 1000, any_script=True)
    assert any(c.isascii() for piece in english.added for c in piece)


def test_what_spelled_new_pieces_before(base: Path, chinese: Path) -> None:
    found = extended(base, chinese, complete=True)
    old, new = old_of(found), found.tokenizer
    spelled = added_pieces(old, new)
    assert list(spelled) == list(range(old.vocab_size, new.vocab_size))
    for i, ids in spelled.items():
        token = new.token_of(i)
        text = None if token is None or i == new.pad_id else found.base.text(token)
        if i == new.pad_id:
            assert ids == ()
        elif text is not None:
            assert old.decode([*old.encode("\n").tolist(), *ids]) == "\n" + text
            assert not any(old.token_of(j) == "▁" for j in ids)
        else:
            assert "".join(old.token_of(j) or "" for j in ids) == token
    assert all(ids for i, ids in spelled.items() if i != new.pad_id)
    with pytest.raises(UserError, match="fewer than the old one's"):
        check_grown(new, old)


def test_tokenizers_that_did_not_grow_from_another(llama: Path, byte_level: Path) -> None:
    with pytest.raises(UserError, match="mean other tokens"):
        check_grown(Tokenizer.load(byte_level), Tokenizer.load(llama))


def test_bases_that_cannot_be_extended(llama: Path, chinese: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer as Library
    from tokenizers import models

    with pytest.raises(UserError, match="is a unigram model"):
        read_parts(chinese)
    Library(models.WordPiece(vocab={"[UNK]": 0, "a": 1}, unk_token="[UNK]")).save(str(tmp_path / "w.json"))
    with pytest.raises(UserError, match="is a WordPiece model"):
        read_parts(tmp_path / "w.json")
    Library(models.BPE(vocab={"a": 0}, merges=[], end_of_word_suffix="</w>")).save(str(tmp_path / "e.json"))
    with pytest.raises(UserError, match=r"sets model\.end_of_word_suffix"):
        read_parts(tmp_path / "e.json")
    # What phase one's merge leaves: pieces behind the model's own that all have the score 0.
    proto = read_parts(llama).proto
    for piece in ("小明", "小红"):
        proto.pieces.add(piece=piece, score=0.0, type=1)
    (tmp_path / "zero.model").write_bytes(proto.SerializeToString())
    with pytest.raises(UserError, match="2 pieces of .* share their scores"):
        read_parts(tmp_path / "zero.model")


def test_forms_that_disagree_are_not_written(llama: Path, chinese: Path) -> None:
    found = extended(llama, chinese)
    proto = found.parts.proto
    scores = [piece.score for piece in proto.pieces]
    for piece, score in zip(list(proto.pieces)[300:], reversed(scores[300:]), strict=True):
        piece.score = score
    with pytest.raises(UserError, match="cannot be written as tokenizer.json"):
        check_extended(found, ENGLISH)


def test_the_report_counts(llama: Path, chinese: Path) -> None:
    dropped, completed = (report_of(extended(llama, chinese, complete=complete)) for complete in (False, True))
    assert dropped["unreachable"] > len(set(dropped["unreachable_examples"])) == 10
    assert completed["unreachable"] == 0 < completed["completed"]
    assert completed["added"] == dropped["added"] + dropped["unreachable"] + completed["completed"]
    total = dropped["added"] + dropped["unreachable"] + sum(dropped["left_out"].values())
    assert total == dropped["source_pieces"] == 87


@pytest.mark.external
def test_phase_ones_merge_is_the_counter_example(shared_data: Path, tmp_path: Path) -> None:
    """Score 0 for all: 657 added pieces, and an old one, never occur; merged in order, none is lost."""
    folder = shared_data / "tokenizer"
    reach = reach_of(folder / "tokenizer.model")
    assert reach is not None
    assert (len(reach.pathless), len(reach.shadowed)) == (628, 30)
    assert [reach.tokens[i] for i in reach.lost if i < 32_000] == ["_" * 16]
    with pytest.raises(UserError, match="share their scores"):
        read_parts(folder / "tokenizer.model")
    base = _llama_2(folder, tmp_path)
    source = reach_of(folder / "chinese_sp.model")
    assert source is not None and (source.pieces, len(source.lost)) == (19_997, 4)
    for complete in (False, True):
        found = extended(base, folder / "chinese_sp.model", complete=complete)
        save_extended(found, tmp_path / str(complete))
        again = reach_of(tmp_path / str(complete))
        assert again is not None and not again.lost
        assert (len(found.unreachable), len(found.completed)) == ((0, 321) if complete else (308, 0))


def _llama_2(folder: Path, tmp_path: Path) -> Path:
    """Llama-2's own tokenizer: the first 32,000 pieces of the merged one."""
    from huohou.data.tokenizer_checked import read_model

    proto = read_model(folder / "tokenizer.model")
    del proto.pieces[32_000:]
    path = tmp_path / "llama2.model"
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.mark.external
def test_real_text_before_and_after(shared_data: Path, tmp_path: Path) -> None:
    import sentencepiece

    base = _llama_2(shared_data / "tokenizer", tmp_path)
    own: Any = sentencepiece.SentencePieceProcessor(model_file=str(base))
    found = extended(base, shared_data / "tokenizer" / "chinese_sp.model")
    model: Any = sentencepiece.SentencePieceProcessor(model_proto=found.parts.proto.SerializeToString())
    ratios: dict[str, tuple[float, float]] = {}
    for name in ("songci", "d2l_zh"):
        with open(shared_data / "pretrain" / f"{name}.jsonl", encoding="utf-8") as file:
            texts = [json.loads(line)["text"] for line in file][:3000]
        ids = [row.tolist() for row in found.tokenizer.encode_batch(texts)]
        assert ids == model.encode(texts)
        characters = sum(map(len, texts))
        ratios[name] = characters / sum(map(len, own.encode(texts))), characters / sum(map(len, ids))
    assert ratios["songci"] == pytest.approx((0.56, 1.01), abs=0.02)
    assert ratios["d2l_zh"] == pytest.approx((1.55, 2.06), abs=0.02)
    code = [path.read_text("utf-8", "replace") for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))]
    assert [row.tolist() for row in found.tokenizer.encode_batch([*code, *SPACES])] == own.encode([*code, *SPACES])
