"""Run files of continued pretraining and of dialogues: their keys, the names people know, and what they resolve to."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from huohou.config import RunConfig
from huohou.config.aliases import ALIASES
from huohou.config.groups import PARTS
from huohou.config.sections import INNER, SECTIONS, section_at
from huohou.units import Duration, Level

DOCUMENTATION = Path(__file__).resolve().parents[2] / "docs"
CONTINUE = "stage: continue\nmodel: {path: base}\ndata: {embedded: {}}\nschedule: {peak: 3e-4}\n"


def read(text: str, *overrides: str) -> RunConfig:
    return RunConfig.from_text(text, overrides=overrides)


def test_the_contract_s_keys() -> None:
    run = read(
        """
stage: cpt
model: {path: Qwen/Qwen3-0.6B, revision: main, hub: modelscope, remote_code: true, grow: unscaled, pad_rows_to: 64}
data:
  mix:
    zh: {train: [zh.txt, more.txt], weight: 3, text: content}
    en: {embedded: {characters: 1M}, weight: 0.5}
schedule: {peak: 2e-4}
groups:
  new_rows: 5x
  old_rows: off
  body: {peak: 1e-4, start: 10%, warmup: 100 steps, decay: linear, floor: off, length: 500 steps, after: off}
optimizer: {name: paged_adamw8bit, state: carried, from: runs/before}
train: {engine: deepspeed, zero_stage: 3, offload: true, recompute: true, timeout: 60}
checkpoint: {keep_best: true}
"""
    )
    assert run.stage == "continue"
    assert (run.model.path, run.model.hub, run.model.grow, run.model.pad_rows_to) == (
        "Qwen/Qwen3-0.6B",
        "modelscope",
        "unscaled",
        64,
    )
    assert run.data.mix is not None
    assert [(name, source.weight) for name, source in run.data.mix.items()] == [("zh", 3), ("en", Fraction(1, 2))]
    groups = run.groups.given()
    assert groups["new_rows"].peak == Level(Fraction(5))
    assert groups["old_rows"].peak is None
    assert groups["body"].start == Duration(Fraction(1, 10), "share")
    assert groups["body"].after == "off"
    assert run.optimizer.from_ == "runs/before"
    assert (run.train.engine, run.train.zero_stage, run.train.timeout) == ("deepspeed", 3, 60)
    assert run.checkpoint.keep_best
    assert run.place("groups.body.start") is not None
    assert run.is_set("data.mix.zh.text")
    assert not run.is_set("data.mix.en.text")


@pytest.mark.parametrize(
    ("written", "peak"),
    [
        ("5x", Level(Fraction(5))),
        ("0.5 x", Level(Fraction(1, 2))),
        ("10倍", Level(Fraction(10))),
        ("250%", Level(Fraction(5, 2))),
        ("1e-3", Level(Fraction(1, 1000), absolute=True)),
        ("off", None),
        ("false", None),
    ],
)
def test_the_peak_of_a_part(written: str, peak: Level | None) -> None:
    for text in (f"groups: {{body: {written}}}\n", f"groups: {{body: {{peak: {written}}}}}\n"):
        assert read(CONTINUE + text).groups.given()["body"].peak == peak


@pytest.mark.parametrize("text", ["lora: true\n", "lora: {}\n", "finetuning_type: lora\n"])
def test_lora_with_its_defaults(text: str) -> None:
    lora = read(CONTINUE + text).lora
    assert lora is not None
    assert (lora.rank, lora.alpha, lora.dropout, lora.targets, lora.rows) == (64, 128.0, 0.05, ("all",), "none")


@pytest.mark.parametrize("text", ["", "lora: null\n", "lora: false\n", "finetuning_type: full\n"])
def test_no_lora(text: str) -> None:
    assert read(CONTINUE + text).lora is None


def test_chinese_llama_alpaca_s_names() -> None:
    run = read(
        """
model_name_or_path: base
stage: continue
train_files: zh.txt
lora_rank: 64
lora_alpha: 128
trainable: "q_proj,v_proj,k_proj,o_proj,gate_proj,down_proj,up_proj"
modules_to_save: "embed_tokens,lm_head"
lora_dropout: 0.05
load_in_kbits: 16
learning_rate: 2e-4
warmup_ratio: 0.05
lr_scheduler_type: cosine
block_size: 512
gradient_checkpointing: true
ddp_timeout: 30000
gradient_accumulation_steps: 8
per_device_train_batch_size: 2
bf16: true
"""
    )
    assert run.lora is not None
    assert run.lora.targets == ("q_proj", "v_proj", "k_proj", "o_proj", "gate_proj", "down_proj", "up_proj")
    assert run.lora.save == ("embed_tokens", "lm_head")
    assert run.lora.bits is None
    assert run.train.recompute
    assert run.train.timeout == 30000
    assert run.batch.size == 16


def test_llama_factory_s_names() -> None:
    run = read(
        """
