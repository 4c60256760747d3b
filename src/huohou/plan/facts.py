"""From a run file to a plan: what is known of its corpus, tokenizer and model, measured or counted.

The token cache and a trained tokenizer live in ``.cache`` beside the run folders, so that runs on the same data share
them. ``plan`` looks there, and measures a sample where nothing is there yet; ``train`` and ``plan --exact`` fill it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huohou.config import RunConfig, load_run
from huohou.errors import UserError
from huohou.language import Text
from huohou.plan.base import (
    base_of,
)
from huohou.plan.corpora import Say, cache_folder, readings, rejects, sequences, validation_files
from huohou.plan.planner import Request, make_plan
from huohou.plan.requests import counted_facts, model_of, request_of, sampled_facts, tokenizer_of
from huohou.plan.result import Plan
from huohou.schedule.recipes import ScheduleSpec

if TYPE_CHECKING:
    from huohou.data.mixing import Source
    from huohou.data.order import Batches
    from huohou.data.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A run file with everything counted: the plan is exact.

    Attributes:
        plan: The plan.
        tokenizer: Loaded, or trained on the training data.
        train: The training sequences; those of several corpora stand one behind the other.
        validation: The held-out sequences, where the run file asks for any.
        rejects: The training records that could not be used, with their reasons, where there are any.
        base: The folder of the model that the run goes on from, where it goes on from one.
        request: What the plan was made from.
        mixture: The names and weights of several corpora; empty where there is one.
        counts: Sequences of each.
    """

    plan: Plan
    tokenizer: Tokenizer
    train: Source
    validation: Source | None
    rejects: Path | None
    base: Path | None
    request: Request
    mixture: tuple[tuple[str, Fraction], ...] = ()
    counts: tuple[int, ...] = ()

    def order(
        self, batch: int, seed: int, positions: int | None, *, first_batch: int = 0, first_position: int = 0
    ) -> Batches:
        """Which sequences each batch of a run reads; a matter of the seed and the position alone."""
        from huohou.data.mixing import MixedOrder
        from huohou.data.order import Order

        common: dict[str, Any] = {
            "sequences": self.train.count,
            "batch_size": batch,
            "seed": seed,
            "positions": positions,
            "first_batch": first_batch,
            "first_position": first_position,
        }
        if not self.mixture:
            return Order(**common)
        names, weights = (tuple(part) for part in zip(*self.mixture, strict=True))
        return MixedOrder(**common, counts=self.counts, names=names, weights=weights)  # pyright: ignore[reportArgumentType]

    def order_of(self, plan: Plan) -> Batches:
        """The order of a plan, from where its batches, its seed or its data were changed last."""
        batch, last = plan.batch.sequences, plan.batch.last
        assert batch is not None and last is not None
        begun = next((one["order"] for one in reversed(plan.replans) if one.get("order")), None)
        begin = begun or {"update": 0, "batch": 0, "position": 0}
        positions = begin["position"] + (plan.updates - begin["update"] - 1) * batch + last
        return self.order(
            batch,
            (plan.execution or {})["seed"],
            positions,
            first_batch=begin["batch"],
            first_position=begin["position"],
        )


def _planned(run: RunConfig, request: Request) -> Plan:
    """The plan; what does not fit is told with its place in the run file."""
    try:
        plan = make_plan(request)
    except UserError as error:
        raise run.located(error) from error
    if run.data.mix is None or not plan.data.get("sources"):
        return plan
    from huohou.plan.mixture import with_draws

    return with_draws(plan, {name: source.weight for name, source in run.data.mix.items()})


_UNKNOWN: dict[str, Any] = {"sequences": None, "exact": True, "interval": None, "data": {}}


