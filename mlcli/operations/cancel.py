"""Cancel: ask for a run's end, wherever in its life it is."""

from __future__ import annotations

import os
import signal
import time

from mlcli import agent
from mlcli.domain.run import Event, Run
from mlcli.domain.state import Reason, State
from mlcli.operations import layout, observe
from mlcli.ports.services import Services

_SUPERVISOR_GRACE_S = 5.0


def cancel(
    services: Services,
    name: str,
    reason: Reason = Reason.CANCEL_REQUESTED,
    message: str = "asked for by a person",
) -> Run:
    """Ask for the end and answer the run as it is then: CancelRequested while its processes are ending, or its end. A sweep's
    supervisor ends its trials, then the sweep.

    A run that has ended already is left as it is. Raises NotFoundError.
    """
    run = observe.get(services, name)
    if run.state.is_end:
        return run
    services.runs.append(name, Event(reason, time.time(), message))
    if run.job_type == observe.SWEEP:
        if run.state in {
            *observe.UNSUBMITTED,
            State.PAUSED,
        }:  # it may be building; what else there is to do another does
            stop_supervisor(services, name)
        return observe.get(services, name)
    try:
        services.backend(run.backend).cancel(observe.handle(services, run))
    finally:  # a machine that does not answer has no say about a process of this one
        if services.runs.document(name, layout.SUBMISSION_DOCUMENT) is None:
            stop_supervisor(services, name)
    return observe.get(services, name)


def stop_supervisor(services: Services, name: str) -> None:
    """End the supervisor's process group (its builds and downloads with it), if it is still preparing the run, or waiting for
    its turn.
    """
    identity = services.runs.document(name, layout.SUPERVISOR_DOCUMENT)
    if identity is None or not agent.is_alive(identity):
        return
    try:
        os.killpg(identity["pid"], signal.SIGTERM)
    except ProcessLookupError:
        return
    deadline = time.monotonic() + _SUPERVISOR_GRACE_S
    while agent.is_alive(identity) and time.monotonic() < deadline:
        time.sleep(0.02)
    if agent.is_alive(identity):
        os.killpg(identity["pid"], signal.SIGKILL)
