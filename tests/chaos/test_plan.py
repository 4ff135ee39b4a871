"""The plan is a function of its seed."""

import pytest

from tests.chaos import plan


def test_the_same_seed_makes_the_same_plan_and_another_seed_another():
    assert plan.make(7, 120) == plan.make(7, 120)
    assert str(plan.make(7, 120)) == str(plan.make(7, 120))
    assert plan.make(7, 120).faults != plan.make(8, 120).faults
    assert plan.make(7, 120).faults != plan.make(7, 120, "disk-loss").faults


def test_a_plan_reads_like_this():
    lines = str(plan.make(7, 30)).splitlines()

    assert lines[0] == f"seed 7, profile mixed, 30 s, {len(lines) - 1} faults"
    assert lines[1:3] == [
        "    1.5 s  deaf      gate             for  2.8 s  requests arrive, replies are lost",
        "    3.1 s  pause     web-1            for  3.1 s  SIGSTOP, then SIGCONT",
    ]


@pytest.mark.parametrize("profile", sorted(plan.PROFILES))
def test_every_fault_is_healed_in_time_and_no_two_share_a_victim(profile):
    for seed in range(200):
        made = plan.make(seed, 90, profile)
        for fault in made.faults:
            assert 0 < fault.at <= fault.heals_at <= made.seconds
            assert fault.target in plan.KINDS[fault.kind].targets
            victim = fault.target.partition("/")[0]
            others = [each for each in made.faults if each is not fault and each.target.partition("/")[0] == victim]
            assert not any(each.at < fault.heals_at and fault.at < each.heals_at for each in others)
            assert sum(each.at <= fault.at < each.heals_at for each in made.faults) <= plan.PROFILES[profile].at_once


def test_two_hundred_plans_do_everything_to_everybody_and_two_things_at_once():
    made = [plan.make(seed, 90, profile) for seed in range(100) for profile in ("disk-loss", "outage")]
    done = {(fault.kind, fault.target) for each in made for fault in each.faults}

    assert done == {(name, target) for name, kind in plan.KINDS.items() for target in kind.targets}
    assert any(one.at < two.at < one.heals_at for each in made for one in each.faults for two in each.faults)


def test_only_the_profile_that_says_so_takes_the_gates_disk():
    assert not any(fault.kind == "lose-gate" for seed in range(200) for fault in plan.make(seed, 60).faults)


def test_what_a_stack_does_not_have_is_left_out():
    made = plan.make(3, 600, without=["gateway", "fill"])

    assert not {"gateway"} & {fault.target for fault in made.faults}
    assert not {"fill"} & {fault.kind for fault in made.faults}
