"""Two processes that train with DeepSpeed, and the same run in one process, for the tests of the engine.

Run as a script: ``python zero.py STAGE RESULT`` with RANK, WORLD_SIZE and STORE (a file) in the environment.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from huohou.model import ModelConfig, build, generate
from huohou.train import checkpoint, saving, state
from huohou.train.checkpoint import Snapshot
from huohou.train.distributed import ALONE, World
from huohou.train.engine import Engine
from huohou.train.engine_deepspeed import DeepSpeedEngine
from huohou.train.manifest import Position
from huohou.train.optim import OptimizerSettings, make_optimizer, rates_of, set_rates

UPDATES, RESTING, SPOILT = 50, 4, 10
"""Updates of the run, those in which the embedding rests, and the update that is first tried with a broken batch."""

CONFIG = ModelConfig(
    vocab_size=61,
    hidden_size=32,
    intermediate_size=52,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=32,
    tie_word_embeddings=True,
)


def rates(update: int) -> dict[str, float]:
    """Two groups with curves of their own."""
    rising = min(update / 10, 1.0)
    return {"body": 1e-3 * rising, "rows": 0.0 if update <= RESTING else 5e-4 * rising}


def optimizer(model: torch.nn.Module) -> torch.optim.Optimizer:
    rows = [p for name, p in model.named_parameters() if "embed_tokens" in name]
    body = [p for name, p in model.named_parameters() if "embed_tokens" not in name]
    groups: list[dict[str, object]] = [
        {"params": [p for p in body if p.dim() > 1], "weight_decay": 0.1, "curve": "body"},
        {"params": [p for p in body if p.dim() == 1], "weight_decay": 0.0, "curve": "body"},
        {"params": rows, "weight_decay": 0.1, "curve": "rows"},
    ]
    return make_optimizer(model, OptimizerSettings(), groups)


def batch(index: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Eight sequences that can be learned: each token says which one follows."""
    draw = torch.Generator().manual_seed(index)
    tokens = [torch.randint(0, 61, (8, 1), generator=draw)]
    for _ in range(16):
        tokens.append((tokens[-1] * 3 + 7) % 61)
    whole = torch.cat(tokens, dim=1)
    targets = whole[:, 1:].clone()
    targets[torch.rand(targets.shape, generator=draw) < 0.3] = -100
    return whole[:, :-1], targets


def _loss(inputs: torch.Tensor, targets: torch.Tensor, count: int, spoilt: bool, model: Any) -> torch.Tensor:
    loss = model.loss(inputs, targets)[0] / count
    return loss * float("inf") if spoilt else loss


def attempt(engine: Engine, index: int, update: int, spoilt: bool = False) -> dict[str, Any]:
    """One update as the loop makes it: two micro-batches on each of two ranks, or four in one process."""
    set_rates(engine.optimizer, rates(update))
    engine.begin()
    inputs, targets = batch(index)
    count, total = int((targets != -100).sum()), torch.zeros(())
    share = 8 // engine.world.size
    first = engine.world.rank * share
    for row in range(first, first + share, 2):
        rows = slice(row, row + 2)
        # Only the last rank's numbers are broken: that all of them skip has to be found out together.
        broken = spoilt and row == 6
        loss = partial(_loss, inputs[rows], targets[rows], count, broken)
        total += engine.accumulate(loss, last=row + 2 == first + share)
    found = engine.reduce(total)
    line = {"loss": found.loss, "norm": found.norm, "rates": rates_of(engine.optimizer), "layers": engine.layer_norms()}
    if spoilt:
        engine.skip()
    else:
        line["clipped"] = engine.clip(found.norm, 0.8)
        engine.step()
    return line


def train(engine: Engine, first: int, last: int) -> list[dict[str, Any]]:
    lines = []
    for update in range(first, last + 1):
        if update == SPOILT:
            before = whole(engine)
            attempt(engine, 10**6, update, spoilt=True)
            after = whole(engine)
            assert all(torch.equal(before[k][n], after[k][n]) for k in before for n in before[k])
        lines.append(attempt(engine, update, update))
    return lines


def whole(engine: Engine) -> dict[str, dict[str, torch.Tensor]]:
    """The state, put together from the pieces of all ranks as a checkpoint is; no number of it is there twice."""
    parts: list[Any] = [None] * engine.world.size
    mine = {
        part: [(n, p.tensor.clone(), p.shape, p.start) for n, p in pieces.items()]
        for part, pieces in engine.pieces().items()
    }
    if engine.world.alone:
        parts = [mine]
    else:
        dist.all_gather_object(parts, mine)
    found: dict[str, dict[str, torch.Tensor]] = {}
    for part in ("model", "optimizer"):
        named = found.setdefault(part, {})
        times: dict[str, torch.Tensor] = {}
        for name, tensor, shape, start in (piece for rank in parts for piece in rank[part]):
            flat = named.setdefault(name, torch.zeros(shape, dtype=tensor.dtype)).view(-1)
            flat[start : start + tensor.numel()] = tensor.flatten()
            times.setdefault(name, torch.zeros(flat.shape)).view(-1)[start : start + tensor.numel()] += 1
        assert all((count == 1).all() for count in times.values()), part
    return found


