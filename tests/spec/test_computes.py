"""A compute's file, of every generation, and the flags in its place: one value, one set of refusals."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcli.domain.compute import SshHost
from mlcli.domain.errors import InvalidSpecError, MlcliError, UnsupportedError
from mlcli.spec.computes import changed_compute, read_compute
from tests.spec.files import CORPUS

COMPUTES = CORPUS / "now" / "resources" / "compute"
TODAY = """
$schema: https://azuremlschemas.azureedge.net/latest/amlCompute.schema.json
name: cluster
type: amlcompute
size: Standard_DS2_v2
tier: low_priority
min_instances: 1
max_instances: 3
idle_time_before_scale_down: 60
description: the cheap one
tags: {team: vision, floor: 3}
"""
OF_2021 = """
name: cluster
type: AmlCompute
size: Standard_DS2_v2
priority: LowPriority
min_instances: 1
max_instances: "3"
idle_time_before_scale_down: 60
description: the cheap one
tags: {team: vision, floor: 3}
"""
FLAGS: dict[str, Any] = {
    "--name": (("name",), "cluster"),
    "--type": (("type",), "AMLCOMPUTE"),
    "--size": (("size",), "Standard_DS2_v2"),
    "--tier": (("tier",), "low_priority"),
    "--min-instances": (("min_instances",), 1),
    "--max-instances": (("max_instances",), 3),
    "--idle-time-before-scale-down": (("idle_time_before_scale_down",), 60),
    "--description": (("description",), "the cheap one"),
    "--tags": (("tags",), {"team": "vision", "floor": "3"}),
}


def read(text: str | None, flags: Any = None, sets: Any = ()) -> Any:
    return read_compute(text, "compute.yml", 7.0, flags=flags, overrides=sets)


def refused(text: str | None, flags: Any = None, sets: Any = ()) -> list[Any]:
    with pytest.raises(InvalidSpecError) as told:
        read(text, flags, sets)
    return list(told.value.diagnostics)


@pytest.mark.parametrize(("text", "flags"), [(TODAY, None), (OF_2021, None), (None, FLAGS)])
def test_every_way_of_writing_it_means_the_same(text: str | None, flags: Any) -> None:
    compute = read(text, flags).compute
    assert (compute.name, compute.type, compute.size, compute.tier) == (
        "cluster",
        "amlcompute",
        "Standard_DS2_v2",
        "low_priority",
    )
    assert (compute.min_instances, compute.max_instances, compute.idle_time_s) == (1, 3, 60.0)
    assert (compute.description, compute.tags) == ("the cheap one", {"team": "vision", "floor": "3"})
    assert compute.has_queue
    assert "$schema" not in compute.document


def test_flags_replace_the_file_and_set_replaces_both() -> None:
    flags = {"--max-instances": (("max_instances",), 5), "--size": (("size",), "local.1x2")}
    compute = read(TODAY, flags, ["max_instances=9", "tags.team=nlp"]).compute
    assert (compute.max_instances, compute.size, compute.tags["team"]) == (9, "local.1x2", "nlp")


def test_what_only_azure_knows_is_kept_and_named_and_a_password_is_not_kept() -> None:
    text = "name: c\ntype: amlcompute\nvnet_name: net\nsubnet: s\nadmin_username: me\nadmin_password: s3cret\n"
    written = read(text)
    assert written.compute.document["network_settings"] == {"vnet_name": "net", "subnet": "s"}
    assert written.compute.document["ssh_settings"] == {"admin_username": "me"}
    assert "s3cret" not in repr(written)
    assert any("network_settings, ssh_settings" in notice for notice in written.notices)
    assert any("password is not kept" in notice for notice in written.notices)


def test_a_guessed_size_and_gpus_that_are_not_handed_out_are_said() -> None:
    notices = read("name: c\ntype: amlcompute\nsize: Standard_NC12\n").notices
    assert any("GPU" in notice for notice in notices)
    notices = read("name: c\ntype: amlcompute\nsize: Standard_Q6_v9\n").notices
    assert any("6 cores" in notice for notice in notices)


def test_a_machine_by_ssh() -> None:
    text = """
