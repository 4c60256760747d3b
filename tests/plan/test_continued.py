"""Plans that go on from a model: its folder, its vocabulary, mixtures, dialogues, what moves and what it needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from huohou.cli.main import main
from huohou.config import RunConfig
from huohou.config.shapes import count_adapters, count_parameters, flops_per_token
from huohou.data.tokenizer import Tokenizer
from huohou.data.tokenizer_training import train_tokenizer
from huohou.errors import UserError
from huohou.plan.base import last_rate
from huohou.plan.budget import Workload, divided_by, estimate
from huohou.plan.facts import plan_of_run, prepare
from huohou.plan.result import Plan

SHAPE = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
}
TEXT = [f"第{i}天，小明去了{'东西南北'[i % 4]}边的山上，看见{i * 7 % 97}只鸟。" for i in range(800)]
ENGLISH = [f"day {i}: the cat sat on the mat, and {i * i} birds flew by" for i in range(200)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return train_tokenizer(TEXT, 300)


@pytest.fixture(autouse=True)
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: Tokenizer) -> None:
    monkeypatch.chdir(tmp_path)
    tokenizer.save(Path("base"))
    Path("base/config.json").write_text(json.dumps({**SHAPE, "vocab_size": tokenizer.vocab_size}), encoding="utf-8")
    Path("base/model.safetensors").write_bytes(b"weights")
    Path("zh.txt").write_text("\n".join(TEXT), encoding="utf-8")
    Path("en.txt").write_text("\n".join(ENGLISH), encoding="utf-8")


def run(**sections: Any) -> RunConfig:
    return RunConfig.from_plain(
        {
            "stage": "continue",
            "model": {"path": "base"},
            "data": {"train": "zh.txt", "sequence_length": 32},
            "batch": {"size": 8},
            "schedule": {"peak": 1e-3},
            **sections,
        }
    )


MIX = {"mix": {"zh": {"train": "zh.txt", "weight": 3}, "en": {"train": "en.txt", "weight": 1}}, "sequence_length": 32}


def advice(plan: Plan) -> dict[str, str]:
    return {piece.id: piece.text.en for piece in plan.advice}


def test_the_shape_and_the_vocabulary_come_from_the_folder() -> None:
    prepared = prepare(run())
    model = prepared.plan.model or {}
    assert {name: model[name] for name in SHAPE if name != "model_type"} == {
        name: value for name, value in SHAPE.items() if name != "model_type"
    }
    assert (model["architecture"], model["path"], model["grow"], model["pad_rows_to"]) == ("llama", "base", "mean", 1)
    assert model["vocab_size"] == model["base_vocab_size"] == model["rows"] == prepared.tokenizer.vocab_size
    assert model["parameters"] == count_parameters(SHAPE, model["rows"]).total
    assert prepared.base == Path("base")
    assert prepared.plan.parts == {"old_rows": "all", "body": "all"}
    # The same without tokenising, from the cache.
    assert plan_of_run(run()).plan_fingerprint == prepared.plan.plan_fingerprint


def test_where_the_model_lies_decides_nothing_and_what_is_in_it_does() -> None:
    one = prepare(run()).plan
    Path("base").rename("elsewhere")
    moved = prepare(run(model={"path": "elsewhere"})).plan
    assert moved.plan_fingerprint == one.plan_fingerprint
    Path("elsewhere/model.safetensors").write_bytes(b"WEIGHTS")
    assert prepare(run(model={"path": "elsewhere"})).plan.plan_fingerprint != one.plan_fingerprint


def test_a_run_folder_is_a_model_too() -> None:
    Path("runs/before").mkdir(parents=True)
    Path("base").rename("runs/before/model")
    assert (prepare(run(model={"path": "runs/before"})).plan.model or {})["path"] == str(Path("runs/before/model"))


def unfinished() -> None:
    Path("runs/x").mkdir(parents=True)
    Path("runs/x/plan.json").write_text("{}", encoding="utf-8")


def adapter() -> None:
    Path("runs/y/adapter").mkdir(parents=True)
    Path("runs/y/adapter/adapter_config.json").write_text("{}", encoding="utf-8")


@pytest.mark.parametrize(
    ("path", "prepared", "message"),
    [
        ("./nowhere", None, "there is no folder ./nowhere"),
        ("zh.txt", None, "there is no folder zh.txt"),
        ("runs/x", unfinished, "is a run that is not finished"),
        ("runs/y", adapter, "holds an adapter and no whole model; merge it first: huohou export"),
        ("nobody/nothing", None, "nobody/nothing is not on this machine"),
    ],
)
def test_what_is_no_model_is_said(path: str, prepared: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", "hub")
    if prepared is not None:
        prepared()
    with pytest.raises(UserError, match=message):
        prepare(run(model={"path": path}))


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000])
def test_a_hostile_config_is_a_sentence(text: str) -> None:
    Path("base/config.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"config\.json"):
        prepare(run())


def test_a_hub_s_model_is_found_in_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", "hub")
    snapshot = Path("hub/models--some--base/snapshots/abc")
    snapshot.parent.mkdir(parents=True)
    Path("base").rename(snapshot)
    refs = Path("hub/models--some--base/refs")
    refs.mkdir()
    (refs / "main").write_text("abc", encoding="utf-8")
    assert prepare(run(model={"path": "some/base"})).base == snapshot
    # Without it a plan of a length in updates is made all the same, and one in epochs says what is missing.
    (refs / "main").write_text("gone", encoding="utf-8")
    plan = plan_of_run(run(model={"path": "some/base"}, train={"updates": 50}))
    assert (plan.updates, plan.model) == (50, None)
    with pytest.raises(UserError, match="its tokenizer is not known"):
        plan_of_run(run(model={"path": "some/base"}))


def test_a_longer_sequence_than_the_model_s_is_refused() -> None:
    with pytest.raises(UserError, match=r"data.sequence_length is 512, but base is made for at most 256"):
        prepare(run(data={"train": "zh.txt", "sequence_length": 512}))


def grown(tokenizer: Tokenizer) -> None:
    """An extension of the base's vocabulary, made by hand: one more piece at the end."""
    tokenizer.save(Path("grown"))
    path = Path("grown/tokenizer.json")
    plain = json.loads(path.read_text(encoding="utf-8"))
    last = {"id": tokenizer.vocab_size, "content": "<新>", "single_word": False, "lstrip": False, "rstrip": False}
    plain["added_tokens"].append({**last, "normalized": False, "special": True})
    path.write_text(json.dumps(plain, ensure_ascii=False), encoding="utf-8")


