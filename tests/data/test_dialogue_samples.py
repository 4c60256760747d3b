"""From dialogues to samples in a cache: what is learned, what is cut, what is left out, and that all counts add up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from huohou.data import dialogue_cache, dialogue_samples
from huohou.data.chat_template import ChatTemplate, open_template
from huohou.data.dialogue import Dialogue, make_dialogue
from huohou.data.dialogue_cache import DialogueSettings, dialogue_source, find_dialogue_source
from huohou.data.dialogue_samples import LeftOut, Sample, Sampler, learned_runs
from huohou.data.dialogues import dialogues_of_files
from huohou.data.embedded import embedded_dialogues
from huohou.data.packing import IGNORED
from huohou.data.sample_packing import PackedSamples
from huohou.data.tokenizer import Tokenizer
from huohou.data.tokenizer_training import train_tokenizer
from huohou.errors import UserError

TEXT = "甲乙丙丁戊己庚辛壬癸问答你好再见系统工具简短0123456789 user assistant system\n"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([TEXT] * 30, 300)


@pytest.fixture(scope="module")
def template(tokenizer: Tokenizer) -> ChatTemplate:
    return open_template("chatml", tokenizer)


def talk(*texts: str, system: str | None = None, **more: Any) -> Dialogue:
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    return make_dialogue(messages, **more)


def sampled(template: ChatTemplate, tokenizer: Tokenizer, dialogue: Dialogue, room: int = 1000, **how: Any) -> Any:
    (one,) = Sampler(template, tokenizer, room, **how).samples([dialogue])
    return one


def shown(sample: Sample) -> str:
    return "".join(f"«{text}»" if learned else text for text, learned in learned_runs(sample))


def spelled(tokenizer: Tokenizer, sample: Sample) -> tuple[str, str]:
    return tokenizer.decode(sample.ids), tokenizer.decode(sample.ids[sample.learned])


def test_ids_are_those_of_the_whole_text_up_to_the_last_answer(template: ChatTemplate, tokenizer: Tokenizer) -> None:
    sample = sampled(template, tokenizer, talk("你好", "好", "再见"))
    assert tokenizer.encode(sample.text, special=True).tolist()[: len(sample.ids)] == sample.ids.tolist()
    assert shown(sample) == "<|im_start|>user\n你好<|im_end|>\n<|im_start|>assistant\n«好<|im_end|>\n»"
    assert spelled(tokenizer, sample)[1] == "好<|im_end|>\n"


@given(texts=st.lists(st.text("甲乙 \n问😀龘<|im_end|>a1", min_size=1, max_size=12), min_size=2, max_size=6))
@settings(deadline=None)
def test_what_is_learned_is_the_answers_and_nothing_else(
    texts: list[str], template: ChatTemplate, tokenizer: Tokenizer
) -> None:
    dialogue = talk(*texts)
    if not dialogue.answers:
        return
    one = next(template.rendered([dialogue]))
    answers = "".join(one.text[a:b] for a, b in one.spans)
    sample = sampled(template, tokenizer, dialogue)
    assert isinstance(sample, Sample)
    # A token may hold characters on both sides of a border only if the text itself spells special tokens there.
    assert "".join(text for text, learned in learned_runs(sample) if learned) == answers
    assert "".join(text for text, _ in learned_runs(sample)) == one.text[: one.spans[-1][1]]


def test_the_last_answer_alone(template: ChatTemplate, tokenizer: Tokenizer) -> None:
    sample = sampled(template, tokenizer, talk("你好", "好", "再见", "再"), learn="last")
    assert spelled(tokenizer, sample)[1] == "再<|im_end|>\n"


def test_an_empty_answer_is_not_learned(template: ChatTemplate, tokenizer: Tokenizer) -> None:
    sample = sampled(template, tokenizer, talk("你好", "", "再见", "再"))
    assert spelled(tokenizer, sample)[1] == "再<|im_end|>\n"
    assert sampled(template, tokenizer, talk("你好", " ")) == LeftOut("nothing_to_learn", "")
    assert sampled(template, tokenizer, talk("你好")) == LeftOut("nothing_to_learn", "")


def length(template: ChatTemplate, tokenizer: Tokenizer, dialogue: Dialogue) -> int:
    return len(sampled(template, tokenizer, dialogue).ids)


def test_the_oldest_rounds_go_first_and_the_system_message_stays(template: ChatTemplate, tokenizer: Tokenizer) -> None:
    long = talk("甲甲甲", "乙乙乙", "丙丙丙", "丁丁丁", "戊戊戊", "己己己", system="简短")
    room = length(template, tokenizer, talk("丙丙丙", "丁丁丁", "戊戊戊", "己己己", system="简短"))
    for spare in (0, 1):
        sample = sampled(template, tokenizer, long, room + spare)
        assert sample.cut and "系" not in sample.text
        assert spelled(tokenizer, sample)[1] == "丁丁丁<|im_end|>\n己己己<|im_end|>\n"
        assert "简短" in sample.text and "甲" not in sample.text
    assert "丙" not in sampled(template, tokenizer, long, room - 1).text


def test_then_the_left_part_of_the_question(template: ChatTemplate, tokenizer: Tokenizer) -> None:
    long = talk("甲乙丙丁戊己庚辛", "壬癸", system="简短")
    room = length(template, tokenizer, talk("戊己庚辛", "壬癸", system="简短"))
    sample = sampled(template, tokenizer, long, room)
    assert shown(sample) == (
        "<|im_start|>system\n简短<|im_end|>\n<|im_start|>user\n戊己庚辛<|im_end|>\n<|im_start|>assistant\n«壬癸<|im_end|>\n»"
    )


def test_then_everything_left_of_the_answer(template: ChatTemplate, tokenizer: Tokenizer) -> None:
    sample = sampled(template, tokenizer, talk("甲乙", "壬癸", system="简短" * 20), 12)
    assert len(sample.ids) == 12
    assert spelled(tokenizer, sample)[1] == "壬癸<|im_end|>\n"


def test_an_answer_that_is_too_long_keeps_its_beginning(template: ChatTemplate, tokenizer: Tokenizer) -> None:
    sample = sampled(template, tokenizer, talk("甲乙", "壬癸子丑" * 30), 16)
    text, learned = spelled(tokenizer, sample)
    assert len(sample.ids) == 16 and learned.startswith("壬癸") and "<|im_end|>" not in learned
    assert text.removesuffix(learned).endswith("assistant\n")


def test_a_text_too_long_to_be_counted_is_cut_all_the_same(template: ChatTemplate, tokenizer: Tokenizer) -> None:
    for dialogue in (
        talk("甲" * (1 << 20), "壬癸"),
        talk("甲", "壬癸" * (1 << 20)),
        talk("甲" * (1 << 20), "乙", "丙", "壬癸"),
    ):
        sample = sampled(template, tokenizer, dialogue, 40)
        assert isinstance(sample, Sample) and len(sample.ids) <= 40 and sample.learned.any()
    assert sampled(template, tokenizer, talk("甲" * (1 << 20), "壬"), 40, cut=False) == LeftOut("too_long", "")


@given(
    texts=st.lists(st.text("甲乙丙丁戊", min_size=1, max_size=30), min_size=2, max_size=8),
    room=st.integers(4, 60), system=st.none() | st.just("简短"),
)  # fmt: skip
@settings(deadline=None)
def test_what_is_cut_always_has_something_to_learn(
    texts: list[str], room: int, system: str | None, template: ChatTemplate, tokenizer: Tokenizer
) -> None:
    sample = sampled(template, tokenizer, talk(*texts, system=system), room)
    assert isinstance(sample, Sample)
    assert len(sample.ids) <= room and sample.learned[1:].any() and not sample.learned[0]
    whole = sampled(template, tokenizer, talk(*texts, system=system))
    assert sample.cut == (len(whole.ids) > room)


def records(folder: Path, *found: Any) -> Path:
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in found), encoding="utf-8")
    return path


GOOD = {"instruction": "你好", "output": "好"}
SETTINGS = DialogueSettings(sequence_length=32, template="chatml")


def test_counts_add_up_whatever_the_policy(tmp_path: Path, tokenizer: Tokenizer) -> None:
    path = records(
        tmp_path, GOOD, {"instruction": "你好", "output": ""}, {"instruction": None, "output": "好"}, {"messages": []},
        {"instruction": "甲" * 100, "output": "好"}, GOOD,
    )  # fmt: skip
    how = replace(SETTINGS, nothing_to_learn="skip", too_long="skip")
    said: list[str] = []
    made = dialogue_source(
        dialogues_of_files([path], on_bad="skip"), tokenizer, how, tmp_path / "cache", lambda text: said.append(text.en)
    )
    counts = made.cache.counts
    assert counts == {
        "read": 6, "used": 2, "skipped": 4, "bad": 1, "empty": 1, "refused": 0, "nothing_to_learn": 1, "too_long": 1, "cut": 0,
    }  # fmt: skip
    assert said == ["6 dialogues = 2 used + 4 skipped (1 bad, 1 empty, 1 without an answer, 1 too long)"]
    assert [one["why"] for one in made.cache.examples] == ["nothing_to_learn", "too_long"]
    cut = dialogue_source(
        dialogues_of_files([path], on_bad="skip"), tokenizer, replace(how, too_long="cut"), tmp_path / "cache"
    )
    assert cut.cache.counts["used"] == 3 and cut.cache.counts["cut"] == 1


@pytest.mark.parametrize(
    ("record", "how", "says"),
    [
        ({"instruction": "你好", "output": ""}, {}, r"data\.jsonl:2: the assistant says nothing"),
        ({"instruction": "甲" * 100, "output": "好"}, {"too_long": "stop"}, r"data\.jsonl:2: this dialogue has \d+ tokens, a sequence 32"),
        ({"instruction": "甲", "output": "好", "tools": '[{"name": "f"}]'}, {"template": "llama2"},
         r"data\.jsonl:2: template llama2 cannot say this dialogue: it has no place for tools"),
        ({"messages": [{"role": "assistant", "content": "好"}]}, {"template": "llama2"}, "user and assistant must take turns"),
        ({"instruction": 3, "output": "好"}, {}, r"data\.jsonl:2: field instruction holds a number"),
    ],
    ids=["no answer", "too long", "no place for tools", "no turns", "bad"],
)  # fmt: skip
def test_what_stops_a_run(tmp_path: Path, tokenizer: Tokenizer, record: Any, how: dict[str, Any], says: str) -> None:
    path = records(tmp_path, GOOD, record)
    with pytest.raises(UserError, match=says):
        dialogue_source(dialogues_of_files([path]), tokenizer, replace(SETTINGS, **how), tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*/manifest.json")) and not list((tmp_path / "cache").glob(".making-*"))


def test_nothing_at_all_to_learn(tmp_path: Path, tokenizer: Tokenizer) -> None:
    path = records(tmp_path, {"instruction": "你好", "output": ""}, {"instruction": "你好", "output": " "})
    with pytest.raises(UserError, match="none of the 2 dialogues can be learned from; the first: .*says nothing"):
        dialogue_source(
            dialogues_of_files([path]), tokenizer, replace(SETTINGS, nothing_to_learn="skip"), tmp_path / "cache"
        )  # fmt: skip


def contents(source: PackedSamples) -> list[tuple[list[int], list[int]]]:
    batch = source.batch(np.arange(source.count))
    return [(i.tolist(), t.tolist()) for i, t in zip(batch.inputs, batch.targets, strict=True)]


def test_the_cache_is_found_again_and_made_anew_when_anything_changes(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, folder = records(tmp_path, GOOD, {"instruction": "再见", "output": "再", "input": "问"}), tmp_path / "cache"
    first = dialogue_source(dialogues_of_files([path]), tokenizer, SETTINGS, folder)
    found = find_dialogue_source(dialogues_of_files([path]), tokenizer, SETTINGS, folder)
    assert found is not None and found.cache.key == first.cache.key and contents(found) == contents(first)
    makes: list[str] = []
    make = dialogue_cache._make
    monkeypatch.setattr(dialogue_cache, "_make", lambda *args: makes.append("made") or make(*args))
    # The same dialogues in another file, in another form, are the same samples.
    other = tmp_path / "other.json"
    talks = [[("你好", "好")], [("再见\n问", "再")]]
    other.write_text(
        json.dumps(
            [
                {
                    "messages": [
                        m for q, a in t for m in ({"role": "user", "content": q}, {"role": "assistant", "content": a})
                    ]
                }
                for t in talks
            ]
        ),
        encoding="utf-8",
    )
    assert dialogue_source(dialogues_of_files([other]), tokenizer, SETTINGS, folder).cache.key == first.cache.key
    assert dialogue_source(dialogues_of_files([path]), tokenizer, replace(SETTINGS, packing=False), folder).count == 2
    assert makes == []
    keys = {first.cache.key}
    for change in (
        {"system": "简短"},
        {"learn": "last"},
        {"sequence_length": 31},
        {"template": "alpaca2"},
        {"too_long": "skip"},
    ):
        keys.add(dialogue_source(dialogues_of_files([path]), tokenizer, replace(SETTINGS, **change), folder).cache.key)
    assert len(keys) == 6 and len(makes) == 5
    # A changed byte is noticed, and the cache made again.
    with open(folder / first.cache.key / "learned.bin", "r+b") as file:
        file.write(b"\1")
    assert find_dialogue_source(dialogues_of_files([path]), tokenizer, SETTINGS, folder) is None
    again = dialogue_source(dialogues_of_files([path]), tokenizer, SETTINGS, folder)
    assert contents(again) == contents(first) and len(makes) == 6


def test_the_generated_dialogues_are_packed(tmp_path: Path, tokenizer: Tokenizer) -> None:
    made = dialogue_source(embedded_dialogues(0, 200), tokenizer, replace(SETTINGS, sequence_length=128), tmp_path)
    batch = made.batch(np.arange(made.count))
    assert batch.segments is not None and (batch.targets != IGNORED).any(axis=1).all()
    assert made.cache.counts["used"] == 200 and made.count < 200
    assert ((batch.segments >= 0).sum(1) + [made.padding(np.array([i])) for i in range(made.count)] == 128).all()


def test_gbk_gives_the_samples_of_its_utf8_twin(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = [{"instruction": "你好，请问今天的工作怎么安排", "output": "今天的工作很多，请先休息"}] * 3
    made: list[str] = []
    for encoding in ("utf-8", "gb18030"):
        path = tmp_path / f"{encoding}.json"
        path.write_text(json.dumps(rows, ensure_ascii=False), encoding=encoding)
        made.append(dialogue_source(dialogues_of_files([path]), tokenizer, SETTINGS, tmp_path / "cache").cache.key)
    assert made[0] == made[1]


def test_another_process_gives_the_same_samples(
    tmp_path: Path, template: ChatTemplate, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a long dialogue is rendered anew while others are under way."""
    monkeypatch.setattr(dialogue_samples, "_BATCH", 300)
    path = tmp_path / "t.jinja"
    path.write_text(template.source, encoding="utf-8")
    foreign = open_template(str(path), tokenizer)
    dialogues = [talk(*(f"{i}甲乙丙丁", "戊己庚辛") * (1 + i % 4)) for i in range(200)]
    ours, theirs = (list(Sampler(one, tokenizer, 40).samples(dialogues)) for one in (template, foreign))
    foreign.close()
    assert any(isinstance(one, Sample) and one.cut for one in ours)
    for one, other in zip(ours, theirs, strict=True):
        assert isinstance(one, Sample) and isinstance(other, Sample)
        assert one.ids.tolist() == other.ids.tolist() and one.learned.tolist() == other.learned.tolist()


