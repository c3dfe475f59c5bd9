"""What a job has logged to an MLflow server of its own (``MLFLOW_TRACKING_URI`` among its variables), over REST.

Its runs there are found by the tag ``mlcli.run``, which MLflow's clients set because mlcli puts it into
``MLFLOW_RUN_CONTEXT``; or by ``MLFLOW_RUN_ID`` where the job has one. Credentials are those of MLflow's clients
(``MLFLOW_TRACKING_TOKEN``, or ``MLFLOW_TRACKING_USERNAME`` and ``_PASSWORD``), the job's or this command's.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from mlcli.domain.errors import TransportError
from mlcli.domain.metrics import Series, Tracked, evenly, number, summarise
from mlcli.domain.redaction import masked
from mlcli.ports.tracking import RunFiles, Seen, TrackingReader

if TYPE_CHECKING:
    import httpx

URI = "MLFLOW_TRACKING_URI"
TAG = "mlcli.run"
_PATIENCE_S = 10.0
_PAGE = 25_000


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
        with closing(_Server(uri, run.variables)) as server:
            tracked = Tracked()
            for found in server.runs(run):
                tracked = tracked.and_also(_tracked(server, found))
        return Seen(tracked)

    def history(self, run: RunFiles, metric: str, known: int, most: int | None) -> Series:  # noqa: ARG002
        """From the first of the job's runs there that has it."""
        uri = run.variables.get(URI)
        if uri is None or not uri.startswith(("http://", "https://")):
            return Series()
        with closing(_Server(uri, run.variables)) as server:
            for found in server.runs(run):
                if any(entry["key"] == metric for entry in found["data"].get("metrics", ())):
                    points = server.history(found["info"]["run_id"], metric)
                    return points if most is None else points.at(evenly(len(points), most))
        return Series()


def _tracked(server: _Server, found: Mapping[str, Any]) -> Tracked:
    data = found["data"]
    names = [entry["key"] for entry in data.get("metrics", ())]
    histories = {name: server.history(found["info"]["run_id"], name) for name in names}
    return Tracked(
        {name: summarise(points) for name, points in histories.items() if len(points)},
        {entry["key"]: entry["value"] for entry in data.get("params", ())},
        {entry["key"]: entry["value"] for entry in data.get("tags", ())},
    )


class _Server:
    """An MLflow server's REST interface. Raises TransportError."""

    def __init__(self, uri: str, variables: Mapping[str, str]) -> None:
        self._uri = uri.rstrip("/")
        self._variables = variables
        import httpx

        token = self._given("MLFLOW_TRACKING_TOKEN")
        user, password = self._given("MLFLOW_TRACKING_USERNAME"), self._given("MLFLOW_TRACKING_PASSWORD")
        self._client: httpx.Client = httpx.Client(
            base_url=self._uri,
            timeout=_PATIENCE_S,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            auth=(user, password or "") if user else None,
            verify=self._given("MLFLOW_TRACKING_INSECURE_TLS") != "true",
            follow_redirects=True,
        )

    def close(self) -> None:
        self._client.close()

    def _given(self, name: str) -> str | None:
        return self._variables.get(name) or os.environ.get(name)

    def runs(self, run: RunFiles) -> Iterator[Mapping[str, Any]]:
        """The job's runs there, the latest first."""
        own = run.variables.get("MLFLOW_RUN_ID")
        if own:
            yield self._ask("GET", "runs/get", params={"run_id": own})["run"]
            return
        experiments = [
            experiment["experiment_id"]
            for page in self._pages("experiments/search", {"max_results": 1000})
            for experiment in page.get("experiments", ())
        ]
        quote = '"' if "'" in run.name else "'"
        asked = {"experiment_ids": experiments, "filter": f"tags.`{TAG}` = {quote}{run.name}{quote}", "max_results": 100}
        for page in self._pages("runs/search", asked):
            yield from page.get("runs", ())

    def history(self, run_id: str, metric: str) -> Series:
        """Every point of a metric of a run there."""
        values, steps, times = array("d"), array("q"), array("q")
        asked = {"run_id": run_id, "metric_key": metric, "max_results": _PAGE}
        while True:
            page = self._ask("GET", "metrics/get-history", params=asked)
            for entry in page.get("metrics", ()):
                values.append(_value(entry["value"]))
                steps.append(int(entry.get("step", 0)))
                times.append(int(entry["timestamp"]))
            token = page.get("next_page_token")
            if not token:
                return Series(values, steps, times)
            asked["page_token"] = token

    def _pages(self, call: str, asked: dict[str, Any]) -> Iterator[Mapping[str, Any]]:
        while True:
            page = self._ask("POST", call, json=asked)
            yield page
            if not page.get("next_page_token"):
                return
            asked = {**asked, "page_token": page["next_page_token"]}

    def _ask(self, method: str, call: str, **asked: Any) -> Any:
        import httpx

        hint = "is the server there? what it was told stays with it; mlcli asks it each time"
        try:
            answer = self._client.request(method, f"/api/2.0/mlflow/{call}", **asked)
            answer.raise_for_status()
            return answer.json()
        except httpx.HTTPStatusError as error:
            words = f"answered {call} with {error.response.status_code}: {error.response.text[:200]}"
            raise TransportError(f"the MLflow server {masked(self._uri)} {words}", transient=False, hint=hint) from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            what = f"the MLflow server {masked(self._uri)} does not answer: {error}"
            raise TransportError(what, transient=True, hint=hint) from None


def _value(value: Any) -> float:
    try:
        return number(value)
    except ValueError:
        return float(value)