def plan_of_run(
    run: RunConfig,
    *,
    exact: bool = False,
    hardware: str | None = None,
    speed: float | None = None,
    price: float | None = None,
    say: Say = lambda _: None,
) -> Plan:
    """The plan of a run file: exact where T is given or the token cache exists, else from a sample.

    Args:
        run: The run file.
        exact: Tokenise first where needed, instead of measuring a sample.
        hardware: For the estimate of time: ``cpu`` or a GPU's name.
        speed: Tokens a second, measured by the user.
        price: Of one device for one hour.
        say: Told what is being done where it takes a while.
    """
    hardware = hardware or ("cpu" if run.train.device == "cpu" else None)
    priced: dict[str, Any] = {"hardware": hardware, "speed": speed, "price": price}
    if exact:
        return prepare(run, say=say, **priced).plan
    base = base_of(run)
    known = cache_folder(run).is_dir()
    # Updates or tokens say T by themselves: such a run can be planned where its data are not.
    given = run.train.updates is not None or run.train.tokens is not None
    if given and not known and run.tokenizer.path is None and run.model.path is None:
        return _planned(run, request_of(run, model_of(run, None, None), **_UNKNOWN, **priced))
    try:
        found = readings(run)
    except UserError:
        if not given:
            raise
        tokenizer = tokenizer_of(run, base, (), train=False, say=say) if run.model.path or run.tokenizer.path else None
        return _planned(run, request_of(run, model_of(run, base, tokenizer), **_UNKNOWN, **priced))
    tokenizer = tokenizer_of(run, base, found, train=False, say=say)
    model = model_of(run, base, tokenizer)
    if tokenizer is not None and (known or run.stage == "sft"):
        # Dialogues are not sampled: they are few, and how long one is depends on its template.
        make = run.stage == "sft" and not given
        sources = [sequences(run, one.train, tokenizer, make=make, say=say) for one in found]
        counts = [source for source in sources if source is not None]
        if len(counts) == len(sources):
            return _planned(run, request_of(run, model, **counted_facts(run, found, counts), **priced))
    if given:
        return _planned(run, request_of(run, model, **_UNKNOWN, **priced))
    if run.model.path is not None and tokenizer is None:
        raise UserError(
            f"{run.model.path} is not on this machine, so its tokenizer is not known and epochs cannot be counted; "
            "huohou train fetches it, or write train.updates.",
            f"本机没有 {run.model.path}，不知道它的分词器，无法按轮数计算；huohou train 会下载它，或写 train.updates。",
        )
    from huohou.data.sampling import measure_corpus

    samples = [measure_corpus(one.train, tokenizer, vocab_size=model.vocab_size) for one in found]
    return _planned(run, request_of(run, model, **sampled_facts(run, found, samples), **priced))


def plan_of_file(
    path: str | Path,
    overrides: Sequence[str],
    **how: Any,
) -> tuple[Plan, ScheduleSpec]:
    """The plan of a run file by its path, and the schedule that it asks for; see :func:`plan_of_run`."""
    run = load_run(path, overrides)
    return plan_of_run(run, **how), run.schedule_spec()


def prepare(
    run: RunConfig,
    *,
    base: Path | None = None,
    hardware: str | None = None,
    speed: float | None = None,
    price: float | None = None,
    say: Say = lambda _: None,
) -> Prepared:
    """Tokenizer, token caches and the exact plan of a run file; what exists already is used.

    Args:
        run: The run file.
        base: The folder of the model that it goes on from, where a hub was asked for it.
        hardware, speed, price: As for :func:`plan_of_run`.
        say: Told what is being done where it takes a while.

    Raises:
        UserError: The data, the model, the tokenizer or the plan has something wrong.
    """
    hardware = hardware or ("cpu" if run.train.device == "cpu" else None)
    model_base = base_of(run, given=base)
    if model_base is None and run.model.path is not None:
        raise UserError(
            f"the model {run.model.path} is not on this machine; huohou train fetches it.",
            f"本机没有模型 {run.model.path}；huohou train 会下载它。",
        )
    found = readings(run)
    tokenizer = tokenizer_of(run, model_base, found, train=True, say=say)
    assert tokenizer is not None
    model = model_of(run, model_base, tokenizer)
    say(Text("counting tokens", "正在统计词元"))

    def made(corpus: Any) -> Source:
        source = sequences(run, corpus, tokenizer, make=True, say=say)
        assert source is not None
        return source

    sources = [made(one.train) for one in found]
    files = validation_files(run)
    apart = (
        [made(files)] if files is not None else [made(one.validation) for one in found if one.validation is not None]
    )
    request = request_of(run, model, **counted_facts(run, found, sources), hardware=hardware, speed=speed, price=price)
    mixture = tuple((one.name, one.weight) for one in found) if run.data.mix is not None else ()
    return Prepared(
        plan=_planned(run, request),
        tokenizer=tokenizer,
        train=_together(sources),
        validation=_together(apart) if apart else None,
        rejects=rejects(run, found),
        base=None if model_base is None else model_base.folder,
        request=request,
        mixture=mixture,
        counts=tuple(source.count for source in sources) if mixture else (),
    )


def _together(sources: Sequence[Source]) -> Source:
    from huohou.data.mixing import Concatenated

    return sources[0] if len(sources) == 1 else Concatenated(sources)
