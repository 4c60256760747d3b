"""Conversions: the text that is written, read back, is as far from the source as it says; same conventions are equal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from huohou.audit.convert.all import TARGETS
from huohou.audit.convert.conversion import Converted, convert
from huohou.audit.document import Document
from huohou.audit.examine import Audit, examine
from huohou.audit.plain import named_roles
from huohou.audit.reading import Given
from huohou.audit.source import Source
from huohou.errors import UserError

TARGET_NAMES = [target.name for target in TARGETS]
Written = tuple[str, str]
"""A file's name and its text."""


def audited(name: str, text: str, given: Given | None = None, dialect: str | None = None) -> Audit:
    return examine(Document(Source(name, text, Path(name))), given or Given(), dialect=dialect)


def rates(audit: Audit, role: str = "model") -> list[float]:
    return list(dict(named_roles(audit))[role].applied.rates())


def read_back(found: Converted, updates: int) -> list[float]:
    """The rates of a conversion by the whole audit, as if somebody had saved it."""
    given = Given(updates=updates)
    return rates(audited("saved" + found.suffix, found.text, given, found.to), "model")


def planned(found: Converted) -> list[float]:
    """The rates that ``huohou plan`` makes of a run file."""
    from huohou.config.run import RunConfig
    from huohou.schedule.recipes import build

    run = RunConfig.from_text(found.text, name="run.yaml")
    assert run.train.updates is not None
    curve = build(run.schedule.spec(), run.train.updates).curve
    return [curve(update) for update in range(1, run.train.updates + 1)]


def trainer(
    kind: str = "linear", *, peak: float = 1e-4, warmup: int = 10, updates: int = 100, **kwargs: Any
) -> Written:
    lines = [f"learning_rate: {peak}", f"lr_scheduler_type: {kind}", f"warmup_steps: {warmup}", f"max_steps: {updates}"]
    if kwargs:
        lines.append(f"lr_scheduler_kwargs: {json.dumps(kwargs)}")
    return "run.yaml", "\n".join(lines) + "\n"


def megatron(
    style: str = "linear",
    *,
    peak: float = 1e-4,
    warmup: int = 10,
    updates: int = 100,
    floor: float = 0.0,
    more: str = "",
) -> Written:
    return "run.sh", (
        f"torchrun pretrain_gpt.py --lr {peak} --min-lr {floor * peak} --lr-decay-style {style} "
        f"--lr-warmup-iters {warmup} --train-iters {updates} --micro-batch-size 1 {more}\n"
    )


def titan(
    way: str = "linear",
    *,
    peak: float = 1e-4,
    warmup: int = 10,
    updates: int = 100,
    ratio: float = 0.5,
    floor: float = 0.0,
) -> Written:
    return "run.toml", (
        f"[optimizer]\nlr = {peak!r}\n[lr_scheduler]\nwarmup_steps = {warmup}\ndecay_ratio = {ratio}\n"
        f'decay_type = "{way}"\nmin_lr_factor = {floor}\n[training]\nsteps = {updates}\n[metrics]\nlog_freq = 1\n'
    )


def deepspeed(
    kind: str = "WarmupDecayLR", *, peak: float = 1e-4, warmup: int = 10, updates: int = 100, way: str = "linear"
) -> Written:
    params: dict[str, Any] = {"warmup_num_steps": warmup, "warmup_type": way, "total_num_steps": updates}
    if kind != "WarmupCosineLR":
        params["warmup_max_lr"] = peak
    return "run.json", json.dumps(
        {
            "train_batch_size": 8, "zero_optimization": {"stage": 2}, "gradient_clipping": 1.0,
            "optimizer": {"type": "AdamW", "params": {"lr": peak}}, "scheduler": {"type": kind, "params": params},
        }
    )  # fmt: skip


