"""What a sweep does next, as a function: a simulated world answers it, and whatever that does, the sweep ends as it should."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcli.domain.state import Reason, State
from mlcli.domain.sweep import Goal, Objective, SweepLimits, Trial
from mlcli.domain.trials import ATTEMPTS, Ask, Attempt, End, Repeat, Situation, Stop, decide, run_name, unseen
from mlcli.operations.trials import Journal, load_attempts, replayed

OWN_ENDS = [
    Reason.COMPLETED,
    Reason.COMMAND_FAILED,
    Reason.CANCELED_BY_USER,
    Reason.EARLY_TERMINATION,
    Reason.TIME_LIMIT,
]
ENDS = [*OWN_ENDS, Reason.LOST, Reason.UNREACHABLE]


def attempt(number: int, reason: Reason = Reason.RUNNING, of: int = 0, message: str = "") -> Attempt:
    return Attempt(Trial(number, {"x": number}, (), reason.state), run_name("s", number, of), of, reason, message)


def situation(*attempts: Attempt, total: int = 4, concurrent: int | None = 2, **more) -> Situation:
    return Situation(attempts, SweepLimits(total, concurrent), **more)


def end_of(now: Situation) -> End:
    [end] = decide(now)
    assert isinstance(end, End)
    return end


def test_it_asks_for_as_many_as_may_run_at_once_and_no_more_than_there_are_to_be():
    assert decide(situation()) == [Ask(2)]
    assert decide(situation(attempt(0))) == [Ask(1)]
    assert decide(situation(attempt(0), attempt(1))) == []
    ended = [attempt(number, Reason.COMPLETED) for number in range(3)]
    assert decide(situation(*ended)) == [Ask(1)]
    assert decide(situation(*ended, attempt(3))) == []
    assert decide(situation(total=3, concurrent=None)) == [Ask(3)]


def test_it_ends_when_all_have_ended_and_says_how():
    ends = [Reason.COMPLETED, Reason.EARLY_TERMINATION, Reason.COMMAND_FAILED, Reason.COMPLETED]
    [end] = decide(situation(*(attempt(number, reason) for number, reason in enumerate(ends))))
    assert end == End(Reason.COMPLETED, "4 trials: 2 completed, 1 stopped early, 1 failed")


def test_what_its_machine_has_lost_is_begun_again_but_not_for_ever():
    assert decide(situation(attempt(0, Reason.LOST), attempt(1))) == [Repeat(0)]
    assert decide(situation(attempt(0, Reason.COMMAND_FAILED), attempt(1))) == [Ask(1)]
    tried = attempt(0, Reason.LOST, of=ATTEMPTS - 1, message="gone")
    assert decide(situation(tried, total=1)) == [
        End(Reason.TRIALS_FAILED, "every trial failed; the last one, s_0_2: gone")
    ]
    asked_to_stop = replace(attempt(0, Reason.LOST), stopping=True)
    assert end_of(situation(asked_to_stop, attempt(1, Reason.COMPLETED), total=2)).reason is Reason.COMPLETED


def test_too_many_failures_before_one_completed_end_it_with_the_last_error():
    failed = [attempt(number, Reason.COMMAND_FAILED, message=f"code {number}") for number in range(3)]
    assert decide(situation(*failed, total=9, failures=4)) == [Ask(2)]
    end = end_of(situation(*failed, total=9, failures=3))
    assert end.reason.state is State.FAILED
    assert "3 trials failed before any completed; the last one, s_2: code 2" in end.message
    assert decide(situation(*failed, attempt(3), total=9, failures=3)) == [
        Stop(3, Reason.SWEEP_ENDING, "the sweep gave up: too many trials failed")
    ]
    assert decide(situation(attempt(9, Reason.COMPLETED), *failed, total=9, failures=3)) == [Ask(2)]
    assert decide(situation(*failed, total=9, failures=0)) == [Ask(2)]


def test_a_cancelled_sweep_and_one_out_of_time_stop_what_runs_then_end():
    stopping = replace(attempt(0), stopping=True)
    for more, reason in (({"canceled": True}, Reason.CANCELED_BY_USER), ({"elapsed_s": 1e9}, Reason.TIME_LIMIT)):
        [stop] = decide(situation(attempt(0), attempt(1, Reason.COMPLETED), **more))
        assert isinstance(stop, Stop)
        assert (stop.number, stop.reason) == (0, Reason.SWEEP_ENDING)
        assert decide(situation(stopping, **more)) == []
        assert end_of(situation(attempt(0, Reason.CANCELED_BY_USER), **more)).reason is reason


def test_a_sampler_with_nothing_left_ends_it():
    assert end_of(situation(attempt(0, Reason.COMPLETED), total=9, exhausted=True)).reason is Reason.COMPLETED
    assert decide(situation(attempt(0), total=9, exhausted=True)) == []
    assert decide(situation(total=9, exhausted=True)) == [End(Reason.COMPLETED, "no trials")]


def repeated(before: Attempt) -> Attempt:
    """The next attempt; there must be a reason for it."""
    assert before.reason is Reason.SWEEP_ENDED or before.attempt + 1 < ATTEMPTS
    assert before.reason in {Reason.LOST, Reason.UNREACHABLE, Reason.SWEEP_ENDED}
    return attempt(before.trial.number, of=before.attempt + 1)


def check_end(end: End, attempts: list[Attempt], count: int) -> None:
    """Nothing runs; a sweep that has completed has tried ``count`` values, each to its own end."""
    assert not any(one.is_live for one in attempts)
    if end.reason is Reason.COMPLETED:
        assert len(attempts) == count
        assert not any(one.reason is Reason.SWEEP_ENDED for one in attempts)


@given(
    total=st.integers(1, 12),
    concurrent=st.one_of(st.none(), st.integers(1, 5)),
    stock=st.integers(0, 14),
    failures=st.integers(0, 5),
    cancel_at=st.one_of(st.none(), st.integers(0, 30)),
    data=st.data(),
)
def test_whatever_becomes_of_trials_it_ends_and_never_does_too_much(
    *, total, concurrent, stock, failures, cancel_at, data
):
    """``stock``: how many values the sampler has. It is paused now and then, and resumed when it was cancelled."""
    limits = SweepLimits(total, concurrent)
    known: dict[int, Attempt] = {}
    exhausted, step = False, 0
    while True:
        step += 1
        assert step < 500
        canceled = cancel_at is not None and step > cancel_at
        paused = not canceled and data.draw(st.booleans())
        now = Situation(list(known.values()), limits, 0.0, canceled, exhausted, failures, paused=paused)
        actions = decide(now)
        assert not (paused and any(isinstance(action, Ask | Repeat) for action in actions))
        for action in actions:
            if isinstance(action, Ask):
                assert not canceled
                for _ in range(action.count):
                    exhausted = len(known) >= stock
                    if not exhausted:
                        known[len(known)] = attempt(len(known))
            elif isinstance(action, Repeat):
                known[action.number] = repeated(known[action.number])
            elif isinstance(action, Stop):
                assert not known[action.number].stopping
                known[action.number] = replace(known[action.number], stopping=True)
            else:
                assert len(actions) == 1
                check_end(action, list(known.values()), min(total, stock))
                if action.reason is not Reason.CANCELED_BY_USER:
                    return
                cancel_at = None
        live = [one for one in known.values() if one.is_live]
        assert len(live) <= limits.concurrency
        assert len(known) <= total
        if not actions and (live or not paused):
            assert live, "it waits for nothing"
            ending = data.draw(st.sampled_from(live))
            reason = data.draw(st.sampled_from([Reason.SWEEP_ENDED] if ending.stopping else ENDS))
            number = ending.trial.number
            known[number] = replace(ending, trial=replace(ending.trial, state=reason.state), reason=reason)


def test_a_metric_that_nobody_logs_is_told_with_the_names_that_were_logged():
    objective = Objective("accuracy", Goal.MAXIMIZE)
    silent = attempt(0, Reason.COMPLETED)
    assert unseen([silent], objective) == "no trial logged 'accuracy', the primary metric; they logged no metrics"
    other = replace(silent, names=frozenset({"acc", "loss"}))
    assert "they logged: acc, loss" in (unseen([other], objective) or "")
    for metric, said in (
        (0.5, None),
        (float("nan"), "no trial logged a finite number as 'accuracy', the primary metric"),
    ):
        trial = replace(silent.trial, metrics=(metric,))
        assert unseen([other, replace(silent, trial=trial, names=frozenset({"accuracy"}))], objective) == said
    assert unseen([attempt(0, Reason.COMMAND_FAILED)], objective) is None


# The journal


@given(st.lists(st.one_of(st.floats(), st.integers(-5, 5).map(float)), max_size=4), st.data())
def test_the_journal_says_what_was_written_wherever_it_is_cut(tmp_path_factory, metrics, data):
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder)
    journal.asked([Attempt(Trial(number, {"x": number / 3}), f"s_{number}") for number in range(2)], 1.0)
    trial = Trial(0, {"x": 0.0}, tuple(metrics), State.COMPLETED)
    journal.ended(Attempt(trial, "s_0", 0, Reason.COMPLETED, "", names=frozenset({"m"})))
    written = (folder / "trials.jsonl").read_bytes()
    known = replayed(written)
    assert repr(known[0].trial) == repr(trial)
    assert known == replayed(b"\n" + written)
    assert known[1].is_live
    cut = data.draw(st.integers(0, len(written)))
    (folder / "trials.jsonl").write_bytes(written[:cut])
    whole = replayed(written[: written.rfind(b"\n", 0, cut) + 1])
    again = Journal(folder)
    assert set(again.attempts) >= set(whole)
    again.asked([Attempt(Trial(7, {"x": 1}), "s_7")], 2.0)
    assert replayed((folder / "trials.jsonl").read_bytes())[7].run == "s_7"


def test_what_is_no_line_of_a_journal_says_nothing():
    asked = {"event": "asked", "number": 0, "attempt": 0, "run": "s_0", "values": {}, "time": 0}
    for line in ("", "{", "[]", "null", json.dumps({**asked, "number": "x"}), '{"event": "asked"}', "\udcff"):
        assert replayed(line.encode(errors="surrogateescape")) == {}
    late = {
        "event": "ended",
        "number": 0,
        "attempt": 0,
        "reason": "completed",
        "message": "",
        "metrics": [],
        "names": [],
    }
    again = {**asked, "attempt": 1, "run": "s_0_1"}
    text = "\n".join(map(json.dumps, (asked, again, late)))
    assert replayed(text.encode())[0].is_live


def test_a_sweep_that_has_not_begun_has_no_trials(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLCLI_HOME", str(tmp_path))
    from mlcli.workspace import open_workspace

    assert load_attempts(open_workspace().runs, "s") == []
