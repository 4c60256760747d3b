"""``huohou doctor``: this machine, and what will and will not work on it."""

from __future__ import annotations

import argparse
import json
from itertools import groupby
from pathlib import Path

from huohou.language import Text

HELP = Text(
    "Look at this machine: versions, devices, disk, encodings, and what will and will not work, and why. It asks "
    "nothing "
    "of the network. Exit status 1 where something should be mended.",
    "检查本机：版本、设备、磁盘、编码，哪些功能可用、哪些不可用以及原因。不访问网络。有需要处理的问题时退出状态为 1。",
)

_AREAS = {
    "machine": Text("machine", "机器"),
    "packages": Text("packages", "软件包"),
    "tools": Text("tools", "工具"),
    "disk": Text("disk", "磁盘"),
    "text": Text("text", "文字"),
    "network": Text("network settings", "网络设置"),
    "abilities": Text("what will work", "可用的功能"),
    "target": Text("this run or model", "这次训练或这个模型"),
}
_MARKS = {"ok": " ", "note": "·", "bad": "!"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add(
        "target",
        nargs="?",
        type=Path,
        metavar="RUN.yaml|FOLDER",
        help=str(
            Text("also check this run file, run folder or model's folder", "同时检查这个配置、训练目录或模型文件夹")
        ),
    )
    add("--quick", action="store_true", help=str(Text("do not start torch", "不启动 torch")))
    add(
        "--folder",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help=str(Text("where runs go (runs)", "训练目录的位置（runs）")),
    )
    add("--json", action="store_true", help=str(Text("print one JSON object", "输出一个 JSON 对象")))


def run(options: argparse.Namespace) -> int:
    """Look, tell, and say by the exit status whether anything should be mended."""
    from huohou.doctor import machine, packages
    from huohou.doctor.abilities import abilities
    from huohou.doctor.target import target
    from huohou.doctor.torch_probe import probe

    checks = [
        *machine.machine(),
        *packages.packages(),
        *machine.tools(),
        *machine.disk(options.folder),
        *machine.text(),
    ]
    checks += machine.network()
    # A quick look knows that torch is there, not what it finds.
    torch = probe() if not options.quick else {} if packages.installed("torch") else None
    if not options.quick:
        checks += abilities(torch)
    if options.target is not None:
        checks += target(options.target, torch)
    bad = [check for check in checks if check.status == "bad"]
    if options.json:
        print(
            json.dumps(
                {"good": not bad, "torch": torch, "checks": [check.plain() for check in checks]}, ensure_ascii=False
            )
        )
        return 1 if bad else 0
    for area, found in groupby(checks, key=lambda check: check.area):
        print(_AREAS[area])
        for check in found:
            print(f"  {_MARKS[check.status]} {check.text}")
    if bad:
        print(Text(f"\n{len(bad)} things should be mended (marked !)", f"\n有 {len(bad)} 处需要处理（标记为 !）"))
    else:
        print(Text("\nnothing needs mending", "\n没有需要处理的问题"))
    return 1 if bad else 0
