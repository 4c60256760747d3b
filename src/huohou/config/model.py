"""The sections ``model`` and ``tokenizer``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import model_validator

from huohou.config.kinds import Wrong, choice, count, number, string
from huohou.config.presets import PRESETS
from huohou.config.section import ABSENT, Section, key
from huohou.config.values import SWITCH
from huohou.language import Text

_PRESETS = Text("the preset's", "取自预设")


_BASE = ("path", "revision", "hub", "remote_code", "grow", "pad_rows_to")
"""The keys of a model that exists already; the others are of one that begins from nothing."""


class Model(Section):
    """The decoder."""

    title = Text(
        "The decoder: one that exists already (path), or a preset, or its shape under Hugging Face's names.",
        "解码器：已有的模型（path），或预设，或用 Hugging Face 的名字写出形状。",
    )

    path: Annotated[str | None, string("a folder, or a name of a hub", "文件夹，或模型中心的名字")] = key(
        None,
        "The model to go on from: a Hugging Face folder, a run folder, or a hub's name such as Qwen/Qwen3-0.6B. Its "
        "config.json says the shape.",
        "从哪个模型接着训练：Hugging Face 目录、训练目录，或模型中心的名字，"
        "例如 Qwen/Qwen3-0.6B；形状取自 config.json。",
        said=ABSENT,
    )
    revision: Annotated[str | None, string("a branch, tag or commit", "分支、标签或提交")] = key(
        None, "Which version of a hub's model.", "模型中心上的哪个版本。", said=Text("the newest", "最新")
    )
    hub: Annotated[
        Literal["auto", "huggingface", "modelscope"],
        choice("auto", "huggingface", "modelscope", spellings={"hf": "huggingface", "ms": "modelscope"}),
    ] = key(
        "auto",
        "Where a name is looked up; auto: what is on this machine first, then Hugging Face.",
        "在哪里查找名字；auto：先本机，后 Hugging Face。",
    )
    remote_code: Annotated[bool, SWITCH] = key(
        False, "Run code that the model's folder brings along.", "执行模型目录自带的代码。"
    )
    grow: Annotated[Literal["mean", "unscaled", "normal", "zeros"], choice("mean", "unscaled", "normal", "zeros")] = (
        key(
            "mean",
            "How the rows of added pieces begin: mean of the pieces that spelled them before, rescaled; the same "
            "unscaled; random (normal); zeros.",
            "新增词的行怎样开始：原来拼出它的各词的均值并缩放；同样但不缩放；随机（normal）；零。",
        )
    )
    pad_rows_to: Annotated[int, count(1, example=64)] = key(
        1,
        "Rows are added up to a multiple of this; no id changes its meaning.",
        "行数补到此数的倍数；任何编号的含义不变。",
    )
    preset: Annotated[str | None, choice(*PRESETS)] = key(
        None,
        "A shape by name; keys written beside it take its place one by one.",
        "按名字选用的形状；同时写出的键逐个取代其中的值。",
        said=Text("4m, where no shape is given", "未写形状时为 4m"),
    )
    hidden_size: Annotated[int, count(1, example=256)] = key(
        0, "Width of the residual stream.", "残差流的宽度。", said=_PRESETS
    )
    intermediate_size: Annotated[int, count(1, example=704)] = key(
        0, "Width inside the SwiGLU block.", "SwiGLU 内部的宽度。", said=_PRESETS
    )
    num_hidden_layers: Annotated[int, count(1, example=6)] = key(0, "Layers.", "层数。", said=_PRESETS)
    num_attention_heads: Annotated[int, count(1, example=4)] = key(
        0, "Query heads; divides hidden_size.", "查询头数；须整除 hidden_size。", said=_PRESETS
    )
    num_key_value_heads: Annotated[int, count(1, example=4)] = key(
        0, "Key and value heads; divides num_attention_heads.", "键值头数；须整除 num_attention_heads。", said=_PRESETS
    )
    max_position_embeddings: Annotated[int, count(1, example=1024)] = key(
        0,
        "Longest sequence that the model is made for; at least data.sequence_length.",
        "模型支持的最大长度；不小于 data.sequence_length。",
        said=Text(
            "the preset's, or data.sequence_length where that is longer", "取自预设；data.sequence_length 更长时取后者"
        ),
    )
    rope_theta: Annotated[float, number(0, above=True, example="10000")] = key(
        10000.0, "Base of the rotary position angles.", "旋转位置编码的底数。", said=_PRESETS
    )
    rms_norm_eps: Annotated[float, number(0, above=True, example="1e-5")] = key(
        1e-5, "Added under the root in RMSNorm.", "RMSNorm 根号内加的小数。", said=_PRESETS
    )
    tie_word_embeddings: Annotated[bool, SWITCH] = key(
        True, "Whether the output layer is the embedding.", "输出层是否与词嵌入共享。", said=_PRESETS
    )
    initializer_range: Annotated[float, number(0, above=True, example="0.02")] = key(
        0.02, "Standard deviation of the initial weights.", "初始权重的标准差。", said=_PRESETS
    )
    depth_scaled_init: Annotated[bool, SWITCH] = key(
        False,
        "Divide the initial weights of each layer's two output projections by the root of twice the layers.",
        "每层两个输出投影的初始权重除以“2 × 层数”的平方根。",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, written: Any) -> Any:
        """Fill what is not written from the preset, so that no shape is unknown after loading."""
        if not isinstance(written, dict):
            return written
        given: dict[str, Any] = dict(written)  # pyright: ignore[reportUnknownArgumentType]
        if "path" in given:
            for name in given:
                if name not in _BASE and name in cls.model_fields:
                    raise Wrong(
                        f"model.{name} and model.path are both given, but the config.json of a model that exists says "
                        "its shape; remove one of them",
                        f"model.{name} 与 model.path 同时给出，而已有模型的形状由其 config.json 决定；请去掉其一",
                        whole=True,
                        keys=(f"model.{name}", "model.path"),
                    )
            return given
        for name in _BASE[1:]:
            if name in given:
                raise Wrong(
                    f"model.{name} belongs to a model that exists already; write model.path, or remove it",
                    f"model.{name} 属于已有的模型；请写 model.path，或去掉它",
                    whole=True,
                    keys=(f"model.{name}",),
                )
        shape = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
        absent = [name for name in shape if name not in given]
        if "preset" not in given and len(absent) == len(shape):
            given["preset"] = "4m"
        if "preset" not in given:
            if absent:
                raise Wrong(
                    f"model needs {', '.join(absent)} too, or a preset such as preset: 4m",
                    f"model 还需要 {'、'.join(absent)}，或写预设，例如 preset: 4m",
                    whole=True,
                    keys=("model",),
                )
            return {
                "num_key_value_heads": given["num_attention_heads"],
                **given,
            }
        try:
            name = cls.model_fields["preset"].metadata[0].read(given["preset"])
        except Wrong:
            # The field itself says what is wrong; the shape only has to be out of its way.
            name = "4m"
        base = dict(PRESETS[name].dims)
        if base["num_key_value_heads"] == base["num_attention_heads"] and "num_attention_heads" in given:
            base["num_key_value_heads"] = given["num_attention_heads"]
        # The length is left to the check with data.sequence_length, which has to know whether it was written.
        del base["max_position_embeddings"]
        return {**base, **given}

    @model_validator(mode="after")
    def _divides(self) -> Model:
        if self.path is not None:
            return self
        if self.max_position_embeddings == 0:
            positions = PRESETS[self.preset].dims["max_position_embeddings"] if self.preset else 1
            object.__setattr__(self, "max_position_embeddings", positions)
        for whole, part in (("hidden_size", "num_attention_heads"), ("num_attention_heads", "num_key_value_heads")):
            all_, each = getattr(self, whole), getattr(self, part)
            if all_ % each:
                raise Wrong(
                    f"{part} is {each}, which does not divide {whole} {all_}",
                    f"{part} 是 {each}，不能整除 {whole} {all_}",
                    whole=True,
                    keys=(f"model.{part}", f"model.{whole}", "model.preset"),
                )
        if self.hidden_size // self.num_attention_heads % 2:
            width = self.hidden_size // self.num_attention_heads
            raise Wrong(
                f"hidden_size {self.hidden_size} over {self.num_attention_heads} heads makes heads of {width}, "
                "but rotary positions need an even width",
                f"hidden_size {self.hidden_size} 分给 {self.num_attention_heads} 个头，每头宽 {width}，"
                "而旋转位置编码要求偶数",
                whole=True,
                keys=("model.num_attention_heads", "model.hidden_size", "model.preset"),
            )
        return self

    def shape(self) -> dict[str, int | float | bool]:
        """The shape under Hugging Face's names; of a model without a path."""
        own = ("preset", "depth_scaled_init", *_BASE)
        return {name: getattr(self, name) for name in type(self).model_fields if name not in own}

    def unsaid(self) -> frozenset[str]:
        """A model that exists has its shape in its folder, and one that does not has no keys of such a one."""
        base = frozenset(_BASE)
        return frozenset(type(self).model_fields) - base if self.path is not None else base


