"""What single dialects make of their own words and defaults."""

from __future__ import annotations

import pytest
from audited import audit

LLAMA_FACTORY = (
    "stage: sft\ndo_train: true\nfinetuning_type: lora\ntemplate: llama2\ncutoff_len: 1024\ndataset: x\n"
    "learning_rate: 1e-4\nmax_steps: 100\nwarmup_steps: 10\nlr_scheduler_type: warmup_stable_decay\n"
)


def test_llama_factory_holds_a_third_and_decays_two() -> None:
    found = audit(LLAMA_FACTORY, "a.yaml")
    assert found.dialect == "llamafactory"
    (role,) = found.readings[0].roles
    # W = 10, so 90 // 3 = 30 are held and 60 decay: positions 10…39 hold, position 41 is the first below the peak.
    rates = [role.applied.rate(update) for update in range(1, 101)]
    assert rates[10] == rates[40] == pytest.approx(1e-4) and rates[41] < rates[40]
    assert rates[70] == pytest.approx(0.5e-4) and rates[99] > 0


def test_llama_factory_files_that_train_nothing() -> None:
    from huohou.errors import UserError

    with pytest.raises(UserError, match="configures no training"):
        audit("model_name_or_path: m\nfinetuning_type: lora\ntemplate: x\nexport_dir: e\ncutoff_len: 3\n", "a.yaml")


def test_ms_swift_makes_a_batch_of_sixteen() -> None:
    command = "swift sft --model m --train_type lora --num_train_epochs 1 --per_device_train_batch_size 2 {}"
    (role,) = audit(command.format(""), "a.sh", samples=1600, gpus=2).readings[0].roles
    assert role.applied.updates == 100 and role.applied.peak == 1e-4
    (role,) = audit(command.format("--gradient_accumulation_steps 1"), "a.sh", samples=1600, gpus=2).readings[0].roles
    assert role.applied.updates == 400
    command = "megatron sft --lr 1e-5 --num_train_epochs 2 --global_batch_size 8 --micro_batch_size 1"
    (role,) = audit(command, "a.sh", samples=400).readings[0].roles
    assert role.applied.updates == 100


@pytest.mark.parametrize(
    "flags",
    [
        "--pretrain m --learning_rate 1e-5 --max_epochs 2 --train_batch_size 16 --lr_warmup_ratio 0.05",
        "--model.model_name_or_path m --adam.lr 1e-5 --train.max_epochs 2 --train.batch_size 16 --lr_warmup_ratio 0.05",
    ],
    ids=["old", "new"],
)
def test_openrlhf_of_old_and_new_versions(flags: str) -> None:
    text = f"read -r -d '' C <<EOF\nopenrlhf.cli.train_sft {flags}\nEOF\ndeepspeed --module $C\n"
    (role,) = audit(text, "a.sh", samples=810).readings[0].roles
    assert (role.applied.updates, role.warmup, role.applied.peak, role.model) == (100, 5, 1e-5, "m")
    assert role.applied.rate(100) == pytest.approx(1e-6, rel=1e-2)


def test_chinese_llama_alpaca_scripts_are_commands_of_the_trainer() -> None:
    text = (
        "lr=2e-4\nlora_rank=64\nper_device_train_batch_size=1\ngradient_accumulation_steps=8\n"
        "deepspeed_config_file=ds_zero2_no_offload.json\n\n"
        "torchrun --nnodes 1 --nproc_per_node 1 run_clm_pt_with_peft.py \\\n    --deepspeed ${deepspeed_config_file} \\\n"
        "    --per_device_train_batch_size ${per_device_train_batch_size} \\\n    --seed $RANDOM \\\n    --fp16 \\\n"
        "    --num_train_epochs 1 \\\n    --lr_scheduler_type cosine \\\n    --learning_rate ${lr} \\\n"
        "    --warmup_ratio 0.05 \\\n    --gradient_accumulation_steps ${gradient_accumulation_steps}\n"
    )
    found = audit(text, "run_pt.sh", samples=8000, versions={"transformers": "4.31"})
    (role,) = found.readings[0].roles
    assert (role.applied.updates, role.warmup, role.applied.peak) == (1000, 50, 2e-4)
    assert any("ds_zero2_no_offload.json was not found" in str(text) for text in found.readings[0].assumptions)


def test_the_eras_that_decide_the_length_are_shown_together() -> None:
    text = "TrainingArguments('o', learning_rate=1e-4, warmup_steps=1, gradient_accumulation_steps=8)"
    (reading,) = audit(text, "a.py", samples=120).readings
    assert reading.roles[0].applied.updates == 6
    assert {era: role.applied.updates for era, role in reading.other} == {"<=4.51": 3}
