"""From a plan to what the loop needs: the model with its first weights, and the stage that feeds it."""

from __future__ import annotations

from huohou.config import RunConfig
from huohou.data.order import Order
from huohou.errors import UserError
from huohou.model import Llama, ModelConfig, build
from huohou.plan.facts import Prepared
from huohou.plan.result import Plan
from huohou.records import RunFolder
from huohou.stages.lm import LanguageModelling, Sampling


def assemble_model(plan: Plan, prepared: Prepared, folder: RunFolder) -> Llama:
    """The model as it stands before the first update."""
    execution, tokenizer = plan.execution or {}, prepared.tokenizer
    special = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}
    shape = plan.model or {}
    model = build(
        ModelConfig.from_huggingface({**shape, **special}, where=str(folder.plan)),
        seed=execution["seed"],
        depth_scaled=shape["depth_scaled_init"],
        device=execution["device"],
    )
    if execution["compile"]:
        model.compile(dynamic=False)  # pyright: ignore[reportUnknownMemberType]
    return model


def assemble_stage(run: RunConfig, plan: Plan, prepared: Prepared) -> LanguageModelling:
    """Where the run's batches come from, and their loss."""
    execution = plan.execution or {}
    batch = known(plan.batch.sequences)
    positions = (plan.updates - 1) * batch + known(plan.batch.last)
    return LanguageModelling(
        prepared.train,
        Order(prepared.train.count, batch, execution["seed"], positions),
        micro_batch=known(plan.batch.micro_batch),
        device=execution["device"],
        whole=execution["compile"],
        validation=prepared.validation,
        evaluate_sequences=run.train.evaluate_sequences,
        tokenizer=prepared.tokenizer,
        sampling=Sampling(run.train.sample_prompts, seed=execution["seed"]),
    )


def known(count: int | None) -> int:
    """A count that an exact plan always knows."""
    assert count is not None
    return count


def check_prompts(run: RunConfig, prepared: Prepared, model: Llama) -> None:
    """A prompt that the model cannot hold must not be found out in the middle of a run."""
    room = model.config.max_position_embeddings - 1
    for prompt in run.train.sample_prompts:
        size = len(prepared.tokenizer.encode(prompt))
        if size > room:
            raise UserError(
                f"train.sample_prompts: {prompt[:20]!r} has {size} tokens, but the model has room for {room}; "
                "shorten it or raise model.max_position_embeddings.",
                f"train.sample_prompts：{prompt[:20]!r} 有 {size} 个词元，而模型只容得下 {room} 个；"
                "请缩短它，或增大 model.max_position_embeddings。",
            )
