"""The section ``lora``: adapters instead of all weights."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

from huohou.config.kinds import choice, count, number, strings
from huohou.config.section import ABSENT, Section, key
from huohou.config.values import BITS, EXPONENT, SWITCH
from huohou.language import Text


class Lora(Section):
    """Low-rank adapters."""

    title = Text(
        "Train low-rank adapters instead of all weights (LoRA; QLoRA with bits: 4); {} takes the defaults.",
        "只训练低秩适配器，而不是全部权重（LoRA；bits: 4 即 QLoRA）；{} 表示全部取默认。",
    )

    rank: Annotated[int, count(1, example=64)] = key(64, "The rank of the adapters.", "适配器的秩。")
    alpha: Annotated[float, number(0, above=True, example="128")] = key(
        128.0, "The adapters are scaled by alpha / rank.", "适配器按 alpha / rank 缩放。"
    )
    dropout: Annotated[float, number(0, most=1, example="0.05")] = key(
        0.05, "Dropout in front of the adapters.", "适配器之前的 dropout。"
    )
    targets: Annotated[tuple[str, ...], strings("all, or a list of module names", "all，或模块名的列表")] = key(
        ("all",),
        "Which matrices have adapters: all (of the layers), or names such as [q_proj, v_proj].",
        "哪些矩阵加适配器：all（各层的全部），或名字，例如 [q_proj, v_proj]。",
    )
    rslora: Annotated[bool, SWITCH] = key(
        False, "Scale by alpha over the root of the rank (rsLoRA).", "按 alpha 除以秩的平方根缩放（rsLoRA）。"
    )
    dora: Annotated[bool, SWITCH] = key(
        False, "Learn the length of each column too (DoRA).", "另学各列的长度（DoRA）。"
    )
    bits: Annotated[int | None, BITS] = key(
        None, "4 keeps the base weights in 4 bits (QLoRA).", "4 表示基座权重以 4 比特保存（QLoRA）。"
    )
    plus_ratio: Annotated[Fraction | None, EXPONENT] = key(
        None,
        "LoRA+: the rate of the matrices B, as a multiple of the adapters'.",
        "LoRA+：矩阵 B 的学习率是适配器的多少倍。",
        said=Text("1", "1"),
    )
    rows: Annotated[Literal["none", "new", "all"], choice("none", "new", "all", spellings={"off": "none"})] = key(
        "none",
        "Which rows of embedding and head are trained as well.",
        "同时训练词嵌入与输出层的哪些行。",
    )
    save: Annotated[
        tuple[str, ...], strings("the name of a module, or a list of them", "模块名，或其列表", least=0)
    ] = key(
        (),
        "Modules that are trained and saved whole, as modules_to_save does.",
        "整个训练并保存的模块，同 modules_to_save。",
        said=Text("none", "无"),
    )
    adapters: Annotated[
        tuple[str, ...], strings("the path of an adapter, or a list", "适配器的路径，或列表", least=0)
    ] = key(
        (),
        "Adapters that are merged into the base before, in this order.",
        "先按此顺序并入基座的适配器。",
        said=ABSENT,
    )
