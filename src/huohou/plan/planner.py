"""One planner for everybody: what was asked and what is known become a Plan, the same for trainer, audit and lab."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from huohou.language import Text
from huohou.plan.advice import Case, advise
from huohou.plan.advice_continued import FRESH, Continued, State, advise_continued
from huohou.plan.budget import Workload, divided_by, estimate
from huohou.plan.groups import GroupSpec, Own, Parts, Run, own_curve, parts_of
from huohou.plan.result import Advice, Batch, Plan
from huohou.plan.sizes import Asked, Sizes, resolve
from huohou.schedule.recipes import ScheduleSpec, build
from huohou.schedule.warmup import default_warmup
from huohou.units import Duration, round_up


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Everything a plan is made from.

    Attributes:
        spec: The schedule that was asked for.
        asked: The sizes that were said.
        name: The run's name.
        stage: ``pretrain`` and so on.
        scratch: Whether the weights start from nothing.
        exact: Whether the number of sequences is certain.
        interval: The lowest and highest number of sequences that a sample allows.
        data: What is known of the corpus.
        model: Hugging Face names, and ``parameters``.
        parameters: Of the model, where no shape is known.
        flops_per_token: Of the model, where its shape is known.
        optimizer: Its settings.
        execution: Device, dtype and so on, as far as they are settled.
        most_micro_batch_tokens: Where nobody names a micro-batch, one holds at most this many tokens; ``None`` to name
            none.
        hardware, speed, price: For the budget.
        config: The resolved run file.
        groups: What was asked for parts of the model.
        grown: Whether the vocabulary gains rows.
        state: Where the optimizer's moments begin.
        sizes_of_parts: Parameters of each part of the model, where known.
        engine, zero_stage, offload, recompute: What decides how much memory a process needs.
    """

    spec: ScheduleSpec
    asked: Asked
    name: str = "run"
    stage: str = "pretrain"
    scratch: bool = True
    exact: bool = True
    interval: tuple[int, int] | None = None
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])
    model: Mapping[str, Any] | None = None
    parameters: int | None = None
    flops_per_token: int | None = None
    optimizer: Mapping[str, Any] | None = None
    execution: Mapping[str, Any] | None = None
    most_micro_batch_tokens: int | None = None
    hardware: str | None = None
    speed: float | None = None
    price: float | None = None
    config: Mapping[str, Any] | None = None
    groups: Mapping[str, GroupSpec] = field(default_factory=dict[str, GroupSpec])
    grown: bool = False
    state: State = FRESH
    sizes_of_parts: Mapping[str, int] | None = None
    engine: str = "auto"
    zero_stage: int = 2
    offload: bool = False
    recompute: bool = False


def make_plan(request: Request) -> Plan:
    """Decide everything.

    Raises:
        UserError: Something does not fit, disagrees, or is missing.
    """
    sizes = _with_micro_batch(resolve(request.asked), request.most_micro_batch_tokens)
    spec = request.spec
    run = schedules(request, sizes)
    built = run.built
    lora = (request.model or {}).get("lora")
    parts = parts_of(request.groups, lora=lora, grown=request.grown) if request.model is not None else None
    own = own_schedules(request, run, parts)
    parameters = request.parameters or (request.model or {}).get("parameters")
    betas = (request.optimizer or {}).get("betas")
    advice = advise(
        Case(
            spec=spec,
            built=built,
            updates=sizes.updates,
            warmup_given=spec.warmup is not None,
            scratch=request.scratch,
            parameters=parameters,
            world_size=sizes.world_size,
            beta2=None if betas is None else betas[1],
        )
    )
    if request.stage != "pretrain":
        further = Continued(
            spec=spec,
            built=built,
            updates=sizes.updates,
            stage=request.stage,
            state=request.state,
            groups=own,
            follows={} if parts is None else parts.follows,
            lora=lora,
            grown=request.grown,
            mixed=(request.data or {}).get("sources"),
            beta2=None if betas is None else betas[1],
            weight_decay=(request.optimizer or {}).get("weight_decay"),
        )
        advice = (*advise_continued(further), *advice)
    per_update = sizes.tokens_per_update
    micro = (
        None
        if sizes.micro_batch is None or sizes.sequence_length is None
        else sizes.micro_batch * sizes.sequence_length
    )
    budget = estimate(
        Workload(
            parameters=parameters,
            flops_per_token=request.flops_per_token,
            tokens=sizes.tokens or request.asked.tokens,
            micro_batch_tokens=micro,
            shape=request.model,
            world_size=sizes.world_size,
            hardware=request.hardware,
            speed=request.speed,
            price=request.price,
            trained=_trained(request, parts),
            optimizer=(request.optimizer or {}).get("name", "adamw"),
            bits=None if lora is None else lora["bits"],
            divided=divided_by(request.engine, request.zero_stage, sizes.world_size),
            offload=request.offload,
            recompute=request.recompute,
        )
    )
    return Plan(
        name=request.name,
        stage=request.stage,
        updates=sizes.updates,
        exact=request.exact or request.asked.updates is not None,
        interval=None if request.asked.updates is not None else _interval(request),
        curve=built.curve,
        groups={part: one.curve for part, one in own.items()},
        group_phases={part: one.phases for part, one in own.items()},
        parts={} if parts is None else parts.follows,
        frozen=() if parts is None else parts.frozen,
        phases=built.phases,
        warmup_updates=built.warmup,
        decay_updates=built.decay,
        floor=float(spec.peak * spec.floor.of(spec.peak, key="floor")),
        sequence_length=sizes.sequence_length,
        batch=Batch(
            sequences=sizes.batch,
            tokens=None if per_update is None else int(per_update),
            micro_batch=sizes.micro_batch,
            accumulation=sizes.accumulation,
            world_size=sizes.world_size,
            last=sizes.last_batch,
        ),
        data=_data(request, sizes),
        model=request.model,
        optimizer=request.optimizer,
        execution=request.execution,
        budget=budget,
        advice=(*_rounding(sizes), *advice),
        config=request.config,
    )