name: box
type: virtualmachine
resource_id: box.example.org
ssh_settings: {admin_username: ann, ssh_port: 2222, ssh_private_key_file: ~/.ssh/id, admin_password: s3cret}
"""
    written = read(text)
    assert written.compute.ssh == SshHost("box.example.org", 2222, "ann", "~/.ssh/id")
    assert not written.compute.has_queue
    assert "s3cret" not in repr(written)
    azure = refused("name: box\ntype: virtualmachine\nresource_id: /subscriptions/s/virtualMachines/m\n")
    assert "address" in azure[0].message


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("name: c\ntype: amlcomput\n", 2, "amlcompute"),
        ("name: c\ntype: AksCompute\npriority: dedicated\n", 2, "not a type of compute"),
        ("type: amlcompute\n", 1, "name"),
        ("name: c\ntype: amlcompute\nsize: Standard_DS3v2\n", 3, "no size"),
        ("name: a b\ntype: amlcompute\n", 1, "cannot be the name"),
        ("name: local\ntype: amlcompute\n", 1, "this machine"),
        ("name: c\ntype: amlcompute\nmax_instances: 0\n", 3, "max_instances is 0"),
        ("name: c\ntype: amlcompute\nmin_instances: 5\n", 3, "min_instances is 5"),
        ("name: c\ntype: amlcompute\nmin_instances: -1\n", 3, "min_instances"),
        ("name: c\ntype: amlcompute\nidle_time_before_scale_down: -1\n", 3, "idle_time"),
        ("name: c\ntype: amlcompute\nmax_instance: 3\n", 3, "max_instance"),
        ("name: c\ntype: amlcompute\nmax_instances: many\n", 3, "whole number"),
    ],
)
def test_what_is_wrong_is_told_at_its_line(text: str, line: int, words: str) -> None:
    found = refused(text)[0]
    assert found.place.line == line
    assert words in f"{found.message} {found.hint}"


def test_a_flag_is_the_place_of_its_value() -> None:
    assert str(refused(None, {**FLAGS, "--size": (("size",), "big")})[0].place.file) == "--size"
    assert refused(TODAY, None, ["max_instances=0"])[0].place.file == "--set max_instances"


def test_a_job_is_no_compute() -> None:
    with pytest.raises(UnsupportedError, match="describes a job"):
        read("command: echo\nenvironment: current\n")


def test_a_change_goes_through_the_same_checks() -> None:
    compute = read(TODAY).compute
    changed = changed_compute(compute, {"--max-instances": (("max_instances",), 8)}, ["description=big"], ["tags.team"])
    assert (changed.compute.max_instances, changed.compute.description) == (8, "big")
    assert changed.compute.tags == {"floor": "3"}
    assert changed.compute.created_at == compute.created_at
    with pytest.raises(InvalidSpecError):
        changed_compute(compute, {"--min-instances": (("min_instances",), 4)})
    with pytest.raises(MlcliError, match="no such entry"):
        changed_compute(compute, {}, (), ["tags.nobody"])


@pytest.mark.skipif(not COMPUTES.is_dir(), reason="the corpus of real files is not here")
def test_the_files_of_the_corpus_are_computes() -> None:
    for file in sorted(COMPUTES.glob("*.yml")):
        text = file.read_text().replace("<ATTACHED_SPARK_POOL_NAME>", "pool")
        if file.name == "vm-attach.yml":
            text = text.replace("/subscriptions/<SUBSCRIPTION_ID>", "host")
        assert read_compute(text, file.name, 0.0).compute.name


KEYS = ["name", "type", "size", "tier", "min_instances", "max_instances", "tags", "ssh_settings", "identity", "x"]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 2000),
    st.sampled_from(["amlcompute", "ssh", "local", "Standard_D2_v3", "low_priority", "1", ""]),
    st.text(string.printable, max_size=8),
    st.dictionaries(st.sampled_from(["a", "host", "ssh_port", "admin_password"]), st.integers(0, 9), max_size=2),
)


@given(st.dictionaries(st.sampled_from(KEYS), VALUES))
def test_whatever_is_given_is_a_compute_or_told_why_not(entries: dict[str, Any]) -> None:
    flags = {f"--{key}": ((key,), value) for key, value in entries.items() if value is not None}
    try:
        written = read_compute(None, "compute", 0.0, flags=flags)
    except MlcliError:
        return
    assert written.compute.name
    assert "admin_password" not in str(written.compute.document)
