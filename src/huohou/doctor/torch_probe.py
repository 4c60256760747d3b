"""What torch says of this machine, asked in a process of its own: a broken driver ends that one, not this one."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from huohou.doctor.packages import installed

LONGEST = 180.0
"""Seconds that the question may take; the first import of torch on a slow disk takes a minute."""

_QUESTION = """
import json, importlib.util
import torch
found = {"version": torch.__version__, "cuda_build": torch.version.cuda, "hip_build": torch.version.hip,
         "cuda": torch.cuda.is_available(), "devices": [], "threads": torch.get_num_threads(),
         "mps": bool(getattr(torch.backends, "mps", None)) and torch.backends.mps.is_available(),
         "triton": importlib.util.find_spec("triton") is not None}
distributed = torch.distributed.is_available()
found["gloo"] = distributed and torch.distributed.is_gloo_available()
found["nccl"] = distributed and torch.distributed.is_nccl_available()
found["fsdp2"] = distributed and importlib.util.find_spec("torch.distributed.fsdp") is not None
for i in range(torch.cuda.device_count() if found["cuda"] else 0):
    p = torch.cuda.get_device_properties(i)
    free, _ = torch.cuda.mem_get_info(i)
    found["devices"].append({"name": p.name, "memory": p.total_memory, "free": free, "capability": [p.major, p.minor]})
print("\\n" + json.dumps(found))
"""


def probe(longest: float = LONGEST) -> dict[str, Any] | None:
    """What torch found; ``None`` where it is not installed, ``{"error": …}`` where it does not work."""
    if installed("torch") is None:
        return None
    try:
        done = subprocess.run(
            [sys.executable, "-c", _QUESTION],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=longest,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {longest:.0f} s"}
    except OSError as error:
        return {"error": str(error)}
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return {"error": said[:300]}
    return json.loads(lines[-1])
