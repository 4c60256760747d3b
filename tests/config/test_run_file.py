"""What a right run file means: the same run under every spelling, and the same again from its resolved form."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from huohou.config import RunConfig, load_run
from huohou.config.aliases import ALIASES
from huohou.config.load import plain_scalar
from huohou.config.sections import SECTIONS
from huohou.config.template import template
from huohou.errors import UserError
from huohou.schedule.recipes import ScheduleSpec
from huohou.units import Duration, Level

REPOSITORY = Path(__file__).resolve().parents[2]
RIGHT = "name: a\ndata: {embedded: {}}\nschedule: {peak: 3e-4}\n"


def resolved(text: str = RIGHT, *overrides: str) -> dict[str, Any]:
    return RunConfig.from_text(text, overrides=overrides).resolved()


def warmup(written: str) -> Duration | None:
    return RunConfig.from_text(f"data: {{embedded: {{}}}}\nschedule:\n  peak: 3e-4\n{written}\n").schedule.warmup


# The YAML.


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("5E-5", 5e-5),
        ("3e3", 3000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("-2", -2),
        ("1_000", 1000),
        ("0", 0),
        ("yes", True),
        ("Off", False),
        ("~", None),
        ("", None),
        ("010", "010"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("1e", "1e"),
        ("e5", "e5"),
        ("10%", "10%"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_what_an_unquoted_text_means(text: str, value: object) -> None:
    result = plain_scalar(text)
    assert result == value and type(result) is type(value)


def test_quoted_numbers_are_text_and_yaml_merges_work() -> None:
    run = RunConfig.from_text(
        'data: {embedded: {}}\nschedule: &s {peak: 3e-4, warmup: off}\nname: "123"\n'
        "checkpoint: &c {every: 7}\ntrain: {sample_prompts: ['no']}\n"
    )
    assert run.name == "123" and run.train.sample_prompts == ("no",) and run.checkpoint.every == 7
    merged = RunConfig.from_text(
        "data: {embedded: {}}\nschedule:\n  <<: {peak: 1e-3, floor: 1%}\n  peak: 3e-4\n",
    )
    assert merged.schedule.peak == Fraction("3e-4") and merged.schedule.floor == Level(Fraction(1, 100))


def test_full_width_digits_are_the_numbers_they_are() -> None:
    run = RunConfig.from_text(RIGHT + "train: {updates: １００}\nbatch: {size: ８}\n")
    assert run.train.updates == 100 and run.batch.size == 8


# Spellings.


@pytest.mark.parametrize("word", ["off", "no", "false", "False", "OFF", "none", '"off"', "关", "0", "0%", "0 steps"])
def test_every_spelling_of_off_is_a_warmup_of_nothing(word: str) -> None:
    assert warmup(f"  warmup: {word}") == Duration(Fraction(0), "updates")


@pytest.mark.parametrize("nothing", ["", "  warmup:", "  warmup: null", "  warmup: ~"])
def test_a_warmup_of_which_nothing_is_said_is_not_off(nothing: str) -> None:
    assert warmup(nothing) is None


@pytest.mark.parametrize(
    ("written", "number", "unit"),
    [
        ("  warmup_rate: 0.07", "7/100", "share"),
        ("warmup_rate: 0.07", "7/100", "share"),
        ("  warmup_ratio: 0.07", "7/100", "share"),
        ("warmup_ratio: 7%", "7/100", "share"),
        ("  warmup: 7%", "7/100", "share"),
        ("  warmup_rate: 1.0", "1", "share"),
        ("  num_warmup_steps: 1000", "1000", "updates"),
        ("num_warmup_steps: 1000", "1000", "updates"),
        ("  warmup_steps: 1000", "1000", "updates"),
        ("warmup: 1000 steps", "1000", "updates"),
        ("  warmup: 1k steps\nnum_warmup_steps: 1000", "1000", "updates"),
        ("  warmup: 10%\n  warmup_rate: 0.1\nwarmup_ratio: 0.10", "1/10", "share"),
        ("  warmup: 2B tokens", "2000000000", "tokens"),
        ("  warmup: 1.5 epochs", "3/2", "epochs"),
        ("  num_warmup_steps: 0", "0", "updates"),
    ],
)
def test_the_names_of_warmup(written: str, number: str, unit: str) -> None:
    assert warmup(written) == Duration(Fraction(number), unit)  # pyright: ignore[reportArgumentType]


CANONICAL = """
name: a
output: out
seed: 7
model: {preset: 4m, num_hidden_layers: 8}
tokenizer: {vocab_size: 6400}
data: {train: [a.jsonl], validation: [v.jsonl], text: body, sequence_length: 256, drop_last: true}
batch: {micro_batch: 4, accumulation: 2, gpus: 2}
schedule: {peak: 3e-4, warmup: 500 steps, decay: cosine, floor: 1e-5}
optimizer: {betas: [0.9, 0.99], eps: 1e-9, weight_decay: 0.05, max_grad_norm: 0.5}
train: {updates: 1000, dtype: bfloat16, device: cpu, compile: true, deterministic: true, evaluate_every: 50,
  print_every: 20}
