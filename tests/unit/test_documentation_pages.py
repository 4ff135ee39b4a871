"""The documentation names commands and files that there are. `mkdocs build --strict` looks at the links within docs/."""

import re

import pytest

from tests.conftest import ROOT

_ROOT_PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
_PAGES = (*_ROOT_PAGES, *(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")))
_MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
_TARGETS = {*re.findall(r"^([a-z][a-z-]+):", _MAKEFILE, re.MULTILINE)}
_APPS = ("flashsale", "inventory", "orders", "payments", "tasks")
_COMMANDS = {
    path.stem
    for folder in (each for app in _APPS for each in (ROOT / app).rglob("management/commands"))
    for path in folder.glob("*.py")
    if path.stem != "__init__"
}


def _text(page):
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", _ROOT_PAGES)
def test_links_to_files_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", _text(page))

    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_is_read_in_two_minutes():
    assert len(_text("README.md").splitlines()) <= 80


@pytest.mark.parametrize("page", _PAGES)
def test_a_make_target_that_is_named_exists(page):
    named = set(re.findall(r"(?:`|^)make ([a-z][a-z-]+)", _text(page), re.MULTILINE))

    assert named - _TARGETS == set()


def test_every_make_target_is_described():
    described = set(
        re.findall(r"`make ([a-z-]+)", _text("docs/commands.md") + _text("docs/benchmarks.md") + _text("docs/ratelimit.md"))
    )

    assert {target for target in _TARGETS if target != "chromium"} - described == set()


def test_the_commands_that_are_described_are_those_that_exist():
    described = set(re.findall(r"^\| `manage\.py ([a-z_]+)", _text("docs/commands.md"), re.MULTILINE))

    assert described == _COMMANDS


@pytest.mark.parametrize("page", [page for page in _PAGES if page != "CHANGELOG.md"])
def test_a_file_of_the_project_that_is_named_exists(page):
    named = re.findall(r"`((?:flashsale|inventory|orders|payments|tasks|tests|deploy|requirements)/[\w./-]*\w)`", _text(page))

    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_tests_that_hold_a_promise_exist():
    paths = [path for path in (ROOT / "tests").rglob("*.py") if path.name != "test_documentation_pages.py"]
    source = "\n".join(f"{path}\n{path.read_text(encoding='utf-8')}" for path in paths)
    promises = _text("docs/reliability.md").split("## What an error")[0]
    named = [cell for row in promises.splitlines() if row.startswith("| ") for cell in row.split(" | ")[-1:]]

    assert [name for name in re.findall(r"`([\w/.]*_[\w/.]*)`", " ".join(named)) if name not in source] == []


def test_new_changes_stand_under_unreleased():
    oldest = _text("CHANGELOG.md").split("\n## ")[-1]

    assert [line for line in oldest.splitlines() if line.startswith("- ")] == [], "write it under Unreleased"
    assert _text("CHANGELOG.md").count("- The first sale:") == 0, "a rebase brought back the list that 0.2.0 replaced"
