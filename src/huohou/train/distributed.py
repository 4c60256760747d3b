"""The processes that share a run, and what they tell each other.

Ranks count from 0; rank 0 is the one that writes and talks. Sums go through ``torch.distributed``; plain data goes as
JSON in byte tensors on the CPU, so that nothing that another process sent is ever unpickled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from huohou.errors import UserError


@dataclass(frozen=True, slots=True)
class World:
    """The processes of a run: this one's ``rank`` among ``size``, and its number on its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process writes the records and talks."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.size == 1

    def sums(self, values: Sequence[float]) -> list[float]:
        """For each value the sum over all ranks, in fp64; every rank gets the same bits."""
        if self.alone:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor)
        return tensor.tolist()

    def largest(self, values: Sequence[int]) -> list[int]:
        """For each value the largest over all ranks."""
        if self.alone:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.int64)
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return tensor.tolist()

    def gather(self, value: Any) -> list[Any]:
        """Every rank's plain data, in the order of ranks."""
        if self.alone:
            return [value]
        content = torch.frombuffer(bytearray(json.dumps(value).encode("ascii")), dtype=torch.uint8)
        longest = self.largest([len(content)])[0]
        mine = torch.full((longest,), ord(" "), dtype=torch.uint8)
        mine[: len(content)] = content
        parts = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(parts, mine)
        return [json.loads(bytes(part.tolist())) for part in parts]

    def of_rank_0(self, value: Any = None) -> Any:
        """The plain data that rank 0 gives; the others' argument is not looked at."""
        return self.gather(value if self.leads else None)[0]

    def wait(self) -> None:
        """Go on when every rank has come here."""
        self.largest([0])


ALONE = World()
_current = ALONE


def world() -> World:
    """The processes of the run that this process takes part in; alone, unless it was started as one of several."""
    return _current


def enter(found: World) -> None:
    """Make ``found`` what :func:`world` returns."""
    global _current
    _current = found


def started(environment: Mapping[str, str] | None = None) -> World:
    """What the launcher says: torchrun's variables, which ``huohou train --nproc`` sets too.

    Raises :class:`UserError` where they make no sense.
    """
    given = os.environ if environment is None else environment
    if "RANK" not in given and "WORLD_SIZE" not in given:
        return ALONE
    numbers: dict[str, int] = {}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        text = given.get(name, "0" if name == "LOCAL_RANK" else "")
        if not text.isdecimal():
            raise UserError(
                f"the launcher's variable {name} is {text!r}; RANK, WORLD_SIZE and LOCAL_RANK are whole numbers that "
                f"torchrun or huohou train --nproc sets.",
                f"启动器变量 {name} 的值为 {text!r}；RANK、WORLD_SIZE、LOCAL_RANK 应是由 torchrun 或 "
                f"huohou train --nproc 设定的整数。",
            )
        numbers[name] = int(text)
    found = World(numbers["RANK"], numbers["WORLD_SIZE"], numbers["LOCAL_RANK"])
    if not 0 <= found.rank < found.size:
        raise UserError(
            f"the launcher's variables say rank {found.rank} of {found.size} processes: ranks count from 0.",
            f"启动器变量给出 {found.size} 个进程中的第 {found.rank} 号：编号从 0 开始。",
        )
    return found


def share(count: int, rank: int, size: int) -> slice:
    """Which of ``count`` things in a row belong to a rank: neighbours, in the order of ranks, as even as can be.

    The ranks' shares one after another are the whole, so the order of a batch is the same for any number of ranks.
    """
    return slice(count * rank // size, count * (rank + 1) // size)


def rounds(count: int, size: int, at_once: int) -> int:
    """How many micro-batches every rank computes, so that none waits for one that has nothing left to do."""
    largest = max(count * (rank + 1) // size - count * rank // size for rank in range(size))
    return max(1, -(-largest // at_once))
