"""The supervisord configuration: one source for every run directory, one form for every program, as the tables say."""

from __future__ import annotations

import socket
from configparser import RawConfigParser
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from common.cli.supervision import GROUP, SOURCE, Supervisor, last_words, open_pid, refusals, render, run_as
from common.config import DEFAULT_RUN_DIR, PROJECT_DIR, SOCKET_NAME_MAX
from common.errors import ConfigError, ExitCode, Failure
from common.registry import PROCESSES

TEXT = SOURCE.read_text(encoding="utf-8")


def parse(text: str) -> RawConfigParser:
    parser = RawConfigParser(inline_comment_prefixes=(";",))
    parser.read_string(text)
    return parser


def programs(parser: RawConfigParser) -> dict[str, dict[str, str]]:
    return {
        section.removeprefix("program:"): dict(parser[section])
        for section in parser.sections()
        if section.startswith("program:")
    }


def test_default_run_directory_renders_to_what_the_source_itself_means() -> None:
    assert render(TEXT, PROJECT_DIR, DEFAULT_RUN_DIR, {}) == TEXT.replace("%(here)s", str(PROJECT_DIR))


def test_another_run_directory_differs_in_nothing_but_the_directory() -> None:
    rendered = render(TEXT, PROJECT_DIR, Path("/tmp/other"), {})
    assert rendered.replace("/tmp/other", str(DEFAULT_RUN_DIR)) == render(TEXT, PROJECT_DIR, DEFAULT_RUN_DIR, {})
    assert str(DEFAULT_RUN_DIR) not in rendered
    assert "%(here)s" not in rendered


def test_environment_of_the_command_line_reaches_the_processes_unchanged() -> None:
    rendered = render(TEXT, PROJECT_DIR, Path("/tmp/other"), {"TRADER_PAPER_SCENARIO": "/a b/100%.toml"})
    line = parse(rendered)["supervisord"]["environment"]
    assert line == 'TRADER_RUN_DIR="/tmp/other",TRADER_PAPER_SCENARIO="/a b/100%%.toml",PYTHONDONTWRITEBYTECODE=""'


def test_root_is_named_as_meant_and_nobody_else_is_named() -> None:
    assert parse(run_as(0, TEXT))["supervisord"]["user"] == "root"
    assert run_as(1_000, TEXT) == TEXT


def test_where_no_supervisord_runs_nobody_refuses(run_dir: Path) -> None:
    assert refusals(Supervisor(run_dir)) == {}


@pytest.mark.parametrize("waiting", [0, 200])
def test_supervisord_that_does_not_answer_is_named_instead_of_waited_for(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, waiting: int
) -> None:
    supervisor = Supervisor(run_dir)
    (run_dir / "supervisord.pid").write_text("4321\n")
    with ExitStack() as held:
        deaf = held.enter_context(socket.socket(socket.AF_UNIX))
        deaf.bind(str(supervisor.socket))
        deaf.listen(1)
        for _ in range(waiting):  # others that wait for it, too
            other = held.enter_context(socket.socket(socket.AF_UNIX))
            other.setblocking(False)
            with suppress(BlockingIOError):
                other.connect(str(supervisor.socket))
        with pytest.raises(Failure, match=r"supervisord \(process 4321, .*does not answer within 0 s") as raised:
            supervisor.processes(0.05)
        assert raised.value.code == ExitCode.TIMED_OUT
        monkeypatch.setattr("common.cli.supervision._LOOK_S", 0.05)
        assert refusals(supervisor) == {}


def test_errors_of_earlier_lives_are_not_blamed_for_this_start(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = run_dir / "logs" / "exchange.log"
    log.parent.mkdir()
    log.write_text("exchange: an old error\n")
    supervisor = Supervisor(run_dir)
    assert last_words(supervisor, "exchange") == "exchange: an old error"
    monkeypatch.setattr(Supervisor, "_spawn", lambda _: None)
    assert supervisor.start({})
    assert last_words(supervisor, "exchange") == f"({log} tells of nothing wrong)"
    with log.open("a") as file:
        file.write("exchange: a new error\n")
    assert last_words(supervisor, "exchange") == "exchange: a new error"
    log.rename(log.with_suffix(".log.1"))
    log.write_text("exchange: after the rotation, and longer than what was there before\n")
    assert last_words(supervisor, "exchange").startswith("exchange: after the rotation")


@pytest.mark.parametrize("value", ['a"b', "a\nb"])
def test_value_that_supervisord_cannot_carry_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match="cannot be handed"):
        render(TEXT, PROJECT_DIR, Path("/tmp/other"), {"TRADER_PAPER_SCENARIO": value})


def test_source_that_is_not_the_projects_own_is_named() -> None:
    with pytest.raises(ConfigError, match=f"{SOURCE}: is not the project's own"):
        render(TEXT.replace("%(here)s/run", "/tmp/other"), PROJECT_DIR, Path("/tmp/other"), {})


def test_run_directory_that_cannot_be_made_is_a_matter_of_configuration() -> None:
    with pytest.raises(ConfigError, match="run directory /proc/nowhere: "):
        Supervisor(Path("/proc/nowhere")).start({})


def test_every_program_is_a_row_of_the_process_table_with_its_priority() -> None:
    parser = parse(TEXT)
    found = programs(parser)
    assert list(found) == list(PROCESSES)
    assert parser[f"group:{GROUP}"]["programs"] == ",".join(found)
    for name, options in found.items():
        assert int(options["priority"]) == PROCESSES[name].priority
        assert (PROJECT_DIR / "processes" / f"{name}.py").is_file()


def test_every_program_differs_from_the_first_in_name_and_priority_only() -> None:
    found = programs(parse(TEXT))
    wanted = {**found["exchange"], "priority": "*"}
    for name, options in found.items():
        renamed = {key: value.replace(f"{name}.log", "exchange.log") for key, value in options.items()}
        renamed["command"] = renamed["command"].replace(f"processes.{name}", "processes.exchange")
        assert {**renamed, "priority": "*"} == wanted, name


def test_programs_stay_down_after_exits_0_and_78_and_take_their_children_along() -> None:
    for options in programs(parse(TEXT)).values():
        assert options["startsecs"] == "0"
        assert options["autorestart"] == "unexpected"
        assert options["exitcodes"] == "0,78"
        assert options["stopasgroup"] == options["killasgroup"] == "true"


def test_only_the_owner_reaches_supervisord() -> None:
    parser = parse(TEXT)
    assert "inet_http_server" not in parser.sections()
    assert parser["unix_http_server"]["chmod"] == "0700"
    assert parser["supervisord"]["umask"] == "077"


def test_socket_of_supervisord_fits_while_it_has_its_temporary_name() -> None:
    name = Supervisor(Path("/r")).socket.name
    assert len(f"{name}.4194304") <= SOCKET_NAME_MAX


def test_process_that_is_gone_counts_as_ended() -> None:
    with open_pid(2**22 + 1) as watched:
        assert watched.wait(0)
