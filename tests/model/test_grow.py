"""Growing a vocabulary: what new rows begin as, and that nothing that was there changes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from grown import ADDED, NEW, OLD, model, tokenizer

from huohou.data.tokenizer import Tokenizer
from huohou.errors import UserError
from huohou.model import check_agreement, generate, grow_model, open_model, write_model
from huohou.model.grow import Growth, grow_rows
from huohou.model.loss import cross_entropy
from huohou.model.rows import GrownEmbedding, GrownHead, joined_tensors


@pytest.fixture
def old(tmp_path: Path) -> Tokenizer:
    return tokenizer(tmp_path / "old", grown=False)


@pytest.fixture
def new(tmp_path: Path) -> Tokenizer:
    return tokenizer(tmp_path / "new", grown=True)


@pytest.fixture(scope="module")
def transformers() -> Iterator[ModuleType]:
    transformers = pytest.importorskip("transformers")
    transformers.utils.logging.disable_progress_bar()
    yield transformers
    transformers.utils.logging.enable_progress_bar()


def rows(some: Any, which: str = "new_weight") -> tuple[torch.Tensor, torch.Tensor]:
    return getattr(some.model.embed_tokens, which).detach(), getattr(some.lm_head, which).detach()


@pytest.mark.parametrize("tied", [False, True])
def test_new_rows_are_means_of_what_spelled_them(old: Tokenizer, new: Tokenizer, tied: bool) -> None:
    before, after = model(tied=tied), model(tied=tied)
    assert grow_model(after, old, new, "unscaled") == Growth(OLD, len(ADDED), 0)
    spelled = [[3, 4], [6, 3], [3, 4, 5], list(range(OLD))]
    for matrix, found in zip((before.model.embed_tokens, before.lm_head), rows(after), strict=True):
        expected = torch.stack([matrix.weight.detach()[ids].mean(0) for ids in spelled])
        torch.testing.assert_close(found, expected)
    assert (after.lm_head.new_weight is after.model.embed_tokens.new_weight) is tied
    assert after.config.vocab_size == NEW
    assert after.config.pad_token_id == NEW - 1


def test_the_default_gives_means_the_median_length(old: Tokenizer, new: Tokenizer) -> None:
    plain, scaled = model(), model()
    grow_model(plain, old, new, "unscaled")
    grow_model(scaled, old, new)
    for mean, found, before in zip(rows(plain), rows(scaled), rows(scaled, "weight"), strict=True):
        median = before.norm(dim=1).median()
        torch.testing.assert_close(found.norm(dim=1), median.expand(len(ADDED)))
        torch.testing.assert_close(found / found.norm(dim=1, keepdim=True), mean / mean.norm(dim=1, keepdim=True))


def test_other_beginnings(old: Tokenizer, new: Tokenizer) -> None:
    zeros, first, second, other = model(), model(), model(), model()
    grow_model(zeros, old, new, "zeros")
    assert not torch.cat(rows(zeros)).any()
    grow_model(first, old, new, "normal", seed=1)
    grow_model(second, old, new, "normal", seed=1)
    grow_model(other, old, new, "normal", seed=2)
    assert torch.equal(torch.cat(rows(first)), torch.cat(rows(second)))
    assert not torch.equal(torch.cat(rows(first)), torch.cat(rows(other)))
    assert 0.2 < torch.cat(rows(first)).std() < 0.4
    with pytest.raises(UserError, match="'mena' is no way to begin new rows"):
        grow_model(model(), old, new, "mena")


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("pad", [1, 64])
def test_old_rows_and_old_logits_keep_their_bits(old: Tokenizer, new: Tokenizer, tied: bool, pad: int) -> None:
    before, after = model(tied=tied), model(tied=tied)
    grow_model(after, old, new, pad_rows_to=pad)
    for was, now in zip((before.model.embed_tokens, before.lm_head), rows(after, "weight"), strict=True):
        assert torch.equal(was.weight, now)
    for shape in ((1, 1), (3, 40)):
        inputs = torch.randint(0, OLD, shape, generator=torch.Generator().manual_seed(0))
        logits = after(inputs)
        assert logits.shape[-1] == (NEW if pad == 1 else 64)
        assert torch.equal(before(inputs), logits[..., :OLD])


def test_old_logits_keep_their_bits_in_a_shape_like_a_real_one() -> None:
    """32,000 rows and 2,700 new ones, bf16 and fp32: blocks of a product end elsewhere when rows are joined."""
    head = torch.randn(32000, 64, generator=torch.Generator().manual_seed(0)) / 8
    added = torch.randn(2700, 64, generator=torch.Generator().manual_seed(1)) / 8
    hidden = torch.randn(77, 64, generator=torch.Generator().manual_seed(2))
    for dtype in (torch.float32, torch.bfloat16):
        alone = torch.nn.Linear(64, 32000, bias=False, dtype=dtype)
        alone.weight = torch.nn.Parameter(head.to(dtype))
        grown = GrownHead(alone.weight, torch.nn.Parameter(added.to(dtype)))
        assert torch.equal(alone(hidden.to(dtype)), grown(hidden.to(dtype))[:, :32000])


def test_rows_without_a_token_never_win(
    old: Tokenizer, new: Tokenizer, transformers: ModuleType, tmp_path: Path
) -> None:
    grown: Any = model()
    assert grow_model(grown, old, new, pad_rows_to=16) == Growth(OLD, 16 - OLD, 2)
    assert grown.suppressed == (14, 15)
    inputs = torch.randint(0, NEW, (4, 30), generator=torch.Generator().manual_seed(0))
    logits = grown(inputs)
    assert (logits[..., NEW:].max(-1).values <= logits[..., :NEW].max(-1).values).all()
    with torch.no_grad():
        grown.lm_head.new_weight[-2:] += 50.0 * grown.lm_head.new_weight[0].sign()
    written = generate(grown, [[1, 3]], 30)[0]
    assert max(written) < NEW
    assert max(generate(grown, [[1, 3]], 30, temperature=5.0, generator=torch.Generator().manual_seed(0))[0]) < NEW
    write_model(grown, tmp_path / "model", new)
    again = open_model(tmp_path / "model")
    assert again.suppressed == (14, 15)
    assert generate(again, [[1, 3]], 30)[0] == written
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    tokens = theirs.generate(torch.tensor([[1, 3]]), max_new_tokens=30, do_sample=False, eos_token_id=None)
    assert tokens[0, 2:].tolist() == written


def test_rows_that_a_model_has_beyond_its_tokenizer_become_tokens(old: Tokenizer, new: Tokenizer) -> None:
    before, after = model(rows=20), model(rows=20)
    assert grow_model(after, old, new) == Growth(OLD, 20 - OLD, 20 - NEW)
    embedding, head = rows(after)
    assert torch.equal(embedding[NEW - OLD :], before.model.embed_tokens.weight[NEW:])
    assert torch.equal(head[NEW - OLD :], before.lm_head.weight[NEW:])
    assert not torch.equal(embedding[0], before.model.embed_tokens.weight[OLD])
    assert after.suppressed == tuple(range(NEW, 20))
    inputs = torch.randint(0, OLD, (2, 20), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(after(inputs)[..., :OLD], before(inputs)[..., :OLD])


def test_nothing_to_grow_is_nothing(old: Tokenizer) -> None:
    some = model()
    assert grow_model(some, old, old) == Growth(OLD, 0, 0)
    assert type(some.lm_head) is torch.nn.Linear


def test_padding_alone_grows_too(old: Tokenizer) -> None:
    some = model()
    assert grow_model(some, old, old, pad_rows_to=8) == Growth(OLD, 16 - OLD, 16 - OLD)
    assert some.suppressed == tuple(range(OLD, 16))


def test_growing_needs_the_same_old_tokens(old: Tokenizer, new: Tokenizer) -> None:
    with pytest.raises(UserError, match="fewer than the old one's"):
        grow_model(model(), new, old)
    with pytest.raises(UserError, match=r"the model has 8 rows: ids 8–9 have none"):
        grow_model(model(rows=8), old, new)


def test_a_grown_model_is_not_grown_again(old: Tokenizer, new: Tokenizer) -> None:
    some = model()
    grow_model(some, old, new)
    with pytest.raises(UserError, match="grown already"):
        grow_rows(some, NEW, NEW + 3, {})


@pytest.mark.parametrize("tied", [False, True])
def test_files_hold_one_matrix(old: Tokenizer, new: Tokenizer, tied: bool, tmp_path: Path) -> None:
    grown = model(tied=tied)
    grow_model(grown, old, new)
    write_model(grown, tmp_path / "model", new)
    again: Any = open_model(tmp_path / "model")
    assert torch.equal(
        again.get_input_embeddings().weight, torch.cat([rows(grown, w)[0] for w in ("weight", "new_weight")])
    )
    inputs = torch.randint(0, NEW, (2, 20), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(again(inputs), grown(inputs))
    assert set(joined_tensors(grown)) == {name for name, _ in again.named_parameters()}
    check_agreement(again, new)


def gradients(some: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in some.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("tokens", [30, 400])
def test_loss_and_gradients_are_those_of_one_matrix(
    old: Tokenizer, new: Tokenizer, tied: bool, tokens: int, tmp_path: Path
) -> None:
    grown = model(tied=tied)
    grow_model(grown, old, new)
    write_model(grown, tmp_path / "model")
    whole = open_model(tmp_path / "model")
    generator = torch.Generator().manual_seed(0)
    inputs, targets = (torch.randint(0, NEW, (tokens // 10, 10), generator=generator) for _ in range(2))
    for some in (grown, whole):
        nats, count = some.loss(inputs, targets)
        (nats / count).backward()
    found, expected = gradients(grown), gradients(whole)
    for name, gradient in expected.items():
        mine = found[name]
        if name in ("model.embed_tokens.weight", "lm_head.weight"):
            mine = torch.cat((mine, found[name.replace("weight", "new_weight")]))
        torch.testing.assert_close(mine, gradient, atol=1e-6, rtol=1e-5, msg=name)


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_a_grown_model_compiles(old: Tokenizer, new: Tokenizer) -> None:
    eager, compiled = model(), model()
    for some in (eager, compiled):
        grow_model(some, old, new)
    compiled.compile(dynamic=False)
    inputs = torch.randint(0, NEW, (2, 20), generator=torch.Generator().manual_seed(0))
    try:
        for some in (eager, compiled):
            some.loss(inputs, inputs)[0].backward()
    finally:
        # What was compiled here would count as compiled again in another test of the process.
        torch.compiler.reset()
    for name, gradient in gradients(eager).items():
        torch.testing.assert_close(gradients(compiled)[name], gradient, atol=1e-5, rtol=1e-4, msg=name)


def test_old_rows_alone_may_stay(old: Tokenizer, new: Tokenizer) -> None:
    """New rows alone are trained: no gradient is made for what is frozen."""
    some = model()
    grow_model(some, old, new)
    for name, parameter in some.named_parameters():
        parameter.requires_grad_(name.endswith("new_weight"))
    inputs = torch.randint(0, NEW, (2, 20), generator=torch.Generator().manual_seed(0))
    some.loss(inputs, inputs)[0].backward()
    assert set(gradients(some)) == {"model.embed_tokens.new_weight", "lm_head.new_weight"}


@pytest.mark.parametrize("frozen", ["weight", "new_weight"])
def test_chunks_give_each_part_of_a_head_its_own_gradient(frozen: str) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(40, 6, generator=generator)
    parts = {"weight": torch.randn(9, 6, generator=generator), "new_weight": torch.randn(4, 6, generator=generator)}
    for name, part in parts.items():
        part.requires_grad_(name != frozen)
    targets = torch.randint(0, 13, (40,), generator=generator)
    targets[::3] = -100
    found = cross_entropy(hidden, tuple(parts.values()), targets, 7)[0]
    whole = torch.nn.functional.cross_entropy(hidden @ torch.cat(tuple(parts.values())).T, targets, reduction="sum")
    torch.testing.assert_close(found, whole)
    trained = [part for part in parts.values() if part.requires_grad]
    torch.testing.assert_close(torch.autograd.grad(found, trained), torch.autograd.grad(whole, trained))


def test_agreement_names_the_ids(old: Tokenizer, new: Tokenizer, tmp_path: Path) -> None:
    check_agreement(model(), old)
    with pytest.raises(UserError, match=r"14 ids and the model 10 rows: ids 10–13 have none"):
        check_agreement(model(), new)
    with pytest.raises(UserError, match=r"names no end token"):
        check_agreement(model(), _without_end(old))
    wrong = model()
    wrong.config = replace(wrong.config, eos_token_id=5)
    with pytest.raises(UserError, match=r"eos is 2 \(</s>\) to the tokenizer, and eos_token_id is 5"):
        check_agreement(wrong, old)


def _without_end(some: Tokenizer) -> Tokenizer:
    found = copy.copy(some)
    found.eos_id = None
    return found


def test_rows_of_a_bfloat16_model_keep_its_type(old: Tokenizer, new: Tokenizer) -> None:
    some = model().bfloat16()
    grow_model(some, old, new, pad_rows_to=16)
    assert {p.dtype for p in some.parameters()} == {torch.bfloat16}
    assert isinstance(some.model.embed_tokens, GrownEmbedding)
