"""The reference table of all settings, made from the configuration's own descriptions."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from dwcp.config import RegionConfig


def reference_table() -> str:
    """Return the table of `docs/configuration.md`; a test fails when the page is stale."""
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {default} | {text} |" for name, default, text in _rows(RegionConfig)]
    return "\n".join(lines) + "\n"


def _rows(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    for name, field in section.model_fields.items():
        kind: Any = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _rows(kind, f"{prefix}{name}.")
            continue
        default = "required" if field.default is PydanticUndefined else f"`{field.default}`"
        yield f"{prefix}{name}", default, field.description or ""


if __name__ == "__main__":
    print(reference_table(), end="")  # noqa: T201 - this is what it is for
