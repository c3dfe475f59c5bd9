"""Watching the live trials of a sweep: which of them may have ended, and what they have logged."""

from __future__ import annotations

import functools
import os
import select
import time
from collections.abc import Mapping
from typing import Any

from mlcli import agent
from mlcli.domain.run import Run
from mlcli.operations import layout
from mlcli.operations.findings import READERS, reader
from mlcli.operations.run_files import RunFilesOf
from mlcli.ports.backends import Submission
from mlcli.ports.services import Services
from mlcli.ports.transports import Later

_POLL_S = 0.05
_LOOK_AT_ALL_S = 1.0
_READ_S = 0.05
_READ_FAR_S = 1.0


class Watch:
    """Live runs, and what tells of their ends: the end of an agent of this machine at once, an exit record of one in a container
    within 50 ms. Each is looked at every second all the same.
    """

    def __init__(self, services: Services, *, is_far: bool) -> None:
        self._services = services
        self._agents: dict[str, int] = {}
        self._others: dict[str, str] = {}
        self._starting: dict[str, Later[Submission]] = {}
        self._answers: set[int] = set()
        self._carried_at: dict[str, float] = {}
        self._poll = select.poll()
        self._all_at = time.monotonic()
        self._read_at = 0.0
        self._read_every_s = _READ_FAR_S if is_far else _READ_S

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to watch."""
        return not self._agents and not self._others and not self._starting

    def starting(self, run: str, answer: Later[Submission]) -> None:
        """Its agent is about to begin; ``started`` tells when it has."""
        self._starting[run] = answer
        self._answers.add(answer.file)
        self._poll.register(answer.file, select.POLLIN)

    def started(self) -> list[tuple[str, Submission]]:
        """Those whose start has been answered by now, and how; they are watched from now on."""
        there = [run for run, answer in self._starting.items() if answer.is_there()]
        told = [(run, self._starting.pop(run).get()) for run in there]
        for file in self._answers - {answer.file for answer in self._starting.values()}:
            self._answers.discard(file)
            self._poll.unregister(file)
        for run in there:
            self.add(run)
        return told

    def add(self, run: str) -> None:
        """Watch it from now on."""
        self._carried_at[run] = time.monotonic()
        descriptor = self._agent_of(run)
        if descriptor is None:
            self._others[run] = str(self._services.runs.folder(run) / layout.EXIT_RECORD)
        else:
            self._others.pop(run, None)
            self._agents[run] = descriptor
            self._poll.register(descriptor, select.POLLIN)

    def _agent_of(self, run: str) -> int | None:
        """A handle on the process of its agent; None where there is none (yet), or it is not of this machine."""
        who: Mapping[str, Any] | None = self._services.runs.document(run, agent.AGENT)
        if who is None or not hasattr(os, "pidfd_open") or who.get("boot_id") != agent.boot_id():
            return None
        try:
            descriptor = os.pidfd_open(who["pid"])
        except OSError:
            return None
        if agent.is_alive(dict(who)):
            return descriptor
        os.close(descriptor)
        return None

    def forget(self, run: str) -> None:
        """It has ended."""
        self._others.pop(run, None)
        self._starting.pop(run, None)
        self._carried_at.pop(run, None)
        descriptor = self._agents.pop(run, None)
        if descriptor is not None:
            self._poll.unregister(descriptor)
            os.close(descriptor)

    def due(self) -> list[str]:
        """Those that may have ended, or have not been looked at for a while."""
        if time.monotonic() - self._all_at >= _LOOK_AT_ALL_S:
            self._all_at = time.monotonic()
            for run in [*self._others]:
                self.add(run)  # its agent may be there now
            return [*self._agents, *self._others]
        return self._over()

    def wait(self, patience_s: float) -> None:
        """Until one may have begun or ended, but not for longer than that."""
        deadline = time.monotonic() + patience_s
        while True:
            left = deadline - time.monotonic()
            if self._poll.poll(max(0.0, min(left, _POLL_S if self._others else left)) * 1000):
                return
            if left <= 0 or self._ended_others():
                return

    def _over(self) -> list[str]:
        ready = {descriptor for descriptor, _ in self._poll.poll(0)}
        return [run for run, descriptor in self._agents.items() if descriptor in ready] + self._ended_others()

    def _ended_others(self) -> list[str]:
        return [run for run, record in self._others.items() if os.path.exists(record)]  # noqa: PTH110

    def is_time_to_carry(self, run: str, every_s: float) -> bool:
        """Whether it has not been carried for a while."""
        if time.monotonic() - self._carried_at.get(run, 0.0) < every_s:
            return False
        self._carried_at[run] = time.monotonic()
        return True

    def is_time_to_read(self) -> bool:
        """Whether what live trials have logged was not read for a while."""
        if time.monotonic() - self._read_at < self._read_every_s:
            return False
        self._read_at = time.monotonic()
        return True

    def close(self) -> None:
        """Let go of all of them."""
        for run in [*self._agents, *self._others, *self._starting]:
            self.forget(run)


_reader = functools.cache(reader)


class Logged:
    """What one trial has logged of a metric, in the order in which it did; ``names``: everything that it has logged."""

    def __init__(self, metric: str) -> None:
        self._metric = metric
        self._since: dict[str, Any] = {}
        self._source: str | None = None
        self.values: list[float] = []
        self.names: set[str] = set()

    def read_on(self, services: Services, run: Run) -> bool:
        """Read what is new; whether there was any. Raises TransportError."""
        files = RunFilesOf(services, run)
        changed = False
        for name in READERS:
            fresh, self._since[name] = _reader(name).news(files, self._since.get(name))
            for metric, points in fresh.items():
                changed = True
                self.names.add(metric)
                if metric == self._metric and self._source in {None, name}:
                    self._source = name
                    self.values += points.values
        return changed
