"""From raw text to a chat, one command after another: tokenizer, pretraining, a larger vocabulary, continued
pretraining, instruction tuning, export, chat, scores. `make pipeline` runs it; docs/tutorial.md explains each step.

It only calls `huohou` as anybody would, and prints every call. With --real DIR it takes files instead of the generated
corpus: DIR/pretrain/d2l_zh.jsonl and songci.jsonl with a field `text`, DIR/sft/alpaca_zh_demo.json in alpaca's form
and glaive_toolcall_zh_demo.json in sharegpt's.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUNS = Path("runs/pipeline")


class Pipeline:
    """The commands, in order, and what they said."""

    def __init__(self, length: float) -> None:
        self.began = time.monotonic()
        self.length = length
        self.rows: list[tuple[str, dict[str, float]]] = []

    def huohou(self, *words: object) -> str:
        """Run one command, show it with its last lines, and return what it printed."""
        said = [str(word) for word in words]
        print(f"\n$ huohou {shlex.join(said)}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "huohou", *said], stdout=subprocess.PIPE, text=True, encoding="utf-8", check=False
        )
        lines = done.stdout.strip().split("\n")
        print("\n".join(lines[-12:]), flush=True)
        if done.returncode != 0:
            sys.exit(f"stopped: status {done.returncode}")
        return done.stdout

    def train(self, name: str, *overrides: str, updates: int) -> None:
        """Plan, then train; the length of every stage is scaled alike."""
        scaled = f"train.updates={max(10, round(updates * self.length))}"
        words = [f"configs/pipeline/{name}.yaml", scaled, *overrides]
        self.huohou("train", *words, "--quiet")

    def score(self, stage: str, model: Path, *words: object) -> None:
        """Measure the model after a stage."""
        file = RUNS / f"{stage}.json"
        self.huohou("eval", model, *words, "--output", file)
        self.rows.append((stage, measured(json.loads(file.read_text(encoding="utf-8")))))

    def held_out(self, stage: str, model: Path) -> None:
        """Bits per byte of each held-out file, and of all of them together."""
        bits, size, values = 0.0, 0, {}
        for path in sorted(RUNS.glob("*.held.jsonl")):
            name = path.name.removesuffix(".held.jsonl")
            file = RUNS / f"{stage}-{name}.json"
            self.huohou("eval", model, "--perplexity", path, "--window", 128, "--output", file)
            found = json.loads(file.read_text(encoding="utf-8"))["results"]["perplexity"]
            values[name[:16]] = found["bits_per_byte"]
            bits, size = bits + found["bits_per_byte"] * found["bytes"], size + found["bytes"]
        self.rows.append((stage, {"all, bits per byte": bits / size, **values}))

    def table(self) -> None:
        """What every stage was worth."""
        print("\nstage      " + "  ".join(f"{name:>18}" for name in self.rows[0][1]))
        for stage, values in self.rows:
            print(f"{stage:<10} " + "  ".join(f"{value:18.4f}" for value in values.values()))
        print(f"{time.monotonic() - self.began:.0f} s in all")


def measured(result: dict) -> dict[str, float]:
    """The figures of a result file: bits per byte, and the share of right answers."""
    values: dict[str, float] = {}
    result = result["results"]
    if result.get("perplexity"):
        values["bits per byte"] = result["perplexity"]["bits_per_byte"]
    if result.get("questions"):
        values["right answers"] = result["questions"]["share"]
    return values


def embedded(pipeline: Pipeline, questions: int) -> None:
    """On the corpus that huohou generates: the answers to its questions are scored after every stage."""
    run = pipeline.huohou
    run("data", "embedded", "--characters", "1500k", "--output", RUNS / "corpus.jsonl")
    run("tokenizer", "train", RUNS / "corpus.jsonl", "--vocab-size", 800, "--output", RUNS / "base-tokenizer")
    pipeline.train("base", updates=500)
    pipeline.score("base", RUNS / "base", "--questions", questions)
    run(
        "tokenizer", "extend", RUNS / "base-tokenizer", "--train", RUNS / "corpus.jsonl", "--vocab-size", 2048,
        "--output", RUNS / "tokenizer",
    )  # fmt: skip
    run("plan", "configs/pipeline/continue.yaml")
    pipeline.train("continue", updates=900)
    pipeline.score("continue", RUNS / "continue", "--questions", questions)
    run("data", "show", "configs/pipeline/sft.yaml", "-n", 1)
    pipeline.train("sft", updates=300)
    run("export", RUNS / "sft", "--output", RUNS / "model")
    run("chat", RUNS / "model", "--greedy", "--max-tokens", 40, "--once", "七加八等于多少？")
    pipeline.score("sft", RUNS / "model", "--questions", questions, "--chat")


def real(pipeline: Pipeline, folder: Path) -> None:
    """On real files: bits per byte of held-out text, part by part, are measured after every stage.

    The base learns prose; poems come with the larger vocabulary, the prose being replayed; then instructions.
    """
    run = pipeline.huohou
    prose, poems = ("d2l_zh", "songci")
    for name in (prose, poems):
        part(folder / "pretrain" / f"{name}.jsonl", name)
    for name in ("alpaca_zh_demo", "glaive_toolcall_zh_demo"):
        part(folder / "sft" / f"{name}.json", name)
    learned = {
        name: RUNS / f"{name}.train.jsonl" for name in (prose, poems, "alpaca_zh_demo", "glaive_toolcall_zh_demo")
    }
    run("tokenizer", "train", learned[prose], "--vocab-size", 1500, "--output", RUNS / "base-tokenizer")
    text = [f"data={{train: [{learned[prose].as_posix()}], validation: 2%, sequence_length: 128}}"]
    pipeline.train("base", *text, updates=500)
    pipeline.held_out("base", RUNS / "base")
    run(
        "tokenizer", "extend", RUNS / "base-tokenizer", "--train", learned[poems], learned[prose], "--vocab-size", 6000,
        "--held-out", RUNS / f"{poems}.held.jsonl", "--output", RUNS / "tokenizer",
    )  # fmt: skip
    mixed = ", ".join(
        f"{name}: {{train: [{learned[name].as_posix()}], weight: {weight}}}"
        for name, weight in ((poems, 2), (prose, 1))
    )
    held = (RUNS / f"{poems}.held.jsonl").as_posix()
    run(
        "plan",
        "configs/pipeline/continue.yaml",
        f"data={{mix: {{{mixed}}}, validation: [{held}], sequence_length: 128}}",
    )
    pipeline.train("continue", f"data={{mix: {{{mixed}}}, validation: [{held}], sequence_length: 128}}", updates=600)
    pipeline.held_out("continue", RUNS / "continue")
    files = ", ".join(learned[name].as_posix() for name in ("alpaca_zh_demo", "glaive_toolcall_zh_demo"))
    samples = (
        f"data={{train: [{files}], validation: 2%, template: minimind, sequence_length: 256, nothing_to_learn: skip}}"
    )
    pipeline.train("sft", samples, "lora.rows=all", "schedule.peak=1.5e-4", updates=300)
    run("export", RUNS / "sft", "--output", RUNS / "model")
    run("chat", RUNS / "model", "--greedy", "--max-tokens", 40, "--once", "请介绍一下人工智能。")
    pipeline.held_out("sft", RUNS / "model")


def part(path: Path, name: str) -> None:
    """Every fiftieth record is held out, never learned from; dialogues are held out as the text that a model reads."""
    text = path.read_text(encoding="utf-8")
    records = json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
    for kind, chosen in (("held", records[::50]), ("train", [r for i, r in enumerate(records) if i % 50])):
        if kind == "held":
            chosen = [record if "text" in record else {"text": said(record)} for record in chosen]
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in chosen)
        (RUNS / f"{name}.{kind}.jsonl").write_text(lines, encoding="utf-8", newline="\n")


def said(record: dict) -> str:
    """A dialogue as plain text, one turn a line."""
    if "conversations" in record:
        return "\n".join(str(turn["value"]) for turn in record["conversations"])
    return "\n".join(record[key] for key in ("instruction", "input", "output") if record.get(key))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, metavar="DIR", help="real files in place of the generated corpus")
    parser.add_argument("--questions", type=int, default=200, help="how many are asked after every stage")
    parser.add_argument("--length", type=float, default=1.0, help="scales the updates of every stage")
    options = parser.parse_args()
    if Path.cwd() != ROOT:
        sys.exit(f"start it in {ROOT}: the run files name their folders from there")
    shutil.rmtree(RUNS, ignore_errors=True)
    RUNS.mkdir(parents=True)
    pipeline = Pipeline(options.length)
    if options.real is None:
        embedded(pipeline, options.questions)
    else:
        real(pipeline, options.real)
    pipeline.table()


if __name__ == "__main__":
    main()
