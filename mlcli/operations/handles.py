"""How a run's backend finds it again."""

from __future__ import annotations

from mlcli.domain.run import Run
from mlcli.operations import layout
from mlcli.ports.backends import RunHandle
from mlcli.ports.services import Services


def handle(services: Services, run: Run) -> RunHandle:
    """How the run's backend finds it."""
    submission = services.runs.document(run.name, layout.SUBMISSION_DOCUMENT) or {}
    near = services.runs.folder(run.name)
    folder = services.backend(run.backend).run_folder(run.name, near)
    return RunHandle(run.name, folder, submission.get("native_id"), str(near))
