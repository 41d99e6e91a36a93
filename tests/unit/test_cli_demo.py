"""Settings that `dwcp demo --set` gives to its nodes."""

import pytest

from dwcp.cli.demo import node_config
from schemas.errors import ConfigError


def test_settings_become_sections_with_typed_values() -> None:
    given = ["hde.typed=false", "link.flush_ms=50", "hde.memory_mib=8"]

    assert node_config(given) == {
        "hde": {"typed": False, "memory_mib": 8},
        "link": {"flush_ms": 50},
    }


@pytest.mark.parametrize(
    "text", ["hde.typed", "typed=false", "=1", "a.b.c=1", "hde.typed=[", ".x=1"]
)
def test_anything_else_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        node_config([text])
