"""docs/cli.md tells of every command, option, exit code, glyph and variable: it is held against the program."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from typer.main import get_command

from backstay.cli.failures import Exit
from backstay.cli.main import app
from backstay.cli.views.glyphs import GLYPHS
from backstay.cli.views.why import Cause
from backstay.settings import Settings

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/cli.md").read_text()
COMMANDS = get_command(app).commands  # type: ignore[attr-defined]
SHARED = {"--namespace", "-n", "--context", "--kubeconfig", "--debug", "--help", "-h"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_stands_in_its_part(name: str) -> None:
    parts = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    part = next((text for text in parts if re.match(rf"[\w, ]*\b{name}\b", text)), PAGE)
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts if option.startswith("-")}
    wanted = options - SHARED - {"--output", "-o"}
    missing = {option for option in wanted if not re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", part)}
    assert not missing or all(option.replace("--", "--no-", 1) in part for option in missing), f"docs/cli.md, {name}: {missing}"


@pytest.mark.parametrize("option", sorted(SHARED - {"--help", "-h"}))
def test_the_options_that_all_commands_share_stand_at_the_top(option: str) -> None:
    assert f"`{option}`" in PAGE.split("## run")[0]


def test_every_exit_code_is_told() -> None:
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    assert told == set(map(int, Exit))


def test_every_glyph_and_every_cause_is_told() -> None:
    assert [glyph for glyph in set(GLYPHS.values()) if f"| {glyph} |" not in PAGE] == []
    assert [str(cause) for cause in Cause if f"| `{cause}` |" not in PAGE] == []


def test_every_setting_is_told_with_its_default() -> None:
    for setting in fields(Settings):
        row = re.search(rf"^\|.*`BACKSTAY_{setting.name.upper()}`.*\| (\S+) \|$", PAGE, re.MULTILINE)
        assert row, f"docs/cli.md does not tell of BACKSTAY_{setting.name.upper()}"
        default = "none" if setting.default in ((), "") else str(setting.default).removesuffix(".0")
        assert row[1].strip("`") == {"bind_address": "0.0.0.0", "namespaces": "all"}.get(setting.name, default)
