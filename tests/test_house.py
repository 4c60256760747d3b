"""The floors of the house: who may import whom, what starts without torch, and where the word warmup may stand."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "huohou"

FLOORS: list[list[str]] = [
    ["language"],
    ["errors"],
    ["units", "records"],
    ["schedule"],
    ["config", "data"],
    ["plan"],
    ["audit"],
    ["report"],
    # The torch line.
    ["model", "train.lower"],
    ["stages", "evaluate", "chat"],
    ["train.trainer"],
    ["assemble", "doctor"],
    ["launch", "export", "adapters"],
    ["cli"],
]
"""Rooms from the ground up. A room imports from rooms below it, and its own modules from each other without cycles."""

ABOVE_THE_TORCH_LINE = {room for floor in FLOORS[:8] for room in floor}
UPPER_TRAIN = {"train.trainer"}
PUBLIC = {"__init__", "__main__"}


def modules() -> dict[str, ast.Module]:
    found: dict[str, ast.Module] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


MODULES = modules()


def room_of(module: str) -> str:
    """The room that a module is in; the package's own ``__init__`` and ``__main__`` stand outside the house."""
    first = module.split(".")[0]
    if first != "train":
        return first
    return module if module in UPPER_TRAIN else "train.lower"


def floor_of(module: str) -> int:
    return next(i for i, rooms in enumerate(FLOORS) if room_of(module) in rooms)


def imports(tree: ast.AST, package: str) -> Iterator[tuple[str, bool]]:
    """Every import, and whether it happens while the module is loaded (not in a function or for types alone)."""

    def walk(node: ast.AST, at_load: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            inside = at_load and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                inside = False
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield alias.name, at_load
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{package}: imports are absolute"
                yield str(child.module), at_load
                for alias in child.names:
                    yield f"{child.module}.{alias.name}", at_load
            else:
                yield from walk(child, inside)

    return walk(tree, True)


def own_imports(module: str, *, at_load: bool = False) -> set[str]:
    """The modules of huohou that a module imports, each as far as it names a module."""
    found: set[str] = set()
    for name, loaded in imports(MODULES[module], module):
        if not name.startswith("huohou.") or (at_load and not loaded):
            continue
        inner = name.removeprefix("huohou.")
        for candidate in (inner, f"{inner}.__init__"):
            if candidate in MODULES:
                found.add(candidate)
    return found


def test_every_module_is_in_a_room() -> None:
    rooms = {room for floor in FLOORS for room in floor}
    strays = {module for module in MODULES if module not in PUBLIC and room_of(module) not in rooms}
    assert not strays


@pytest.mark.parametrize("module", [m for m in MODULES if m not in PUBLIC])
def test_imports_go_down(module: str) -> None:
    for target in own_imports(module):
        if target in PUBLIC or room_of(target) == room_of(module):
            continue
        assert floor_of(target) < floor_of(module), f"{module} may not import {target}"


def test_there_are_no_cycles() -> None:
    graph = {module: own_imports(module, at_load=True) - {module} for module in MODULES}
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module in done:
            return
        for target in sorted(graph[module]):
            visit(target, [*path, module])
        done.add(module)

    for module in graph:
        visit(module, [])


@pytest.mark.parametrize("module", [m for m in MODULES if m not in PUBLIC and room_of(m) in ABOVE_THE_TORCH_LINE])
def test_nothing_above_the_torch_line_names_torch(module: str) -> None:
    below = {"torch", "transformers", "peft", "accelerate", "safetensors.torch"}
    named = {name for name, _ in imports(MODULES[module], module)}
    assert not {name for name in named if name in below or name.split(".")[0] in below}


@pytest.mark.parametrize("module", [m for m in MODULES if m.endswith("__init__") and m != "__init__"])
def test_init_files_reexport_and_nothing_else(module: str) -> None:
    for node in MODULES[module].body:
        fine = (
            isinstance(node, ast.Import | ast.ImportFrom)
            or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
            or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
            or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
            # A heavy room may import what it re-exports when it is asked for.
            or (isinstance(node, ast.FunctionDef) and node.name == "__getattr__")
        )
        assert fine, f"{module}: {ast.unparse(node)[:80]}"


@pytest.mark.parametrize("room", ["train", "stages", "model", "data"])
def test_the_word_warmup_does_not_occur(room: str) -> None:
    for path in sorted((SOURCE / room).rglob("*.py")):
        text = path.read_text(encoding="utf-8").lower()
        assert "warmup" not in text and "warm-up" not in text and "预热" not in text, path


def test_nothing_unpickles_and_every_text_file_has_an_encoding() -> None:
    for module, tree in MODULES.items():
        named = {name.split(".")[0] for name, _ in imports(tree, module)}
        assert not named & {"pickle", "dill", "cloudpickle", "shelve", "marshal"}, module
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            words = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            called = ast.unparse(node.func)
            assert called != "torch.load" or words.get("weights_only") == "True", module
            assert called not in ("yaml.load", "yaml.unsafe_load", "eval", "exec", "os.system"), module
            mode = next((ast.unparse(a) for a in node.args[1:2]), words.get("mode", "'r'"))
            text_open = called == "open" and "b" not in mode
            text_path = called.endswith((".read_text", ".write_text"))
            if text_open or text_path:
                assert "encoding" in words, f"{module}: {ast.unparse(node)[:80]}"


def fresh(code: str) -> str:
    """What a fresh interpreter prints; torch and transformers cannot be imported in it."""
    block = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'transformers'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Block())\n"
    )
    done = subprocess.run([sys.executable, "-c", block + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_torch_line_holds_when_everything_above_it_is_imported() -> None:
    above = [m.removesuffix(".__init__") for m in MODULES if m not in PUBLIC and room_of(m) in ABOVE_THE_TORCH_LINE]
    optional = ("report.png", "report.plan_png")
    code = "".join(f"import huohou.{m}\n" for m in above if m not in optional)
    fresh(code + "import sys; assert not {'torch', 'transformers'} & set(sys.modules)")


def test_a_plan_from_flags_imports_only_the_standard_library() -> None:
    heavy = "{'numpy', 'pydantic', 'rich', 'yaml', 'tokenizers', 'matplotlib', 'torch'}"
    code = f"""
from huohou.cli.main import main
import sys
for extra in ([], ["--json"], ["--rates", "1,1000"], ["--csv", "-"]):
    assert main(["plan", "--updates", "10000", "--peak", "3e-4", "--warmup-rate", "0.1", *extra]) == 0
assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)
"""
    assert "1 3e-07\n1000 0.0003\n" in fresh(code)
