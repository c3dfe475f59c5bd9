"""A run whose folder was damaged ends all the same, and says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlcli.domain.errors import StoreError
from mlcli.domain.run import Run
from mlcli.domain.state import State
from mlcli.operations import layout
from mlcli.operations.carry import carry, load_plan
from mlcli.workspace import Workspace, open_workspace


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("MLCLI_HOME", str(tmp_path / "home"))
    return open_workspace()


@pytest.mark.parametrize("document", [None, {}, {"plan": {}}, {"plan": None}, [], "x"])
def test_a_run_whose_plan_is_gone_fails_instead_of_waiting_for_ever(workspace: Workspace, document: object) -> None:
    documents = {} if document is None else {layout.PLAN_DOCUMENT: document}
    workspace.runs.create(Run("one", "tests", "local", "local", 1_700_000_000.0), documents)
    with pytest.raises(StoreError, match="gone or damaged"):
        load_plan(workspace.runs, "one")
    carry(workspace, "one")
    run = workspace.runs.get("one")
    assert run.state is State.FAILED
    assert "plan.json is gone or damaged" in run.message
