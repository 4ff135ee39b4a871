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
    "come_near.lua",
    "place.lua",
    "unqueue.lua",
    "closed.lua",
    "whole.lua",
    "terms.lua",
)
# Commands whose cost grows with the number of keys, or with all that a key holds.
_READS_WHOLE = re.compile(r"""['"](KEYS|[HSZ]?SCAN|RANDOMKEY|SORT(?:_RO)?|SMEMBERS|HGETALL|HKEYS|HVALS)['"]""", re.IGNORECASE)
# Commands that read a range, which must say how much at most: a count, or the two ends as numbers of one sign or as one name.
_RANGE = re.compile(r"""['"](LRANGE|Z(?:REV)?RANGE\w*|X(?:REV)?RANGE|XREADGROUP|XAUTOCLAIM)['"]""", re.IGNORECASE)
_BOUND = re.compile(r"""['"](LIMIT|COUNT)['"]|, (?:\d+, \d+|-\d+, -\d+|(\w+), \2)\b""", re.IGNORECASE)
_BOUNDED_OTHERWISE = {"terms.lua": {"HGETALL"}}  # the tokens of one customer: as many as the sale's terms allow


def scans(text):
    """The commands in a script that read an unbounded number of things."""
    found = {match[1].upper() for match in _READS_WHOLE.finditer(text)}
    for line in text.splitlines():
        found |= {match[1].upper() for match in _RANGE.finditer(line) if not _BOUND.search(line)}
    return found


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_short(path):
    assert len(path.read_text().splitlines()) <= 60


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_never_scans(path):
    assert scans(path.read_text()) == _BOUNDED_OTHERWISE.get(path.name, set())


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("redis.call('KEYS', '*')", "KEYS"),
        ('local call = redis.pcall; call("keys", ARGV[1])', "KEYS"),
        ("redis.call('SCAN', 0, 'MATCH', 'fs:*', 'COUNT', 10)", "SCAN"),
        ("redis.call('HGETALL', KEYS[1])", "HGETALL"),
        ("redis.call('SMEMBERS', KEYS[1])", "SMEMBERS"),
        ("redis.call('LRANGE', KEYS[1], 0, -1)", "LRANGE"),
        ("redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])", "ZRANGEBYSCORE"),
        ("redis.call('XRANGE', KEYS[1], '-', '+')", "XRANGE"),
    ],
)
def test_a_planted_scan_is_found(line, command):
    assert scans(f"local x = 1\n{line}\n") == {command}


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