def test_a_grown_vocabulary_has_new_rows(tokenizer: Tokenizer) -> None:
    grown(tokenizer)
    prepared = prepare(
        run(
            model={"path": "base", "pad_rows_to": 64},
            tokenizer={"path": "grown"},
            groups={"new_rows": "5x", "body": {"start": "10 steps"}},
        )
    )
    model = prepared.plan.model or {}
    assert model["base_vocab_size"] == tokenizer.vocab_size
    assert model["vocab_size"] == tokenizer.vocab_size + 1
    assert model["rows"] % 64 == 0
    assert prepared.plan.parts == {"new_rows": "new_rows", "old_rows": "all", "body": "body"}
    assert {"new-rows", "optimizer-fresh"} <= set(advice(prepared.plan))
    assert "5x" in advice(prepared.plan)["new-rows"]
    with pytest.raises(UserError, match=r"groups\.new_rows has a curve, but this run has no such part"):
        prepare(run(groups={"new_rows": "5x"}))


@pytest.mark.parametrize(("kind", "why"), [("gemma2", "scales the rows"), ("gptj", "has a bias beside its rows")])
def test_a_vocabulary_that_cannot_be_grown_is_said_before_anything_is_read(
    tokenizer: Tokenizer, kind: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = {**SHAPE, "model_type": kind, "vocab_size": tokenizer.vocab_size}
    Path("base/config.json").write_text(json.dumps(shape), encoding="utf-8")
    # With its own vocabulary it is a model like any other.
    assert (prepare(run()).plan.model or {})["architecture"] == kind
    grown(tokenizer)
    written = (
        "stage: continue\nmodel: {path: base}\ntokenizer: {path: grown}\ndata: {train: zh.txt, sequence_length: 32}\n"
    )
    Path("run.yaml").write_text(f"{written}batch: {{size: 8}}\nschedule: {{peak: 1e-3}}\n", encoding="utf-8")
    for verb in ("plan", "train"):
        assert main([verb, "run.yaml"]) == 2
        said = capsys.readouterr()
        assert f"the vocabulary of a model of the kind {kind} cannot be grown" in said.err and why in said.err
        assert "counting tokens" not in said.out


def test_a_mixture_is_counted_and_says_what_an_epoch_means() -> None:
    prepared = prepare(run(data={**MIX, "validation": "5%"}, train={"epochs": 2}))
    plan = prepared.plan
    zh, en = plan.data["sources"]
    assert (zh["name"], zh["share"], en["share"]) == ("zh", 0.75, 0.25)
    assert prepared.train.count == zh["sequences"] + en["sequences"] == plan.data["sequences"]
    assert prepared.counts == (zh["sequences"], en["sequences"])
    positions = 2 * prepared.train.count
    assert zh["drawn"] + en["drawn"] == positions
    assert abs(zh["drawn"] - 0.75 * positions) < 6
    assert en["passes"] == en["drawn"] / en["sequences"]
    assert "goes through its corpora so many times: zh" in advice(plan)["mixture"]
    assert prepared.validation is not None
    # The order has the plan's length, is the same for any number of processes, and its batches hold both corpora.
    order = prepared.order_of(plan)
    assert sum(len(order.batch(k)) for k in range(plan.updates)) == positions
    assert len({index >= zh["sequences"] for k in range(9) for index in order.batch(k).tolist()}) == 2
    batch = prepared.train.batch(order.batch(0))
    assert batch.inputs.shape == (8, 32)
    # Without tokenising it is a sample with an interval; with the caches it is exact.
    assert plan_of_run(run(data={**MIX, "validation": "5%"}, train={"epochs": 2})).plan_fingerprint == (
        plan.plan_fingerprint
    )


def test_a_mixture_s_weights_decide_the_plan_and_are_estimated_before() -> None:
    estimated = plan_of_run(run(data=MIX))
    assert not estimated.exact
    one = prepare(run(data=MIX)).plan
    assert estimated.interval is not None
    assert estimated.interval[0] <= one.updates <= estimated.interval[1]
    other = json.loads(json.dumps(MIX))
    other["mix"]["en"]["weight"] = 2
    assert prepare(run(data=other)).plan.plan_fingerprint != one.plan_fingerprint


def test_a_tokenizer_is_trained_on_all_corpora_of_a_mixture() -> None:
    sections = {"stage": "pretrain", "model": {"preset": "0.5m"}, "tokenizer": {"vocab_size": 350}, "data": MIX}
    prepared = prepare(run(**sections))
    assert len(prepared.tokenizer.encode("the cat sat")) < 11
    assert prepared.train.count > 0


CHAT = [
    {"messages": [{"role": "user", "content": f"{i}加{i}是多少？"}, {"role": "assistant", "content": f"是{2 * i}。"}]}
    for i in range(60)
]


def test_dialogues_are_counted_and_packed() -> None:
    Path("chat.jsonl").write_text("\n".join(json.dumps(one, ensure_ascii=False) for one in CHAT), encoding="utf-8")
    data = {"train": "chat.jsonl", "template": "chatml", "sequence_length": 128}
    sections: dict[str, Any] = {"stage": "sft", "data": data, "batch": {"size": 2}}
    # Dialogues are not sampled, so that a plan is exact at once.
    plan = plan_of_run(run(**sections))
    assert plan.exact
    prepared = prepare(run(**sections))
    assert prepared.plan.plan_fingerprint == plan.plan_fingerprint
    assert prepared.plan.data["documents"] == 60
    assert prepared.plan.updates == -(-prepared.train.count // 2)
    assert prepared.train.batch(prepared.order_of(plan).batch(0)).segments is not None
    unpacked = prepare(run(stage="sft", data={**data, "packing": False}, batch={"size": 2}))
    assert unpacked.train.count == 60


LORA = {"rank": 4, "alpha": 8}


def test_adapters_are_what_moves() -> None:
    plan = prepare(run(lora={**LORA, "plus_ratio": 16})).plan
    assert plan.parts == {"adapters": "all", "adapters_b": "adapters_b"}
    assert plan.frozen == ("old_rows", "body")
    assert float(plan.groups["adapters_b"].peak) == 16e-3
    model = plan.model or {}
    assert model["lora"]["rank"] == 4
    assert model["lora"]["bits"] is None
    a, b = count_adapters(SHAPE, ("all",), 4)
    assert plan.budget["trained"] == a + b
    assert plan.budget["memory_bytes"] < (prepare(run()).plan.budget["memory_bytes"] or 0)
    assert plan.budget["flops"] < (prepare(run()).plan.budget["flops"] or 0)
    assert "lora-rate" in advice(plan)
    with pytest.raises(UserError, match=r"lora\.rows is new, but the tokenizer adds no pieces"):
        prepare(run(lora={**LORA, "rows": "new"}))


def test_parameters_of_adapters() -> None:
    # q, o: 32 → 32; k, v: 32 → 16; gate, up: 32 → 48; down: 48 → 32; two layers.
    assert count_adapters(SHAPE, ("all",), 4) == (2 * 4 * (6 * 32 + 48), 2 * 4 * (2 * 32 + 2 * 16 + 2 * 48 + 32))
    assert count_adapters(SHAPE, ("q_proj", "down_proj", "nothing"), 2) == (2 * 2 * (32 + 48), 2 * 2 * 64)


def test_operations_of_what_does_not_move_are_left_out() -> None:
    whole = flops_per_token(SHAPE, 300, 32)
    frozen = flops_per_token(SHAPE, 300, 32, body=False, head=False, adapters=100)
    parameters = count_parameters(SHAPE, 300)
    norms = 5 * 32
    assert whole - frozen == 2 * (parameters.body - norms + parameters.head) - 600
    assert flops_per_token(SHAPE, 300, 32, recompute=True) > whole


@pytest.mark.parametrize(
    ("engine", "stage", "device", "host"),
    [
        ("ddp", 2, 16.0, 0.0),
        ("fsdp2", 2, 4.0, 0.0),
        ("deepspeed", 0, 16.0, 0.0),
        ("deepspeed", 1, 10.0, 0.0),
        ("deepspeed", 2, 7.0, 0.0),
        ("deepspeed", 3, 4.0, 0.0),
    ],
)
def test_memory_of_a_process_by_engine(engine: str, stage: int, device: float, host: float) -> None:
    work = Workload(parameters=1000, world_size=4, divided=divided_by(engine, stage, 4))
    assert (estimate(work)["memory_bytes"], estimate(work)["host_bytes"]) == (1000 * device, host)


def test_memory_of_eight_and_four_bits_and_of_offload() -> None:
    assert estimate(Workload(parameters=1000, optimizer="adamw8bit"))["memory_bytes"] == 10_000
    assert estimate(Workload(parameters=1000, trained=10, bits=4))["memory_bytes"] == 10 * 16 + round(990 * 0.55)
    moved = estimate(Workload(parameters=1000, world_size=4, divided=divided_by("fsdp2", 2, 4), offload=True))
    assert (moved["memory_bytes"], moved["host_bytes"]) == (0, 4000)
    shape = {**SHAPE, "vocab_size": 300}
    kept = estimate(Workload(parameters=1, shape=shape, micro_batch_tokens=64))["memory_bytes"]
    again = estimate(Workload(parameters=1, shape=shape, micro_batch_tokens=64, recompute=True))["memory_bytes"]
    assert again < kept


def carried(**more: Any) -> Plan:
    return prepare(run(optimizer={"state": "carried", "from": "runs/before"}, **more)).plan


def test_carried_moments_and_what_they_mean_for_the_rise() -> None:
    Path("runs/before").mkdir(parents=True)
    was = plan_of_run(run(train={"updates": 40}))
    Path("runs/before/plan.json").write_text(json.dumps(was.to_plain()), encoding="utf-8")
    last = was.curve(40)
    assert last_rate("runs/before") == last
    low = carried(schedule={"peak": last})
    assert low.warmup_updates == 0
    assert "no warmup is needed" in advice(low)["optimizer-carried"]
    high = carried()
    assert high.warmup_updates > 0
    assert "a re-warming" in advice(high)["optimizer-carried"]
    fresh = prepare(run()).plan
    assert "begins fresh" in advice(fresh)["optimizer-fresh"]
    with pytest.raises(UserError, match=r"optimizer\.from: there is no folder nowhere"):
        prepare(run(optimizer={"state": "carried", "from": "nowhere"}))


def test_a_checkpoint_s_rate_is_that_of_its_update() -> None:
    Path("runs/before/checkpoints/checkpoint-20").mkdir(parents=True)
    was = plan_of_run(run(train={"updates": 40}))
    Path("runs/before/plan.json").write_text(json.dumps(was.to_plain()), encoding="utf-8")
    assert last_rate("runs/before/checkpoints/checkpoint-20") == was.curve(20)
    Path("runs/before/plan.json").unlink()
    assert last_rate("runs/before/checkpoints/checkpoint-20") is None


def test_planning_a_continued_run_imports_neither_torch_nor_transformers() -> None:
    text = run(data=MIX, lora=LORA).resolved()
    Path("run.yaml").write_text(json.dumps(text), encoding="utf-8")
    script = (
        "import sys; from huohou.plan.facts import plan_of_file; plan, _ = plan_of_file('run.yaml', [], exact=True); "
        "import json; json.dumps(plan.to_plain(), allow_nan=False); "
        "print(sorted({'torch', 'transformers', 'peft'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
