"""Imports point down, in functions too: grimp finds those as well, so none of them hides a circle."""

from graphlib import CycleError, TopologicalSorter

import grimp
import pytest

PACKAGES = ("flashsale", "inventory", "orders", "payments", "tasks")


@pytest.fixture
def graph():
    return grimp.build_graph(*PACKAGES)


def sort(graph):
    TopologicalSorter({module: graph.find_modules_directly_imported_by(module) for module in graph.modules}).prepare()


def test_no_module_imports_itself_through_others(graph):
    sort(graph)

    assert len(graph.modules) > 250


def test_a_circle_is_found(graph):
    graph.add_import(importer="flashsale.core.errors", imported="orders.placement")

    with pytest.raises(CycleError):
        sort(graph)
