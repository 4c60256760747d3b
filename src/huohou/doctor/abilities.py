"""What will work here and what will not, each with its reason."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

from huohou.doctor.check import Check, size
from huohou.doctor.machine import compilers
from huohou.doctor.packages import installed
from huohou.language import Text

_AMPERE = 8
"""The first generation of NVIDIA GPUs (compute capability) that computes in bfloat16."""


def abilities(torch: dict[str, Any] | None) -> Iterator[Check]:
    """Every ability in the order in which people meet them. ``torch``: what :func:`probe` found."""
    yield _needs("plan", Text("plan, report", "计划与报告（plan、report）"), (), Text("needs no torch", "不需要 torch"))
    data = ("tokenizers", "sentencepiece", "pyarrow", "jinja2")
    yield _needs("data", Text("data and tokenizers", "数据与分词器"), data, Text("", ""))
    if torch is None:
        why = Text("torch is not installed: pip install 'huohou[train]'", "没有安装 torch：pip install 'huohou[train]'")
        yield _cannot("train_cpu", Text("train, chat, eval", "训练、对话、评测"), why)
    elif "error" in torch:
        why = Text(f"torch does not start: {torch['error']}", f"torch 无法启动：{torch['error']}")
        yield Check(
            "abilities",
            "train_cpu",
            "bad",
            Text(f"no: train, chat, eval: {why.en}", f"不可用：训练、对话、评测：{why.zh}"),
            False,
        )
    else:
        yield from _with_torch(torch)
    yield _pictures()
    yield _needs("harness", Text("eval --lm-eval", "eval --lm-eval（评测框架）"), ("lm-eval",), Text("", ""), "harness")


def _can(key: str, what: Text, how: Text) -> Check:
    en, zh = (f": {how.en}" if how.en else "", f"：{how.zh}" if how.zh else "")
    return Check("abilities", key, "ok", Text(f"yes: {what.en}{en}", f"可用：{what.zh}{zh}"), True)


def _cannot(key: str, what: Text, why: Text) -> Check:
    return Check("abilities", key, "note", Text(f"no: {what.en}: {why.en}", f"不可用：{what.zh}：{why.zh}"), False)


def _needs(key: str, what: Text, names: tuple[str, ...], how: Text, extra: str = "data") -> Check:
    missing = [name for name in names if installed(name) is None]
    if not missing:
        return _can(key, what, how)
    command = f"pip install 'huohou[{extra}]'"
    return _cannot(
        key, what, Text(f"{', '.join(missing)} not installed: {command}", f"没有安装 {'、'.join(missing)}：{command}")
    )


def _with_torch(torch: dict[str, Any]) -> Iterator[Check]:
    devices: list[dict[str, Any]] = torch["devices"]
    threads = Text(f"{torch['threads']} threads", f"{torch['threads']} 个线程")
    yield _can(
        "train_cpu", Text("train, chat, eval on the CPU (float32)", "在 CPU 上训练、对话、评测（float32）"), threads
    )
    yield from _cuda(torch, devices)
    yield _compile(torch, bool(devices))
    yield from _processes(torch, devices)
    yield _needs(
        "hub",
        Text("models of other families, hubs' ids", "其他家族的模型、模型库编号"),
        ("transformers",),
        Text("", ""),
        "hub",
    )
    yield _needs(
        "modelscope", Text("hub: modelscope", "hub: modelscope（魔搭）"), ("modelscope",), Text("", ""), "modelscope"
    )
    yield _needs("lora", Text("LoRA", "LoRA"), ("peft", "transformers"), Text("", ""), "lora")
    four = Text("QLoRA (4 bits)", "QLoRA（4 位）")
    slow = Text("on the CPU it is slow: to try it out", "在 CPU 上很慢，只适合试用") if not devices else Text("", "")
    missing = [name for name in ("bitsandbytes", "peft", "transformers") if installed(name) is None]
    if missing:
        command = "pip install 'huohou[lora,bits]'"
        why = Text(f"{', '.join(missing)} not installed: {command}", f"没有安装 {'、'.join(missing)}：{command}")
        yield _cannot("qlora", four, why)
    else:
        yield _can("qlora", four, slow)
    eight = Text("8-bit AdamW", "8 位 AdamW")
    yield _needs("adamw8bit", eight, ("bitsandbytes",), slow, "bits")


def _cuda(torch: dict[str, Any], devices: list[dict[str, Any]]) -> Iterator[Check]:
    bf16, fp16 = (
        Text("train on a GPU in bfloat16", "在 GPU 上用 bfloat16 训练"),
        Text("train on a GPU in float16", "在 GPU 上用 float16 训练"),
    )
    if not devices:
        if torch["cuda_build"] is None and torch["hip_build"] is None:
            why = Text("this torch is the build for CPUs", "这个 torch 是 CPU 版")
        else:
            why = Text(
                "torch finds no GPU (driver, CUDA_VISIBLE_DEVICES)",
                "torch 找不到 GPU（请检查驱动和 CUDA_VISIBLE_DEVICES）",
            )
        if torch["mps"]:
            why = Text("Apple's GPU is not used for training", "不使用苹果 GPU 训练")
        yield _cannot("train_cuda_bf16", bf16, why)
        yield _cannot("train_cuda_fp16", fp16, why)
        return
    names = ", ".join(f"{one['name']} ({size(one['free'])} free of {size(one['memory'])})" for one in devices)
    old = [one["name"] for one in devices if one["capability"][0] < _AMPERE and torch["hip_build"] is None]
    if old:
        yield _cannot(
            "train_cuda_bf16",
            bf16,
            Text(
                f"{old[0]} has no bfloat16: write train.dtype: float16",
                f"{old[0]} 不支持 bfloat16：请写 train.dtype: float16",
            ),
        )
    else:
        yield _can("train_cuda_bf16", bf16, Text(names, names))
    yield _can("train_cuda_fp16", fp16, Text("", ""))


def _compile(torch: dict[str, Any], gpu: bool) -> Check:
    what = Text("train.compile", "编译（train.compile）")
    found = compilers()
    if gpu and not torch["triton"]:
        return _cannot("compile", what, Text("triton is not installed", "没有安装 triton"))
    if gpu and found["c"] is None:
        return _cannot("compile", what, Text("triton needs a C compiler (gcc)", "triton 需要 C 编译器（gcc）"))
    if not gpu and found["c++"] is None:
        return _cannot(
            "compile", what, Text("on the CPU it needs a C++ compiler (g++)", "在 CPU 上需要 C++ 编译器（g++）")
        )
    return _can("compile", what, Text("", ""))


def _processes(torch: dict[str, Any], devices: list[dict[str, Any]]) -> Iterator[Check]:
    gloo = Text("two processes on this machine's CPU (gloo)", "在本机 CPU 上开两个进程（gloo）")
    sharded = Text("engine: fsdp2", "engine: fsdp2")
    zero = Text("engine: deepspeed", "engine: deepspeed")
    reason = loopback()
    if not torch["gloo"]:
        reason = Text("this torch is built without gloo", "这个 torch 没有编入 gloo")
    if reason is not None:
        yield _cannot("gloo", gloo, reason)
        yield _cannot("fsdp2", sharded, reason)
        yield _cannot("deepspeed", zero, reason)
        return
    yield _can("gloo", gloo, Text("", ""))
    many = Text("several GPUs (NCCL)", "多块 GPU（NCCL）")
    if len(devices) > 1 and torch["nccl"]:
        yield _can("nccl", many, Text(f"{len(devices)} GPUs", f"{len(devices)} 块 GPU"))
    else:
        why = Text(f"{len(devices)} GPUs here", f"本机有 {len(devices)} 块 GPU")
        if not torch["nccl"]:
            why = Text("this torch is built without NCCL", "这个 torch 没有编入 NCCL")
        yield _cannot("nccl", many, why)
    where = Text("", "") if devices else Text("on the CPU: to try it out", "在 CPU 上：只适合试用")
    yield (
        _can("fsdp2", sharded, where)
        if torch["fsdp2"]
        else _cannot("fsdp2", sharded, Text("this torch has no FSDP2", "这个 torch 没有 FSDP2"))
    )
    yield _needs("deepspeed", zero, ("deepspeed",), where, "deepspeed")


def loopback() -> Text | None:
    """Why processes of this machine cannot reach each other; ``None`` where they can. Nothing leaves the machine."""
    try:
        with socket.socket() as listener, socket.socket() as caller:
            listener.settimeout(5)
            caller.settimeout(5)
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            caller.connect(listener.getsockname())
    except OSError as error:
        why = error.strerror or str(error)
        return Text(f"the loopback device does not work ({why})", f"本机回环网络不可用（{why}）")
    return None


def _pictures() -> Check:
    what = Text("pictures (report --png)", "图片（report --png）")
    if installed("matplotlib") is None:
        return _needs("png", what, ("matplotlib",), Text("", ""), "png")
    from huohou.report.png import chinese_font

    # matplotlib writes where it keeps its list of fonts; a home that cannot be written is no reason to fail.
    try:
        font = chinese_font()
    except OSError as error:
        return _cannot("png", what, Text(str(error), str(error)))
    if font is None:
        return Check(
            "abilities",
            "png",
            "note",
            Text(
                "yes: pictures, but in English: no font with 汉字 is installed (Noto Sans CJK SC would do)",
                "可用：图片，但只有英文：没有安装含汉字的字体（例如 Noto Sans CJK SC）",
            ),
            True,
        )
    return _can("png", what, Text(f"汉字 in {font}", f"汉字用 {font}"))


def gpus_hidden() -> str | None:
    """The variable that hides GPUs from torch, as it stands."""
    return os.environ.get("CUDA_VISIBLE_DEVICES")