model_name_or_path: base
stage: sft
finetuning_type: lora
lora_target: all
dataset: identity,alpaca_zh_demo
dataset_info: data/dataset_info.json
template: llama3
cutoff_len: 2048
quantization_bit: 4
loraplus_lr_ratio: 16
neat_packing: true
mask_history: true
learning_rate: 1.0e-4
optim: paged_adamw_8bit
"""
    )
    assert run.lora is not None
    assert (run.lora.targets, run.lora.bits, run.lora.plus_ratio) == (("all",), 4, 16)
    assert run.data.dataset == ("identity", "alpaca_zh_demo")
    assert (run.data.template, run.data.learn, run.data.packing, run.data.sequence_length) == (
        "llama3",
        "last",
        True,
        2048,
    )
    assert run.optimizer.name == "paged_adamw8bit"


def test_every_alias_means_a_key_that_there_is() -> None:
    for name, alias in ALIASES.items():
        *above, key = (part for part in alias.path if isinstance(part, str))
        if not above:
            assert key in ("name", "output", "lora"), name
            continue
        section = section_at(tuple(above))
        assert section is not None, name
        assert key in section.model_fields, name


def test_overrides_reach_into_parts_and_mixtures() -> None:
    text = CONTINUE.replace("embedded: {}", "mix: {zh: {train: a.txt, weight: 1}, en: {train: b.txt, weight: 1}}")
    run = read(text, "data.mix.en.weight=3", "groups.body=off", "lora.rank=8", "groups.body.start=10 steps")
    assert run.data.mix is not None
    assert run.data.mix["en"].weight == 3
    assert run.groups.given()["body"].start == Duration(Fraction(10), "updates")
    assert run.lora is not None
    assert run.lora.rank == 8
    assert read(text, "data.mix.en=null").data.mix == {"zh": run.data.mix["zh"]}
    assert read(text, "data.train=c.txt").data.mix is None
    assert read(CONTINUE, "data.mix.zh={train: a.txt, weight: 2}").data.embedded is None
    assert read(CONTINUE + "lora: {rank: 8}\n", "lora=null").lora is None


def test_a_model_that_exists_has_no_shape_in_the_resolved_form() -> None:
    resolved = read(CONTINUE).resolved()
    assert set(resolved["model"]) == {"path", "revision", "hub", "remote_code", "grow", "pad_rows_to"}
    assert resolved["tokenizer"] == {"path": None, "vocab_size": None}


LENGTHS = st.sampled_from(["off", "10%", "300 steps", "2M tokens"])
GROUP = st.one_of(
    st.just("off"),
    st.sampled_from(["5x", "20%", "1e-3"]),
    st.fixed_dictionaries(
        {},
        optional={
            "peak": st.sampled_from(["5x", 1e-3, "off"]),
            "start": LENGTHS,
            "length": LENGTHS,
            "after": st.sampled_from(["hold", "off"]),
            "warmup": LENGTHS,
            "decay": st.sampled_from(["linear", "constant_with_warmup"]),
            "floor": st.sampled_from(["10%", 1e-6, 0]),
        },
    ),
)
FILES = st.fixed_dictionaries(
    {
        "stage": st.sampled_from(["continue", "sft"]),
        "model": st.fixed_dictionaries({"path": st.just("base")}, optional={"pad_rows_to": st.integers(1, 128)}),
        "schedule": st.just({"peak": 3e-4}),
        "data": st.sampled_from(
            [
                {"embedded": {}},
                {"mix": {"甲": {"train": "a", "weight": 2}, "b.c": {"embedded": {}, "weight": 0.25}}},
                {"train": ["x"], "validation": "1%"},
            ]
        ),
    },
    optional={
        "groups": st.fixed_dictionaries({}, optional=dict.fromkeys(("new_rows", "old_rows", "body"), GROUP)),
        "optimizer": st.sampled_from([{"state": "carried", "from": "runs/x"}, {"name": "adamw8bit"}]),
        "train": st.sampled_from([{"engine": "fsdp2", "offload": True}, {"recompute": True}]),
    },
)


@settings(deadline=None, max_examples=80)
@given(FILES)
def test_any_of_them_reads_back_from_its_resolved_form(data: dict[str, Any]) -> None:
    once = RunConfig.from_plain(data).resolved()
    text = json.dumps(once, ensure_ascii=False, allow_nan=False)
    assert RunConfig.from_text(text).resolved() == once


def test_every_part_and_every_inner_section_is_known() -> None:
    assert {path[1] for path in INNER if path[0] == "groups"} == set(PARTS)
    assert set(SECTIONS["groups"].model_fields) == set(PARTS)


@pytest.mark.parametrize("page", ["continue.md", "zh/continue.md"])
def test_the_run_file_of_the_manual_loads(page: str) -> None:
    text = (DOCUMENTATION / page).read_text(encoding="utf-8")
    run = read(text.partition("```yaml\n")[2].partition("```")[0])
    assert set(run.groups.given()) == {"new_rows", "body"}
    assert run.data.mix is not None
