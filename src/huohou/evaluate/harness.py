"""The lm-eval harness (EleutherAI) on a model of huohou: its tasks and its scores, our model and tokenizer.

Every context begins with the token that a text begins with (:meth:`huohou.model.opening.Opened.begin_id`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lm_eval.api.model import TemplateLM  # pyright: ignore[reportMissingImports]
from lm_eval.evaluator import simple_evaluate  # pyright: ignore[reportMissingImports]
from lm_eval.tasks import TaskManager  # pyright: ignore[reportMissingImports]

from huohou.data.chat_template import ChatTemplate
from huohou.errors import UserError
from huohou.evaluate.likelihood import log_probabilities, nats
from huohou.evaluate.perplexity import TOKENS_AT_ONCE, windows
from huohou.model.generate import generate
from huohou.model.opening import Opened

_LONGEST = 1 << 30
_AT_ONCE = 8


class HarnessModel(TemplateLM):
    """What the harness asks a model for."""

    def __init__(self, opened: Opened, template: ChatTemplate | None) -> None:
        super().__init__()
        self._opened, self._template = opened, template
        self._room = opened.model.context or _LONGEST

    @property
    def eot_token_id(self) -> int:
        return self._opened.tokenizer.end_id

    @property
    def prefix_token_id(self) -> int:
        return self._opened.begin_id()

    @property
    def tokenizer_name(self) -> str:
        return self._opened.tokenizer.fingerprint

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        return self._opened.tokenizer.encode(string, special=self._template is not None).tolist()

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        assert self._template is not None
        return self._template.prompt(chat_history) if add_generation_prompt else self._template.render(chat_history)

    def chat_template(self, chat_template: bool | str = False) -> str:
        return "" if self._template is None else self._template.plain

    def _loglikelihood_tokens(self, requests: Sequence[Any], **kwargs: Any) -> list[tuple[float, bool]]:
        rows, first = [], []
        for _, context, continuation in requests:
            row = [*self._begun(context), *continuation]
            # Where there is no room for all, the beginning is left out.
            row = row[max(0, len(row) - self._room - 1) :]
            rows.append(row)
            first.append(max(1, len(row) - len(continuation)))
        found: dict[int, tuple[float, bool]] = {}
        group: list[int] = []
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        for i in order:
            if group and (len(group) + 1) * len(rows[i]) > TOKENS_AT_ONCE:
                self._score(group, rows, first, found)
                group = []
            group.append(i)
        if group:
            self._score(group, rows, first, found)
        return [found[i] for i in range(len(rows))]

    def _score(
        self, group: list[int], rows: list[list[int]], first: list[int], found: dict[int, tuple[float, bool]]
    ) -> None:
        given = log_probabilities(self._opened.model, [rows[i] for i in group], [first[i] for i in group])
        for i, (parts, best) in zip(group, given, strict=True):
            found[i] = (sum(parts), best)

    def _begun(self, context: list[int]) -> list[int]:
        begin = self.prefix_token_id
        return context if self._template is not None or context[:1] == [begin] else [begin, *context]

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        sums: list[float] = []
        for request in requests:
            ids = self.tok_encode(request.args[0])
            window = min(self._room, max(1, len(ids)))
            parts = windows(ids, self.prefix_token_id, window, window)
            sums.append(-sum(nats(self._opened.model, [one.inputs], [one.targets]) for one in parts))
        return sums

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        written: list[str] = []
        for request in requests:
            context, how = request.args
            until = how.get("until") or []
            until = [until] if isinstance(until, str) else until
            new = min(int(how.get("max_gen_toks", 256)), max(1, self._room // 2))
            ids = self._begun(self.tok_encode(context))
            ids = ids[max(0, len(ids) + new - self._room) :]
            stops = (self.eot_token_id,) if self._template is None else self._template.end_ids(self._opened.tokenizer)
            text = self._opened.tokenizer.decode(
                generate(self._opened.model, [ids], new, stop_ids=stops)[0], special=False
            )
            ends = [place for mark in until if mark and (place := text.find(mark)) >= 0]
            written.append(text[: min(ends)] if ends else text)
        return written


def run(
    opened: Opened,
    tasks: Sequence[str],
    *,
    folder: Path | None,
    shots: int | None,
    limit: int | None,
    seed: int,
    template: ChatTemplate | None,
) -> dict[str, Any]:
    """The harness's results by task. ``folder``: where tasks of one's own are (YAML files), searched in depth.

    Sampling is off: what is generated is generated greedily, whatever a task asks for.
    """
    manager = TaskManager(include_path=None if folder is None else str(folder))
    unknown = [task for task in tasks if not manager.match_tasks([task])]
    if unknown:
        raise UserError(
            f"--lm-eval {unknown[0]}: the harness has no such task; tasks of your own need --lm-eval-tasks DIR.",
            f"--lm-eval {unknown[0]}：评测框架里没有这个任务；自己的任务需要 --lm-eval-tasks 目录。",
        )
    found: Any = simple_evaluate(
        model=HarnessModel(opened, template),
        tasks=list(tasks),
        num_fewshot=shots,
        limit=limit,
        task_manager=manager,
        apply_chat_template=template is not None,
        log_samples=True,
        bootstrap_iters=0,
        random_seed=seed,
        numpy_random_seed=seed,
        torch_random_seed=seed,
        fewshot_random_seed=seed,
    )
    return {
        "results": found["results"],
        "versions": found["versions"],
        "shots": found["n-shot"],
        "prompts_sha256": {
            task: [sample["prompt_hash"] for sample in samples]
            for task, samples in (found.get("samples") or {}).items()
        },
    }
