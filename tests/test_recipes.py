"""Every run file under configs/recipes and configs/pipeline loads, plans, and trains when it is scaled down to a tiny model on the CPU."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from huohou.cli.main import main
from huohou.config import load_run
from huohou.data.tokenizer import Tokenizer
from huohou.data.tokenizer_training import train_tokenizer
from huohou.errors import UserError
from huohou.launch import train
from huohou.model import ModelConfig, build, write_model
from huohou.plan.facts import plan_of_run
from huohou.records import RunFolder

ROOT = Path(__file__).resolve().parents[1]
RECIPES = sorted([*ROOT.glob("configs/recipes/*.yaml"), *ROOT.glob("configs/pipeline/*.yaml")])
LINES = [f"从前有{i}座山，第{i * 7 % 1000}座山里有一座庙，庙里的人说 hello {i}。" for i in range(400)]

SMALL = (
    "data.sequence_length=64",
    "data.validation=5%",
    "batch={size: 4, micro_batch: 2}",
    "train.epochs=null",
    "train.tokens=null",
    "train.updates=8",
    "train.device=cpu",
    "train.dtype=float32",
    "train.engine=auto",
    "train.evaluate_every=4",
    "train.sample_every=null",
    "checkpoint.every=4",
    "optimizer.name=adamw",
)
"""What makes a recipe small; everything else is as it is shipped."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model, a tokenizer that continues the model's, texts and dialogues."""
    folder = tmp_path_factory.mktemp("recipes")
    tokenizer = train_tokenizer(LINES, 300)
    tokenizer.save(folder / "small")
    words = "".join(f"{line}星期天的早晨，大家在院子里喝茶下棋。\n" for line in LINES)
    (folder / "more.txt").write_text(words, encoding="utf-8")
    extend = ["tokenizer", "extend", str(folder / "small"), "--train", str(folder / "more.txt"), "--vocab-size", "320"]
    assert main([*extend, "--output", str(folder / "tokenizer")]) == 0
    shape = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 4096, "vocab_size": tokenizer.vocab_size,
        "bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id,
        "tie_word_embeddings": False,
    }  # fmt: skip
    write_model(build(ModelConfig.from_huggingface(shape, "tiny"), seed=1), folder / "model", tokenizer)
    (folder / "texts.jsonl").write_text(
        "".join(json.dumps({"text": line}, ensure_ascii=False) + "\n" for line in LINES), encoding="utf-8"
    )
    dialogues = [{"instruction": line, "input": "", "output": line[::-1]} for line in LINES[:80]]
    (folder / "alpaca.json").write_text(json.dumps(dialogues, ensure_ascii=False), encoding="utf-8")
    turns = [
        {"conversations": [{"role": "user", "content": line}, {"role": "assistant", "content": line[::-1]}]}
        for line in LINES[:80]
    ]
    (folder / "turns.jsonl").write_text(
        "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in turns), encoding="utf-8"
    )
    return folder


@pytest.fixture(autouse=True)
def _there(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield


def overrides(path: Path, small: Path, output: Path) -> list[str]:
    """The places of a recipe's data and models, for the tiny ones."""
    run, place = load_run(path), small.as_posix()
    said = [f"output={output.as_posix()}"]
    if run.data.mix is not None:
        said += [f"data.mix.{name}.train={place}/texts.jsonl" for name in run.data.mix]
    elif run.data.embedded is not None:
        said.append("data.embedded.samples=60")
    elif run.stage == "sft":
        said.append(f"data.train={place}/{'alpaca.json' if run.data.format == 'alpaca' else 'turns.jsonl'}")
    else:
        said.append(f"data.train={place}/texts.jsonl")
    if run.model.path is not None:
        said.append(f"model.path={place}/model")
        if run.tokenizer.path is not None:
            said.append(f"tokenizer.path={place}/tokenizer")
    else:
        said.append("tokenizer={vocab_size: 300}")
    if run.data.template is not None and run.data.template.endswith(".jinja"):
        said.append(f"data.template={(ROOT / run.data.template).as_posix()}")
    if run.lora is not None and run.lora.bits:
        said.append("lora.bits=null")
    if run.data.mix is not None and not run.data.validation_share:
        said.append(f"data.validation={place}/texts.jsonl")
    return said


def test_there_are_some() -> None:
    assert len(RECIPES) >= 8


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_plans(path: Path, small: Path, tmp_path: Path) -> None:
    # The length of these texts is not that of the recipe's, so the run is given one.
    length = ("train.epochs=null", "train.tokens=null", "train.updates=2000")
    plan = plan_of_run(load_run(path, [*overrides(path, small, tmp_path / "run"), *length]))
    assert plan.updates == 2000
    assert 0 < plan.warmup_updates <= 200
    assert plan.advice


@pytest.mark.heavy
@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_trains(path: Path, small: Path, tmp_path: Path) -> None:
    said = [*overrides(path, small, tmp_path / "run"), *SMALL]
    run = load_run(path)
    if run.data.mix is not None:
        said = [one for one in said if one != "data.validation=5%"]
    if run.model.path is None:
        said.append("model.num_hidden_layers=1")
    for part in ("new_rows", "adapters"):
        if getattr(run.groups, part) is not None:
            said.append(f"groups.{part}.warmup=2 steps")
    result = train(load_run(path, said), quiet=True)
    folder = RunFolder(tmp_path / "run")
    assert result.counters.update == 8
    written = folder.path / ("adapter" if run.lora is not None else "model")
    # What a checkpoint is exported with was there from the beginning.
    assert Tokenizer.load(folder.tokenizer).chat_template == Tokenizer.load(written).chat_template


def test_a_recipe_says_what_is_absent(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="corpus"):
        plan_of_run(load_run(ROOT / "configs/recipes/minimind-pretrain.yaml", ["data.train=corpus.jsonl"]), exact=True)
