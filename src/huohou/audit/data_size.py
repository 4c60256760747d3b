"""How many samples the data of a configuration hold, where the files that it names are there; counted, not read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from huohou.audit.document import Document, look_for
from huohou.audit.reading import Reading
from huohou.audit.values import Settings

LARGEST = 256 * 1024 * 1024
"""Bytes of a data file at most: a larger one is not looked through."""
_PARSED = 64 * 1024 * 1024
"""Bytes of a JSON list at most, which has to be parsed as a whole."""

_NAMES = ("train_file", "train_data_path", "data_path", "train_data", "dataset_path", "data_files", "data_file")
_PACKED = ("packing", "neat_packing", "sample_packing", "streaming")
"""Where samples are joined or streamed, an epoch is not the number of them."""
_ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt")


def samples_of(settings: Settings, document: Document, reading: Reading) -> int | None:
    """The samples of an epoch from the data that the settings name; ``None`` where none are there. It is assumed that
    the program uses them all, and that is said."""
    if any(settings.flag(key) for key in _PACKED) or settings.text("stage") == "pt" or settings.text("mix_strategy"):
        return None
    files = _registered(settings, document) or _named(settings, document)
    counts = [count(place) for _, place in files]
    if not files or any(each is None for each in counts):
        return None
    total = sum(each for each in counts if each is not None)
    names = ", ".join(name for name, _ in files)
    if total < 1:
        return None
    most = settings.whole("max_samples", "max_train_samples")
    if most is not None:
        # The limit holds for each of the files.
        total = sum(min(most, each) for each in counts if each is not None)
    share = settings.number("val_size", "split_dataset_ratio")
    if share is not None and 0 < share < 1:
        total -= int(total * share)
    elif share is not None and 1 <= share < total:
        total -= int(share)
    reading.assume(f"{names} hold {total} samples (--samples).", f"{names} 共 {total} 个样本（--samples）。")
    return total


def _named(settings: Settings, document: Document) -> list[tuple[str, Path]]:
    found: list[tuple[str, Path]] = []
    for key in _NAMES:
        value = settings.get(key)
        names = cast("list[Any]", value) if isinstance(value, list) else [value]
        for name in names:
            if isinstance(name, str) and name.lower().endswith(_ENDINGS):
                place = look_for(name, document.source.path)
                if place is None:
                    return []
                found.append((name, place))
        if found:
            return found
    return found


def _registered(settings: Settings, document: Document) -> list[tuple[str, Path]]:
    """The files of LLaMA-Factory's ``dataset: a,b`` by the ``dataset_info.json`` of its folder."""
    names = settings.get("dataset")
    folder = settings.text("dataset_dir") or "data"
    if isinstance(names, list):
        names = ",".join(str(each) for each in cast("list[Any]", names))
    if not isinstance(names, str):
        return []
    info = look_for(f"{folder}/dataset_info.json", document.source.path)
    if info is None:
        return []
    try:
        with open(info, encoding="utf-8") as file:
            known: Any = json.load(file)
    except (OSError, ValueError, RecursionError):
        return []
    found: list[tuple[str, Path]] = []
    for name in (each.strip() for each in names.split(",")):
        entry: Any = cast("dict[str, Any]", known).get(name) if isinstance(known, dict) else None
        file_name: Any = cast("dict[str, Any]", entry).get("file_name") if isinstance(entry, dict) else None
        place = info.parent / file_name if isinstance(file_name, str) else None
        if place is None or not place.is_file():
            return []
        found.append((name, place))
    return found


def count(place: Path) -> int | None:
    """The samples of one file; ``None`` where they cannot be counted cheaply."""
    try:
        if place.stat().st_size > LARGEST:
            return None
        match place.suffix.lower():
            case ".jsonl" | ".txt":
                return _lines(place)
            case ".csv" | ".tsv":
                return _rows(place)
            case ".parquet":
                return _parquet(place)
            case ".json":
                return _json(place)
            case _:
                return None
    except (OSError, ValueError, RecursionError):
        return None


def _lines(place: Path) -> int:
    with open(place, "rb") as file:
        return sum(1 for line in file if line.strip())


def _rows(place: Path) -> int:
    import csv

    with open(place, encoding="utf-8-sig", errors="replace", newline="") as file:
        try:
            return max(0, sum(1 for row in csv.reader(file) if row) - 1)
        except csv.Error as error:
            raise ValueError(str(error)) from None


def _json(place: Path) -> int | None:
    with open(place, "rb") as file:
        first = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if first == b"[":
        if place.stat().st_size > _PARSED:
            return None
        with open(place, encoding="utf-8-sig") as file:
            data: Any = json.load(file)
        return len(cast("list[Any]", data)) if isinstance(data, list) else None
    # One object in each line goes by this ending too.
    with open(place, encoding="utf-8-sig") as file:
        head = file.readline()
    return _lines(place) if head.strip().startswith("{") and head.strip().endswith("}") else None


def _parquet(place: Path) -> int | None:
    try:
        from pyarrow import parquet  # pyright: ignore
    except ImportError:
        return None
    return int(parquet.read_metadata(place).num_rows)  # pyright: ignore
