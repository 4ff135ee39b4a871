"""The judge of memory is itself tested."""

import os

import psutil
import pytest

from tests.chaos.memory import BOUND_MIB_PER_H, Growth, Sampler, slope
from tests.conftest import eventually


def test_the_slope_of_a_line_is_its_slope_and_odd_samples_do_not_move_it():
    line = [(t, 50 + 0.01 * t) for t in range(0, 600, 5)]
    odd = [(t, 500 if t % 50 == 0 else size) for t, size in line]

    assert slope(line) == pytest.approx(0.01)
    assert slope(odd) == pytest.approx(0.01, rel=0.1)


def test_flat_noise_is_flat_and_a_leak_of_a_megabyte_a_minute_is_not():
    flat = [(t, 80 + (t * 7919 % 13) / 13) for t in range(0, 900, 5)]
    leak = [(t, size + t / 60) for t, size in flat]

    assert Growth("w", 1, 900, 3600 * slope(flat), 81).is_flat
    assert not Growth("w", 1, 900, 3600 * slope(leak), 95).is_flat
    assert 3600 * slope(leak) == pytest.approx(60, rel=0.2)
    assert BOUND_MIB_PER_H < 60


def test_growth_within_warm_up_counts_as_flat():
    assert Growth("w", 1, 205, 54.5, 108.7).is_flat
    assert Growth("w", 1, 900, BOUND_MIB_PER_H, 90).is_flat
    assert not Growth("w", 1, 900, BOUND_MIB_PER_H + 1, 90).is_flat
    assert not Growth("w", 1, 300, 200, 90).is_flat


def test_a_real_process_is_sampled():
    with Sampler(lambda: [("me", psutil.Process())], 0.02) as sampler:
        eventually(lambda: len(sampler.series["me", os.getpid()]) >= 3)

    assert all(1 < size < 10_000 for _, size in sampler.series["me", os.getpid()])
