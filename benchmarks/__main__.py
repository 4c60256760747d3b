"""``python -m benchmarks [NAME …]``: run the named benchmarks, or all of them, and print a table for each."""

from __future__ import annotations

import argparse
import importlib
import tempfile
from pathlib import Path

from benchmarks.measure import ROOT, say
from benchmarks.results import Options, write

NAMES = ("cold", "audit", "stream", "data", "step", "command", "sft")


def main() -> None:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure huohou beside what else there is."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones ({', '.join(NAMES)}); default: all")
    parser.add_argument("--smoke", action="store_true", help="the smallest setting, to see that everything runs")
    parser.add_argument("--rounds", type=int, help="how often each side is run")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help="where the JSON goes")
    asked = parser.parse_args()
    for name in asked.names:
        if name not in NAMES:
            parser.error(f"there is no benchmark {name!r}; there are: {', '.join(NAMES)}")
    for name in asked.names or NAMES:
        say(f"{name} …")
        with tempfile.TemporaryDirectory(prefix="huohou-bench-", ignore_cleanup_errors=True) as work:
            options = Options(work=Path(work).resolve(), smoke=asked.smoke, rounds=asked.rounds)
            found = importlib.import_module(f"benchmarks.{name}").run(options)
            path = write(name, found, options, asked.results)
        print(f"\n{found.table}\n\n{path}\n", flush=True)


if __name__ == "__main__":
    main()
