"""What a job has logged to an MLflow server of its own (``MLFLOW_TRACKING_URI`` among its variables), over REST.

Its runs there are found by the tag ``mlcli.run``, which MLflow's clients set because mlcli puts it into
``MLFLOW_RUN_CONTEXT``; or by ``MLFLOW_RUN_ID`` where the job has one. Credentials are those of MLflow's clients
(``MLFLOW_TRACKING_TOKEN``, or ``MLFLOW_TRACKING_USERNAME`` and ``_PASSWORD``), the job's or this command's.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from mlcli.domain.metrics import Series, Tracked, evenly, summarise
from mlcli.domain.redaction import masked
from mlcli.ports.tracking import RunFiles, Seen, TrackingReader
from mlcli.tracking._server import Server

URI = "MLFLOW_TRACKING_URI"


class MlflowReader(TrackingReader):
    """Asks the server each time; of a run that has ended, what it said is kept."""

    name = "mlflow"

    def read(self, run: RunFiles, before: Mapping[str, Any] | None) -> Seen:  # noqa: ARG002
        """The latest of the job's runs there wins where two have the same name."""
        uri = run.variables.get(URI)
        if uri is None:
            return Seen()
        if not uri.startswith(("http://", "https://")):
            notice = f"the job logs to {masked(uri)}, which mlcli does not read: it reads MLflow servers (http, https)"
            return Seen(Tracked(notices=(notice,)))
        with closing(Server(uri, run.variables)) as server:
            tracked = Tracked()
            for found in server.runs(run):
                tracked = tracked.and_also(_tracked(server, found))
        return Seen(tracked)

    def history(self, run: RunFiles, metric: str, known: int, most: int | None) -> Series:  # noqa: ARG002
        """From the first of the job's runs there that has it."""
        uri = run.variables.get(URI)
        if uri is None or not uri.startswith(("http://", "https://")):
            return Series()
        with closing(Server(uri, run.variables)) as server:
            for found in server.runs(run):
                if any(entry["key"] == metric for entry in found["data"].get("metrics", ())):
                    points = server.history(found["info"]["run_id"], metric)
                    return points if most is None else points.at(evenly(len(points), most))
        return Series()


def _tracked(server: Server, found: Mapping[str, Any]) -> Tracked:
    data = found["data"]
    names = [entry["key"] for entry in data.get("metrics", ())]
    histories = {name: server.history(found["info"]["run_id"], name) for name in names}
    return Tracked(
        {name: summarise(points) for name, points in histories.items() if len(points)},
        {entry["key"]: entry["value"] for entry in data.get("params", ())},
        {entry["key"]: entry["value"] for entry in data.get("tags", ())},
    )
