"""Nodes: how big one is, and whose turn it is; over every queue that hypothesis can think of."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlcli.domain import vm_sizes
from mlcli.domain.compute import Compute
from mlcli.domain.nodes import GB, Allocation, Machine, NodePlan, Ticket, grants, in_order, node_of, priority_of

machines = st.builds(
    Machine,
    st.sets(st.integers(0, 63), min_size=1, max_size=16).map(lambda cpus: tuple(sorted(cpus))),
    st.integers(GB, 256 * GB),
)
tickets = st.lists(
    st.builds(Ticket, st.text("abcdef", min_size=1, max_size=4), st.floats(0, 100), st.integers(-5, 5)),
    unique_by=lambda ticket: ticket.run,
    max_size=20,
)


def compute(size: str | None, nodes: int | None, tier: str = "dedicated") -> Compute:
    return Compute("c", "amlcompute", 0.0, size=size, max_instances=nodes, tier=tier)


@given(machines, st.sampled_from(vm_sizes.ALL), st.integers(1, 20))
def test_all_nodes_of_a_compute_fit_on_the_machine(machine: Machine, size: vm_sizes.VmSize, nodes: int) -> None:
    node = node_of(compute(size.name, nodes), machine)
    assert node.cores is not None
    assert node.memory_bytes is not None
    assert 1 <= node.cores <= size.cores
    assert node.cores == 1 or node.cores * nodes <= len(machine.cpus)
    assert node.memory_bytes * nodes <= machine.memory_bytes
    assert node.scaled is (node.cores < size.cores or node.memory_bytes < size.memory_gb * GB)


def test_a_machine_that_is_big_enough_gives_what_the_size_says() -> None:
    node = node_of(compute("standard_ds3_v2", 2, "low_priority"), Machine(tuple(range(8)), 32 * GB))
    assert node == NodePlan("Standard_DS3_v2", 4, 14 * GB, nice=10, scaled=False)
    assert str(node) == "4 cores, 14.0 GB"
    assert node_of(compute(None, 2), Machine((0,), GB)) == NodePlan()


@given(tickets, st.integers(1, 6), st.integers(0, 6), st.integers(1, 4), machines)
def test_no_more_nodes_are_given_than_there_are_and_in_order(
    waiting: list[Ticket], nodes: int, busy: int, cores: int, machine: Machine
) -> None:
    taken = [Allocation(number, machine.cpus[:1]) for number in range(min(busy, nodes))]
    given_out = grants(waiting, taken, nodes, NodePlan("s", cores, GB), machine)
    assert [run for run, _ in given_out] == [ticket.run for ticket in in_order(waiting)][: nodes - len(taken)]
    numbers = [one.node for one in taken] + [one.node for _, one in given_out]
    assert len(set(numbers)) == len(numbers) <= nodes
    for _, one in given_out:
        assert len(one.cpus) == min(cores, len(machine.cpus))
        assert set(one.cpus) <= set(machine.cpus)


@given(tickets, machines)
def test_nobody_gets_a_core_that_another_has_while_one_is_free(waiting: list[Ticket], machine: Machine) -> None:
    nodes = len(machine.cpus)
    cpus = [one.cpus for _, one in grants(waiting, [], nodes, NodePlan("s", 1, GB), machine)]
    assert len(set(cpus)) == len(cpus)


def test_a_compute_that_has_shrunk_gives_nothing_until_enough_have_ended() -> None:
    machine = Machine((0, 1), 4 * GB)
    taken = [Allocation(0), Allocation(3)]
    assert grants([Ticket("a", 1.0)], taken, 2, NodePlan(), machine) == []
    assert grants([Ticket("a", 1.0)], taken[1:], 2, NodePlan(), machine) == [("a", Allocation(0))]


def test_the_tier_comes_before_the_priority_and_both_before_the_time() -> None:
    words: tuple[dict[str, str], ...] = (
        {"job_tier": "Premium", "priority": "Low"},
        {"priority": "high"},
        {},
        {"job_tier": "spot"},
    )
    found = [priority_of(word) for word in words]
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == len(found)
    assert priority_of({"job_tier": "Standard", "priority": "Medium"}) == priority_of({})


def test_sizes_are_found_in_any_case_and_guessed_by_the_number_in_their_name() -> None:
    assert vm_sizes.find("STANDARD_nc12") == vm_sizes.VmSize("Standard_NC12", 12, 112.0, 2)
    assert vm_sizes.find("Local.2x7.5") == vm_sizes.VmSize("local.2x7.5", 2, 7.5)
    guessed = vm_sizes.find("Standard_Q6as_v9")
    assert guessed is not None
    assert (guessed.cores, guessed.known) == (6, False)
    for none in ("", "Standard_", "local.0x4", "local.2x0", "big", "Standard_Q0_v1"):
        assert vm_sizes.find(none) is None, none
