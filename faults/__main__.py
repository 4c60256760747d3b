"""``python -m faults [NAME …]``: do the named kinds of harm, or all of them, and print a table of what came of it."""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from faults.outcome import Outcome
from faults.runs import Place
from huohou.train.environment import installed_version, processor

NAMES = {
    "kills": "kill -9 one process at random moments, with a save at every update",
    "ranks": "kill -9 one of two ranks at random moments, with a save at every update",
    "damage": "flip bits in checkpoint files, cut them off, remove them",
    "disk": "let the disk fill up while a checkpoint is written",
}
RESULTS = Path(__file__).resolve().parent / "results"


def write(name: str, found: Outcome, folder: Path, *, quick: bool, seed: int) -> None:
    """Write ``NAME.json``: what was done, what came of it, and on what; no path of this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    value = {
        "fault": name,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "seed": seed,
        "machine": {
            "platform": platform.platform(),
            "processor": processor(),
            "python": platform.python_version(),
            "torch": installed_version("torch"),
            "huohou": installed_version("huohou"),
        },
        "passed": found.passed,
        "skipped": found.skipped,
        "rows": [row.plain() for row in found.rows],
    }
    # One line a case: there may be a thousand of them.
    cases = ",\n  ".join(json.dumps(case, ensure_ascii=False) for case in found.details)
    head = json.dumps(value, ensure_ascii=False, indent=1).removesuffix("\n}")
    text = f'{head},\n "details": [\n  {cases}\n ]\n}}\n'
    (folder / f"{name}.json").write_text(text, encoding="utf-8", newline="\n")


def main() -> int:
    """Do what the arguments say; the exit status is 1 where anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m faults", description="Harm runs on purpose, and see what is lost.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="; ".join(f"{n}: {what}" for n, what in NAMES.items()))
    parser.add_argument("--quick", action="store_true", help="a few of each, to see that everything runs")
    parser.add_argument("--count", type=int, help="how often, instead of the usual number")
    parser.add_argument("--seed", type=int, default=1, help="of the moments, files and bits that are drawn")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON goes")
    asked = parser.parse_args()
    for name in asked.names:
        if name not in NAMES:
            parser.error(f"there is no fault {name!r}; there are: {', '.join(NAMES)}")
    passed = True
    for name in asked.names or NAMES:
        print(f"{name}: {NAMES[name]} …", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="huohou-faults-", ignore_cleanup_errors=True) as work:
            done = importlib.import_module(f"faults.{name}")
            count = asked.count or (done.QUICK if asked.quick else done.COUNT)
            found: Outcome = done.run(Place(Path(work).resolve()), count, asked.seed)
        write(name, found, asked.results, quick=asked.quick, seed=asked.seed)
        print(f"\n{found.table(NAMES[name])}\n", flush=True)
        passed = passed and found.passed
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
