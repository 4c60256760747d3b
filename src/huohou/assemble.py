"""From a plan to the loop: the model with its first weights, the stage that feeds it, the trainer, and what is kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from huohou.config import RunConfig
from huohou.data.chat_template import open_template
from huohou.data.tokenizer import Tokenizer
from huohou.errors import UserError
from huohou.model import Foreign, Llama, ModelConfig, build, part_of, write_model
from huohou.model.grow import check_agreement, grow_model
from huohou.model.initialise import empty
from huohou.model.load import open_model
from huohou.model.on_demand import OnDemand, drawn, fill_ends, stored
from huohou.plan.facts import Prepared, cache_folder
from huohou.plan.result import Plan
from huohou.records import RunFolder
from huohou.stages.lm import LanguageModelling, Sampling
from huohou.train import take_up
from huohou.train.distributed import World
from huohou.train.engines import engine_name, make_engine
from huohou.train.execution import keep_compiled, part_ways, prepare_process
from huohou.train.optim import OptimizerSettings, freeze, make_optimizer, parameter_groups
from huohou.train.optim_8bit import check_8bit
from huohou.train.progress import Progress
from huohou.train.recompute import recompute
from huohou.train.signals import Signals
from huohou.train.task import Task
from huohou.train.trainer import Trainer


def assemble_model(plan: Plan, prepared: Prepared, folder: RunFolder, *, device: str | None = None) -> torch.nn.Module:
    """The model as it stands before the first update: made new, or opened, grown and given adapters.

    Weights that are trained are fp32; those that an adapter leaves alone have the type of the computation. They are
    made on ``device``, by default the one that the run computes on.
    """
    where = device or str((plan.execution or {})["device"])
    if prepared.base is None:
        return _ready(_new(plan, prepared, folder, where), plan)
    return _ready(_from_base(plan, prepared, prepared.base, where), plan)


def assemble_lean(plan: Plan, prepared: Prepared, folder: RunFolder) -> tuple[torch.nn.Module, OnDemand] | None:
    """The model without memory and where its weights come from, for processes that each hold a part of it.

    ``None`` for one that has to be whole once: with adapters, or not of our own decoder. Of one that grows, embedding
    and head are.
    """
    execution, shape, base = plan.execution or {}, plan.model or {}, prepared.base
    if base is None:
        config = _new_config(plan, prepared, folder)
        model = empty(config, "meta", torch.float32)
        weights = drawn(model, config, execution["seed"], depth_scaled=shape["depth_scaled_init"])
        return _ready(model, plan), weights
    if shape.get("lora") is not None:
        return None
    remote = bool((plan.config or {}).get("model", {}).get("remote_code"))
    opened = open_model(base, device="meta", dtype=torch.float32, remote_code=remote)
    if not isinstance(opened, Llama):
        return None
    if shape.get("rows") != shape.get("base_vocab_size"):
        fill_ends(opened, base)
    _grow(opened, plan, prepared, base)
    check_agreement(opened, prepared.tokenizer, where=str(base))
    return _ready(opened, plan), stored(opened, base)


def _ready(model: torch.nn.Module, plan: Plan) -> torch.nn.Module:
    """Recomputed and compiled as the plan says."""
    execution, asked = plan.execution or {}, plan.config or {}
    if asked.get("train", {}).get("recompute"):
        recompute(model)
    if execution["compile"]:
        model.compile(dynamic=False)  # pyright: ignore[reportUnknownMemberType]
    return model


def _new(plan: Plan, prepared: Prepared, folder: RunFolder, device: str) -> torch.nn.Module:
    return build(
        _new_config(plan, prepared, folder),
        seed=(plan.execution or {})["seed"],
        depth_scaled=(plan.model or {})["depth_scaled_init"],
        device=device,
    )


def _new_config(plan: Plan, prepared: Prepared, folder: RunFolder) -> ModelConfig:
    tokenizer, shape = prepared.tokenizer, plan.model or {}
    special = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}
    return ModelConfig.from_huggingface({**shape, **special}, where=str(folder.plan))


def _from_base(plan: Plan, prepared: Prepared, base: Path, device: str) -> torch.nn.Module:
    execution, facts, asked = plan.execution or {}, plan.model or {}, (plan.config or {}).get("model", {})
    adapters: Mapping[str, Any] | None = facts.get("lora")
    dtype = torch.float32 if adapters is None else getattr(torch, execution["dtype"])
    model = open_model(base, device=device, dtype=dtype, remote_code=bool(asked.get("remote_code")))
    _grow(model, plan, prepared, base)
    check_agreement(model, prepared.tokenizer, where=str(base))
    if adapters is not None:
        from huohou.model.lora import add_adapters

        add_adapters(model, adapters, seed=execution["seed"])
        for parameter in model.parameters():
            # Small changes would be lost in the rounding of a shorter type.
            if parameter.requires_grad and parameter.dtype != torch.float32:
                parameter.data = parameter.data.float()
    return model


def _grow(model: Llama | Foreign, plan: Plan, prepared: Prepared, base: Path) -> None:
    facts: Mapping[str, Any] = plan.model or {}
    grow_model(
        model,
        Tokenizer.load(base),
        prepared.tokenizer,
        method=facts["grow"],
        pad_rows_to=facts["pad_rows_to"],
        seed=(plan.execution or {})["seed"],
    )


def curves_of(model: torch.nn.Module, plan: Plan) -> dict[str, str | None]:
    """For each parameter the name of the plan's curve that it follows; ``None``: it does not move."""
    return {name: plan.curve_name(part) for name, part in part_of(model).items()}


