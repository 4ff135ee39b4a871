"""A pytest plugin that starts servers of our own before Django reads its settings."""

import os
import tempfile
from pathlib import Path

import pytest

from flashsale.stack.embedded import Embedded

_home = tempfile.TemporaryDirectory(prefix="flashsale-tests-")
Path(_home.name).chmod(0o755)
STACK = Embedded(Path(_home.name), environment={})


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests():
    os.environ |= STACK.__enter__()
    os.environ["FLASHSALE_VAR"] = _home.name
    os.environ["FLOWER_BASIC_AUTH"] = "operator:test"
    return (yield)


def pytest_unconfigure():
    STACK.__exit__(None, None, None)
    _home.cleanup()
