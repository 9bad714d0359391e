"""The documentation is true where a machine can tell: commands parse, settings exist, metrics and links are there."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from control.api.schemas import SettingsSchema
from control.cli import main
from control.cli.runtime import _assignment
from control.metrics import ISSUANCES, SECONDS
from control.models.runtime import RuntimeSettings
from control.settings import _ELSEWHERE, _READERS
from modoboa_ext.settings import DEFAULTS

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
EDGE = {
    rule["name"] for rule in json.loads((ROOT / "nginx" / "settings.json").read_text())["settings"]
}
# Capitals that no settings of ours are: names of Modoboa's, Django's and other programs'.
OTHERS = {"ALLOWED_HOSTS", "HTTPS_PROXY", "MODOBOA_APPS", "NO_PROXY", "REDISCLI_AUTH", "STATIC_URL"}


def code(text: str) -> Iterator[str]:
    """What stands in code: lines of fenced blocks (comments apart), and spans between backticks."""
    fences = re.findall(r"^```\w*\n(.*?)^```", text, re.S | re.M)
    for block in fences:
        yield from (re.sub(r"(^|\s)#\s.*", "", line) for line in block.splitlines())
    for span in re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)):
        yield span.replace("\\|", "|")


def commands() -> Iterator[tuple[str, str]]:
    """(page, words behind `edgectl`) of each command line; rows of operate.md's table leave the name out."""
    for page in PAGES:
        text = page.read_text()
        for words in code(text):
            for found in re.findall(r"\bedgectl ([a-z][^;|)]*)", words):
                yield page.name, found
    last = ""
    table = (ROOT / "docs" / "operate.md").read_text().partition("| `edgectl …` |")[2]
    for row in table.partition("\n\n")[0].splitlines()[2:]:
        for words in re.findall(r"`([^`]+)`", row.split(" | ")[0]):
            last = words if not words.startswith("--") else f"{last.split(' --')[0]} {words}"
            yield "operate.md", last


def parse(words: list[str]) -> None:
    """As click does before it runs anything; UsageError when that cannot be run. A bare name only has to exist."""
    command: click.Command = main
    context = click.Context(main)
    while isinstance(command, click.Group) and words:
        found = command.get_command(context, words[0])
        if found is None:
            raise click.UsageError(f"there is no command {words[0]}")
        command, words = found, words[1:]
    if words:
        sure = ["--yes"] if any(option.name == "yes" for option in command.params) else []
        given = command.make_context(command.name, [*words, *sure]).params
        for text in given.get("assignments", ()):
            if text != "NAME=VALUE":
                SettingsSchema().load(dict([_assignment(text)]))


@pytest.mark.parametrize(("page", "text"), sorted(set(commands())))
def test_every_command_in_the_documentation_can_be_run(page: str, text: str) -> None:
    plain = re.sub(r"\bFILE\b", str(ROOT / "LICENSE"), re.sub(r"[\[\]…]", "", text))
    parse(shlex.split(plain))


def test_every_setting_in_the_documentation_exists() -> None:
    shell = re.findall(r"^([A-Z_]+)=", (ROOT / "docs" / "install.md").read_text(), re.M)
    known = {*_READERS, *_ELSEWHERE, *EDGE, *DEFAULTS, *OTHERS, *shell}
    for page in PAGES:
        words = " ".join(code(page.read_text()))
        assert set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", words)) <= known, page


def rows(page: str, heading: str) -> set[str]:
    """The names in the first column of the table below a heading."""
    section = (ROOT / "docs" / page).read_text().partition(f"## {heading}")[2].partition("\n## ")[0]
    first = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
    return {name for cell in first for name in re.findall(r"`(\w+)", cell)}


def test_every_setting_is_in_the_documentation() -> None:
    assert rows("settings.md", "The control plane") == {*_READERS, "CONTROL_PORT"}
    assert rows("settings.md", "The edge") == EDGE
    assert rows("parameters.md", "In Modoboa") == set(DEFAULTS)
    first = (ROOT / "docs" / "parameters.md").read_text().partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)`", first, re.M)) == set(RuntimeSettings().as_dict())


def test_every_metric_is_in_the_documentation() -> None:
    control = set(re.findall(r'"(control_\w+)"', (ROOT / "control" / "metrics.py").read_text()))
    assert {ISSUANCES, SECONDS} < control
    edge = set(
        re.findall(
            r'"(edge_\w+)", "(?:counter|gauge)"', (ROOT / "lua/edge/metrics.lua").read_text()
        )
    )
    edge |= set(re.findall(r'\n    "(edge_\w+)",\n', (ROOT / "lua/edge/metrics.lua").read_text()))
    assert rows("metrics.md", "The control plane") == control
    assert rows("metrics.md", "The edge") == edge


def test_every_link_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if target.startswith("https://"):
                continue
            file, _, anchor = target.partition("#")
            there = page.parent / file if file else page
            assert there.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(there), f"{page.name}: {target}"


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings: lower case, punctuation off, spaces to hyphens."""
    headings = re.findall(r"^#+ (.*)", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
