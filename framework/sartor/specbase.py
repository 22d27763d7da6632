"""What every part of a YAML file's specification shares."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue

__all__ = ["Name", "Settings", "Spec"]


class Spec(BaseModel):
    """Base of everything that a YAML file may say."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=63)]
"""Lower-case letters, digits and single hyphens: safe in a path, a URL and a host name."""

Settings = dict[str, JsonValue]
