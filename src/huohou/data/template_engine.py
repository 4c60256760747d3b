"""Rendering a chat template in Jinja's sandbox, with what transformers offers templates and nothing more.

Templates come from strangers. The sandbox keeps them from Python's internals; the sizes of what they may compute are
bounded here; how long they may take, and how much memory, is bounded by the process they run in
(:mod:`huohou.data.template_process`). This module needs Jinja and the standard library alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

import jinja2
import jinja2.ext
import jinja2.meta
import jinja2.nodes
import jinja2.utils
from jinja2.exceptions import SecurityError, TemplateError, TemplateSyntaxError
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

Message = dict[str, Any]
Rendered = tuple[str, list[tuple[int, int]]]
"""A text, and the parts of it, [start, end) in characters, that stand in ``{% generation %}`` tags."""

SMALLEST_LIMIT = 1 << 20
LARGEST_FACTOR = 16
"""A text may have LARGEST_FACTOR times the characters of what it is made from, and SMALLEST_LIMIT at least."""
_MOST_REPEATED = 1 << 20


class TemplateFault(Exception):
    """Why a template cannot be rendered; ``own`` says that the template itself refused (``raise_exception``)."""

    def __init__(self, reason: str, *, own: bool = False) -> None:
        self.reason, self.own = reason, own
        super().__init__(reason)


class _Refused(TemplateError):
    """What ``raise_exception`` raises."""


class _Generation(jinja2.ext.Extension):
    """``{% generation %} … {% endgeneration %}``: what the assistant writes, as in transformers."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller: Callable[[], str]) -> str:
        text = caller()
        environment = self.environment
        assert isinstance(environment, _Environment)
        environment.parts.append((environment.written, environment.written + len(text)))
        return text


class _Dict:
    """``dict`` without the attributes that lead out of the sandbox."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args, **kwargs)


class _Namespace(jinja2.utils.Namespace):
    """A namespace that takes no name with an underscore before it."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, rest = args[0], args[1:]
        attributes = dict(*rest, **kwargs)
        for name in attributes:
            _Namespace._check(name)
        jinja2.utils.Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _Namespace._check(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)

    @staticmethod
    def _check(name: Any) -> None:
        if isinstance(name, str) and name.startswith("_"):
            raise SecurityError(f"a namespace may not hold {name!r}")


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, which knows how much has been written and bounds what operators make."""

    # Intercepted operators are also not computed while the template is compiled.
    intercepted_binops = frozenset(["*", "**", "%"])

    def __init__(self, now: Callable[[], datetime]) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols])
        self.written = 0
        self.parts: list[tuple[int, int]] = []

        def strftime_now(format: str) -> str:
            return now().strftime(format)

        cast("dict[str, Any]", self.filters)["tojson"] = _tojson  # pyright: ignore[reportUnknownMemberType]
        cast("dict[str, Any]", self.globals).update(  # pyright: ignore[reportUnknownMemberType]
            raise_exception=_raise_exception, strftime_now=strftime_now, dict=_Dict(), namespace=_Namespace
        )

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and not (abs(left) < 1 << 32 and abs(right) < 64):
            raise SecurityError("a power that is too large")
        if operator == "*":
            for many, times in ((left, right), (right, left)):
                if isinstance(times, int) and hasattr(many, "__len__") and len(many) * times > _MOST_REPEATED:
                    raise SecurityError("a repetition that is too long")
        return super().call_binop(context, operator, left, right)


def _tojson(
    x: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """Jinja's own filter escapes HTML; this is the one of transformers."""
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: Any) -> None:
    raise _Refused(str(message)[:500])


class Engine:
    """A template, compiled. ``variables``: the special tokens by name (``bos_token``, …) and others it may use.

    ``today`` fixes the day that ``strftime_now`` tells (``YYYY-MM-DD``); without it the clock tells it.
    """

    def __init__(self, source: str, variables: Mapping[str, Any], today: str | None = None) -> None:
        day = datetime.fromisoformat(today) if today else None
        self._environment = _Environment(lambda: day or datetime.now())
        self._variables = dict(variables)
        try:
            tree = self._environment.parse(source)
            self.names = frozenset(jinja2.meta.find_undeclared_variables(tree))
            """What the template asks for from outside: messages, tools, bos_token, …"""
            self.marks_answers = any(True for _ in tree.find_all(jinja2.nodes.ExtensionAttribute))
            """Whether it has generation tags."""
            self._template = self._environment.from_string(source)
        except TemplateSyntaxError as error:
            raise TemplateFault(f"line {error.lineno}: {error.message}") from None
        except Exception as error:
            raise TemplateFault(_said(error)) from None

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[dict[str, Any]] | None,
        *,
        prompt: bool = False,
        variables: Mapping[str, Any] | None = None,
    ) -> Rendered:
        """The text of a dialogue; with ``prompt`` up to where the assistant's next message begins."""
        shown = [_with_reasoning(message) for message in messages]
        given = {**self._variables, **(variables or {})}
        size = sum(len(str(message)) for message in messages) + len(str(tools)) + len(str(given))
        limit = max(SMALLEST_LIMIT, LARGEST_FACTOR * size)
        environment = self._environment
        environment.written, environment.parts = 0, []
        blocks: list[str] = []
        try:
            for block in self._template.generate(
                messages=shown,
                tools=list(tools) if tools else None,
                documents=None,
                add_generation_prompt=prompt,
                **given,
            ):
                blocks.append(block)
                environment.written += len(block)
                if environment.written > limit:
                    raise TemplateFault(f"it writes more than {limit:,} characters for {size:,}")
        except TemplateFault:
            raise
        except _Refused as refused:
            raise TemplateFault(str(refused), own=True) from None
        except Exception as error:
            raise TemplateFault(_said(error)) from None
        return "".join(blocks), environment.parts


def _with_reasoning(message: Message) -> Message:
    """Some templates ask for what was thought by another name."""
    if "reasoning_content" in message:
        return {"thinking": message["reasoning_content"], **message}
    return message


def _said(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "it needs more memory than a template may have"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
