"""Names of regions, and where a write stands."""

import re
from typing import NamedTuple

from schemas.errors import ConfigError

_REGION = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class Dot(NamedTuple):
    """Identity of one write: its place in its origin's log."""

    region: str
    partition: int
    offset: int
    change_index: int


class Version(NamedTuple):
    """What decides between two writes of one register: the greater wins, everywhere alike.

    The hybrid timestamp decides; region, offset and index break ties, and make versions unique.
    """

    stamp: int
    region: str
    offset: int
    change_index: int


def check_region(field: str, name: str) -> str:
    """Return `name` if it can name a region: a DNS label.

    Raises:
        ConfigError: It cannot.
    """
    if not _REGION.fullmatch(name):
        raise ConfigError(field, name, "a region is named by 1-63 of a-z, 0-9 and inner hyphens")
    return name
