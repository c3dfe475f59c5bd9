"""What a job has logged: its experiments, its run and the runs below it, its models. All of it lies in the run folder."""

from __future__ import annotations

import os
from typing import Any, Iterable
from urllib.parse import quote

from . import run as runs
from .errors import EXISTS, RefusedError, invalid, missing
from .lines import record, replace
from .run import ACTIVE, DELETED, Run, now_ms

OWN_EXPERIMENT = "0"
_EXPERIMENTS, _CHILDREN, _MODELS = "experiments.json", "children", "models"
MODEL_STATUSES = {
    1: "LOGGED_MODEL_PENDING",
    2: "LOGGED_MODEL_READY",
    3: "LOGGED_MODEL_UPLOAD_FAILED",
}


class Store:
    """The records of the run folder ``folder``; only one process at a time may have one.

    ``facts``: ``run_id``, ``run_name``, ``experiment``, ``user``, ``started_at_ms``, ``working_directory``.
    """

    def __init__(self, folder: str, facts: dict[str, Any]) -> None:
        self.folder = folder
        self.user = str(facts["user"])
        self._working_directory = str(facts["working_directory"])
        self.experiments = self._load_experiments(facts)
        self.main = self._load_main(facts)
        self.runs = {self.main.id: self.main, **self._load_children()}
        self.models = self._load_models()

    # Experiments

    def experiment(self, experiment_id: str) -> dict[str, Any]:
        """Raises RefusedError when there is none."""
        found = self.experiments.get(experiment_id)
        if found is None:
            raise missing(f"No Experiment with id={experiment_id} exists")
        return found

    def active_experiment(self, experiment_id: str) -> dict[str, Any]:
        """One that was not deleted."""
        found = self.experiment(experiment_id)
        if found["lifecycle_stage"] != ACTIVE:
            raise invalid(f"The experiment {experiment_id} must be in the 'active' state. Current state is deleted.")
        return found

    def experiment_named(self, name: str) -> dict[str, Any] | None:
        """Whatever its stage."""
        return next((one for one in self.experiments.values() if one["name"] == name), None)

    def create_experiment(self, name: str, location: str | None, tags: dict[str, str]) -> str:
        """Its id."""
        before = self.experiment_named(name)
        if before is not None:
            is_deleted = before["lifecycle_stage"] == DELETED
            more = " in deleted state; restore it, or take another name" if is_deleted else ""
            raise RefusedError(EXISTS, f"Experiment(name={name}) already exists{more}.")
        new = str(max(int(number) for number in self.experiments) + 1)
        self._save_experiment(_experiment(new, name, self._location(location), tags))
        return new

    def change_experiment(self, experiment_id: str, **changes: Any) -> None:
        """Change one that is there."""
        self._save_experiment({**self.experiment(experiment_id), "last_update_time": now_ms(), **changes})

    def enter(self, experiment_id: str) -> None:
        """The job's own run belongs to the experiment that its script has chosen, until it has begun to log: MLflow's
        clients refuse to go on with a run of another one.
        """
        main = self.main
        if not (main.metrics or main.params or main.info["status"]) and main.info["experiment_id"] != experiment_id:
            main.save(experiment_id=experiment_id, experiment=self.experiments[experiment_id]["name"])

    # Runs

    def run(self, run_id: str) -> Run:
        """Raises RefusedError when there is none."""
        found = self.runs.get(run_id)
        if found is None:
            raise missing(f"Run with id={run_id} not found")
        return found

    def active_run(self, run_id: str) -> Run:
        """One that may be changed."""
        found = self.run(run_id)
        found.check_active()
        return found

    def create_run(self, experiment_id: str, name: str, user: str, start_ms: int, tags: dict[str, str]) -> Run:
        """A run below the job's own."""
        experiment = self.active_experiment(experiment_id)
        run_id = os.urandom(16).hex()
        parent = tags.get("mlflow.parentRunId")
        info = _run_info(run_id, name, parent, runs.RUNNING, user, start_ms, experiment)
        folder = os.path.join(self.folder, _CHILDREN, run_id)
        os.makedirs(folder)
        new = Run(folder, runs.CHILD, info)
        new.save()
        new.set_tags({**tags, "mlflow.runName": name})
        self.runs[run_id] = new
        return new

    def artifact_uri(self, run: Run) -> str:
        """Where clients write artifacts: the folder itself, or below the place that was given for the experiment."""
        location = self.experiment(run.info["experiment_id"])["artifact_location"]
        if location is None or run is self.main:
            return file_uri(run.artifacts)
        return f"{location}/{run.id}/artifacts"

    # Models

    def model(self, model_id: str, *, is_deleted_wanted: bool = False) -> dict[str, Any]:
        """Raises RefusedError when there is none."""
        found = self.models.get(model_id)
        if found is None or (found["lifecycle_stage"] == DELETED and not is_deleted_wanted):
            raise missing(f"Logged model with ID '{model_id}' not found.")
        return found

    def save_model(self, model: dict[str, Any]) -> None:
        """Write its record."""
        folder = os.path.join(self.folder, _MODELS, model["model_id"])
        os.makedirs(folder, exist_ok=True)
        replace(os.path.join(folder, "model.json"), model)
        self.models[model["model_id"]] = model

    def model_artifacts(self, model: dict[str, Any]) -> str:
        """The folder of its artifacts."""
        return os.path.join(self.folder, _MODELS, model["model_id"], "artifacts")

    def model_metrics(self, model_id: str) -> list[dict[str, Any]]:
        """The newest points of each name and dataset, whichever run logged them."""
        return [
            point for run in self.runs.values() for which, point in run.model_points.items() if which[0] == model_id
        ]

    def write_summaries(self) -> None:
        """Those that are out of date."""
        for run in self.runs.values():
            run.write_summary()

    # Files

    def _location(self, given: str | None) -> str | None:
        if not given:
            return None
        return given.rstrip("/") if ":" in given else os.path.join(self._working_directory, given)

    def _save_experiment(self, experiment: dict[str, Any]) -> None:
        changed = {**self.experiments, experiment["experiment_id"]: experiment}
        replace(os.path.join(self.folder, _EXPERIMENTS), list(changed.values()))
        self.experiments = changed

    def _load_experiments(self, facts: dict[str, Any]) -> dict[str, dict[str, Any]]:
        known = record(os.path.join(self.folder, _EXPERIMENTS))
        if isinstance(known, list):
            return {one["experiment_id"]: one for one in known}
        own = _experiment(OWN_EXPERIMENT, facts["experiment"], None, {})
        return {OWN_EXPERIMENT: {**own, "creation_time": facts["started_at_ms"]}}

    def _load_main(self, facts: dict[str, Any]) -> Run:
        own = self.experiments[OWN_EXPERIMENT]
        info = _run_info(facts["run_id"], facts["run_name"], None, None, self.user, facts["started_at_ms"], own)
        main = Run(self.folder, runs.MAIN, runs.load(self.folder, runs.MAIN) or info)
        tags = {"mlflow.runName": main.info["run_name"], "mlflow.user": self.user, "mlflow.source.type": "JOB"}
        main.tags = {**tags, **main.tags}
        return main

    def _load_children(self) -> dict[str, Run]:
        found = {}
        for folder in _folders(os.path.join(self.folder, _CHILDREN)):
            info = runs.load(folder, runs.CHILD)
            if info is not None:  # else it was killed before anybody was told of it
                found[info["run_id"]] = Run(folder, runs.CHILD, info)
        return found

    def _load_models(self) -> dict[str, dict[str, Any]]:
        records = (
            record(os.path.join(folder, "model.json")) for folder in _folders(os.path.join(self.folder, _MODELS))
        )
        return {one["model_id"]: one for one in records if one is not None}


def file_uri(path: str) -> str:
    """``file:///...``."""
    return "file://" + quote(path)


def _folders(parent: str) -> Iterable[str]:
    try:
        return sorted(entry.path for entry in os.scandir(parent) if entry.is_dir())
    except FileNotFoundError:
        return []


def _experiment(experiment_id: str, name: str, location: str | None, tags: dict[str, str]) -> dict[str, Any]:
    now = now_ms()
    return {
        "experiment_id": experiment_id,
        "name": name,
        "artifact_location": location,
        "lifecycle_stage": ACTIVE,
        "creation_time": now,
        "last_update_time": now,
        "tags": tags,
    }


def _run_info(  # noqa: PLR0917
    run_id: str,
    name: str,
    parent: str | None,
    status: str | None,
    user: str,
    start_ms: int,
    experiment: dict[str, Any],
) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "run_name": name,
        "parent": parent,
        "status": status,
        "user": user,
        "start_time_ms": start_ms,
        "end_time_ms": None,
        "experiment": experiment["name"],
        "experiment_id": experiment["experiment_id"],
        "lifecycle_stage": ACTIVE,
    }