class Tokenizer(Section):
    """The vocabulary."""

    title = Text(
        "The vocabulary: a trained tokenizer, or the size of one to be trained on the training data; not both.",
        "词表：现成的分词器，或在训练数据上训练的词表大小；二者择一。",
    )

    path: Annotated[str | None, string("the path of a tokenizer", "分词器的路径")] = key(
        None,
        "A Hugging Face folder, a tokenizer.json, or a SentencePiece .model.",
        "Hugging Face 目录、tokenizer.json 或 SentencePiece 的 .model。",
        said=ABSENT,
    )
    vocab_size: Annotated[int | None, count(260, example=6400)] = key(
        None,
        "Train a byte-fallback BPE of this many tokens.",
        "训练一个含字节回退的 BPE，词表为此大小。",
        said=Text(
            "the preset's vocabulary, 8192 without a preset; with model.path its own tokenizer",
            "预设的词表大小，没有预设时为 8192；有 model.path 时用其自带的分词器",
        ),
    )

    @model_validator(mode="after")
    def _one(self) -> Tokenizer:
        if self.path is not None and self.vocab_size is not None:
            raise Wrong(
                "tokenizer.path and tokenizer.vocab_size are both given, but a tokenizer is either loaded or trained; "
                "keep one",
                "tokenizer.path 与 tokenizer.vocab_size 同时给出，而分词器要么加载、要么训练；请只留一个",
                whole=True,
                keys=("tokenizer.vocab_size", "tokenizer.path"),
            )
        return self
