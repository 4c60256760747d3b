"""``huohou.plan``: the Python interface to planning. What makes a plan is imported when one is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from huohou.errors import UserError

if TYPE_CHECKING:
    from huohou.config import RunConfig
    from huohou.plan.result import Plan


def plan(run: RunConfig | None = None, *, exact: bool = False, **words: Any) -> Plan:
    """Everything that a run will do, before anything is spent.

    Args:
        run: A run file, from :func:`huohou.load_run`; or nothing, and words instead.
        exact: With a run file: tokenise first where needed, instead of measuring a sample.
        words: What the flags of ``huohou plan`` are called, with underscores: ``updates``, ``peak``, ``warmup_rate``,
            ``num_warmup_steps``, ``warmup``, ``decay``, ``floor``, ``tokens``, ``epochs``, ``sequences``,
            ``sequence_length``, ``batch``, ``micro_batch``, ``gpus``, ``params`` and so on; numbers or text.

    Raises:
        UserError: A word is unknown, or what was said does not fit or disagrees.

    Example:
        >>> plan(updates=100, peak="1e-3", warmup="10 steps", decay="linear", floor=0).curve(100)
        1.0989010989010989e-05
    """
    if run is not None:
        from huohou.plan.facts import plan_of_run

        return plan_of_run(run, exact=exact, **words)
    from huohou.plan.words import WORDS, plan_of_words

    unknown = sorted(set(words) - WORDS)
    if unknown:
        import difflib

        near = difflib.get_close_matches(unknown[0], WORDS, 1, 0)
        raise UserError(
            f"plan() does not know {unknown[0]}; did you mean {near[0]}?",
            f"plan() 不认识 {unknown[0]}；是不是 {near[0]}？",
        )
    return plan_of_words(words)[0]
