"""From data to updates: sequences, batches, micro-batches, and how many updates the run makes.

T = ⌈epochs × sequences / batch⌉: the sequences of all epochs are one stream, a batch that meets an epoch's end is
filled from the next epoch, and only the run's last batch may be short.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from huohou.errors import UserError
from huohou.units import decimal_text, round_up


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was said about the size of a run; ``None`` where nothing was.

    Attributes:
        updates: T itself.
        tokens: Tokens of the whole run.
        epochs: Passes over the data.
        sequences: Sequences in the data.
        sequence_length: Tokens of one sequence.
        batch: Sequences of one update, or tokens where ``batch_in_tokens``.
        micro_batch: Sequences of one forward and backward pass in one process.
        accumulation: Micro-batches of one process in one update.
        world_size: Processes.
        drop_last: Whether a last short batch is left out.
    """

    updates: int | None = None
    tokens: int | None = None
    epochs: Fraction | None = None
    sequences: int | None = None
    sequence_length: int | None = None
    batch: Fraction | None = None
    batch_in_tokens: bool = False
    micro_batch: int | None = None
    accumulation: int | None = None
    world_size: int = 1
    drop_last: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The sizes of a run, each whole.

    Attributes:
        updates: T.
        batch: Sequences of a full batch; ``None`` where nothing says it.
        micro_batch: Sequences of one forward and backward pass in one process.
        accumulation: Micro-batches of one process in one update.
        world_size: Processes.
        sequence_length: Tokens of one sequence.
        sequences: Sequences in the data.
        positions: Sequences of the whole run, over all epochs.
        last_batch: Sequences of update T's batch.
        epochs: Passes over the data.
        batch_rounded: Sequences that rounding a batch in tokens up has added, as a fraction of one.
    """

    updates: int
    batch: int | None
    micro_batch: int | None
    accumulation: int | None
    world_size: int
    sequence_length: int | None
    sequences: int | None
    positions: int | None
    last_batch: int | None
    epochs: Fraction | None
    batch_rounded: Fraction

    @property
    def tokens_per_update(self) -> Fraction | None:
        """Tokens of a full batch."""
        if self.batch is None or self.sequence_length is None:
            return None
        return Fraction(self.batch * self.sequence_length)

    @property
    def updates_per_epoch(self) -> Fraction | None:
        """Updates of one pass over the data; need not be whole."""
        if self.batch is None or self.sequences is None:
            return None
        return Fraction(self.sequences, self.batch)

    @property
    def tokens(self) -> int | None:
        """Tokens of the whole run."""
        return None if self.positions is None or self.sequence_length is None else self.positions * self.sequence_length


def resolve(asked: Asked) -> Sizes:
    """Settle the sizes of a run.

    Raises:
        UserError: Something that is needed was not said, or too much was said and it disagrees; both are named.
    """
    batch, micro, accumulation, rounded = _batch(asked)
    counts = _updates(asked, batch)
    if not counts:
        raise _too_little(asked, batch)
    first, updates = next(iter(counts.items()))
    for name, other in counts.items():
        if other != updates:
            raise UserError(
                f"{first} gives {updates} updates, but {name} gives {other}; leave one of them out.",
                f"按 {first} 是 {updates} 个更新步，而按 {name} 是 {other} 个；请去掉其中一个。",
            )
    if updates < 1:
        raise UserError(
            f"{first} gives {updates} updates; a run makes at least one.",
            f"按 {first} 是 {updates} 个更新步；训练至少要有一步。",
        )
    positions, last = None, batch
    if batch is not None:
        positions = updates * batch
        stream = _stream(asked)
        if stream is not None and asked.updates is None and not asked.drop_last:
            positions = stream
            last = positions - (updates - 1) * batch
    epochs = asked.epochs
    if epochs is None and positions is not None and asked.sequences:
        epochs = Fraction(positions, asked.sequences)
    return Sizes(
        updates=updates,
        batch=batch,
        micro_batch=micro,
        accumulation=accumulation,
        world_size=asked.world_size,
        sequence_length=asked.sequence_length,
        sequences=asked.sequences,
        positions=positions,
        last_batch=last,
        epochs=epochs,
        batch_rounded=rounded,
    )


def _batch(asked: Asked) -> tuple[int | None, int | None, int | None, Fraction]:
    """The batch in sequences, the micro-batch, the accumulation, and what rounding up has added."""
    world, micro, accumulation = asked.world_size, asked.micro_batch, asked.accumulation
    rounded = Fraction(0)
    if asked.batch is None:
        if micro is None:
            return None, None, accumulation, rounded
        accumulation = accumulation or 1
        return micro * accumulation * world, micro, accumulation, rounded
    if asked.batch_in_tokens:
        if asked.sequence_length is None:
            raise UserError(
                f"the batch is {decimal_text(asked.batch)} tokens, but the sequence length is not known; give it.",
                f"批大小是 {decimal_text(asked.batch)} 词元，但不知道序列长度；请给出。",
            )
        wanted = asked.batch / asked.sequence_length
        batch = round_up(wanted / world) * world
        rounded = batch - wanted
    else:
        batch = round_up(asked.batch)
        if batch != asked.batch or batch < 1:
            raise UserError(
                f"the batch is {decimal_text(asked.batch)} sequences; it must be a whole number of at least 1, or in "
                "tokens such as 4M tokens.",
                f"批大小是 {decimal_text(asked.batch)} 条序列；应为不小于 1 的整数，或用词元表示，例如 4M tokens。",
            )
    if batch % world:
        raise UserError(
            f"the batch of {batch} sequences cannot be shared evenly by {world} processes; write a multiple "
            f"of {world}.",
            f"{batch} 条序列的批不能平均分给 {world} 个进程；请写 {world} 的倍数。",
        )
    share = batch // world
    if micro is not None and accumulation is not None and micro * accumulation != share:
        raise UserError(
            f"the batch is {batch} sequences, but micro_batch {micro} × accumulation {accumulation} × {world} "
            f"processes is {micro * accumulation * world}; leave one of them out.",
            f"批大小是 {batch} 条序列，而 micro_batch {micro} × accumulation {accumulation} × {world} 个进程是 "
            f"{micro * accumulation * world}；请去掉其中一个。",
        )
    if micro is not None and micro > share:
        raise UserError(
            f"micro_batch is {micro}, but each process has only {share} sequences of a batch; write at most {share}.",
            f"micro_batch 的值是 {micro}，而每个进程每批只有 {share} 条序列；请写不超过 {share} 的数。",
        )
    if micro is None and accumulation is not None:
        if share % accumulation:
            raise UserError(
                f"{share} sequences a process cannot be made in {accumulation} equal micro-batches; write a divisor.",
                f"每个进程的 {share} 条序列不能平分为 {accumulation} 个微批；请写它的约数。",
            )
        micro = share // accumulation
    if micro is not None and accumulation is None:
        accumulation = -(-share // micro)
    return batch, micro, accumulation, rounded


def _stream(asked: Asked) -> int | None:
    """Sequences of the whole run, where the data or a number of tokens says it."""
    if asked.tokens is not None and asked.sequence_length:
        return -(-asked.tokens // asked.sequence_length)
    if asked.epochs is not None and asked.sequences is not None:
        return round_up(asked.epochs * asked.sequences)
    return None


def _updates(asked: Asked, batch: int | None) -> dict[str, int]:
    """T as each of the things that were said gives it."""
    counts: dict[str, int] = {}
    if asked.updates is not None:
        counts[f"updates {asked.updates}"] = asked.updates
    if batch is None:
        return counts
    if asked.tokens is not None and asked.sequence_length:
        sequences = Fraction(asked.tokens, asked.sequence_length)
        counts[f"tokens {asked.tokens} / ({batch} × {asked.sequence_length})"] = (
            int(sequences / batch) if asked.drop_last else round_up(sequences / batch)
        )
    if asked.epochs is not None and asked.sequences is not None:
        sequences = asked.epochs * asked.sequences
        counts[f"epochs {decimal_text(asked.epochs)} × {asked.sequences} sequences / {batch}"] = (
            int(sequences / batch) if asked.drop_last else round_up(sequences / batch)
        )
    return counts


def _too_little(asked: Asked, batch: int | None) -> UserError:
    if asked.tokens is not None:
        missing = [
            name for name, value in (("sequence length", asked.sequence_length), ("batch", batch)) if value is None
        ]
        return UserError(
            f"tokens is {asked.tokens}, but to turn it into updates the {' and the '.join(missing)} must be known too.",
            f"tokens 的值是 {asked.tokens}，但要换算成更新步，还需要"
            f"{'和'.join({'sequence length': '序列长度', 'batch': '批大小'}[m] for m in missing)}。",
        )
    if asked.epochs is not None:
        missing = [name for name, value in (("sequences", asked.sequences), ("batch", batch)) if value is None]
        return UserError(
            f"epochs is {decimal_text(asked.epochs)}, but to turn it into updates the number of "
            f"{' and the '.join(missing)} must be known too.",
            f"epochs 的值是 {decimal_text(asked.epochs)}，但要换算成更新步，还需要"
            f"{'和'.join({'sequences': '序列总数', 'batch': '批大小'}[m] for m in missing)}。",
        )
    return UserError(
        "nothing says how many updates the run makes: give updates, or tokens, or epochs with the number of sequences.",
        "没有说明训练多少个更新步：请给出 updates，或 tokens，或 epochs 和序列总数。",
    )