def save(engine: Engine, folder: Path) -> None:
    """A checkpoint as the loop writes it, every rank its own files."""
    snapshot = Snapshot(Position(25, 25, 0), engine.pieces(), {}, {})
    saving.save(folder, snapshot, keep=1, world=engine.world)


def saved_in(folder: Path) -> Mapping[str, Any]:
    """What the newest checkpoint holds, to be read by any engine."""
    newest = checkpoint.find(folder).newest
    assert newest is not None
    return checkpoint.load(newest).tensors


def put(engine: Engine, saved: Mapping[str, Any]) -> Engine:
    engine.restore(state.source(saved["model"]), state.source(saved["optimizer"]))
    return engine


def model() -> Any:
    return build(CONFIG, seed=1, device="cpu")


def farthest(one: list[dict[str, Any]], other: list[dict[str, Any]], key: str) -> float:
    return max(abs(a[key] - b[key]) / abs(a[key]) for a, b in zip(one, other, strict=True))


def main(stage: int, result: Path, dtype: str, offload: bool) -> None:
    torch.set_num_threads(1)
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    dist.init_process_group("gloo", init_method=f"file://{os.environ['STORE']}", rank=rank, world_size=size)
    world = World(rank, size)

    def single() -> Engine:
        return Engine(model(), optimizer, dtype=dtype, world=ALONE)

    def shared(zero_stage: int) -> Engine:
        return DeepSpeedEngine(model(), optimizer, dtype=dtype, world=world, zero_stage=zero_stage, offload=offload)

    alone = single()
    expected = train(alone, 1, 25)
    at_25 = whole(alone)
    alone_at_25: Any = put(single(), at_25).model.eval()
    expected += train(alone, 26, UPDATES)
    ending: Any = alone.model

    engine = shared(stage)
    lines = train(engine, 1, 25)
    saved = whole(engine)
    held: Any = engine.model
    save(engine, result.parent / "checkpoints")
    on_disk = saved_in(result.parent / "checkpoints")
    prompt = batch(98)[0][0].tolist()
    with engine.looking(whole=True):
        sampled = generate(held, [prompt], 12) == generate(alone_at_25, [prompt], 12)
    with engine.written() as complete_model:
        named = {} if complete_model is None else dict(complete_model.named_parameters())
        complete = all(torch.equal(p.detach(), saved["model"][name]) for name, p in named.items())
        complete = complete and len(named) == (len(saved["model"]) if world.leads else 0)
    lines += train(engine, 26, UPDATES)
    ends = whole(engine)

    with engine.looking():
        evaluated = float(engine.apply(lambda m: m.loss(*batch(99))[0].detach()))
    with engine.looking(whole=True):
        written = engine.apply(lambda m: m(batch(99)[0]).argmax(-1)).flatten().tolist()

    again = train(put(shared(stage), on_disk), 26, UPDATES)
    from_single = train(put(shared(stage), at_25), 26, UPDATES)
    to_single = train(put(single(), on_disk), 26, UPDATES)
    other = train(put(shared({0: 2, 1: 3, 2: 1, 3: 0}[stage]), saved), 26, UPDATES)
    late = expected[25:]
    report = {
        "names": {part: sorted(named) == sorted(at_25[part]) for part, named in saved.items()},
        "loss": farthest(expected, lines, "loss"),
        "norm": farthest(expected, lines, "norm"),
        "layers": max(
            abs(a["layers"][k] - b["layers"][k]) / a["layers"][k]
            for a, b in zip(expected, lines, strict=True)
            for k in a["layers"]
        ),
        "same layers": all(a["layers"].keys() == b["layers"].keys() for a, b in zip(expected, lines, strict=True)),
        "rates": all(a["rates"] == b["rates"] for a, b in zip(expected, lines, strict=True)),
        "clipped": [a["clipped"] for a in expected] == [b["clipped"] for b in lines],
        "clips": sum(a["clipped"] for a in expected),
        "falls": expected[-1]["loss"] / expected[0]["loss"],
        "state": max(
            float((at_25[part][n].double() - saved[part][n].double()).abs().max())
            for part in at_25
            for n in at_25[part]
        ),
        "resumed equals uninterrupted": again == lines[25:],
        "from single": farthest(late, from_single, "loss"),
        "to single": farthest(late, to_single, "loss"),
        "to another stage": farthest(late, other, "loss"),
        "evaluated": abs(evaluated - float(ending.loss(*batch(99))[0].detach())) / evaluated,
        "written": sum(a == b for a, b in zip(written, ending(batch(99)[0]).argmax(-1).flatten().tolist(), strict=True))
        / len(written),
        "sampled": sampled,
        "complete": complete,
        "end": len(ends["model"]),
    }
    if rank == 0:
        result.write_text(json.dumps(report), encoding="utf-8")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4] == "offload")