def optax(*, peak: float = 1e-4, warmup: int = 10, updates: int = 100, floor: float = 0.1) -> Written:
    return "run.py", (
        f"import optax\nschedule = optax.warmup_cosine_decay_schedule(0.0, {peak!r}, {warmup}, {updates}, {floor * peak!r})\n"
    )


SAME: list[tuple[str, Written, str]] = [
    ("transformers linear", trainer("linear"), "megatron"),
    ("transformers linear", trainer("linear"), "llamafactory"),
    ("transformers cosine", trainer("cosine"), "ms-swift"),
    ("transformers cosine", trainer("cosine"), "torchtune"),
    ("transformers cosine", trainer("cosine"), "optax"),
    ("transformers cosine", trainer("cosine"), "litgpt"),
    ("transformers cosine with a floor", trainer("cosine_with_min_lr", min_lr_rate=0.1), "megatron"),
    ("transformers cosine with a floor", trainer("cosine_with_min_lr", min_lr_rate=0.1), "openrlhf"),
    ("transformers cosine with a floor", trainer("cosine_with_min_lr", min_lr_rate=0.1), "torch"),
    ("transformers linear", trainer("linear"), "deepspeed-chat"),
    ("transformers linear", trainer("linear"), "torch"),
    ("transformers, no warmup", trainer("linear", warmup=0), "torchtitan"),
    ("transformers, no warmup", trainer("cosine", warmup=0), "huohou"),
    ("transformers hold and decay", trainer("warmup_stable_decay", num_decay_steps=20), "megatron"),
    ("transformers half a cosine", trainer("cosine", num_cycles=0.25), "axolotl"),
    ("megatron linear", megatron("linear", floor=0.1), "transformers"),
    ("megatron cosine", megatron("cosine", floor=0.1), "transformers"),
    ("megatron cosine", megatron("cosine", floor=0.1), "optax"),
    ("megatron longer than the run", megatron("linear", more="--lr-decay-iters 200"), "transformers"),
    ("megatron longer than the run", megatron("cosine", more="--lr-decay-iters 200"), "transformers"),
    ("megatron longer than the run", megatron("cosine", floor=0.1, more="--lr-decay-iters 200"), "torch"),
    ("megatron constant", megatron("constant"), "transformers"),
    ("megatron constant", megatron("constant"), "deepspeed-chat"),
    ("torchtitan linear", titan("linear"), "huohou"),
    ("torchtitan linear with a floor", titan("linear", floor=0.1), "huohou"),
    ("torchtitan cosine", titan("cosine"), "huohou"),
    ("torchtitan root", titan("sqrt"), "huohou"),
    ("torchtitan linear", titan("linear", floor=0.1), "megatron"),
    ("torchtitan cosine", titan("cosine", ratio=0.9), "torch"),
    ("deepspeed", deepspeed(), "deepspeed"),
    ("deepspeed logarithmic", deepspeed("WarmupCosineLR", way="log"), "deepspeed"),
    (
        "huohou",
        (
            "run.yaml",
            "model: {preset: 4m}\ndata: {embedded: {}}\ntrain: {updates: 90}\nschedule: {peak: 1e-4, "
            "warmup: 9 steps, decay: 1-sqrt, floor: 7%}\n",
        ),
        "huohou",
    ),
    (
        "huohou",
        (
            "run.yaml",
            "model: {preset: 4m}\ndata: {embedded: {}}\ntrain: {updates: 90}\nschedule: {peak: 1e-4, "
            "warmup: 9 steps, decay: wsd, decay_length: 20 steps, decay_shape: cosine, floor: 0}\n",
        ),
        "torchtitan",
    ),
    (
        "huohou",
        (
            "run.yaml",
            "model: {preset: 4m}\ndata: {embedded: {}}\ntrain: {updates: 90}\nschedule: {peak: 1e-4, "
            "warmup: 9 steps, decay: cosine, floor: 10%}\n",
        ),
        "transformers",
    ),
    (
        "huohou",
        (
            "run.yaml",
            "model: {preset: 4m}\ndata: {embedded: {}}\ntrain: {updates: 90}\nschedule: {peak: 1e-4, "
            "warmup: 9 steps, decay: cosine, floor: 10%}\n",
        ),
        "olmo-core",
    ),
    ("transformers cosine", trainer("cosine"), "composer"),
    ("transformers hold and decay", trainer("warmup_stable_decay", num_decay_steps=20), "levanter"),
    ("megatron constant", megatron("constant", warmup=0), "gpt-neox"),
    ("optax", optax(), "transformers"),
    ("optax", optax(), "megatron"),
]