def assemble_stage(run: RunConfig, plan: Plan, prepared: Prepared) -> LanguageModelling:
    """Where the run's batches come from, and their loss."""
    execution = plan.execution or {}
    assert plan.batch.micro_batch is not None
    return LanguageModelling(
        prepared.train,
        prepared.order_of(plan),
        micro_batch=plan.batch.micro_batch,
        device=execution["device"],
        whole=execution["compile"],
        validation=prepared.validation,
        evaluate_sequences=run.train.evaluate_sequences,
        tokenizer=prepared.tokenizer,
        sampling=Sampling(run.train.sample_prompts, seed=execution["seed"]),
    )


def check_prompts(run: RunConfig, prepared: Prepared, model: torch.nn.Module) -> None:
    """A prompt that the model cannot hold must not be found out in the middle of a run."""
    config: Any = model.config
    room = int(config.max_position_embeddings) - 1
    for prompt in run.train.sample_prompts:
        size = len(prepared.tokenizer.encode(prompt))
        if size > room:
            raise UserError(
                f"train.sample_prompts: {prompt[:20]!r} has {size} tokens, but the model has room for {room}; "
                "shorten it or raise model.max_position_embeddings.",
                f"train.sample_prompts：{prompt[:20]!r} 有 {size} 个词元，而模型只容得下 {room} 个；"
                "请缩短它，或增大 model.max_position_embeddings。",
            )


def assemble_trainer(
    run: RunConfig,
    folder: RunFolder,
    plan: Plan,
    prepared: Prepared,
    progress: Progress,
    signals: Signals,
    world: World,
) -> Trainer:
    """Everything that trains, as it stands before the first update."""
    execution, optimizer = plan.execution or {}, plan.optimizer or {}
    check_8bit(optimizer["name"], engine_name(run.train.engine, world), execution["device"])
    prepare_process(execution)
    if execution["compile"]:
        keep_compiled(cache_folder(run) / "compiled")
    # Where every process holds a part, none makes the whole if it can be helped, and none does so on its GPU.
    cut = engine_name(run.train.engine, world) == "fsdp2"
    lean = assemble_lean(plan, prepared, folder) if cut else None
    model = lean[0] if lean else assemble_model(plan, prepared, folder, device="cpu" if cut else None)
    check_prompts(run, prepared, model)
    part_ways(execution["seed"], world.rank)
    curve_of = curves_of(model, plan)
    freeze(model, curve_of)
    followed = {curve_of[name] for name, parameter in model.named_parameters() if parameter.requires_grad}
    settings = OptimizerSettings(
        name=optimizer["name"],
        betas=tuple(optimizer["betas"]),
        eps=optimizer["eps"],
        weight_decay=optimizer["weight_decay"],
        fused=execution["fused"],
    )
    return Trainer(
        task=Task(
            updates=plan.updates,
            curves={name: curve for name, curve in plan.applied_curves().items() if name in followed},
            fingerprints=take_up.fingerprints(plan),
            phases=plan.phases,
            max_grad_norm=optimizer["max_grad_norm"],
            dtype=execution["dtype"],
            device=execution["device"],
            evaluate_every=run.train.evaluate_every,
            sample_every=run.train.sample_every,
            layers_every=run.train.layers_every,
            checkpoint_every=run.checkpoint.every,
            keep=run.checkpoint.keep,
            keep_best=run.checkpoint.keep_best,
        ),
        stage=assemble_stage(run, plan, prepared),
        engine=make_engine(
            run.train.engine,
            model,
            lambda held: make_optimizer(held, settings, parameter_groups(held, settings, curve_of)),
            device=execution["device"],
            dtype=execution["dtype"],
            world=world,
            zero_stage=run.train.zero_stage,
            offload=run.train.offload,
            weights=lean[1] if lean else None,
        ),
        folder=folder,
        progress=progress,
        signals=signals,
    )


def kept_tokenizer(run: RunConfig, prepared: Prepared) -> Tokenizer:
    """The tokenizer as it is written: a run that learns dialogues keeps the template that it learns them in with it."""
    tokenizer = prepared.tokenizer
    if run.stage == "sft":
        tokenizer.chat_template = open_template(run.data.template, tokenizer).plain
    return tokenizer


def keep_result(model: torch.nn.Module, run: RunConfig, plan: Plan, prepared: Prepared, folder: RunFolder) -> Path:
    """Write what was trained: ``model/``, or ``adapter/`` where only adapters were; returns the folder."""
    tokenizer = kept_tokenizer(run, prepared)
    adapters: Mapping[str, Any] | None = (plan.model or {}).get("lora")
    if adapters is None:
        write_model(model, folder.model, tokenizer)  # pyright: ignore[reportArgumentType]
        return folder.model
    from huohou.model.adapter_write import write_adapter
    from huohou.model.base import identify

    assert prepared.base is not None
    place = folder.path / "adapter"
    before = [Path(path) for path in adapters.get("adapters", ())]
    write_adapter(model, place, identify(prepared.base, adapters=before, revision=run.model.revision), tokenizer)
    return place
