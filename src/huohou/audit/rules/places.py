"""Where frameworks write what rules point at."""

from __future__ import annotations

WARMUP = (
    "warmup_steps", "num_warmup_steps", "warmup_ratio", "lr_warmup_ratio", "lr_warmup_steps", "lr_warmup_iters",
    "lr_warmup_fraction", "lr_warmup_samples", "warmup_iters", "train.lr_warmup_steps", "lr_scheduler.warmup_steps",
    "lr_scheduler.num_warmup_steps", "scheduler.params.warmup_num_steps", "schedule.warmup",
    "schedule.num_warmup_steps", "schedule.warmup_ratio", "total_iters", "warmup_t", "pct_start",
)  # fmt: skip
"""The words for the length of the warmup."""

SCHEDULER = ("lr_scheduler_type", "lr_scheduler", "lr_decay_style", "scheduler.type", "scheduler", "schedule.decay")
"""The words for the kind of scheduler."""

PEAK = ("learning_rate", "lr", "optimizer.lr", "optimizer.params.lr", "optimizer.init_args.lr", "schedule.peak")
"""The words for the peak."""
