"""The watch over the processes of a run: a thread in each that tells the others where it stands and looks at them.

It tells, through the store that brought the processes together, that its own is alive and how far it has come. What it
finds out about the others becomes one verdict that all follow: the lowest rank that is well says it aloud, and
everybody leaves. A process whose own loop waits in a sum for the missing one cannot be woken, so its thread ends it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from huohou.errors import RunFailed, UserError
from huohou.language import Text
from huohou.train.distributed import World
from huohou.train.signals import Stopped

PARENT = "HUOHOU_LAUNCHER"
"""The variable with the process number of ``huohou train --nproc``."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why the run ends: what ``teller`` says, and the exit status of all."""

    en: str
    zh: str
    status: int
    teller: int
    update: int


@dataclass(slots=True)
class _Seen:
    """What is known of another process, and for how long it has not changed."""

    beat: int = -1
    changed: float = 0.0
    count: int = 0
    update: int = 0
    doing: str = ""
    inside: bool = False


@dataclass
class Watch:
    """The thread, and what the process itself reports to it."""

    world: World
    store: Any
    timeout: float
    count: int = 0
    update: int = 0
    doing: str = "preparing"
    moved: float = field(default_factory=time.monotonic)
    lost: bool = False
    verdict: Verdict | None = None
    taken: bool = False
    finished: bool = False

    def __post_init__(self) -> None:
        self.main = threading.main_thread().ident or 0
        self.pause = min(1.0, self.timeout / 20)
        # A process that is about to leave by itself is given this long.
        self.grace = min(5.0, self.timeout / 5)
        self.seen = {rank: _Seen(changed=time.monotonic()) for rank in range(self.world.size)}
        self.seen.pop(self.world.rank)
        self.beat = 0
        self.woken = threading.Event()
        self.thread = threading.Thread(target=self.run, name="huohou watch", daemon=True)
        self.thread.start()

    def run(self) -> None:
        while not self.finished and self.verdict is None:
            try:
                self.tell()
                self.verdict = self.judge()
            except (RuntimeError, OSError):
                # The store has gone with the process that kept it.
                if not self.finished:
                    self.verdict = self.without_store()
            self.woken.wait(self.pause)
        if self.verdict is not None and not self.finished:
            self.end(self.verdict)

    def tell(self) -> None:
        self.beat += 1
        standing = [self.beat, self.count, self.update, self.doing, self.inside_a_sum()]
        self.store.set(f"beat/{self.world.rank}", json.dumps(standing))

    def inside_a_sum(self) -> bool:
        """Whether the loop of this process waits for others, as far as its innermost Python frame tells."""
        frame = sys._current_frames().get(self.main)
        place = frame.f_code.co_filename.replace(os.sep, "/") if frame else ""
        return "/torch/distributed/" in place or "/torch/autograd/" in place or "/torch/_" in place

    def read(self, key: str) -> Any:
        return json.loads(self.store.get(key)) if self.store.check([key]) else None

    def judge(self) -> Verdict | None:
        """What is wrong, if anything is: somebody's verdict, a process that left or is silent, a run that stands."""
        told = self.read("verdict")
        if told is not None:
            return Verdict(**told)
        now = time.monotonic()
        if _parent_gone():
            return self.without_store()
        for rank, seen in self.seen.items():
            left = self.read(f"left/{rank}") or self.read(f"dead/{rank}")
            if left is not None:
                return self.settle(self.of_left(rank, left))
            standing = self.read(f"beat/{rank}")
            if standing is not None and standing[0] != seen.beat:
                seen.beat, seen.count, seen.update, seen.doing, seen.inside = standing
                seen.changed = now
            silent = now - seen.changed
            # A loop that has lost a connection is good evidence; silence alone may be a busy machine.
            limit = min(5.0, self.timeout / 4) if self.lost else 0.8 * self.timeout
            if silent > limit and self.count and self.read(f"done/{rank}") is None:
                return self.settle(self.of_silent(rank, seen, silent))
        if self.count and now - self.moved > 0.8 * self.timeout:
            return self.settle(self.of_standing(now - self.moved))
        return None

    def settle(self, found: Verdict) -> Verdict:
        """Make a verdict that of all; the first one counts."""
        return Verdict(**json.loads(self.store.compare_set("verdict", "", json.dumps(asdict(found)))))

    def teller(self, *culprits: int) -> int:
        return next(rank for rank in range(self.world.size) if rank not in culprits)

    def of_left(self, rank: int, left: dict[str, Any]) -> Verdict:
        # It may have come further than it last told, and never further than the sums of this one's update.
        update = max(left["update"], self.seen[rank].update, self.update)
        where, wo = _where(update)
        en = f"rank {rank} left {where}: {left['en']} The other processes have left too."
        zh = f"进程 {rank} {wo}退出：{left['zh']}其余进程也已退出。"
        return Verdict(en, zh, left["status"], self.teller(rank), update)

    def of_silent(self, rank: int, seen: _Seen, silent: float) -> Verdict:
        update = max(seen.update, self.update)
        where, wo = _where(update)
        en = f"rank {rank} is dead or stopped: no sign of life for {silent:.0f} s, last seen {where} ({seen.doing})."
        zh = f"进程 {rank} 已死亡或停住：{silent:.0f} 秒没有动静，最后{wo}（{seen.doing}）。"
        return Verdict(f"{en} The other processes have left.", f"{zh}其余进程已退出。", 1, self.teller(rank), update)

    def of_standing(self, waited: float) -> Verdict:
        """Nothing moves: whoever has come least far is the one that the others wait for."""
        standings = {rank: (s.count, s.inside, s.update, s.doing) for rank, s in self.seen.items()}
        standings[self.world.rank] = (self.count, self.inside_a_sum(), self.update, self.doing)
        least = min(standing[:2] for standing in standings.values())
        behind = sorted(rank for rank, standing in standings.items() if standing[:2] == least)
        where, wo = _where(standings[behind[0]][2])
        if len(behind) == self.world.size:
            en = f"nothing has moved for {waited:.0f} s {where}: all processes wait for each other; is the network up?"
            zh = f"{wo}已有 {waited:.0f} 秒没有进展：所有进程都在互相等待；网络是否正常？"
            return Verdict(en, zh, 1, 0, self.update)
        names = ", ".join(map(str, behind))
        doing = standings[behind[0]][3]
        en = f"rank {names} hangs {where} ({doing}): the others have waited for it for {waited:.0f} s and have left."
        zh = f"进程 {names} {wo}停滞（{doing}）：其余进程已等待 {waited:.0f} 秒，现已退出。"
        return Verdict(en, zh, 1, self.teller(*behind), standings[behind[0]][2])

    def without_store(self) -> Verdict:
        if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
            en, zh = "the launcher is gone", "启动进程已不在"
            teller = 0
        else:
            en, zh = "rank 0 is dead or out of reach", "进程 0 已死亡或无法连接"
            teller = 1
        where, wo = _where(self.update)
        return Verdict(f"{en} {where}; this run has ended.", f"{zh}（{wo}）；训练已结束。", 1, teller, self.update)

    def end(self, verdict: Verdict) -> None:
        """Leave, unless the process is on its way out by itself."""
        deadline = time.monotonic() + self.grace
        while time.monotonic() < deadline:
            if self.taken or self.finished:
                return
            time.sleep(0.05)
        if verdict.teller == self.world.rank and verdict.en:
            with suppress(OSError, ValueError):
                print(f"huohou: {Text(verdict.en, verdict.zh)}", file=sys.stderr, flush=True)
        os._exit(verdict.status)

    def explain(self, wait: float) -> Verdict | None:
        """The verdict about a connection that was lost, once there is one."""
        self.lost = True
        deadline = time.monotonic() + wait
        while self.verdict is None and time.monotonic() < deadline:
            time.sleep(0.05)
        self.taken = self.verdict is not None
        return self.verdict

    def leave(self, error: BaseException) -> None:
        """Tell the others that this process leaves, and why."""
        status, en, zh = said_of(error)
        plain = {"update": self.update, "status": status, "en": en, "zh": zh}
        with suppress(RuntimeError, OSError):
            self.store.set(f"left/{self.world.rank}", json.dumps(plain))

    def close(self) -> None:
        """End the thread: one that is inside the store when the interpreter ends would abort the process."""
        self.finished = True
        self.woken.set()
        self.thread.join(self.grace + 2 * self.pause)

    def bye(self) -> None:
        """This process is finished; the one that keeps the store goes last."""
        with suppress(RuntimeError, OSError):
            self.store.set(f"done/{self.world.rank}", "1")
            deadline = time.monotonic() + self.grace
            while self.world.leads and time.monotonic() < deadline:
                if all(self.store.check([f"done/{r}"]) or self.store.check([f"left/{r}"]) for r in self.seen):
                    break
                time.sleep(0.05)


def said_of(error: BaseException) -> tuple[int, str, str]:
    """Exit status and sentence of what a process leaves with."""
    if isinstance(error, UserError | RunFailed):
        return 2 if isinstance(error, UserError) else 1, error.text.en, error.text.zh
    if isinstance(error, Stopped):
        return error.status, "it was stopped by a signal.", "它被信号停止。"
    if isinstance(error, KeyboardInterrupt):
        return 130, "it was interrupted.", "它被中断。"
    if isinstance(error, SystemExit):
        return 1, f"it exited early (status {error.code}).", f"它提前退出（状态 {error.code}）。"
    return 1, f"{type(error).__name__}: {error}.", f"{type(error).__name__}：{error}。"


def _where(update: int) -> tuple[str, str]:
    if not update:
        return "before the first update", "在第一个更新步之前"
    return f"in update {update}", f"在更新步 {update} "


def _parent_gone() -> bool:
    parent = os.environ.get(PARENT)
    return parent is not None and hasattr(os, "getppid") and os.getppid() != int(parent)
