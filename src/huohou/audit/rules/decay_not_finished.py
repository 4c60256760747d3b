"""The scheduler is made for more updates than the run makes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from huohou.audit.edits import replaced
from huohou.audit.reading import Edit, Given, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.language import Text

_LENGTHS = ("lr_decay_iters", "lr_scheduler.total_steps", "num_training_steps", "scheduler.params.total_num_steps")


def check(reading: Reading) -> Iterator[Found]:
    """A horizon more than a twentieth beyond the end."""
    for role in reading.roles:
        horizon, updates = role.horizon, role.applied.updates
        if horizon is None or horizon <= 1.05 * updates or not role.applied.peak:
            continue
        last = role.applied.rate(updates)
        if role.warmup >= updates or last <= 0.02 * role.applied.peak:
            continue
        yield Found(
            reading.settings.find("gradient_accumulation_steps", *_LENGTHS, "max_steps", "total_steps", "T_max"),
            Text(
                f"the scheduler is made for {horizon:g} updates and the run makes {updates}: it ends at {last:.6g}, "
                f"{last / role.applied.peak:.0%} of the peak.",
                f"调度器按 {horizon:g} 步设计，而训练只有 {updates} 步：结束时为 {last:.6g}，是峰值的 "
                f"{last / role.applied.peak:.0%}。",
            ),
            Text(f"make the scheduler {updates} updates long.", f"把调度器的总步数设为 {updates}。"),
            _edit(reading, updates),
        )


def _edit(reading: Reading, updates: int) -> tuple[Edit, ...]:
    """The length of the scheduler alone, where it is written as a plain number."""
    for key in _LENGTHS:
        place = reading.settings.find(key)
        if place is not None and place.written.isdigit():
            return replaced(reading, key, place, str(updates))
    return ()


def _titan(total: int) -> Example:
    text = (
        "[optimizer]\nlr = 3e-4\n\n[training]\nsteps = 100\n\n"
        f"[lr_scheduler]\nwarmup_steps = 10\ntotal_steps = {total}\n"
    )
    return Example("run.toml", text)


def _file(accumulation: int) -> Example:
    lines = (
        "deepspeed main.py --model_name_or_path facebook/opt-350m --data_split 10,0,0 --zero_stage 0",
        "--learning_rate 1e-4 --lr_scheduler_type cosine --num_train_epochs 3 --per_device_train_batch_size 1",
        f"--num_warmup_steps 0 --gradient_accumulation_steps {accumulation} --bf16",
    )
    return Example("run.sh", "# huohou: ignore[no-warmup] as shipped\n" + " ".join(lines) + "\n", Given(samples=10))


RULE = Rule(
    id="decay-not-finished",
    severity="warning",
    title=Text("The decay is not finished when the run is.", "训练结束时衰减还没有完成。"),
    why=Text(
        "DeepSpeed-Chat rounds the updates of each epoch up, but its accumulation goes on over the ends of epochs: 10 "
        "micro-batches, accumulation 8 and 3 epochs plan 6 updates and make 3, which end at 75 % of the peak.",
        "DeepSpeed-Chat 每轮的更新步数向上取整，而梯度累积会跨轮继续：每轮 10 个微批、累积 8、3 轮时，计划 6 "
        "步、实际 3 步，"
        "结束时还有峰值的 75 %。",
    ),
    victims=("deepspeedai/DeepSpeedExamples step1_supervised_finetuning/main.py", "allenai/open-instruct #537"),
    check=check,
    bad=(_file(8), replace(_titan(200), fixed=_titan(100).text)),
    good=(_file(1),),
)
