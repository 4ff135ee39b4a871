"""A migration does the same for ever: it imports nothing that may change after it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
OURS = {"flashsale", "inventory", "orders", "payments", "tasks"}
MIGRATIONS = sorted(path for app in OURS for path in (ROOT / app).rglob("migrations/[0-9]*.py"))


@pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def test_a_migration_imports_nothing_of_ours(path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import is one of ours"
            imported.add(node.module.partition(".")[0])

    assert imported.isdisjoint(OURS)
    assert "settings." not in path.read_text().replace("settings.AUTH_USER_MODEL", "")