@pytest.mark.parametrize(("source", "written", "to"), SAME, ids=[f"{what} to {to}" for what, _, to in SAME])
def test_what_the_other_can_say_is_said_exactly(source: str, written: Written, to: str) -> None:
    audit = audited(*written)
    (found,) = convert(audit, to, Given())
    assert found.apart.same, (found.apart, found.text)
    ours = planned(found) if to == "huohou" else read_back(found, len(rates(audit)))
    peak = max(rates(audit))
    assert max(abs(a - b) for a, b in zip(rates(audit), ours, strict=True)) <= 1e-12 * peak


_peaks = st.sampled_from([5e-5, 1e-4, 3e-4, 1e-3, 2.5e-5])
_lengths = st.integers(12, 260)
_levels = st.sampled_from([0.0, 0.1, 0.05, 1 / 3])


def _trainers(draw: Callable[[Any], Any]) -> Written:
    kind = draw(st.sampled_from(["linear", "cosine", "constant_with_warmup", "polynomial", "inverse_sqrt",
                                 "cosine_with_min_lr", "cosine_warmup_with_min_lr", "warmup_stable_decay"]))  # fmt: skip
    updates = draw(_lengths)
    kwargs: dict[str, Any] = {}
    if kind == "polynomial":
        kwargs = {"power": draw(st.sampled_from([0.5, 1.0, 2.0, 3.0]))}
    elif "min_lr" in kind:
        kwargs = {"min_lr_rate": draw(_levels)}
    elif kind == "warmup_stable_decay":
        kwargs = {
            "num_decay_steps": draw(st.integers(1, updates // 2)),
            "decay_type": draw(st.sampled_from(["linear", "1-sqrt"])),
        }
    return trainer(kind, peak=draw(_peaks), warmup=draw(st.integers(0, updates // 2)), updates=updates, **kwargs)


def _megatrons(draw: Callable[[Any], Any]) -> Written:
    style = draw(st.sampled_from(["constant", "linear", "cosine", "inverse-square-root", "WSD"]))
    updates = draw(_lengths)
    more = f"--lr-decay-iters {draw(st.integers(updates // 2 + 1, 2 * updates))}"
    if style == "WSD":
        more += f" --lr-wsd-decay-iters {draw(st.integers(1, updates // 2))} --lr-wsd-decay-style "
        more += draw(st.sampled_from(["linear", "cosine", "exponential", "minus_sqrt"]))
    warmup = draw(st.integers(0, updates // 2))
    return megatron(style, peak=draw(_peaks), warmup=warmup, updates=updates, floor=draw(_levels), more=more)


def _titans(draw: Callable[[Any], Any]) -> Written:
    updates = draw(_lengths)
    ratio = draw(st.sampled_from([0.2, 0.5, 1.0]))
    way = draw(st.sampled_from(["linear", "sqrt", "cosine"]))
    return titan(
        way, peak=draw(_peaks), warmup=draw(st.integers(0, updates)), updates=updates, ratio=ratio, floor=draw(_levels)
    )


def _deepspeeds(draw: Callable[[Any], Any]) -> Written:
    kind = draw(st.sampled_from(["WarmupLR", "WarmupDecayLR", "WarmupCosineLR"]))
    updates = draw(_lengths)
    way = draw(st.sampled_from(["log", "linear"]))
    return deepspeed(kind, peak=draw(_peaks), warmup=draw(st.integers(2, updates // 2)), updates=updates, way=way)


def _optaxes(draw: Callable[[Any], Any]) -> Written:
    updates = draw(_lengths)
    return optax(peak=draw(_peaks), warmup=draw(st.integers(1, updates // 2)), updates=updates, floor=draw(_levels))


def _ours(draw: Callable[[Any], Any]) -> Written:
    updates = draw(_lengths)
    decay = draw(
        st.sampled_from(["cosine", "linear", "constant", "1-sqrt", "polynomial", "inverse_sqrt", "exponential", "wsd"])
    )
    lines = [
        "model: {preset: 4m}", "data: {embedded: {}}", f"train: {{updates: {updates}}}", "schedule:",
        f"  peak: {draw(_peaks)}", f"  warmup: {draw(st.integers(1, updates // 2))} steps", f"  decay: {decay}",
        f"  floor: {draw(st.sampled_from(['10%', '1%', '25%']))}",
    ]  # fmt: skip
    if decay == "wsd":
        lines.append(f"  decay_length: {draw(st.integers(1, updates // 3))} steps")
    if decay == "polynomial":
        lines.append("  power: 2")
    return "run.yaml", "\n".join(lines) + "\n"


SOURCES = {"huohou": _ours, "transformers": _trainers, "megatron": _megatrons, "torchtitan": _titans, "deepspeed": _deepspeeds,
           "optax": _optaxes}  # fmt: skip


@pytest.mark.parametrize("dialect", SOURCES)
@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_difference_that_is_told_is_the_one_that_is_there(dialect: str, data: st.DataObject) -> None:
    audit = audited(*SOURCES[dialect](data.draw), Given(), dialect)
    theirs = rates(audit)
    peak = named_roles(audit)[0][1].applied.peak
    for to in data.draw(st.lists(st.sampled_from(["huohou", *TARGET_NAMES]), min_size=2, max_size=2, unique=True)):
        (found,) = convert(audit, to, Given())
        ours = read_back(found, len(theirs))
        if to == "huohou":
            assert ours == planned(found)
        apart = [abs(a - b) / peak for a, b in zip(theirs, ours, strict=True)]
        assert found.apart.share == pytest.approx(max(apart), rel=1e-9, abs=2e-13), found.text
        if not found.apart.same:
            assert apart[found.apart.update - 1] == pytest.approx(max(apart), rel=1e-9, abs=2e-13)
            # A constant at half the highest rate is half of it away at most: nothing that is chosen may be worse.
            assert found.apart.share <= 1.0


def test_the_search_finds_what_trying_everything_finds() -> None:
    audit = audited(*titan("cosine", floor=0.1, warmup=7, updates=60, ratio=1.0))
    theirs = rates(audit)
    (found,) = convert(audit, "transformers", Given())
    best = min(
        max(abs(a - b) for a, b in zip(theirs, rates(audited(*each)), strict=True)) / 1e-4
        for warmup in range(4, 11)
        for floor in (0.0, 0.08, 0.09, 0.1, 0.11, 0.12)
        for each in (
            trainer("cosine_with_min_lr", warmup=warmup, updates=60, min_lr_rate=floor),
            trainer("cosine_warmup_with_min_lr", warmup=warmup, updates=60, min_lr_rate=floor),
        )
    )
    assert found.apart.share <= best * 1.12


def test_a_long_run_is_converted_as_a_short_one_is() -> None:
    (found,) = convert(audited(*trainer("cosine", warmup=2000, updates=3_000_000)), "megatron", Given())
    assert found.apart.same and "--lr-warmup-iters 2000 " in found.text


def test_a_warmup_longer_than_the_run_becomes_a_lower_peak_of_ours() -> None:
    (found,) = convert(audited(*trainer("constant_with_warmup", warmup=400, updates=100)), "huohou", Given())
    theirs = [1e-4 * i / 400 for i in range(100)]
    assert planned(found)[-1] == pytest.approx(theirs[-1], rel=0.02)
    assert found.apart.share < 0.01


RUN_SFT = """lr=1e-4
torchrun --nnodes 1 --nproc_per_node 2 run_clm_sft_with_peft.py \\
    --model_name_or_path /models/llama --tokenizer_name_or_path /models/tok --dataset_dir data/sft \\
    --per_device_train_batch_size 4 --gradient_accumulation_steps 8 --num_train_epochs 3 --max_steps 300 \\
    --learning_rate ${lr} --lr_scheduler_type cosine --warmup_ratio 0.05 --weight_decay 0.01 --max_seq_length 1024 \\
    --lora_rank 16 --lora_alpha 32 --lora_dropout 0.1 --trainable "q_proj,v_proj" --modules_to_save "embed_tokens,lm_head" \\
    --bf16 --gradient_checkpointing --save_steps 50 --save_total_limit 2 --logging_steps 5 --do_train --unheard_of 1
"""
FACTORY = """model_name_or_path: meta/llama
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 8
lora_target: all
dataset: identity,alpaca_zh
template: llama3
cutoff_len: 2048
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: 1.0e-4
num_train_epochs: 3.0
max_steps: 300
lr_scheduler_type: cosine
warmup_steps: 30
bf16: true
plot_loss: true
"""
AXOLOTL = """base_model: org/model
datasets:
  - path: data/zh.jsonl
    type: alpaca
  - path: data/en.jsonl
    type: alpaca
adapter: lora
lora_r: 32
lora_alpha: 16
sequence_len: 4096
sample_packing: true
micro_batch_size: 2
gradient_accumulation_steps: 4
num_epochs: 2
max_steps: 120
optimizer: adamw_bnb_8bit
lr_scheduler: cosine
learning_rate: 0.0002
bf16: auto
val_set_size: 0.05
wandb_project: x
"""
PYTHON = """data = load_dataset("json", data_files="zh.jsonl", split="train")
model = AutoModelForCausalLM.from_pretrained("org/base")
peft = LoraConfig(r=16, lora_alpha=32, target_modules=["q_proj", "v_proj"])
args = SFTConfig(output_dir="out", learning_rate=2e-5, max_steps=200, warmup_steps=20, per_device_train_batch_size=2,
                 bf16=True, max_length=1024)
"""
CARRIED: list[tuple[str, str, dict[str, Any], list[str]]] = [
    (
        "run_sft.sh",
        RUN_SFT,
        {
            "stage": "sft", "model.path": "MODEL", "data.train": ("data/sft",),
            "data.sequence_length": 1024, "batch.micro_batch": 4, "batch.accumulation": 8, "batch.gpus": 2,
            "lora.rank": 16, "lora.targets": ("q_proj", "v_proj"), "lora.save": ("embed_tokens", "lm_head"),
            "optimizer.weight_decay": 0.01, "train.dtype": "bfloat16", "train.recompute": True, "train.updates": 300,
            "checkpoint.every": 50, "checkpoint.keep": 2, "train.print_every": 5,
        },
        ["unheard_of", "do_train"],
    ),
    (
        "factory.yaml",
        FACTORY,
        {
            "stage": "sft", "model.path": "meta/llama", "data.dataset": ("identity", "alpaca_zh"),
            "data.dataset_info": "data/dataset_info.json", "data.template": "llama3", "lora.rank": 8,
            "lora.targets": ("all",), "batch.accumulation": 8, "optimizer.betas": (0.9, 0.999),
        },
        ["plot_loss"],
    ),
    (
        "axolotl.yaml",
        AXOLOTL,
        {
            "stage": "sft", "model.path": "org/model", "data.train": ("data/zh.jsonl", "data/en.jsonl"),
            "lora.rank": 32, "lora.alpha": 16, "batch.micro_batch": 2,
            "data.sequence_length": 4096, "data.packing": True, "optimizer.name": "adamw8bit",
        },
        ["wandb_project"],
    ),
    (
        "train.py",
        PYTHON,
        {
            "stage": "sft", "model.path": "org/base", "data.train": ("zh.jsonl",),
            "lora.rank": 16, "lora.targets": ("q_proj", "v_proj"),
            "data.sequence_length": 1024, "train.dtype": "bfloat16",
        },
        [],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "expected", "left"), CARRIED, ids=[name for name, *_ in CARRIED])
def test_the_rest_of_the_run_is_carried_over(name: str, text: str, expected: dict[str, Any], left: list[str]) -> None:
    from huohou.config.run import RunConfig

    (found,) = convert(audited(name, text), "huohou", Given())
    run = RunConfig.from_text(found.text, name="run.yaml")
    for key, value in expected.items():
        inner: Any = run
        for part in key.split("."):
            inner = getattr(inner, part)
        assert inner == value, (key, found.text)
    told = " ".join(note.en for note in found.notes if note.en.startswith("not carried"))
    for key in left:
        assert key in told
    for key in expected:
        assert f" {key.split('.')[-1]}" not in told


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, text, *_ in CARRIED], ids=[c[0] for c in CARRIED])
def test_plan_accepts_the_run_file(name: str, text: str, tmp_path: Path) -> None:
    from huohou.plan.facts import plan_of_file

    (found,) = convert(audited(name, text), "huohou", Given())
    place = tmp_path / "run.yaml"
    place.write_text(found.text, encoding="utf-8")
    plan, _ = plan_of_file(str(place), [])
    assert [plan.curve(u) for u in range(1, plan.updates + 1)] == planned(found)


def test_what_a_foreign_file_calls_its_keys_stays_in_the_comments() -> None:
    text = (
        trainer()[1]
        + '"evil\\u2028  peak: 1\\n  peak: 7": 1\nmodel_name_or_path: "a\\nb: c"\nrun_name: "x: [\\u2028"\n'
    )
    for to in ("huohou", "llamafactory"):
        (found,) = convert(audited("run.yaml", text), to, Given())
        assert len(read_back(found, 100)) == 100
        assert all(line.startswith("#") for line in found.text.splitlines() if "evil" in line or "peak: 7" in line)


def test_what_has_no_counterpart_is_said_to_have_none() -> None:
    torch = "import torch\nopt = torch.optim.AdamW(m.parameters(), lr=1e-3)\ns = torch.optim.lr_scheduler."
    steps = audited("run.py", f"{torch}MultiStepLR(opt, milestones=[60, 120], gamma=0.1)\n", Given(updates=200))
    (found,) = convert(steps, "huohou", Given(updates=200))
    assert found.apart.share > 0.25 and "has nothing that follows this curve" in found.text
    restarts = audited(*trainer("cosine_with_restarts", num_cycles=3, updates=200))
    (found,) = convert(restarts, "huohou", Given())
    assert "cycles: 3" in found.text and found.apart.share == pytest.approx(1 / 12)


def test_roles_become_texts_of_their_own() -> None:
    ppo = (
        "deepspeed main.py --actor_model_name_or_path a --critic_model_name_or_path c --data_split 2,4,4 "
        "--actor_learning_rate 9.65e-6 --critic_learning_rate 5e-6 --num_warmup_steps 10 --bf16\n"
    )
    given = Given(updates=60)
    found = convert(audited("ppo.sh", ppo, given), "transformers", given)
    assert [each.role for each in found] == ["actor", "critic"]
    assert "9.65e-06" in found[0].text and "5.0e-06" in found[1].text


def test_what_cannot_be_converted_is_said() -> None:
    with pytest.raises(UserError, match="nothing is written for that"):
        convert(audited(*trainer()), "keras", Given())
    with pytest.raises(UserError, match="--updates"):
        convert(
            audited("run.yaml", trainer()[1].replace("max_steps: 100\n", "num_train_epochs: 3\n")), "huohou", Given()
        )
    with pytest.raises(UserError, match="above 0"):
        convert(
            audited("run.py", "import optax\ns = optax.warmup_constant_schedule(0.0, 1e-4, 0)\n", Given(updates=5)),
            "torch",
            Given(),
        )
    with pytest.raises(UserError, match="intended"):
        convert(audited(*megatron("WSD")), "torch", Given(), intended=True)


def test_the_intended_curve_can_be_converted() -> None:
    (found,) = convert(audited(*trainer("linear", warmup=10)), "torchtitan", Given(), intended=True)
    assert found.text.count("warmup_steps = 10") == 1
    assert read_back(found, 100)[0] == pytest.approx(1e-5)


@pytest.mark.parametrize("page", ["docs/audit.md", "docs/zh/audit.md"])
def test_the_page_names_every_target(page: str) -> None:
    text = (Path(__file__).resolve().parents[2] / page).read_text(encoding="utf-8")
    part = text[text.index("`--to huohou`") :]
    part = part[: part.index("\n## ")]
    assert not [name for name in ("huohou", *TARGET_NAMES) if name not in part]


REAL = [
    ("torchtitan linear with a floor", titan("linear", floor=0.1)),
    ("transformers cosine with a floor", trainer("cosine_with_min_lr", min_lr_rate=0.1)),
    ("megatron longer than the run", megatron("linear", more="--lr-decay-iters 200")),
    ("transformers root", trainer("inverse_sqrt", warmup=20)),
]
"""Curves that both libraries below can apply exactly."""


@pytest.mark.heavy
@pytest.mark.parametrize(("what", "written"), [*REAL[:3], ("deepspeed", deepspeed())], ids=lambda each: str(each)[:20])
def test_pytorch_itself_applies_what_was_written_for_it(what: str, written: Written) -> None:
    torch = pytest.importorskip("torch")
    audit = audited(*written)
    (found,) = convert(audit, "torch", Given())
    names: dict[str, Any] = {"model": torch.nn.Linear(1, 1)}
    exec(compile(found.text, "written.py", "exec"), names)
    applied: list[float] = []
    for _ in rates(audit):
        applied.append(names["optimizer"].param_groups[0]["lr"])
        names["optimizer"].step()
        names["scheduler"].step()
    away = max(abs(a - b) for a, b in zip(rates(audit), applied, strict=True)) / max(rates(audit))
    assert away == pytest.approx(found.apart.share, abs=1e-12)


@pytest.mark.heavy
@pytest.mark.parametrize(("what", "written"), REAL, ids=[what for what, _ in REAL])
def test_transformers_itself_applies_what_was_written_for_it(what: str, written: Written) -> None:
    torch = pytest.importorskip("torch")
    optimization = pytest.importorskip("transformers.optimization")
    audit = audited(*written)
    (found,) = convert(audit, "transformers", Given())
    said: dict[str, Any] = {}
    exec(
        compile(
            found.text.replace("from transformers import TrainingArguments", "TrainingArguments = dict"), "w", "exec"
        ),
        said,
    )
    arguments = said["arguments"]
    optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=arguments["learning_rate"])
    scheduler = optimization.get_scheduler(
        arguments["lr_scheduler_type"], optimizer, arguments.get("warmup_steps", 0), arguments["max_steps"],
        arguments.get("lr_scheduler_kwargs"),
    )  # fmt: skip
    applied: list[float] = []
    for _ in rates(audit):
        applied.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    away = max(abs(a - b) for a, b in zip(rates(audit), applied, strict=True)) / max(rates(audit))
    assert away == pytest.approx(found.apart.share, abs=1e-12)