checkpoint: {every: 100, keep: 2}
"""
FLAT = """
run_name: a
output_dir: out
seed: 7
model: 4m
num_hidden_layers: 8
vocab_size: 6400
train_file: a.jsonl
validation_file: v.jsonl
text_column: body
cutoff_len: 256
dataloader_drop_last: true
per_device_train_batch_size: 4
gradient_accumulation_steps: 2
world_size: 2
learning_rate: 3e-4
warmup_steps: 500
lr_scheduler_type: cosine_with_min_lr
lr_scheduler_kwargs: {min_lr: 1e-5}
adam_beta2: 0.99
adam_epsilon: 1e-9
weight_decay: 0.05
max_grad_norm: 0.5
max_steps: 1000
bf16: true
fp16: false
use_cpu: true
torch_compile: true
full_determinism: true
eval_steps: 50
logging_steps: 20
save_steps: 100
save_total_limit: 2
"""


def test_a_flat_file_is_the_same_run_as_a_sectioned_one() -> None:
    assert resolved(FLAT) == resolved(CANONICAL)
    assert resolved(FLAT)["schedule"]["floor"] == 1e-5


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("cosine", "cosine"),
        ("cosine_with_min_lr", "cosine"),
        ("cosine_warmup_with_min_lr", "cosine"),
        ("constant_with_warmup", "constant"),
        ("constant", "constant"),
        ("linear", "linear"),
        ("polynomial", "polynomial"),
        ("inverse_sqrt", "inverse_sqrt"),
        ("cosine_with_restarts", "restarts"),
        ("warmup_stable_decay", "wsd"),
        ("WSD", "wsd"),
    ],
)
def test_the_names_of_decays(theirs: str, ours: str) -> None:
    assert RunConfig.from_text(RIGHT + f"lr_scheduler_type: {theirs}\n").schedule.decay == ours


def test_aliases_may_stand_in_their_section() -> None:
    flat = RIGHT.replace("{peak: 3e-4}", "{learning_rate: 3e-4, lr_scheduler_type: linear, min_lr_ratio: 0.2}")
    assert resolved(flat) == resolved(RIGHT.replace("3e-4", "3e-4, decay: linear, floor: 20%"))


def test_max_steps_of_minus_one_is_as_if_absent() -> None:
    assert resolved(RIGHT + "max_steps: -1\nnum_train_epochs: 2\n") == resolved(RIGHT + "train: {epochs: 2}\n")


@pytest.mark.parametrize("name", ALIASES)
def test_every_alias_means_a_key_that_exists(name: str) -> None:
    section, *key = ALIASES[name].path
    if key:
        assert key[0] in SECTIONS[str(section)].model_fields
    else:
        assert section in RunConfig.model_fields


def test_shorthands_of_sections() -> None:
    short = RunConfig.from_text("name: a\nmodel: 1m\ntokenizer: 5000\ndata: x.txt\nlearning_rate: 3e-4\n")
    assert (short.model.preset, short.tokenizer.vocab_size, short.data.train) == ("1m", 5000, ("x.txt",))
    assert RunConfig.from_text(RIGHT + "tokenizer: folder/\n").tokenizer.path == "folder/"
    assert resolved(RIGHT.replace("{embedded: {}}", "{embedded: 2M}")) == resolved()


# Defaults and what follows from others.


def test_defaults() -> None:
    run = RunConfig.from_text(RIGHT)
    assert run.train.epochs == 1 and run.train.updates is None
    assert (run.batch.size, run.batch.micro_batch, run.batch.accumulation, run.batch.gpus) == (8, 8, 1, 1)
    assert run.schedule_spec() == ScheduleSpec(peak=Fraction("3e-4"))
    assert run.tokenizer.vocab_size == 4096
    assert run.folder == Path("runs") / "a"
    assert run.data.validation_share == 0 and run.data.validation_files == ()


def test_a_batch_of_tokens_keeps_its_pieces() -> None:
    run = RunConfig.from_text(RIGHT + "batch: {size: 4M tokens, micro_batch: 8, gpus: 4}\n")
    assert run.batch.size == Duration(Fraction(4_000_000), "tokens") and run.batch.accumulation is None


def test_validation_by_share_and_by_file() -> None:
    by_share = RunConfig.from_text(RIGHT.replace("{embedded: {}}", "{embedded: {}, validation: 0.5%}"))
    assert by_share.data.validation_share == Fraction(1, 200)
    by_file = RunConfig.from_text(RIGHT.replace("{embedded: {}}", "{train: a, validation: b}"))
    assert by_file.data.validation_files == ("b",) and by_file.data.validation_share == 0


def test_the_model_is_complete_after_loading() -> None:
    run = RunConfig.from_text(RIGHT + ["model: {preset: 4M, num_attention_heads: 12}\n", ": null\n"][0])
    # Heads of one kind stay heads of one kind.
    assert run.model.num_key_value_heads == 12 and run.model.hidden_size == 192
    assert run.model.shape()["max_position_embeddings"] == 1024
    own = RunConfig.from_text(
        RIGHT + "model: {hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2, num_attention_heads: 4}\n"
    )
    assert own.model.preset is None and own.model.num_key_value_heads == 4 and own.model.max_position_embeddings == 512
    long = RunConfig.from_text(RIGHT + "block_size: 4096\n")
    assert long.model.max_position_embeddings == 4096


def test_a_run_is_frozen() -> None:
    run = RunConfig.from_text(RIGHT)
    with pytest.raises(Exception, match="frozen"):
        run.schedule.peak = Fraction(1)  # pyright: ignore[reportAttributeAccessIssue]


# Overrides.


def test_overrides_of_every_form() -> None:
    run = RunConfig.from_text(
        RIGHT + "train: {epochs: 3, device: cpu}\nwarmup_rate: 0.1\n",
        overrides=("train.updates=100", "schedule.warmup=off", "learning-rate=1e-3", "data.train=*.jsonl", "seed=1"),
    )
    assert (run.train.updates, run.train.epochs, run.train.device) == (100, None, "cpu")
    assert run.schedule.warmup == Duration(Fraction(0), "updates")
    assert run.schedule.peak == Fraction("1e-3")
    assert run.data.train == ("*.jsonl",) and run.data.embedded is None
    assert run.seed == 1 and len(run.overrides) == 5


def test_a_mapping_takes_the_place_of_a_section_and_null_removes() -> None:
    text = RIGHT + "train: {updates: 100, device: cpu}\ntokenizer: x/\n"
    run = RunConfig.from_text(text, overrides=("train={tokens: 2B}", "tokenizer.path=null"))
    assert (run.train.tokens, run.train.updates, run.train.device) == (2_000_000_000, None, "auto")
    assert run.tokenizer.path is None and run.tokenizer.vocab_size == 4096
    assert RunConfig.from_text(text, overrides=("train=",)).train.device == "auto"
    embedded = "data: {embedded: {characters: 5k, seed: 3}}\nlearning_rate: 1\n"
    assert RunConfig.from_text(embedded, overrides=("data.embedded={seed: 4}",)).data.embedded.characters == 2_000_000  # pyright: ignore[reportOptionalMemberAccess]
    assert RunConfig.from_text(embedded, overrides=("data.embedded.seed=4",)).data.embedded.characters == 5000  # pyright: ignore[reportOptionalMemberAccess]


def test_a_later_override_takes_the_place_of_an_earlier_one() -> None:
    assert resolved(RIGHT, "seed=1", "seed=2")["seed"] == 2
    assert resolved(RIGHT, "warmup_rate=0.1", "warmup=off")["schedule"]["warmup"] == "off"
    assert resolved(RIGHT, "optimizer.betas=[0.8, 0.9]", "adam_beta2=0.99")["optimizer"]["betas"] == [0.8, 0.99]
    assert resolved(RIGHT, "adam_beta2=0.99", "optimizer.betas=[0.8, 0.9]")["optimizer"]["betas"] == [0.8, 0.9]


def test_override_and_file_are_the_same_run() -> None:
    assert resolved(RIGHT, "train.updates=50", "schedule.floor=0") == resolved(
        RIGHT.replace("3e-4", "3e-4, floor: off") + "max_steps: 50\n"
    )


# Where things were written.


def test_places() -> None:
    run = RunConfig.from_text(
        "data: {embedded: {}}\nschedule:\n  peak: 3e-4\nwarmup_steps: 5\n", name="r.yaml", overrides=("seed=3",)
    )
    assert run.place("schedule.peak") == "r.yaml:3:9"
    assert run.place("schedule.warmup") == "r.yaml:4:15"
    assert run.place("seed") == "--set seed=3"
    assert run.place("schedule.floor") is None and not run.is_set("schedule.floor")
    assert run.is_set("schedule.warmup") and run.is_set("schedule")
    error = run.located(UserError("the warmup is 5 updates long, but the run makes only 3.", "预热长 5 步。"))
    assert error.text.en.startswith("r.yaml:4:15: the warmup is 5") and error.text.zh.startswith("r.yaml:4:15: 预热")
    same = UserError("nothing of the schedule.", "无。")
    assert run.located(same) is same


# The resolved form.


def test_the_resolved_form_is_json_and_reads_back() -> None:
    for text in (RIGHT, FLAT, CANONICAL):
        once = resolved(text)
        again = RunConfig.from_plain(json.loads(json.dumps(once, allow_nan=False)))
        assert again.resolved() == once
        # JSON is YAML: the file of the resolved form is a run file too.
        assert resolved(json.dumps(once, ensure_ascii=False)) == once


LENGTHS = st.one_of(
    st.integers(0, 10**6).map(lambda n: f"{n} steps"),
    st.integers(0, 10**12).map(lambda n: f"{n} tokens"),
    st.decimals(0, 100, places=3).map(lambda d: f"{d}%"),
    st.decimals(0, 100, places=2).map(lambda d: f"{d} epochs"),
    st.sampled_from(["off", "no", False]),
)
RATES = st.decimals("1e-9", 1, places=9).filter(bool).map(float)


def some(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=keys)


RUNS = st.fixed_dictionaries(
    {
        "data": st.fixed_dictionaries(
            {},
            optional={
                "validation": st.sampled_from(["off", "1%", "0.05%", ["v.jsonl"], "v.txt"]),
                "sequence_length": st.integers(2, 10**5),
                "attention": st.sampled_from(["packed", "documents"]),
                "drop_last": st.booleans(),
            },
        ).flatmap(
            lambda rest: st.sampled_from(
                [{**rest, "embedded": {"characters": 5000}}, {**rest, "embedded": {}}, {**rest, "train": ["a", "b#5"]}]
            )
        ),
        "schedule": st.fixed_dictionaries(
            {"peak": RATES},
            optional={
                "warmup": LENGTHS,
                "decay": st.sampled_from(["cosine", "constant_with_warmup", "wsd", "open"]),
                "decay_length": LENGTHS,
                "floor": st.sampled_from(["10%", "0.5%", 0, 1e-12, "off"]),
                "warmup_start": st.sampled_from(["1%", 0, "off"]),
                "timescale": st.integers(0, 10**6),
            },
        ),
    },
    optional={
        "name": st.text("abc火候-_1", min_size=1, max_size=8),
        "seed": st.integers(0, 2**40),
        "batch": some(size=st.sampled_from([8, "64", "4M tokens", "0.5M tokens"]), gpus=st.integers(1, 8)),
        "optimizer": some(
            betas=st.tuples(*[st.floats(0, 0.999)] * 2).map(list),
            weight_decay=st.floats(0, 10),
            max_grad_norm=st.sampled_from(["off", 1, 0.5]),
            fused=st.sampled_from(["auto", True, False]),
        ),
        "train": st.one_of(
            some(updates=st.integers(1, 10**12)),
            some(epochs=st.decimals("0.01", 50, places=2).map(float)),
            some(
                tokens=st.integers(1, 10**15), sample_prompts=st.lists(st.text("从前x ", min_size=1).filter(str.strip))
            ),
        ),
        "checkpoint": some(every=st.sampled_from(["off", 1, "2k", "500 steps"]), keep=st.integers(1, 9)),
        "model": st.sampled_from(["4m", {"preset": "1m", "num_hidden_layers": 3}, {"depth_scaled_init": True}]),
    },
)


@settings(deadline=None, max_examples=60)
@given(RUNS)
def test_any_run_reads_back_from_its_resolved_form(data: dict[str, Any]) -> None:
    run = RunConfig.from_plain(data)
    once = run.resolved()
    text = json.dumps(once, ensure_ascii=False, allow_nan=False)
    again = RunConfig.from_text(text)
    assert again.resolved() == once
    assert again.schedule_spec() == run.schedule_spec()
    assert again.train == run.train and again.batch == run.batch and again.model.shape() == run.model.shape()


# What is shipped.


SHIPPED = sorted((REPOSITORY / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_run_file_loads(path: Path) -> None:
    run = load_run(path)
    assert RunConfig.from_plain(run.resolved()).resolved() == run.resolved()
    assert run.source == path.read_text(encoding="utf-8") and run.path == path


def test_the_demonstration_is_package_data_and_the_same_as_the_shipped_file() -> None:
    assert len(SHIPPED) >= 4
    assert (REPOSITORY / "configs" / "demo.yaml").read_text(encoding="utf-8") == template("demo.yaml")
