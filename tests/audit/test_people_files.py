"""The same run in the ways that people write it down: encodings, quotes, launchers, variables, files that name files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from huohou.audit.document import Document
from huohou.audit.examine import Audit, examine
from huohou.audit.reading import Given
from huohou.audit.source import read_source
from huohou.cli.main import main

YAML = (
    "learning_rate: 2e-4\nlr_scheduler_type: cosine\nwarmup_steps: 20\nmax_steps: 200\nper_device_train_batch_size: 4\n"
)
FLAGS = "--learning_rate 2e-4 --lr_scheduler_type cosine --warmup_steps 20 --max_steps 200"
LINES = FLAGS.replace(" --", " \\\n    --")
ARGUMENTS = "learning_rate=2e-4, lr_scheduler_type='cosine', warmup_steps=20, max_steps=200"
FUNCTION = "train() {\n  torchrun run.py --learning_rate $1 --lr_scheduler_type cosine --warmup_steps ${2:-5} --max_steps 200\n}\n"
ENGINE = {
    "optimizer": {"type": "AdamW", "params": {"lr": 2e-4}},
    "scheduler": {"type": "WarmupLR", "params": {"warmup_max_lr": 2e-4, "warmup_num_steps": 20}},
    "train_batch_size": 8,
    "fp16": {"enabled": True},
}
PROGRAM = (
    "import argparse\nfrom torch.optim import AdamW\nfrom transformers import get_cosine_schedule_with_warmup\n"
    "def main():\n    parser = argparse.ArgumentParser()\n    parser.add_argument('--lr', type=float, default=1e-3)\n"
    "    parser.add_argument('--warm-up', type=int, required=True)\n    args = parser.parse_args()\n"
    "    optimizer = AdamW(model.parameters(), lr=args.lr)\n"
    "    scheduler = get_cosine_schedule_with_warmup(optimizer, args.warm_up, 200)\n"
    "    for batch in data:\n        loss.backward()\n        optimizer.step()\n        scheduler.step()\n"
)


def cell(*sources: str) -> str:
    return json.dumps({"cells": [{"cell_type": "code", "source": source.splitlines(True)} for source in sources]})


SAME: dict[str, tuple[str, str | bytes]] = {
    # Encodings and line ends.
    "plain YAML": ("a.yaml", YAML),
    "Windows line ends": ("a.yaml", YAML.replace("\n", "\r\n")),
    "byte order mark": ("a.yml", b"\xef\xbb\xbf" + YAML.encode()),
    "UTF-16": ("a.yaml", YAML.encode("utf-16")),
    "GB18030 comment": ("a.yaml", f"# 学习率先预热再下降\n{YAML}".encode("gb18030")),
    "quoted numbers": ("a.yaml", YAML.replace("2e-4", "'2e-4'").replace("200", '"200"')),
    "capital exponent": ("a.yaml", YAML.replace("2e-4", "2.0E-4")),
    "anchors": ("a.yaml", "base: &rates {learning_rate: 2e-4, warmup_steps: 20}\n<<: *rates\n" + YAML[20:].replace("warmup_steps: 20\n", "")),
    "several documents": ("a.yaml", "{license: MIT}\n---\n" + YAML),
    "tabs between words": ("run.sh", f"python\trun.py\t{FLAGS}\n".replace(" ", "\t")),
    "continued inside quotes": ("run.sh", f'python run.py "--learning_rate" \\\n  "2e-4" {FLAGS[21:]}\n'),
    "first document empty": ("a.yaml", "---\n---\n" + YAML),
    "JSON with tabs": ("a.json", json.dumps({line.split(": ")[0]: line.split(": ")[1] for line in YAML.split("\n") if line}, indent="\t")),
    "JSON with comments": ("a.jsonc", "// 注释\n{\n  /* rate */ \"learning_rate\": 2e-4, // here\n  \"lr_scheduler_type\": \"cosine\",\n"
                           "  \"warmup_steps\": 20, \"max_steps\": 200,\n}\n"),
    "interpolation": ("a.yaml", YAML.replace("max_steps: 200", "max_steps: ${steps.all}") + "steps: {all: 200}\n"),
    # Launchers.
    **{
        launcher: ("run.sh", f"#!/bin/bash\n{launcher} {LINES}\n")
        for launcher in (
            "torchrun --nproc_per_node 8 run.py", "accelerate launch --num_processes 8 run.py", "deepspeed run.py",
            "python -m torch.distributed.launch run.py", "python3 -u run.py", "srun --gpus 8 python run.py",
            "CUDA_VISIBLE_DEVICES=0,1 OMP_NUM_THREADS=1 python run.py", "nohup python run.py",
        )
    },
    "in the background": ("run.sh", f"nohup torchrun run.py {FLAGS} > log.txt 2>&1 &\n"),
    "with equals signs": ("run.sh", "python run.py " + FLAGS.replace("s 2", "s=2").replace("e 2e", "e=2e").replace("e cos", "e=cos")),
    "Windows script": ("run.sh", f"python run.py {LINES}\n".replace("\n", "\r\n")),
    "no ending": ("launch", f"#!/usr/bin/env bash\npython run.py {LINES}\n"),
    # Variables.
    "variables": ("run.sh", "LR=2e-4\nexport STEPS=$((20 * 10))\n" + f"python run.py {FLAGS}".replace("2e-4", "${LR}").replace("200", '"$STEPS"')),
    "defaults": ("run.sh", f"python run.py {FLAGS}".replace("2e-4", "${LR:-2e-4}").replace("200", "${1:-200}")),
    "default by test": ("run.sh", 'LR=$1\nif [ -z "$LR" ]; then\n  LR=2e-4\nfi\n' + f"python run.py {FLAGS}".replace("2e-4", "$LR")),
    "array": ("run.sh", "ARGS=(\n  --learning_rate 2e-4 # 学习率\n  --lr_scheduler_type cosine\n)\nARGS+=(--warmup_steps 20 --max_steps 200)\npython run.py \"${ARGS[@]}\"\n"),
    "command in a variable": ("run.sh", f'cmd="python run.py {LINES}"\necho $cmd\neval $cmd\n'),
    "shell in a command": ("run.sh", f"srun -N 2 bash -c 'source env.sh && torchrun run.py {FLAGS}'\n"),
    "function": ("run.sh", FUNCTION + "train 2e-4 20\n"),
    "loop": ("run.sh", f"for lr in 2e-4; do\n  python run.py {FLAGS}\ndone\n".replace("rate 2e-4", "rate $lr")),
    "here-document": ("run.sh", f"read -r -d '' cmd <<EOF\nrun.py {LINES}\nEOF\ntorchrun $cmd\n"),
    "script handed to a queue": ("run.sh", f"CMD='torchrun run.py {FLAGS}'\nsbatch <<EOF\n#!/bin/bash\n#SBATCH -N 1\nsrun bash -c \"$CMD\"\nEOF\n"),
    "text of cat": ("run.sh", f"ARGS=$(cat <<EOF\n{FLAGS}\nEOF\n)\ntorchrun run.py $ARGS\n"),
    "flags without a command": ("config.sh", f'OPTIONS=" {LINES} "\n'),
    # Python and notebooks.
    "arguments": ("train.py", f"args = TrainingArguments({ARGUMENTS})\n"),
    "arguments from a dictionary": ("train.py", f"kwargs = dict({ARGUMENTS})\nargs = SFTConfig(**kwargs)\n"),
    "named values": ("train.py", f"LR, STEPS = 2e-4, 200\nargs = Seq2SeqTrainingArguments({ARGUMENTS})\n".replace("2e-4, lr", "LR, lr").replace("steps=200", "steps=STEPS")),
    "a class of its own": ("train.py", "from dataclasses import dataclass, field\n@dataclass\nclass Mine(TrainingArguments):\n"
                           "    learning_rate: float = field(default=2e-4)\n    lr_scheduler_type: str = 'cosine'\n    warmup_steps: int = 20\n"
                           "    max_steps: int = 200\nargs, = HfArgumentParser((Mine,)).parse_args_into_dataclasses()\n"),
    "notebook": ("a.ipynb", cell("%pip install trl\n!nvidia-smi", f"args = SFTConfig({ARGUMENTS})")),
    "notebook that starts a script": ("a.ipynb", cell("import os", f"!torchrun run.py {LINES}")),
    "notebook with a shell cell": ("a.ipynb", cell(f"%%bash\ncd work\npython run.py {LINES}")),
    "notebook with a broken cell": ("a.ipynb", cell("def (", f"args = SFTConfig({ARGUMENTS})")),
}  # fmt: skip
"""One run: 2e-4, warmed up over 20 of 200 updates."""


def audit(folder: Path, name: str, content: str | bytes) -> Audit:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return examine(Document(read_source(str(path))), Given())


@pytest.mark.parametrize("form", SAME)
def test_the_same_run_however_it_is_written(form: str, tmp_path: Path) -> None:
    name, content = SAME[form]
    roles = [role for reading in audit(tmp_path, name, content).readings for role in reading.roles]
    assert roles and {(r.applied.peak, r.warmup, r.applied.updates) for r in roles} == {(2e-4, 20.0, 200)}


STARTED: dict[str, tuple[str, dict[str, str]]] = {
    "llamafactory-cli": ("llamafactory-cli train run.yaml", {"run.yaml": YAML + "stage: sft\nfinetuning_type: lora\ndataset: x\ndo_train: true\n"}),
    "beside the working folder": ("swift sft --config conf/run.yaml", {"conf/run.yaml": YAML}),
    "overridden": ("python train.py run.yaml --warmup_steps 20", {"run.yaml": YAML.replace(" 20\n", " 7\n")}),
    "a program": ("python train.py --lr 2e-4 --warm-up 20", {"train.py": PROGRAM}),
    "a program behind a folder that is not known": ("deepspeed $(pwd)/train.py --lr=2e-4 --warm-up=20", {"train.py": PROGRAM}),
    "a script with arguments": ("bash inner.sh 2e-4", {"inner.sh": "python train.py --lr $1 --warm-up 20\n", "train.py": PROGRAM}),
    "a script that is taken in": ("source env.sh\npython train.py --lr $LR --warm-up 20", {"env.sh": "LR=2e-4\n", "train.py": PROGRAM}),
}  # fmt: skip


@pytest.mark.parametrize("form", STARTED)
def test_what_a_script_starts_is_read(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command, files = STARTED[form]
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = audit(tmp_path, "start.sh", f"#!/bin/bash\nset -e\n{command}\n")
    [role] = [role for reading in found.readings for role in reading.roles]
    assert (role.applied.peak, role.warmup, role.applied.updates) == (2e-4, 20.0, 200)
    assert any(
        "line 3 starts" in text.en or "line 4 starts" in text.en for r in found.readings for text in r.assumptions
    )


ASKS: dict[str, tuple[str, str, str]] = {
    "a configuration that is not there": ("go.sh", "axolotl train nowhere.yaml\n", "nowhere.yaml"),
    "a program that is not there": ("go.sh", "python own.py --lr 1e-3 --epochs 3\n", "own.py"),
    "a recipe by name": ("go.sh", "tune run full_finetune --config llama3/8B_full\n", "llama3/8B_full"),
    "a rate without a program": ("own.toml", "[optim]\nlr = 1e-3\nwarmup_steps = 10\n", "--as"),
    "a loop that writes its rate": ("own.py", "o = SGD(p, lr=0.1)\nfor g in o.param_groups:\n    g['lr'] = f(i)\nloss.backward()\n", "param_groups" ),
    "no updates": ("own.py", "o = SGD(p, lr=0.1)\nloss.backward()\no.step()\n", "--updates"),
    "no samples": ("a.yaml", YAML.replace("max_steps: 200\n", "num_train_epochs: 3\n"), "--samples"),
}  # fmt: skip


@pytest.mark.parametrize("form", ASKS)
def test_what_is_not_there_is_asked_for_by_name(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name, text, asked = ASKS[form]
    found = audit(tmp_path, name, text)
    [missing] = [missing for reading in found.readings for missing in reading.missing]
    wanted = "group['lr']" if asked == "param_groups" else asked
    assert wanted in missing.en and wanted in missing.zh
    assert not any(reading.roles for reading in found.readings)


def test_what_is_written_is_shown_where_no_curve_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text(YAML.replace("max_steps: 200\n", ""), encoding="utf-8")
    assert main(["audit", "a.yaml"]) == 0
    out = capsys.readouterr().out
    assert "learning_rate: 2e-4 (line 1)" in out and "warmup_steps: 20 (line 3)" in out and "--samples" in out


@pytest.mark.parametrize("place", ["working folder", "beside", "above", "root", "nowhere"])
def test_where_a_named_file_is_looked_for(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, deep, work = tmp_path / "repository", tmp_path / "repository" / "examples" / "sft", tmp_path / "elsewhere"
    deep.mkdir(parents=True)
    work.mkdir()
    (root / ".git").mkdir()
    # Above the repository's root nothing is looked at.
    places = {"working folder": work, "beside": deep, "above": deep.parent, "root": root, "nowhere": tmp_path}
    order = list(places)
    for rank, name in enumerate(order[order.index(place) :]):
        text = json.dumps({**ENGINE, "scheduler": {"type": "WarmupLR", "params": {"warmup_max_lr": (rank + 1) * 1e-5}}})
        (places[name] / "ds.json").write_text(text, encoding="utf-8")
    monkeypatch.chdir(work)
    found = audit(deep, "run.yaml", YAML + "deepspeed: ds.json\n")
    [reading] = found.readings
    said = " ".join(text.en for text in reading.assumptions)
    if place == "nowhere":
        assert reading.roles[0].applied.peak == 2e-4 and "ds.json was not found" in said
    else:
        # The first hit is used, and named.
        assert reading.roles[0].applied.peak == 1e-5 and str(places[place] / "ds.json") in said


def test_a_configuration_that_the_script_itself_writes(tmp_path: Path) -> None:
    text = (
        f"CONFIG=ds.json\ncat <<EOF > $CONFIG\n{json.dumps(ENGINE)}\nEOF\ntorchrun run.py {FLAGS} --deepspeed $CONFIG\n"
    )
    found = audit(tmp_path, "run.sh", text)
    [reading] = found.readings
    assert reading.facts["deepspeed_scheduler"] == "WarmupLR"


def test_a_run_that_ends_in_its_warmup_has_no_decay_to_lose(tmp_path: Path) -> None:
    text = YAML.replace("warmup_steps: 20", "warmup_steps: 300") + "fp16: true\n"
    found = audit(tmp_path, "a.yaml", text)
    assert "skipped-updates-delay" not in {each.rule for each in found.findings}
    found = audit(tmp_path, "b.yaml", YAML + "fp16: true\n")
    assert "skipped-updates-delay" in {each.rule for each in found.findings}


def test_a_newer_engine_under_an_old_name(tmp_path: Path) -> None:
    # LLaMA-Factory's second engine has a Trainer of its own: without a scheduler the rate stays.
    text = "model: m\ntrain_dataset: d.yaml\ndist_config: {name: fsdp2}\nkernel_config: {name: auto}\nmicro_batch_size: 1\n"
    [reading] = audit(tmp_path, "a.yaml", text + "learning_rate: 1e-4\nmax_steps: 5\n").readings
    assert [reading.roles[0].applied.rate(update) for update in (1, 3, 5)] == [1e-4] * 3


def test_the_number_behind_a_dataset_is_its_samples(tmp_path: Path) -> None:
    text = "swift sft --model m --dataset 'a/b#500' c:default#300 --split_dataset_ratio 0.01 --gradient_accumulation_steps 8\n"
    [reading] = audit(tmp_path, "a.sh", text).readings
    # 495 and 297 samples, one of each a micro-batch, 8 of them an update, 3 epochs.
    assert reading.roles[0].applied.updates == 3 * 99
    assert not audit(tmp_path, "b.sh", text.replace("#300", "")).readings[0].roles


def test_a_file_that_a_launcher_takes_is_read_in_its_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "model: m\ntuner_type: lora\nmax_length: 2048\ntorch_dtype: bfloat16\nlearning_rate: 1e-4\nwarmup_ratio: 0.05\nmax_steps: 100\n"
    (tmp_path / "sft.yaml").write_text(text, encoding="utf-8")
    found = audit(tmp_path, "sft.sh", "swift sft --config sft.yaml\n")
    # It hands a ratio on in whichever word the installed Transformers take.
    assert [reading.dialect for reading in found.readings] == ["ms-swift"]
    assert "warmup-ratio-removed" not in {each.rule for each in found.findings}


def test_a_folder_is_counted_rule_by_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(YAML.replace("max_steps: 200", "max_steps: 15"), encoding="utf-8")
    (tmp_path / "c.yaml").write_text(YAML, encoding="utf-8")
    assert main(["audit", ".", "--fail-on", "never"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.split("\n")]
    assert ["updates-at-zero", "3", "3"] in rows and ["warmup-not-shorter-than-run", "2", "2"] in rows
    assert main(["audit", ".", "--json", "--fail-on", "never"]) == 0
    rules = json.loads(capsys.readouterr().out)["rules"]
    assert rules["updates-at-zero"] == 3 and list(rules.values()) == sorted(rules.values(), reverse=True)
