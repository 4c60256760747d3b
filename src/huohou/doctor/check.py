"""One finding of the doctor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from huohou.language import Text

Status = Literal["ok", "note", "bad"]


@dataclass(frozen=True, slots=True)
class Check:
    """``status``: ``ok``, ``note`` (good to know, or not available here), or ``bad`` (should be mended).

    ``key`` names it in JSON, ``data`` holds its values as plain data.
    """

    area: str
    key: str
    status: Status
    text: Text
    data: Any = None

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        return {"area": self.area, "key": self.key, "status": self.status, **self.text.plain(), "data": self.data}


def size(count: float) -> str:
    """Bytes for people."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count / 1e3:.1f} kB"