def test_a_template_in_a_file_that_goes_wrong_later_is_ended(tmp_path: Path, tokenizer: Tokenizer) -> None:
    path = tmp_path / "t.jinja"
    path.write_text(
        "{% for m in messages %}{% if '三' in m.content %}{% for i in range(99999) %}{% for j in range(99999) %}"
        "{% endfor %}{% endfor %}{% endif %}{{ m.role }}:{{ m.content }}{{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}",
        encoding="utf-8",
    )
    late = open_template(str(path), tokenizer, time_limit=1.0)
    with pytest.raises(UserError, match="took too long"):
        list(Sampler(late, tokenizer, 100).samples([talk("一", "二"), talk("三", "四")]))
    late.close()


@pytest.mark.external
@pytest.mark.parametrize(("file", "count"), [("alpaca_zh_demo.json", 1000), ("glaive_toolcall_zh_demo.json", 300)])
def test_real_files(tmp_path: Path, shared_data: Path, tokenizer: Tokenizer, file: str, count: int) -> None:
    made = dialogue_source(
        dialogues_of_files([shared_data / "sft" / file]), tokenizer, replace(SETTINGS, sequence_length=4096), tmp_path
    )  # fmt: skip
    assert made.cache.counts["used"] == count and made.cache.counts["skipped"] == 0
    assert made.padded < 0.1 * made.tokens or made.count == 1


