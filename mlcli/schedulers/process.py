"""No batch system at all: the agent is started, asked and told directly. A native id is the run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlcli import agent as agent_module
from mlcli.domain.errors import MlcliError, TransportError
from mlcli.domain.observation import Observation, Sight, told_by_agent
from mlcli.domain.plan import Plan
from mlcli.ports.schedulers import Scheduler
from mlcli.ports.transports import Completed

_NOT_RUN = range(1, 128)  # exit codes of a Python that could not begin; by a signal: below 0, or 128 and more


class ProcessScheduler(Scheduler):
    """The agent's own command lines (``mlcli/agent.py``) and what they print."""

    name = "process"

    def script(self, plan: Plan) -> str | None:
        """None: the agent reads its launch file."""
        del plan
        return None

    def submit_argv(self, run_folder: str, *, python: str, agent: str) -> list[str]:
        """``start``: idempotent on the run folder."""
        return agent_module.invocation(python, agent, "start", run_folder)

    def parse_submit(self, answer: Completed) -> str:
        """The run folder. Raises MlcliError with the agent's own words, a transient TransportError when the starter died
        without a word: the job may have been started all the same.
        """
        for told in _answers(answer):
            if "error" in told:
                raise MlcliError(f"the job could not be started: {told['error']}")
            if "run_folder" in told:
                return str(told["run_folder"])
        if answer.code in _NOT_RUN:
            raise MlcliError(f"the job could not be started: {_words(answer)}")
        raise TransportError(f"no answer from the job's start: {_words(answer)}", transient=True)

    def query_argv(self, native_ids: Sequence[str], *, python: str, agent: str) -> list[str]:
        """``observe`` of all of them."""
        return agent_module.invocation(python, agent, "observe", *native_ids)

    def parse_query(self, native_ids: Sequence[str], answer: Completed) -> Mapping[str, Observation]:
        """One line of JSON for each."""
        seen = {}
        for told in _answers(answer):
            try:
                seen[str(told["run_folder"])] = told_by_agent(told)
            except (KeyError, TypeError, ValueError):
                continue
        missing = Observation(Sight.ABSENT, evidence="the agent did not speak of it")
        if answer.code != 0 or not seen:
            missing = Observation(Sight.NO_ANSWER, evidence=_words(answer))
        return {native_id: seen.get(native_id, missing) for native_id in native_ids}

    def cancel_argv(self, native_id: str, *, python: str, agent: str) -> list[str]:
        """``cancel``: no error when the run is over or has not begun."""
        return agent_module.invocation(python, agent, "cancel", native_id)


def _answers(answer: Completed) -> list[dict[str, object]]:
    """Every line that is a JSON object; others (a login message) are passed over."""
    found = []
    for line in answer.stdout.splitlines():
        try:
            value = agent_module.decode(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def _words(answer: Completed) -> str:
    """What went wrong, as it was told: the last line of standard error, else of standard output, else the exit code."""
    for stream in (answer.stderr, answer.stdout):
        lines = stream.decode("utf-8", "replace").strip().splitlines()
        if lines:
            return lines[-1][:500]
    return f"the agent ended with code {answer.code} and said nothing"
