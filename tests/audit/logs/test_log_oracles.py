"""The rates that real DeepSpeed-Chat runs logged: skipped updates are found again from the rates alone."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from huohou.audit.document import Document
from huohou.audit.examine import Audit, examine
from huohou.audit.logs.examine import examine_log
from huohou.audit.logs.reading import read_log
from huohou.audit.reading import Given
from huohou.audit.source import Source

LAUNCH = (
    "deepspeed main.py --data_split 2,4,4 --model_name_or_path facebook/opt-1.3b --learning_rate {rate} "
    "--num_train_epochs 1 --lr_scheduler_type cosine --num_warmup_steps 0 --zero_stage 2 --deepspeed\n"
)
RUNS = [("deepspeed_chat_step1_sft.csv", "9.65e-6", 7360), ("deepspeed_chat_step2_reward.csv", "5e-5", 1840)]


def configuration(rate: str):
    def read(given: Given) -> Audit:
        return examine(Document(Source("run.sh", LAUNCH.format(rate=rate), Path("run.sh"))), given)

    return read


@pytest.mark.external
@pytest.mark.parametrize("told", [True, False], ids=["counted", "found"])
@pytest.mark.parametrize("given", [Given(), None], ids=["length-from-the-log", "length-given"])
@pytest.mark.parametrize(("name", "rate", "updates"), RUNS, ids=["sft", "reward"])
def test_logged_rates_are_reproduced_with_their_skipped_updates(
    told: bool, given: Given | None, name: str, rate: str, updates: int, shared_data: Path, tmp_path: Path
) -> None:
    with open(shared_data / "lr_oracles" / name, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = ["update", "lr_logged_after_update", *(["skipped_updates"] if told else [])]
    text = "\n".join([",".join(columns), *(",".join(row[column] for column in columns) for row in rows)])
    (tmp_path / "log.csv").write_text(text, encoding="utf-8")
    known = Given(updates=updates) if given is None else given
    found = examine_log(read_log(str(tmp_path / "log.csv")), known, configuration(rate))
    (agreement,) = found.agreements
    assert agreement.agrees and agreement.logged == "next" and agreement.relative < 1e-12
    assert agreement.role.applied.updates == updates
    assert agreement.skipped == [int(row["skipped_updates"]) for row in rows]


@pytest.mark.external
@pytest.mark.parametrize(("name", "rate", "updates"), RUNS, ids=["sft", "reward"])
def test_the_rates_alone_tell_the_whole_run(
    name: str, rate: str, updates: int, shared_data: Path, tmp_path: Path
) -> None:
    with open(shared_data / "lr_oracles" / name, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    lines = ["update,rate", *(f"{row['update']},{row['lr_logged_after_update']}" for row in rows)]
    (tmp_path / "log.csv").write_text("\n".join(lines), encoding="utf-8")
    found = examine_log(read_log(str(tmp_path / "log.csv")), Given())
    (explanation,) = found.explanations
    best = explanation.best
    assert best is not None and best.member.name == "cosine, i/W" and best.logged == "next"
    assert (best.peak, best.shape.warmup, best.shape.total) == (float(rate), 0, updates)
    assert explanation.skipped == [int(row["skipped_updates"]) for row in rows]


@pytest.mark.external
@pytest.mark.parametrize("updates", [24_000, 72_000])
def test_other_peoples_tables(updates: int, shared_data: Path) -> None:
    folder = shared_data / "loss_curves" / "multi_power_25m"
    found = examine_log(read_log(str(folder / f"cosine_{updates}.csv")), Given())
    (explanation,) = found.explanations
    totals = {(fit.shape.total, fit.shape.floor, fit.peak) for fit in explanation.fits}
    assert (float(updates), 0.1, 3e-4) in totals