@pytest.mark.external
def test_alpaca2_is_tokenised_as_its_script_does(tmp_path: Path, shared_data: Path) -> None:
    """The script tokenises prompt and answer apart; with this tokenizer and template the whole gives the same ids."""
    tokenizer = Tokenizer.load(shared_data / "tokenizer")
    template = open_template("alpaca2", tokenizer)
    rows = json.loads((shared_data / "sft" / "alpaca_zh_demo.json").read_text(encoding="utf-8"))[:300]
    for row, sample in zip(
        rows,
        Sampler(template, tokenizer, 4096).samples(dialogues_of_files([shared_data / "sft" / "alpaca_zh_demo.json"])),
        strict=False,
    ):
        assert isinstance(sample, Sample)
        asked = "\n".join(part for part in (row["instruction"], row["input"]) if part.strip())
        prompt = f"[INST] <<SYS>>\nYou are a helpful assistant. 你是一个乐于助人的助手。\n<</SYS>>\n\n{asked} [/INST]"
        source = [tokenizer.bos_id, *tokenizer.encode(prompt).tolist()]
        target = [*tokenizer.encode(row["output"]).tolist(), tokenizer.eos_id]
        assert sample.ids.tolist() == source + target
        assert sample.learned.tolist() == [False] * len(source) + [True] * len(target)
