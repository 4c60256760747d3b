"""Rendering strangers' templates in a process of their own, which can be ended at any moment.

Neither a sandbox nor a signal handler stops ``{% for … %}`` without end, or one operator that computes for an hour; the
end of a process does. Requests and answers are lines of JSON, so that nothing but plain data reaches a template.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from huohou.data.answer_spans import answer_spans
from huohou.data.template_engine import Engine, TemplateFault

TIME_LIMIT = 10.0
"""Seconds for one dialogue, all its renderings together; an ordinary one takes less than a millisecond."""
_SLOWEST = 1e6
"""Characters of a question for which there is one second more: dialogues may be as large as a line may be."""
_START_LIMIT = 60.0
_MEMORY = 4 << 30


class TimedOut(Exception):
    """The template did not come to an end."""


class TemplateProcess:
    """A process with one template.

    It is started when it is first asked, and ended by :meth:`close`, by the end of this process, or by the clock.
    """

    def __init__(
        self, source: str, variables: Mapping[str, Any], today: str | None, *, time_limit: float = TIME_LIMIT
    ) -> None:
        self._setting = {"source": source, "variables": dict(variables), "today": today, "limit": time_limit}
        self._time_limit = time_limit
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()
        self._number = 0
        self._awaited: deque[tuple[int, float]] = deque()
        self._kept: dict[int, str] = {}
        self._unwanted: set[int] = set()
        self._end: Callable[[], object] | None = None

    def facts(self) -> dict[str, Any]:
        """What the engine knows of the template: ``names`` and ``marks_answers``, or ``error``."""
        self.close()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._process = subprocess.Popen(
            [sys.executable, "-X", "utf8", "-P", "-m", "huohou.data.template_process"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            encoding="utf-8", env=environment,
        )  # fmt: skip
        self._lines = queue.Queue()
        listener = threading.Thread(target=_listen, args=(self._process, self._lines), daemon=True)
        listener.start()
        # This also runs when the program ends, before its threads are stopped; a destructor would come too late.
        self._end = weakref.finalize(self, _ended, self._process, listener)
        return self._answer(self._send(self._setting, _START_LIMIT))

    def ask(self, requests: Iterable[dict[str, Any]], ahead: int = 512) -> Iterator[dict[str, Any]]:
        """The answer to each request; up to ``ahead`` requests are under way while answers are used.

        Meanwhile others may be asked: every answer goes to whom it is for.
        """
        if self._process is None:
            self.facts()
        asked: deque[int] = deque()
        try:
            for request in requests:
                asked.append(self._send(request, self._time_limit))
                if len(asked) > ahead:
                    yield self._answer(asked.popleft())
            while asked:
                yield self._answer(asked.popleft())
        finally:
            # Nobody will ask for the answers that are still to come.
            self._unwanted.update(asked)

    def _send(self, value: dict[str, Any], limit: float) -> int:
        """Ask; the number of the question."""
        self._number += 1
        line = json.dumps(value)
        process = self._process
        # Where the process has ended, there will be no answer, which is noticed where it is waited for.
        if process is not None and process.stdin is not None:
            with suppress(OSError):
                process.stdin.write(line + "\n")
                process.stdin.flush()
        self._awaited.append((self._number, limit + len(line) / _SLOWEST))
        return self._number

    def _answer(self, number: int) -> dict[str, Any]:
        """The answer to a question; answers come in the order of the questions."""
        while number not in self._kept:
            line = ""
            if self._process is not None and self._awaited:
                following, limit = self._awaited.popleft()
                with suppress(queue.Empty):
                    line = self._lines.get(timeout=limit)
                if line and following not in self._unwanted:
                    self._kept[following] = line
                self._unwanted.discard(following)
            if not line:
                self.close()
                raise TimedOut
        return json.loads(self._kept.pop(number))

    def close(self) -> None:
        """End the process; it begins anew when it is asked again."""
        self._process = None
        self._awaited.clear()
        self._kept.clear()
        self._unwanted.clear()
        if self._end is not None:
            self._end()


def _ended(process: subprocess.Popen[str], listener: threading.Thread) -> None:
    """End a process and the thread that listens to it."""
    process.kill()
    process.wait()
    # The stream must not be closed under a thread that still reads it.
    listener.join()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            # What was still to be written to a process that has ended is of no use to anybody.
            with suppress(OSError):
                stream.close()


class Here:
    """The same for a template that the package brings itself, in this process."""

    def __init__(self, source: str, variables: Mapping[str, Any], today: str | None) -> None:
        self._engine, self._facts = opened(source, variables, today)

    def facts(self) -> dict[str, Any]:
        return self._facts

    def ask(self, requests: Iterable[dict[str, Any]], ahead: int = 0) -> Iterator[dict[str, Any]]:
        assert self._engine is not None
        for request in requests:
            yield answered(self._engine, request)

    def close(self) -> None:
        """There is nothing to end."""


def opened(source: str, variables: Mapping[str, Any], today: str | None) -> tuple[Engine | None, dict[str, Any]]:
    """An engine, and what it knows of the template; no engine and an error where the template is none."""
    try:
        engine = Engine(source, variables, today)
    except TemplateFault as fault:
        return None, {"error": fault.reason, "own": fault.own}
    return engine, {"names": sorted(engine.names), "marks_answers": engine.marks_answers}


def answered(engine: Engine, request: dict[str, Any]) -> dict[str, Any]:
    """The answer to one request: a text, with ``answers`` also where they stand; or an error."""
    try:
        if "answers" in request:
            text, spans = answer_spans(engine, request["messages"], request["tools"], request["answers"])
            return {"text": text, "spans": spans}
        text, _ = engine.render(
            request["messages"], request["tools"], prompt=request["prompt"], variables=request["variables"]
        )
        return {"text": text}
    except TemplateFault as fault:
        return {"error": fault.reason, "own": fault.own}
    except (MemoryError, RecursionError) as error:
        return {"error": type(error).__name__, "own": False}


def _listen(process: subprocess.Popen[str], answers: queue.Queue[str]) -> None:
    """Put every line into the queue, and an empty one at the end."""
    assert process.stdout is not None
    # The stream may be closed while it is being read.
    with suppress(ValueError):
        for line in process.stdout:
            answers.put(line)
    answers.put("")


def _bounds() -> Callable[[int], Any]:
    """Bound the memory; what is returned makes the process end by itself after so many seconds (0: never), for when
    nobody is left who would end it."""
    try:
        import resource
        import signal
    except ImportError:
        # Windows has neither; there the time limit of the other side is all.
        return lambda seconds: None
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    return signal.alarm


def _serve(requests: Iterable[str], write: Callable[[str], None]) -> None:
    engine: Engine | None = None
    end_after = _bounds()
    seconds = 120
    for line in requests:
        request: dict[str, Any] = json.loads(line)
        end_after(seconds + int(len(line) / _SLOWEST))
        if engine is None:
            seconds = int(2 * request["limit"]) + 60
            engine, answer = opened(request["source"], request["variables"], request["today"])
        else:
            answer = answered(engine, request)
        write(json.dumps(answer) + "\n")
        end_after(0)


if __name__ == "__main__":

    def _write(line: str) -> None:
        sys.stdout.write(line)
        sys.stdout.flush()

    _serve(sys.stdin, _write)
