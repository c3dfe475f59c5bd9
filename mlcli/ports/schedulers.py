"""Scheduler: the dialect of a batch system, as pure text: what to run, and how to read what it printed. No I/O."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from mlcli.domain.observation import Observation
from mlcli.domain.plan import Plan
from mlcli.ports.transports import Completed


class Scheduler(ABC):
    """Builds argv lists and reads answers. ``python`` and ``agent`` (its folder) are paths on the machine.

    A native id is what ``parse_submit`` answered; for the process scheduler it is the run folder itself.
    """

    name: str

    @abstractmethod
    def script(self, plan: Plan) -> str | None:
        """The batch script to be written into the run folder, or None where there is none."""

    @abstractmethod
    def submit_argv(self, run_folder: str, *, python: str, agent: str) -> list[str]:
        """The command that submits; it must be safe to run twice for one run folder."""

    @abstractmethod
    def parse_submit(self, answer: Completed) -> str:
        """The native id. Raises MlcliError with the system's own words when it was rejected."""

    @abstractmethod
    def query_argv(self, native_ids: Sequence[str], *, python: str, agent: str) -> list[str]:
        """One command that asks for all of them."""

    @abstractmethod
    def parse_query(self, native_ids: Sequence[str], answer: Completed) -> Mapping[str, Observation]:
        """An observation for every id; those the answer does not speak of are ABSENT, an unreadable answer NO_ANSWER."""

    @abstractmethod
    def cancel_argv(self, native_id: str, *, python: str, agent: str) -> list[str]:
        """The command that cancels; no error when the job is over already."""
