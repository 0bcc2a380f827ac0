"""The commands that the runbooks tell people to type."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from services.console.cli import app
from services.runtime.settings import PROJECT

RUNBOOKS = PROJECT / "docs" / "runbooks"
NAMES = ("deploy", "upgrade", "roll-back", "redrive", "reset-a-watermark", "restore-a-checkpoint", "rotate-a-secret")
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PLACES = {"tidegate dlq", "tidegate quarantine"}
"""Groups that prose names; nobody types them alone."""
INLINE = re.compile(r"`(tidegate [^`\n]+)`")


def commands_of(path: Path) -> Iterator[str]:
    """Every ``tidegate`` line of a page: of its ``sh`` blocks, and between back quotes where it has arguments."""
    text = path.read_text(encoding="utf-8")
    for block in BLOCK.findall(text):
        yield from (line for line in block.splitlines() if line.startswith("tidegate "))
    yield from (line for line in INLINE.findall(text) if "…" not in line and line not in PLACES)


def mistake_in(line: str) -> str | None:
    """What ``tidegate`` would say of a command line that it cannot parse; it is not carried out."""
    words = shlex.split(line, comments=True)[1:]
    words = words[: words.index(">")] if ">" in words else words
    command: Any = typer.main.get_command(app)
    context = command.context_class(command, info_name="tidegate")
    try:
        while hasattr(command, "resolve_command"):
            name, command, words = command.resolve_command(context, words)
            context = command.context_class(command, info_name=name, parent=context)
        command.make_context(command.name, words, parent=context.parent)
    except Exception as error:  # Typer brings its own copy of click: its errors are known by what they can do
        if not hasattr(error, "format_message"):
            raise
        return str(error.format_message())
    return None


@pytest.mark.parametrize("name", NAMES)
def test_every_command_of_a_runbook_parses(name: str) -> None:
    """No runbook tells of a command, an argument or an option that is not there any more."""
    lines = list(commands_of(RUNBOOKS / f"{name}.md"))
    assert lines
    for line in lines:
        assert mistake_in(line) is None, f"{name}.md: {line}"


def test_a_command_that_is_gone_is_noticed() -> None:
    """The check above can fail: a misspelt command, option and argument do not parse."""
    for line in ("tidegate doktor", "tidegate doctor --hurry", "tidegate doctor now"):
        assert mistake_in(line) is not None, line


@pytest.mark.parametrize("name", NAMES)
def test_a_runbook_leads_from_symptom_to_undo(name: str) -> None:
    """Each page says when it is meant, where to look first, how to know that it worked, and how to undo it."""
    text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
    assert re.search(r"^\*\*(Symptom|When):\*\*", text, re.MULTILINE)
    for heading in ("First look", "How to know it worked", "How to undo"):
        assert f"\n## {heading}\n" in text, heading


def test_links_between_pages_lead_somewhere() -> None:
    """Each relative link of a runbook names a file that is there."""
    for path in RUNBOOKS.glob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"
