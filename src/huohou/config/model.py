"""The sections ``model`` and ``tokenizer``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import model_validator

from huohou.config.kinds import Wrong, choice, count, number, string
from huohou.config.presets import PRESETS
from huohou.config.section import ABSENT, Section, key
from huohou.config.values import SWITCH
from huohou.language import Text

_PRESETS = Text("the preset's", "取自预设")


class Model(Section):
    """The decoder."""

    title = Text(
        "The decoder: a preset, or its shape under Hugging Face's names.",
        "解码器：预设，或用 Hugging Face 的名字写出形状。",
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
        """The shape under Hugging Face's names."""
        return {
            name: getattr(self, name) for name in type(self).model_fields if name not in ("preset", "depth_scaled_init")
        }


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
        said=Text("the preset's vocabulary; 8192 without a preset", "预设的词表大小；没有预设时为 8192"),
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
