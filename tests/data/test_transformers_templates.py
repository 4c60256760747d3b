"""Text, ids and loss mask beside transformers' ``apply_chat_template``, for the templates that TRL trains with.

TRL takes its assistant mask from transformers (``return_assistant_tokens_mask``), so this is TRL's mask too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from huohou.data.chat_template import NAMED, ChatTemplate
from huohou.data.dialogue import make_dialogue
from huohou.data.dialogue_samples import Sample, Sampler
from huohou.data.tokenizer import Tokenizer
from huohou.data.tokenizer_training import train_tokenizer
from huohou.language import Text

pytestmark = pytest.mark.heavy

_TRL = find_spec("trl")
FOLDER = Path(str(_TRL.origin)).parent / "chat_templates" if _TRL is not None else Path("absent")
OURS = Path(__file__).resolve().parents[2] / "src" / "huohou" / "data" / "templates"
TOKEN = re.compile(r"<[|｜][^|｜<>\s{}]{1,40}[|｜]>|<(?:start|end)_of_turn>|<turn\|>|<\|turn>")
# Pictures and sounds: their messages are lists of parts.
NOT_TEXT = ("idefics3", "smolvlm", "llava_next")
TEMPLATES = [p for folder in (OURS, FOLDER) for p in sorted(folder.glob("*.jinja")) if not p.stem.startswith(NOT_TEXT)]
if not FOLDER.is_dir():
    TEMPLATES = sorted(OURS.glob("*.jinja"))

TOOLS = [{"type": "function", "function": {"name": "now", "description": "时间", "parameters": {
    "type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]}}}]  # fmt: skip
CALL = {"type": "function", "function": {"name": "now", "arguments": {"zone": "CN"}}}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def answer(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


DIALOGUES = {
    "one": make_dialogue([user("你好吗？"), answer("我很好 😀。")]),
    "system": make_dialogue([{"role": "system", "content": "简短。"}, user("你好吗？"), answer("我很好。")]),
    "several": make_dialogue([user("你好吗？"), answer(" 我很好。"), user("再见。"), answer("再会！\n明天见 ")]),
    "reasoning": make_dialogue([user("问"), answer("答。", reasoning_content="想"), user("再问"), answer("再答！", reasoning_content="再想")]),
    "tools": make_dialogue([user("几点？"), {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "content": '{"t": 3}'},
                            answer("三点。"), user("谢谢"), answer("不客气")], TOOLS),
}  # fmt: skip


@pytest.fixture(scope="module")
def transformers() -> Iterator[ModuleType]:
    transformers = pytest.importorskip("transformers")
    transformers.utils.logging.set_verbosity_error()
    yield transformers
    transformers.utils.logging.set_verbosity_warning()


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory, transformers: ModuleType) -> tuple[Any, Tokenizer]:
    """Transformers' tokenizer and ours from one folder, with the tokens that the templates write."""
    folder = tmp_path_factory.mktemp("tokenizer")
    text = '你好吗？我很好。再见，再会！明天见。问答想几点三点谢谢不客气简短 now zone CN {}"t":3'
    train_tokenizer([text] * 20, 330).save(folder)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    tokens = {token for path in TEMPLATES for token in TOKEN.findall(path.read_text(encoding="utf-8"))}
    theirs.add_special_tokens({"additional_special_tokens": sorted(tokens)})
    theirs.save_pretrained(folder)
    return transformers.AutoTokenizer.from_pretrained(folder), Tokenizer.load(folder)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_text_ids_and_mask_are_those_of_transformers(tokenizers: tuple[Any, Tokenizer], path: Path) -> None:
    theirs, ours = tokenizers
    theirs.chat_template = path.read_text(encoding="utf-8")
    template = ChatTemplate(theirs.chat_template, ours.template_variables, Text("t", "t"), own=True)
    compared = 0
    for name, dialogue in DIALOGUES.items():
        how: dict[str, Any] = {"tools": list(dialogue.tools) if dialogue.tools else None}
        messages = list(dialogue.messages)
        one = next(template.rendered([dialogue]))
        try:
            text = theirs.apply_chat_template(messages, tokenize=False, **how)
        except Exception:
            assert one.fault is not None, name
            continue
        if one.fault is not None:
            # What we refuse beyond transformers: tools that are not shown, answers whose place cannot be told.
            assert re.match("it has no place for tool|without .* it cannot be told", one.fault), (name, one.fault)
            continue
        assert one.text == text, name
        out = theirs.apply_chat_template(
            messages, return_dict=True, return_assistant_tokens_mask=template.marks_answers, **how
        )
        (sample,) = Sampler(template, ours, 10_000).samples([dialogue])
        assert isinstance(sample, Sample)
        kept = len(sample.ids)
        assert ours.encode(one.text, special=True).tolist() == out["input_ids"], name
        assert sample.ids.tolist() == out["input_ids"][:kept]
        if template.marks_answers:
            mask = out["assistant_masks"]
            # The first token cannot be predicted, whatever it is.
            assert [0, *sample.learned[1:].astype(int).tolist(), *([0] * (len(mask) - kept))] == [0, *mask[1:]], name
        compared += 1
    assert compared >= 2


def runs(places: set[int], text: str) -> list[str]:
    """The characters at some places of a text, neighbours together."""
    found: list[str] = []
    for place in sorted(places):
        if place - 1 not in places:
            found.append("")
        found[-1] += text[place]
    return found


PAIRS = [
    (p, p.with_name(f"{p.stem}_training.jinja"))
    for p in TEMPLATES
    if p.with_name(f"{p.stem}_training.jinja") in TEMPLATES
]


@pytest.mark.parametrize(("plain", "tagged"), PAIRS, ids=lambda path: path.stem)
def test_without_tags_the_same_is_learned_as_trl_marks(plain: Path, tagged: Path) -> None:
    """Beside the template that TRL puts in the place of one without tags, where both write the same text.

    TRL marks, with some of them, also the end of the generation prompt, which no model has to write; nothing else.
    """
    variables = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    ours, theirs = (
        ChatTemplate(path.read_text(encoding="utf-8"), variables, Text("t", "t"), own=True) for path in (plain, tagged)
    )  # fmt: skip
    assert theirs.marks_answers and not ours.marks_answers
    for name in ("one", "system", "several", "reasoning"):
        one, other = (next(template.rendered([DIALOGUES[name]])) for template in (ours, theirs))
        if one.fault or other.fault or one.text != other.text:
            continue
        mine, marked = ({place for a, b in found.spans for place in range(a, b)} for found in (one, other))
        assert not mine - marked, name
        prompt = ours.prompt(DIALOGUES["one"].messages[:1])[-60:]
        assert all(run in prompt for run in runs(marked - mine, one.text)), name


def test_all_named_templates_are_compared() -> None:
    assert {path.stem for path in OURS.glob("*.jinja")} == set(NAMED)