def own_schedules(request: Request, run: Run, parts: Parts | None) -> dict[str, Own]:
    """The schedules of the parts that have one of their own and move."""
    return {
        part: own_curve(part, group, run)
        for part, group in request.groups.items()
        if group.peak is not None and (parts is None or part in parts.follows)
    }


def schedules(request: Request, sizes: Sizes) -> Run:
    """The main schedule of a run of these sizes, and what the schedules of its parts are made with."""
    spec = request.spec
    betas = (request.optimizer or {}).get("betas")

    def default(updates: int) -> int:
        return default_warmup(
            updates,
            scratch=request.scratch,
            beta2=betas[1] if betas and request.model is not None else None,
            carried=request.state.carried and not request.state.raised(spec.peak),
        )

    def length(duration: Duration, key: str, of: int) -> int:
        return duration.resolve(
            key=key,
            updates=of,
            tokens_per_update=sizes.tokens_per_update,
            updates_per_epoch=sizes.updates_per_epoch,
        )

    built = build(
        spec,
        sizes.updates,
        warmup=default(sizes.updates) if spec.warmup is None else None,
        tokens_per_update=sizes.tokens_per_update,
        updates_per_epoch=sizes.updates_per_epoch,
    )
    return Run(spec=spec, built=built, updates=sizes.updates, length=length, default=default)


def _trained(request: Request, parts: Parts | None) -> int | None:
    """Parameters that move."""
    if parts is None or request.sizes_of_parts is None:
        return None
    return sum(request.sizes_of_parts.get(part, 0) for part in parts.follows)


def _with_micro_batch(sizes: Sizes, tokens: int | None) -> Sizes:
    """The sizes with a micro-batch of at most so many tokens, where none was named."""
    if tokens is None or sizes.micro_batch is not None or sizes.batch is None or sizes.sequence_length is None:
        return sizes
    share = sizes.batch // sizes.world_size
    micro = max(1, min(share, tokens // sizes.sequence_length))
    return replace(sizes, micro_batch=micro, accumulation=-(-share // micro))


def _interval(request: Request) -> tuple[int, int] | None:
    """The lowest and highest T that the sample of the data allows."""
    if request.interval is None:
        return None
    low, high = (resolve(replace(request.asked, sequences=n)).updates for n in request.interval)
    return low, high


def _data(request: Request, sizes: Sizes) -> dict[str, Any]:
    known = {
        "documents": None,
        "characters": None,
        "bytes": None,
        "tokens": None,
        "padded": None,
        **request.data,
    }
    return {
        **known,
        "sequences": sizes.sequences,
        "sequence_length": sizes.sequence_length,
        "epochs": None if sizes.epochs is None else float(sizes.epochs),
        "dropped": _dropped(request, sizes),
        "tokens_total": sizes.tokens or request.asked.tokens,
    }


def _dropped(request: Request, sizes: Sizes) -> int | None:
    """Tokens of the sequences that no batch takes, where the last short batch is left out."""
    asked = request.asked
    if not asked.drop_last or asked.epochs is None or sizes.sequences is None or sizes.sequence_length is None:
        return None
    return (round_up(asked.epochs * sizes.sequences) - (sizes.positions or 0)) * sizes.sequence_length


def _rounding(sizes: Sizes) -> tuple[Advice, ...]:
    if not sizes.batch_rounded or sizes.batch is None or sizes.sequence_length is None:
        return ()
    tokens = sizes.batch * sizes.sequence_length
    return (
        Advice(
            "batch-rounded",
            Text(
                f"the batch in tokens was rounded up to {sizes.batch} whole sequences, {tokens} tokens",
                f"以词元表示的批大小已向上取整为 {sizes.batch} 条完整序列，即 {tokens} 词元",
            ),
            Text("the rounding rule", "取整规则"),
            "strong",
        ),
    )
