"""The rates that real DeepSpeed-Chat runs logged, from launch scripts of the kind that made them."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import pytest

from huohou.audit.document import Document
from huohou.audit.examine import examine
from huohou.audit.reading import Given
from huohou.audit.source import Source

LAUNCH = """#!/bin/bash
OUTPUT=$1
ZERO_STAGE=$2
if [ "$ZERO_STAGE" == "" ]; then
    ZERO_STAGE=2
fi
mkdir -p $OUTPUT
deepspeed main.py \\
   --data_path Dahoas/rm-static \\
   --data_split 2,4,4 \\
   --model_name_or_path facebook/opt-1.3b \\
   --per_device_train_batch_size 8 \\
   --learning_rate {rate} \\
   --weight_decay 0. \\
   --num_train_epochs {epochs} \\
   --gradient_accumulation_steps 1 \\
   --lr_scheduler_type cosine \\
   --num_warmup_steps 0 \\
   --seed 1234 \\
   --zero_stage $ZERO_STAGE {more} \\
   --deepspeed \\
   --output_dir $OUTPUT &> $OUTPUT/training.log
"""


@pytest.mark.external
@pytest.mark.parametrize(
    ("name", "rate", "epochs", "more", "updates"),
    [
        ("deepspeed_chat_step1_sft.csv", "9.65e-6", 16, "", 7360),
        ("deepspeed_chat_step2_reward.csv", "5e-5", 5, "--num_padding_at_beginning 1", 1840),
    ],
)
def test_logged_rates(shared_data: Path, name: str, rate: str, epochs: int, more: str, updates: int) -> None:
    text = LAUNCH.format(rate=rate, epochs=epochs, more=more)
    audit = examine(Document(Source("run.sh", text, Path("run.sh"))), Given(updates=updates))
    (reading,) = audit.readings
    (role,) = reading.roles
    assert role.applied.updates == updates and role.warmup == 0
    with open(shared_data / "lr_oracles" / name, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 100
    for row in rows:
        # The rate was read after the step: it is the one of the next update; a skipped update moves nothing.
        after = int(row["update"]) - int(row["skipped_updates"]) + 1
        assert role.applied.rate(after) == pytest.approx(float(row["lr_logged_after_update"]), rel=1e-12, abs=0)


STEPS = [
    ("step1_supervised_finetuning", "opt/single_node/run_1.3b.sh", 7360, ("model",)),
    ("step2_reward_model_finetuning", "opt/single_node/run_350m.sh", 1840, ("model",)),
    ("step2_dpo_finetuning", "opt/single_node/run_350m.sh", 2354, ("model",)),
    ("step3_rlhf_finetuning", "opt/single_node/run_1.3b.sh", 477, ("actor", "critic")),
]
LOGGED = re.compile(r"step=(\d+), skipped=(\d+), lr=\[([^,\]]+)")


@pytest.mark.external
@pytest.mark.parametrize(("step", "script", "updates", "names"), STEPS, ids=[each[0] for each in STEPS])
def test_the_examples_own_scripts_and_logs(step: str, script: str, updates: int, names: tuple[str, ...]) -> None:
    """``HUOHOU_DEEPSPEED_EXAMPLES`` is a checkout of DeepSpeedExamples: its launch scripts beside its published logs."""
    folder = os.environ.get("HUOHOU_DEEPSPEED_EXAMPLES")
    if not folder:
        pytest.skip("HUOHOU_DEEPSPEED_EXAMPLES names no checkout of DeepSpeedExamples")
    place = Path(folder) / "applications" / "DeepSpeed-Chat" / "training" / step
    (log,) = (place / "training_log_output").glob("*.log")
    found = LOGGED.findall(log.read_text(encoding="utf-8", errors="replace"))
    # Line 0 is written before training; a run's roles write one after the other.
    rows = [(int(at), int(skipped), float(rate)) for at, skipped, rate in found if int(at) > 0]
    path = place / "training_scripts" / script
    audit = examine(Document(Source(str(path), path.read_text(encoding="utf-8"), path)), Given(updates=updates))
    roles = {role.name: role.applied for role in audit.readings[0].roles}
    assert len(rows) > 90 and tuple(roles) == names
    for number, (at, skipped, rate) in enumerate(rows):
        curve = roles[names[number % len(names)]]
        assert curve.rate(at - skipped + 1) == pytest.approx(rate, rel=1e-12, abs=0), (at, skipped)
