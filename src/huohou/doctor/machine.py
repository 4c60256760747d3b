"""Processor, memory, GPUs, disk, compilers, text and network settings of this machine, by the standard library."""

from __future__ import annotations

import locale
import os
import platform
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huohou.doctor.check import Check, size
from huohou.language import Text, language_of_environment

_LEAST_SPACE = 1_000_000_000
_SLOW_FSYNC = 0.1
"""Seconds for a small file to be on the disk, above which saving will be felt."""

_REMOTE = {"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "lustre", "ceph", "beegfs", "fuse.glusterfs"}
_MEMORY = {"tmpfs", "ramfs"}
_CREDENTIALS = re.compile(r"//[^/@\s]*@")
_ENVIRONMENT = (
    "HF_ENDPOINT",
    "HF_HOME",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "MODELSCOPE_CACHE",
    "MODELSCOPE_DOMAIN",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "PIP_INDEX_URL",
    "UV_INDEX_URL",
)


def machine() -> Iterator[Check]:
    """Processor, memory and GPUs."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    name = processor()
    yield Check("machine", "system", "ok", Text(f"{platform.platform()}", f"{platform.platform()}"), platform.system())
    yield Check(
        "machine",
        "processor",
        "ok",
        Text(f"{name}, {cores} cores for this process", f"{name}，本进程可用 {cores} 核"),
        {"name": name, "cores": cores, "threads_variable": os.environ.get("OMP_NUM_THREADS")},
    )
    total, limited = memory()
    if total is not None:
        how = Text(" (limited by its container)", "（受容器限制）") if limited else Text("", "")
        yield Check(
            "machine", "memory", "ok", Text(f"memory {size(total)}{how.en}", f"内存 {size(total)}{how.zh}"), total
        )
    yield from _gpus()


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def memory() -> tuple[int | None, bool]:
    """(bytes that may be used, whether a container's limit is below the machine's memory)."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None, False
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limit = Path(path).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if limit.isdecimal() and int(limit) < total:
            return int(limit), True
    return total, False


def _gpus() -> Iterator[Check]:
    command = shutil.which("nvidia-smi")
    if command is None:
        text = Text("no NVIDIA driver (nvidia-smi is not there)", "没有 NVIDIA 驱动（找不到 nvidia-smi）")
        yield Check("machine", "gpu", "note", text, [])
        return
    query = [command, "--query-gpu=name,memory.total,driver_version,compute_cap", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, encoding="utf-8", errors="replace", timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        why = str(error).splitlines()[0][:120]
        yield Check("machine", "gpu", "bad", Text(f"nvidia-smi fails: {why}", f"nvidia-smi 出错：{why}"), [])
        return
    found: list[dict[str, str]] = []
    for line in done.stdout.strip().splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        found.append(dict(zip(("name", "memory_mib", "driver", "capability"), cells, strict=False)))
    names = ", ".join(f"{one.get('name')} ({one.get('memory_mib')} MiB)" for one in found)
    driver = found[0].get("driver", "") if found else ""
    yield Check(
        "machine",
        "gpu",
        "ok" if found else "note",
        Text(f"{len(found)} GPU: {names}; driver {driver}", f"{len(found)} 块 GPU：{names}；驱动 {driver}"),
        found,
    )


def disk(folder: Path) -> Iterator[Check]:
    """Space, kind and speed of the disk on which runs will be; a small file is written there and removed."""
    place = existing(folder)
    usage = shutil.disk_usage(place)
    kind = file_system(place)
    yield Check(
        "disk",
        "space",
        "bad" if usage.free < _LEAST_SPACE else "ok",
        Text(
            f"{place.resolve()}: {size(usage.free)} free of {size(usage.total)}",
            f"{place.resolve()}：剩余 {size(usage.free)}，共 {size(usage.total)}",
        ),
        {"free": usage.free, "total": usage.total},
    )
    if kind in _MEMORY:
        yield Check(
            "disk",
            "kind",
            "note",
            Text(
                f"{kind}: it is memory, what is saved there is gone after a restart",
                f"{kind}：是内存，保存的内容重启后会丢失",
            ),
            kind,
        )
    elif kind in _REMOTE:
        yield Check(
            "disk",
            "kind",
            "note",
            Text(
                f"{kind}: a disk of the network; checkpoints take longer, and their manifest, not the rename, is "
                "the proof",
                f"{kind}：网络磁盘；写检查点更慢，以清单文件为准",
            ),
            kind,
        )
    elif kind:
        yield Check("disk", "kind", "ok", Text(f"file system {kind}", f"文件系统 {kind}"), kind)
    yield _speed(place)


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.is_dir())


def file_system(folder: Path) -> str | None:
    """The kind of file system that a folder is on, where the system tells it."""
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    path = str(folder.resolve())
    found: tuple[int, str | None] = (-1, None)
    for line in mounts:
        words = line.split(" ")
        if len(words) < 3:
            continue
        point = words[1].replace("\\040", " ")
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= found[0]:
            found = (len(point), words[2])
    return found[1]


def _speed(place: Path) -> Check:
    path = place / f".huohou-doctor-{secrets.token_hex(4)}"
    data = os.urandom(1 << 16)
    taken: list[float] = []
    try:
        with open(path, "xb") as file:
            for _ in range(5):
                began = time.monotonic()
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                taken.append(time.monotonic() - began)
    except OSError as error:
        why = error.strerror or str(error)
        return Check("disk", "write", "bad", Text(f"{place}: cannot be written ({why})", f"{place}：无法写入（{why}）"))
    finally:
        path.unlink(missing_ok=True)
    middle = sorted(taken)[2]
    slow = middle > _SLOW_FSYNC
    ms = f"{middle * 1000:.1f} ms"
    return Check(
        "disk",
        "write",
        "note" if slow else "ok",
        Text(
            f"a write is on the disk after {ms}" + (": slow; save seldom" if slow else ""),
            f"写入落盘需 {ms}" + ("：较慢，请少存检查点" if slow else ""),
        ),
        {"fsync_seconds": middle},
    )


def compilers() -> dict[str, str | None]:
    """Where the compilers are that torch and DeepSpeed may call."""
    own = os.environ.get("CXX")
    plus = next(
        (found for name in (own, "c++", "g++", "clang++", "cl") if name and (found := shutil.which(name))), None
    )
    plain = next(
        (
            found
            for name in (os.environ.get("CC"), "cc", "gcc", "clang", "cl")
            if name and (found := shutil.which(name))
        ),
        None,
    )
    return {"c": plain, "c++": plus, "nvcc": shutil.which("nvcc"), "ninja": shutil.which("ninja")}


def tools() -> Iterator[Check]:
    """The compilers."""
    found = compilers()
    there = ", ".join(f"{name} {path}" for name, path in found.items() if path) or "–"
    missing = ", ".join(name for name, path in found.items() if not path)
    yield Check(
        "tools",
        "compilers",
        "ok" if found["c++"] else "note",
        Text(
            f"compilers: {there}" + (f"; not there: {missing}" if missing else ""),
            f"编译器：{there}" + (f"；没有：{missing}" if missing else ""),
        ),
        found,
    )


def text() -> Iterator[Check]:
    """Whether 汉字 come through: the terminal, the locale, file names."""
    console = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    try:
        "火候│⣿".encode(console)
        fine = True
    except (UnicodeEncodeError, LookupError):
        fine = False
    here = {
        "console": console,
        "preferred": locale.getpreferredencoding(False),
        "file_names": sys.getfilesystemencoding(),
        "utf8_mode": bool(sys.flags.utf8_mode),
        "LANG": os.environ.get("LC_ALL") or os.environ.get("LANG") or "",
        "language": language_of_environment(),
    }
    if fine:
        yield Check(
            "text",
            "console",
            "ok",
            Text(f"the terminal takes 汉字 ({console})", f"终端可以显示汉字（{console}）"),
            here,
        )
    else:
        yield Check(
            "text",
            "console",
            "note",
            Text(
                f"the terminal is {console}, so 汉字 are shown as numbers; set PYTHONUTF8=1 or a UTF-8 locale (on "
                "Windows: chcp 65001)",
                f"终端编码是 {console}，汉字会显示为编号；请设置 PYTHONUTF8=1 或 UTF-8 的 locale（Windows 上用 "
                "chcp 65001）",
            ),
            here,
        )
    if sys.getfilesystemencoding().lower().replace("-", "") != "utf8":
        yield Check(
            "text",
            "file_names",
            "note",
            Text(
                f"file names are {sys.getfilesystemencoding()}: names with 汉字 may fail; set PYTHONUTF8=1",
                f"文件名编码是 {sys.getfilesystemencoding()}：含汉字的文件名可能出错；请设置 PYTHONUTF8=1",
            ),
        )


def network() -> Iterator[Check]:
    """What the environment says of hubs and proxies; nothing is called, and no password is shown."""
    said = {name: _CREDENTIALS.sub("//…@", value) for name in _ENVIRONMENT if (value := os.environ.get(name))}
    there = ", ".join(f"{name}={value}" for name, value in said.items())
    if there:
        yield Check("network", "settings", "ok", Text(f"set: {there}", f"已设置：{there}"), said)
    else:
        yield Check(
            "network",
            "settings",
            "note",
            Text(
                "no hub or proxy is set: models would come from huggingface.co (HF_ENDPOINT names a mirror; hub: "
                "modelscope takes ModelScope)",
                "没有设置镜像或代理：模型将从 huggingface.co 下载（HF_ENDPOINT 可指定镜像；hub: modelscope 则用魔搭）",
            ),
            said,
        )


def plain_environment() -> dict[str, Any]:
    """The Python that runs this."""
    return {"python": sys.version.split()[0], "executable": sys.executable, "prefix": sys.prefix != sys.base_prefix}
