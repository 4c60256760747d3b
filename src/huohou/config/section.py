"""What every section of the run file is: a frozen model whose keys say what they mean in two languages."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from huohou.config.kinds import Kind
from huohou.language import Text

ABSENT = Text("not given", "未给出")


def key(default: Any, en: str, zh: str, *, said: Text | None = None, alias: str | None = None) -> Any:
    """A field with its meaning; ``said`` is its default in words, where the value alone would not tell.

    ``alias`` is how the key is written where the attribute cannot have its name.
    """
    extra: Any = {"zh": zh, "said": said.plain() if said else None}
    return Field(default=default, description=en, json_schema_extra=extra, alias=alias)


class Section(BaseModel):
    """What all sections share."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, validate_by_name=False)
    title: ClassVar[Text]

    def unsaid(self) -> frozenset[str]:
        """The keys that mean nothing here, because of others, and are left out of the resolved form."""
        return frozenset()


def keys_of(section: type[BaseModel]) -> dict[str, str]:
    """Every key of a section as it is written, with the attribute that holds it; ``from`` is a word of Python's."""
    return {field.alias or name: name for name, field in section.model_fields.items()}


def kind_of(section: type[BaseModel], name: str) -> Kind | None:
    """The kind of a key's value; ``None`` where the key is a section of its own."""
    field = section.model_fields[keys_of(section)[name]]
    return next((one for one in field.metadata if isinstance(one, Kind)), None)
