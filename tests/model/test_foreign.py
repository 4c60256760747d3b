"""Other causal models through transformers: the same methods as our own decoder's, and the same answers as theirs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from grown import ADDED, NEW, OLD, tokenizer

from huohou.errors import UserError
from huohou.model import Foreign, check_agreement, generate, grow_model, open_model, part_of, write_model

SMALL: dict[str, Any] = {
    "vocab_size": OLD, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "initializer_range": 0.3, "bos_token_id": 1,
    "eos_token_id": 2, "pad_token_id": None,
}  # fmt: skip
GPT2: dict[str, Any] = {
    "vocab_size": OLD, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "initializer_range": 0.3,
    "bos_token_id": 1, "eos_token_id": 2, "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0,
}  # fmt: skip
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "windowed": ("Mistral", {**SMALL, "sliding_window": 8}),
    "bent logits": ("Gemma2", {**SMALL, "sliding_window": 8, "head_dim": 8, "final_logit_softcapping": 3.0}),
    "experts": ("Mixtral", {**SMALL, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "learned positions": ("GPT2", GPT2),
    "norms after": ("Olmo2", SMALL),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
growable = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "bent logits"])


@pytest.fixture(scope="module")
def transformers() -> Iterator[ModuleType]:
    transformers = pytest.importorskip("transformers")
    transformers.utils.logging.disable_progress_bar()
    yield transformers
    transformers.utils.logging.enable_progress_bar()


Make = Callable[[str], tuple[Foreign, Any]]


@pytest.fixture
def make(transformers: ModuleType, tmp_path: Path) -> Make:
    """Ours and theirs from one folder."""

    def both(kind: str) -> tuple[Foreign, Any]:
        name, settings = KINDS[kind]
        torch.manual_seed(3)
        model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, f"{name}Config")(**settings))
        model.save_pretrained(tmp_path / "theirs")
        ours = open_model(tmp_path / "theirs")
        assert isinstance(ours, Foreign)
        return ours, transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "theirs")

    return both


def batch(rows: int = OLD) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs, targets = (torch.randint(0, rows, (3, 40), generator=generator) for _ in range(2))
    targets[1, 7:] = -100
    return inputs, targets


@every_kind
def test_logits_loss_and_gradients_are_theirs(make: Make, kind: str) -> None:
    ours, theirs = make(kind)
    inputs, targets = batch()
    torch.testing.assert_close(ours(inputs), theirs(inputs).logits, atol=1e-5, rtol=1e-5)
    nats, count = ours.loss(inputs, targets)
    assert count == (targets >= 0).sum()
    nats.backward()
    logits = theirs(inputs).logits
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    expected.backward()
    torch.testing.assert_close(nats, expected, atol=1e-4, rtol=1e-5)
    mine = dict(ours.named_parameters())
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(mine[f"base.{name}"].grad, parameter.grad, atol=2e-4, rtol=1e-4, msg=name)


@every_kind
def test_documents_of_a_sequence_are_what_they_are_alone(make: Make, kind: str) -> None:
    ours, _ = make(kind)
    inputs, targets = batch()
    segments = torch.tensor([[0] * 13 + [1] + [2] * 26, [4] * 40, [0] * 39 + [7]])
    nats, _ = ours.loss(inputs, targets, segments=segments)
    nats.backward()
    packed = {name: p.grad.clone() for name, p in ours.named_parameters() if p.grad is not None}
    ours.zero_grad()
    alone = torch.zeros(())
    for row, cuts in ((0, (0, 13, 14, 40)), (1, (0, 40)), (2, (0, 39, 40))):
        for first, end in itertools.pairwise(cuts):
            alone = alone + ours.loss(inputs[row : row + 1, first:end], targets[row : row + 1, first:end])[0]
    alone.backward()
    torch.testing.assert_close(nats, alone, atol=1e-3, rtol=1e-5)
    for name, parameter in ours.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(packed[name], parameter.grad, atol=1e-3, rtol=1e-3, msg=name)


def test_a_model_that_cannot_keep_documents_apart_says_so(transformers: ModuleType, tmp_path: Path) -> None:
    config = transformers.BloomConfig(vocab_size=OLD, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.3)
    transformers.BloomForCausalLM(config).save_pretrained(tmp_path)
    ours = open_model(tmp_path)
    inputs, targets = batch()
    ours.loss(inputs, targets)
    with pytest.raises(UserError, match="'bloom' cannot keep documents of one sequence apart"):
        ours.loss(inputs, targets, segments=torch.zeros_like(inputs))


class Recurrent(torch.nn.Module):
    """Takes positions and heeds none: everything before a token reaches it."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(model_type="recurrent")
        self.config.get_text_config = lambda: self.config
        self.rows = torch.nn.Embedding(OLD, 8)
        self.head = torch.nn.Linear(8, OLD, bias=False)

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.rows

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.head

    def forward(self, input_ids: torch.Tensor, position_ids: torch.Tensor | None = None) -> SimpleNamespace:
        return SimpleNamespace(logits=self.head(self.rows(input_ids).cumsum(dim=1)))


