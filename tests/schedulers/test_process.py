"""The process scheduler: command lines and answers, as text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcli.domain.errors import MlcliError, TransportError
from mlcli.domain.observation import Sight
from mlcli.domain.run import ExitRecord
from mlcli.ports.transports import Completed
from mlcli.schedulers.process import ProcessScheduler
from mlcli.testing.backend import planned

PYTHON, AGENT = "/usr/bin/python3", "/opt/it's mlcli"
RECORD = {"cause": "exit", "code": 3, "signal": None, "started_at": 1.5, "ended_at": 2.5, "message": ""}


@pytest.fixture
def scheduler() -> ProcessScheduler:
    return ProcessScheduler()


def lines(*values: object) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def test_command_lines(scheduler: ProcessScheduler) -> None:
    code = 'import sys; sys.path.append("/opt/it\'s mlcli"); import agent; agent.main()'
    before = [PYTHON, "-I", "-S", "-c", code]
    assert scheduler.submit_argv("/runs/a b", python=PYTHON, agent=AGENT) == [*before, "start", "/runs/a b"]
    assert scheduler.query_argv(["/r/1", "/r/2"], python=PYTHON, agent=AGENT) == [*before, "observe", "/r/1", "/r/2"]
    assert scheduler.cancel_argv("/r/1", python=PYTHON, agent=AGENT) == [*before, "cancel", "/r/1"]


def test_there_is_no_script(scheduler: ProcessScheduler) -> None:
    assert scheduler.script(planned("/r/1", "true")) is None


def test_a_start_is_answered_by_the_run_folder(scheduler: ProcessScheduler) -> None:
    answer = Completed(0, b"Welcome to node7\n{}\n" + lines({"run_folder": "/r/1", "agent": {"pid": 7}}), b"")
    assert scheduler.parse_submit(answer) == "/r/1"


def test_a_refusal_is_told_in_the_agents_words(scheduler: ProcessScheduler) -> None:
    answer = Completed(1, lines({"run_folder": "/r/1", "error": "No space left on device: /r/1/x"}), b"No space left\n")
    with pytest.raises(MlcliError, match="No space left on device: /r/1/x") as error:
        scheduler.parse_submit(answer)
    assert not isinstance(error.value, TransportError)


def test_an_agent_that_could_not_run_started_nothing(scheduler: ProcessScheduler) -> None:
    with pytest.raises(MlcliError, match="No module named 'agent'") as error:
        scheduler.parse_submit(Completed(1, b"", b"Traceback\nModuleNotFoundError: No module named 'agent'\n"))
    assert not isinstance(error.value, TransportError)


@pytest.mark.parametrize("code", [-9, 137, 255, 0])
def test_a_starter_that_died_may_have_started_it(scheduler: ProcessScheduler, code: int) -> None:
    """By a signal here (-9), there (137) or with the connection (255): to be observed, not to be taken for a no."""
    with pytest.raises(TransportError) as error:
        scheduler.parse_submit(Completed(code, b"", b""))
    assert error.value.transient


def test_every_sight_is_understood(scheduler: ProcessScheduler) -> None:
    told = [{"run_folder": f"/r/{sight.value}", "sight": sight.value} for sight in Sight]
    ids = [f"/r/{sight.value}" for sight in Sight]
    seen = scheduler.parse_query(ids, Completed(0, lines(*told), b""))
    assert {native_id: observation.sight for native_id, observation in seen.items()} == dict(
        zip(ids, Sight, strict=True)
    )


def test_an_end_carries_its_record(scheduler: ProcessScheduler) -> None:
    told = {"run_folder": "/r/1", "sight": "exited", "exit": {**RECORD, "of_a_newer_agent": 1}}
    seen = scheduler.parse_query(["/r/1"], Completed(0, lines(told), b""))["/r/1"]
    assert seen.sight is Sight.EXITED
    assert seen.exit == ExitRecord("exit", 3, None, 1.5, 2.5)


def test_who_is_not_spoken_of_is_absent(scheduler: ProcessScheduler) -> None:
    answer = Completed(0, lines({"run_folder": "/r/1", "sight": "running", "started_at": 5.0}), b"")
    seen = scheduler.parse_query(["/r/1", "/r/2"], answer)
    assert (seen["/r/1"].sight, seen["/r/1"].started_at, seen["/r/2"].sight) == (Sight.RUNNING, 5.0, Sight.ABSENT)


@pytest.mark.parametrize(
    "answer",
    [
        Completed(127, b"", b"sh: python3: not found\n"),
        Completed(0, b"", b""),
        Completed(0, b'{"run_folder": "/r/1"}\n', b""),
        Completed(0, b'{"run_folder": "/r/1", "sight": "exited", "exit": {}}\n', b""),
        Completed(-9, lines({"run_folder": "/r/2", "sight": "running"}), b""),
    ],
)
def test_an_unreadable_answer_is_none(scheduler: ProcessScheduler, answer: Completed) -> None:
    seen = scheduler.parse_query(["/r/1"], answer)["/r/1"]
    assert seen.sight is Sight.NO_ANSWER
    assert seen.evidence


@given(st.integers(-20, 255), st.binary(), st.binary())
def test_any_answer_is_an_observation(code: int, stdout: bytes, stderr: bytes) -> None:
    """Whatever a machine prints, nobody is told as ended by it."""
    seen = ProcessScheduler().parse_query(["/r/1"], Completed(code, stdout, stderr))
    assert set(seen) == {"/r/1"}
    assert seen["/r/1"].sight in {Sight.NO_ANSWER, Sight.ABSENT}
