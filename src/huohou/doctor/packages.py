"""Versions of packages against what huohou asks for, and versions that are known to be dangerous."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

from huohou.doctor.check import Check
from huohou.doctor.machine import plain_environment
from huohou.language import Text

LEAST_PYTHON = (3, 11)

_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*([^;]*)(?:;(.*))?$")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")
_SPEC = re.compile(r"(>=|<=|==|!=|>|<)\s*([0-9][\w.*]*)")
_SHOWN_EXTRAS = ("data", "train", "png", "hub", "lora", "bits", "deepspeed", "modelscope", "harness")


@dataclass(frozen=True, slots=True)
class Danger:
    """Versions of a package with a known hole, and what it lets somebody do."""

    package: str
    versions: str
    name: str
    text: Text


DANGERS = (
    Danger(
        "torch",
        "<2.10",
        "CVE-2026-24747",
        Text(
            "a crafted file of weights corrupts memory, even with weights_only; take torch 2.10 or later",
            "特制的权重文件即使用 weights_only 也会破坏内存；请用 torch 2.10 或更高版本",
        ),
    ),
    Danger(
        "torch",
        "<2.6",
        "CVE-2025-32434",
        Text(
            "a crafted file of weights runs code, even with weights_only",
            "特制的权重文件即使用 weights_only 也能执行代码",
        ),
    ),
    Danger(
        "transformers",
        ">=4.56,<5.3",
        "CVE-2026-4372",
        Text(
            "a config.json of a hub's model runs code without being asked for; take transformers 5.3 or later",
            "模型库里的 config.json 能在未经同意时执行代码；请用 transformers 5.3 或更高版本",
        ),
    ),
    Danger(
        "transformers",
        "<5.0",
        "CVE-2026-1839",
        Text("a crafted checkpoint runs code when training is resumed", "恢复训练时，特制的检查点能执行代码"),
    ),
    Danger(
        "jinja2",
        "<3.1.6",
        "CVE-2025-27516",
        Text("a crafted chat template leaves the sandbox", "特制的对话模板能逃出沙箱"),
    ),
    Danger("pyyaml", "<5.4", "CVE-2020-14343", Text("a crafted YAML file runs code", "特制的 YAML 文件能执行代码")),
    Danger(
        "mlflow",
        "<3.5",
        "CVE-2025-14279",
        Text("a web page that is open beside it can read and change runs", "同时打开的网页能读取和修改训练记录"),
    ),
)


def key_of(text: str) -> tuple[int, ...]:
    """A version as numbers that can be compared; what comes before a release is below it."""
    numbers = re.match(r"\d+(?:\.\d+)*", text)
    parts = [int(part) for part in numbers[0].split(".")] if numbers else [0]
    rest = text[numbers.end() :] if numbers else text
    before = bool(re.match(r"[.\-_]?(a|b|c|rc|alpha|beta|pre|dev)", rest))
    return (*(parts + [0] * 4)[:4], 0 if before else 1)


def fits(found: str, specs: str) -> bool:
    """Whether a version is inside such as ``>=2.11,<2.17``."""
    have = key_of(found)
    for sign, wanted in _SPEC.findall(specs):
        want = key_of(wanted)
        if sign == "==" and wanted.endswith(".*"):
            parts = wanted[:-2].split(".")
            if found.split(".")[: len(parts)] != parts:
                return False
            continue
        fine = {
            ">=": have >= want,
            "<=": have <= want,
            "==": have == want,
            "!=": have != want,
            ">": have > want,
            "<": have[:4] < want[:4],
        }[sign]
        if not fine:
            return False
    return True


def installed(package: str) -> str | None:
    """The version of an installed package, without importing it."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def wanted() -> dict[str, tuple[str, str | None]]:
    """Every package that huohou names: (range, the extra that needs it, None for the core)."""
    found: dict[str, tuple[str, str | None]] = {}
    try:
        lines = requires("huohou") or []
    except PackageNotFoundError:
        return found
    for line in lines:
        match = _REQUIREMENT.match(line)
        if match is None:
            continue
        name, specs, marker = match[1].lower(), match[2].strip(), match[3] or ""
        extra = _EXTRA.search(marker)
        kind = extra[1] if extra else None
        if name == "huohou" or (kind is not None and kind not in _SHOWN_EXTRAS):
            continue
        found.setdefault(name, (specs, kind))
    return found


def packages() -> Iterator[Check]:
    """Python, and each package that huohou can use."""
    here = plain_environment()
    fine = sys.version_info[:2] >= LEAST_PYTHON
    yield Check(
        "packages",
        "python",
        "ok" if fine else "bad",
        Text(
            f"Python {here['python']}" + ("" if fine else ": 3.11 or later is needed"),
            f"Python {here['python']}" + ("" if fine else "：需要 3.11 或更高版本"),
        ),
        here,
    )
    for name, (specs, extra) in wanted().items():
        found = installed(name)
        data = {"version": found, "range": specs, "extra": extra}
        if found is None and extra is None:
            yield Check(
                "packages",
                name,
                "bad",
                Text(f"{name} is missing: pip install huohou", f"缺少 {name}：pip install huohou"),
                data,
            )
        elif found is None:
            command = f"pip install 'huohou[{extra}]'"
            yield Check(
                "packages",
                name,
                "note",
                Text(f"{name} is not installed ({command})", f"{name} 未安装（{command}）"),
                data,
            )
        elif not fits(found, specs):
            yield Check(
                "packages",
                name,
                "bad",
                Text(
                    f"{name} {found} is outside {specs}, which huohou is tested with",
                    f"{name} {found} 不在 {specs} 之内（huohou 测试过的范围）",
                ),
                data,
            )
        else:
            yield Check("packages", name, "ok", Text(f"{name} {found}", f"{name} {found}"), data)
    for danger in DANGERS:
        found = installed(danger.package)
        if found is not None and fits(found, danger.versions):
            yield Check(
                "packages",
                danger.name,
                "bad",
                Text(
                    f"{danger.package} {found}: {danger.name}: {danger.text.en}",
                    f"{danger.package} {found}：{danger.name}：{danger.text.zh}",
                ),
                {"package": danger.package, "version": found, "versions": danger.versions},
            )
