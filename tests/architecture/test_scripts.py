"""Lua files keep to their form, and their codes are those of Python."""

import re
from pathlib import Path

import pytest

from inventory.admission.codes import AdmitCode, EffectCode

ROOT = Path(__file__).parent.parent.parent
# Redis's; what Envoy runs is in deploy, what wrk runs in tests/load.
SCRIPTS = [path for path in ROOT.rglob("*.lua") if not {".venv", "var", "deploy", "load"} & set(path.relative_to(ROOT).parts)]
PARTS = (
    "token_bucket.lua",
    "leaky_bucket.lua",
    "sliding_log.lua",
    "sliding_counter.lua",
    "call_up.lua",
    "place.lua",
    "unqueue.lua",
    "closed.lua",
    "whole.lua",
    "terms.lua",
)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_short_and_never_scans(path):
    text = path.read_text()

    assert len(text.splitlines()) <= 60
    assert "'KEYS'" not in text


@pytest.mark.parametrize("path", [path for path in SCRIPTS if path.name not in PARTS], ids=lambda path: path.name)
def test_a_script_declares_its_keys(path):
    text = path.read_text()
    name = re.fullmatch(r"[a-z_]+-(\d+|n)\.lua", path.name)[1]
    if name == "n":
        assert re.search(r"^-- KEYS  one for each ", text, re.MULTILINE)
        return
    declared = int(name)
    header = re.search(r"^-- KEYS((?:  \d+ [^\n]*?)+)$", text, re.MULTILINE)[1]

    assert [int(number) for number in re.findall(r"  (\d+) ", header)] == list(range(1, declared + 1))
    used = {int(number) for number in re.findall(r"KEYS\[(\d+)\]", text)}
    assert max(used) <= declared


@pytest.mark.parametrize(
    ("name", "codes"),
    [("admit-14.lua", AdmitCode), ("stand_in_line-14.lua", AdmitCode), ("issue-4.lua", AdmitCode)]
    + [(name, EffectCode) for name in ("settle-2.lua", "release-6.lua", "configure-2.lua", "withhold-2.lua", "open-8.lua")],
)
def test_the_codes_in_a_header_are_those_of_the_enum(name, codes):
    path = next(path for path in SCRIPTS if path.name == name)
    header = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("--"))

    pairs = re.findall(r"(\d+) ([A-Z_]{4,})", header.partition("Returns")[2])

    assert pairs
    assert all(codes[word] == int(number) for number, word in pairs)
    if name == "admit-14.lua":
        assert {word for _, word in pairs} == set(codes.__members__) - {"WAITING", "TICKET_LAPSED", "CALLED_UP"}
