"""``docs/configuration.md`` names the settings that there are, with their defaults and ranges."""

import ast
import re

import pytest

from flashsale.settings import env
from flashsale.stack import launcher
from tests.conftest import ROOT

_PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
_ELSEWHERE = {"DJANGO_SETTINGS_MODULE", "PROMETHEUS_MULTIPROC_DIR", "FLASHSALE_VAR"}
_ENTRIES = [line for line in _PAGE.splitlines() if line.startswith("- `")]


def _documented():
    return {name for entry in _ENTRIES for name in re.findall(r"`([A-Z][A-Z0-9_]+)`", re.split(r" (?:\(|is |are )", entry)[0])}


def _calls():
    """Each reading of the environment in the settings: name, function, arguments."""
    for path in sorted((ROOT / "flashsale" / "settings").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
                continue
            of_env = isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "env"
            if (of_env or isinstance(node.func, ast.Name)) and re.fullmatch(r"[A-Z][A-Z0-9_]+", str(node.args[0].value)):
                yield node.args[0].value, node


def _provider_options():
    """NAME_OPTION for each option that a provider's file takes."""
    for path in (ROOT / "payments" / "providers").glob("*.py"):
        for option in re.findall(r'options(?:\.get\(|\[)"([A-Z_]+)"', path.read_text(encoding="utf-8")):
            yield f"{path.stem.upper()}_{option}"


def _read():
    ports = set(launcher._PORTS) | set(launcher._INNER_PORTS)
    return {name for name, _ in _calls()} | ports | _ELSEWHERE | set(_provider_options())


def test_every_setting_that_is_read_is_described():
    assert sorted(_read() - _documented()) == []


def test_no_setting_is_described_that_nothing_reads():
    assert sorted(_documented() - _read()) == []


def test_every_setting_that_may_stand_in_a_file_is_named():
    paragraph = _PAGE.split("`NAME_FILE`")[1].split("\n\n")[0]

    assert set(re.findall(r"`([A-Z_]{5,})`", paragraph)) - {"NAME"} == set(env._IN_FILES)


def _numbers():
    for name, node in _calls():
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        if {"low", "high"} <= set(given) and isinstance(node.args[1], ast.Constant | ast.BinOp):
            default, low, high = (eval(ast.unparse(each)) for each in (node.args[1], given["low"], given["high"]))
            yield pytest.param(name, default, low, high, id=name)


@pytest.mark.parametrize(("name", "default", "low", "high"), list(_numbers()))
def test_a_number_is_described_with_its_default_and_range(name, default, low, high):
    entry = next((each for each in _ENTRIES if f"`{name}`" in each.split("(")[0]), "")
    shown = re.search(r"\(default ([\d.]+)[^)]*from ([\d.]+) to ([\d.]+)\)", entry)

    assert name in ("READY_SHARED_S",) or [float(each) for each in shown.groups()] == [default, low, high]