def test_a_model_that_takes_positions_and_heeds_none_is_found_out() -> None:
    ours = Foreign(Recurrent())
    inputs, targets = batch()
    assert ours.loss(inputs, targets)[0].isfinite()
    with pytest.raises(UserError, match="'recurrent' cannot keep documents of one sequence apart"):
        ours.loss(inputs, targets, segments=torch.zeros_like(inputs))


def test_a_model_that_cannot_be_given_a_cache_reads_everything_anew() -> None:
    torch.manual_seed(0)
    ours = Foreign(Recurrent()).eval()
    prompts = [[1, 5, 9, 3], [4, 2]]
    alone = [generate(ours, [prompt], 8)[0] for prompt in prompts]
    text = list(prompts[0])
    for token in alone[0]:
        assert token == ours(torch.tensor([text]))[0, -1].argmax()
        text.append(token)


@every_kind
def test_greedy_tokens_are_theirs_and_rows_do_not_disturb_each_other(make: Make, kind: str) -> None:
    ours, theirs = make(kind)
    ours.eval()
    theirs.eval()
    prompts = [[1, 5, 9, 3], [4], [7, 7, 8, 3, 2, 4, 5]]
    expected = [
        theirs.generate(torch.tensor([p]), max_new_tokens=20, do_sample=False, eos_token_id=None, pad_token_id=0)[
            0, len(p) :
        ].tolist()
        for p in prompts
    ]
    assert [generate(ours, [p], 20)[0] for p in prompts] == expected
    assert generate(ours, prompts, 20) == expected
    assert generate(ours, prompts, 20, cache=False) == expected


@growable
def test_old_logits_keep_their_bits_and_files_hold_one_matrix(
    make: Make, kind: str, tmp_path: Path, transformers: ModuleType
) -> None:
    ours, _ = make(kind)
    old, new = tokenizer(tmp_path / "old", grown=False), tokenizer(tmp_path / "new", grown=True)
    ours.eval()
    inputs, _ = batch()
    before = ours(inputs)
    grow_model(ours, old, new, pad_rows_to=16)
    assert torch.equal(ours(inputs)[..., :OLD], before)
    inputs, targets = batch(NEW)
    nats, _ = ours.loss(inputs, targets)
    parts = part_of(ours)
    assert {part for name, part in parts.items() if name.endswith("new_weight")} == {"new_rows"}
    assert set(parts.values()) == {"new_rows", "old_rows", "body"}
    write_model(ours, tmp_path / "grown", new)
    again = open_model(tmp_path / "grown").eval()
    assert again.suppressed == ours.suppressed == (14, 15)
    assert again.config.vocab_size == 16
    torch.testing.assert_close(again(inputs), ours(inputs), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(again.loss(inputs, targets)[0], nats)
    check_agreement(again, new)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "grown").eval()
    torch.testing.assert_close(loaded(inputs).logits, ours(inputs), atol=1e-5, rtol=1e-5)
    assert len(ADDED) == NEW - OLD


