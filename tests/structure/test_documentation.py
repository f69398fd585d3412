"""What the documents say exists: commands, verbs, options, files and links. And every verb explains itself."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from common.cli import run, trader, zmq
from common.config import KEYS
from common.errors import ExitCode
from tests.structure.source import ROOT

DOCUMENTS = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md")]
COMMANDS = {"trader": trader.command, "zmq": zmq.command, "scripts/run": run.command}
FILE_NAME = re.compile(r"[\w./-]+(?:\.(?:py|toml|md|conf|json|yaml)|/)")


def verbs(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield a command and everything below it."""
    yield path, command
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from verbs(below, (*path, name))


ALL_VERBS = [pair for name, command in COMMANDS.items() for pair in verbs(command, (name,))]


@pytest.mark.parametrize(("path", "command"), ALL_VERBS, ids=[" ".join(path) for path, _ in ALL_VERBS])
def test_every_verb_has_help_with_an_example_that_parses(path: tuple[str, ...], command: click.Command) -> None:
    text = command.help or ""
    assert re.match(r"[A-Z].+\.", text)
    example = re.search(r"Example: (.+)", text)
    assert example is not None
    words = shlex.split(example[1])
    assert words[0] == path[0]
    check_arguments(COMMANDS[words[0]], words[1:])


def check_arguments(command: click.Command, words: list[str]) -> None:
    """Fail unless these words are a verb with options that exist."""
    _, rest, _ = command.make_parser(click.Context(command)).parse_args(list(words))
    if isinstance(command, click.Group) and rest:
        assert rest[0] in command.commands, f"there is no verb {rest[0]!r}"
        check_arguments(command.commands[rest[0]], rest[1:])
    else:
        assert len(rest) <= sum(isinstance(parameter, click.Argument) for parameter in command.params), rest


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_help_shows_every_exit_code(command: click.Command) -> None:
    page = command.get_help(click.Context(command))
    for code in ExitCode:
        assert f"{code.value:>2}  {code.meaning}" in page


def shell_lines(document: Path) -> Iterator[str]:
    """Yield the commands of a document's shell blocks."""
    for block in re.findall(r"```sh\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                yield line.strip()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_in_a_document_exists(document: Path) -> None:
    for line in shell_lines(document):
        words = shlex.split(line, comments=True)
        name = words[0].removeprefix(".venv/bin/")
        if name.startswith(("scripts/", ".ci/")):
            assert (ROOT / name).is_file(), line
        if name in COMMANDS:
            check_arguments(COMMANDS[name], words[1:])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_and_file_name_in_a_document_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    quoted = [name for name in re.findall(r"`([^`\n]+)`", prose) if FILE_NAME.fullmatch(name)]
    made_at_run_time = ("run/", "RUN/", "/", "~", ".venv/", "--")
    missing = [name for name in links + quoted if not name.startswith(made_at_run_time) and not exists(name)]
    assert missing == []


def exists(name: str) -> bool:
    """Say whether a name stands for a file of the project, from its root or as a plain file name."""
    return (ROOT / name).exists() or ("/" not in name and any(ROOT.glob(f"*/**/{name}")))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_setting_named_in_a_document_exists(document: Path) -> None:
    sections = {key.section for key in KEYS.values()}
    named = re.findall(r"`(\w+\.\w+)(?: = [^`]*)?`", document.read_text(encoding="utf-8"))
    settings = [name for name in named if name.partition(".")[0] in sections and not name.endswith(".py")]
    assert [name for name in settings if name not in KEYS] == []


def test_changelog_is_kept_in_the_agreed_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in text
    kinds = set(re.findall(r"(?m)^### (.+)$", text))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
