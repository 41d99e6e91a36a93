"""Documents say what is so: links resolve, commands and options exist, settings are real."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from dwcp.cli import _COMMANDS, main
from dwcp.config import RegionConfig
from tests.support.repository import ROOT, committed_files, name_of

DOCUMENTS: Final = [path for path in committed_files() if path.suffix == ".md"]
NAMES: Final = [name_of(path) for path in DOCUMENTS]
_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE: Final = re.compile(r"^\s*(```|~~~)")
_CODE: Final = re.compile(r"`([^`]+)`")


def test_there_are_documents() -> None:
    assert {"README.md", "docs/configuration.md"} <= set(NAMES)


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    targets = [target for target in _LINK.findall(path.read_text()) if "://" not in target]
    broken = [target for target in targets if not leads_somewhere(path, target)]

    assert not broken


def leads_somewhere(path: Path, target: str) -> bool:
    name, _, anchor = target.partition("#")
    found = (path.parent / name).resolve() if name else path
    if not found.exists() or not found.is_relative_to(ROOT):
        return False
    return not anchor or found.suffix != ".md" or anchor in anchors(found)


def anchors(path: Path) -> set[str]:
    """Return a document's headings as links name them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def code(path: Path) -> Iterator[str]:
    """Yield lines of code blocks and pieces of inline code, without comments."""
    is_fenced = False
    for line in path.read_text().splitlines():
        if _FENCE.match(line):
            is_fenced = not is_fenced
        elif is_fenced or line.startswith("    "):
            yield re.sub(r"\s#.*", "", line).removesuffix("\\")
        else:
            yield from _CODE.findall(line)


def invocations(path: Path) -> Iterator[list[str]]:
    """Yield the words behind each `dwcp` that is called."""
    for line in code(path):
        match = re.search(r"(?:^|[\s/(])dwcp((?: [^\s|&;>]+)+)", line)
        if match is not None and re.match(r" [a-z-]", match[1]):
            yield shlex.split(match[1], posix=True)


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_every_command_and_option_in_a_document_exists(path: Path) -> None:
    for words in invocations(path):
        command, options = resolve(words)
        assert command is not None, f"there is no `dwcp {' '.join(words)}`"
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert given <= options, f"`dwcp {' '.join(words)}` has no {given - options}"


def resolve(words: list[str]) -> tuple[click.Command | None, set[str]]:
    """Follow the words to a command, and gather the options on the way."""
    command: click.Command = main
    context = click.Context(main)
    options = {"--help", "--version"}
    for word in words:
        if not isinstance(command, click.Group) or word.startswith("-"):
            break
        found = command.get_command(context, word)
        if found is None:
            return None, options
        command = found
        options |= {name for parameter in command.params for name in parameter.opts}
        options |= {name for parameter in command.params for name in parameter.secondary_opts}
    return command, options


def test_some_command_is_documented() -> None:
    """Else the tests above look at nothing."""
    called = {words[0] for path in DOCUMENTS for words in invocations(path)}

    assert {"region", "state", "produce", "status", "deadletter", "config"} <= called


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_command_of_the_overview_can_be_loaded_and_says_the_same(name: str) -> None:
    command = main.get_command(click.Context(main), name)

    assert command is not None
    assert command.name == name
    assert command.help


def settings(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from settings(kind, f"{prefix}{name}.")
            continue
        is_required = field.default is PydanticUndefined
        default = "required" if is_required else f"`{field.default}`"
        yield f"| `{prefix}{name}` | {default} | {field.description} |"


def test_the_table_of_settings_is_the_configuration_s_own() -> None:
    document = (ROOT / "docs" / "configuration.md").read_text()
    rows = [line for line in document.splitlines() if line.startswith("| `")]

    assert rows == list(settings(RegionConfig))