def test_an_embedding_that_scales_is_not_grown(make: Make, tmp_path: Path) -> None:
    ours, _ = make("bent logits")
    old, new = tokenizer(tmp_path / "old", grown=False), tokenizer(tmp_path / "new", grown=True)
    # A model of this kind goes on with its own vocabulary.
    assert grow_model(ours, old, old).new_rows == 0
    with pytest.raises(UserError, match="Gemma2TextScaledWordEmbedding is more than a table of rows"):
        grow_model(ours, old, new)
    ours.base.set_input_embeddings(type("Scaled", (torch.nn.Embedding,), {})(OLD, 32))
    with pytest.raises(UserError, match="Scaled is more than a table of rows"):
        grow_model(ours, old, new)


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.bfloat16])
def test_types_are_kept_or_chosen(make: Make, tmp_path: Path, dtype: torch.dtype | None) -> None:
    ours, _ = make("windowed")
    write_model(ours, tmp_path / "half", dtype=torch.float16)
    found = open_model(tmp_path / "half", dtype=dtype)
    assert {parameter.dtype for parameter in found.parameters()} == {dtype or torch.float16}


def test_nothing_is_dropped_out_while_writing(transformers: ModuleType, tmp_path: Path) -> None:
    dropped = {**GPT2, "attn_pdrop": 0.5, "embd_pdrop": 0.5, "resid_pdrop": 0.5}
    transformers.GPT2LMHeadModel(transformers.GPT2Config(**dropped)).save_pretrained(tmp_path)
    ours = open_model(tmp_path)
    assert ours.training
    assert len({tuple(generate(ours, [[1, 2, 3]], 12)[0]) for _ in range(4)}) == 1
    assert ours.training


CODE = """
import torch
from transformers import PreTrainedModel, PretrainedConfig
from transformers.modeling_outputs import CausalLMOutputWithPast
from pathlib import Path

Path({canary!r}).touch()

class OwnConfig(PretrainedConfig):
    model_type = "own"

class OwnModel(PreTrainedModel):
    config_class = OwnConfig

    def __init__(self, config):
        super().__init__(config)
        self.rows = torch.nn.Embedding(config.vocab_size, 8)
        self.head = torch.nn.Linear(8, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.rows

    def get_output_embeddings(self):
        return self.head

    def forward(self, input_ids, position_ids=None, **_):
        return CausalLMOutputWithPast(logits=self.head(self.rows(input_ids)))
"""


def test_a_models_own_code_runs_only_when_asked_for(
    transformers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers.dynamic_module_utils as dynamic
    from safetensors.torch import save_file

    monkeypatch.setattr(dynamic, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder, canary = tmp_path / "own", tmp_path / "canary"
    folder.mkdir()
    config = {
        "model_type": "own",
        "vocab_size": OLD,
        "auto_map": {"AutoConfig": "modelling.OwnConfig", "AutoModelForCausalLM": "modelling.OwnModel"},
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "modelling.py").write_text(CODE.format(canary=str(canary)), encoding="utf-8")
    tensors = {"rows.weight": torch.randn(OLD, 8), "head.weight": torch.randn(OLD, 8)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"remote_code: true"):
        open_model(folder)
    assert not canary.exists()
    ours = open_model(folder, remote_code=True)
    assert canary.exists()
    inputs, _ = batch()
    torch.testing.assert_close(ours(inputs), tensors["rows.weight"][inputs] @ tensors["head.weight"].T)


def test_layers_are_the_decoders(make: Make) -> None:
    for kind in KINDS:
        assert len(make(kind)[0].layers()) == 2


def test_a_folder_that_lacks_tensors_is_refused(make: Make, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    make("windowed")
    file = tmp_path / "theirs" / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"theirs lacks: model.layers.1.mlp.up_proj.weight"):
        open_model(tmp_path / "theirs")
