"""What every part of a YAML file's specification shares."""

from __future__ import annotations

from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

__all__ = ["Name", "Settings", "Spec", "TimeZone", "known_timezone"]


class Spec(BaseModel):
    """Base of everything that a YAML file may say."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=63)]
"""Lower-case letters, digits and single hyphens: safe in a path, a URL and a host name."""

Settings = dict[str, JsonValue]


def known_timezone(name: str) -> str:
    """`name` if it is a time zone of the IANA database. Raises `ValueError`."""
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(f"there is no time zone {name!r}; Europe/Paris is one") from error
    return name


TimeZone = Annotated[str, AfterValidator(known_timezone)]
"""A time zone as the IANA database calls it, such as ``Europe/Paris``."""
