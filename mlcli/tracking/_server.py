"""An MLflow server, over its REST interface."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mlcli.domain.errors import TransportError
from mlcli.domain.logged import MLCLI_RUN
from mlcli.domain.metrics import Series, number
from mlcli.domain.redaction import masked
from mlcli.ports.tracking import RunFiles

if TYPE_CHECKING:
    import httpx

_PATIENCE_S = 10.0
_PAGE = 25_000
_HINT = "is the server there? what it was told stays with it; mlcli asks it each time"


class Server:
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
        """Close its connections."""
        self._client.close()

    def _given(self, name: str) -> str | None:
        return self._variables.get(name) or os.environ.get(name)

    def runs(self, run: RunFiles) -> Iterator[Mapping[str, Any]]:
        """The job's runs there, the latest first."""
        own = run.variables.get("MLFLOW_RUN_ID")
        if own:
            yield self.ask("GET", "runs/get", params={"run_id": own})["run"]
            return
        experiments = [
            experiment["experiment_id"]
            for page in self.pages("experiments/search", {"max_results": 1000})
            for experiment in page.get("experiments", ())
        ]
        quote = '"' if "'" in run.name else "'"
        asked = {
            "experiment_ids": experiments,
            "filter": f"tags.`{MLCLI_RUN}` = {quote}{run.name}{quote}",
            "max_results": 100,
        }
        for page in self.pages("runs/search", asked):
            yield from page.get("runs", ())

    def history(self, run_id: str, metric: str) -> Series:
        """Every point of a metric of a run there."""
        values, steps, times = array("d"), array("q"), array("q")
        asked = {"run_id": run_id, "metric_key": metric, "max_results": _PAGE}
        while True:
            page = self.ask("GET", "metrics/get-history", params=asked)
            for entry in page.get("metrics", ()):
                values.append(_value(entry["value"]))
                steps.append(int(entry.get("step", 0)))
                times.append(int(entry["timestamp"]))
            token = page.get("next_page_token")
            if not token:
                return Series(values, steps, times)
            asked["page_token"] = token

    def pages(self, call: str, asked: dict[str, Any]) -> Iterator[Mapping[str, Any]]:
        """The answers of a call that comes in pages."""
        while True:
            page = self.ask("POST", call, json=asked)
            yield page
            if not page.get("next_page_token"):
                return
            asked = {**asked, "page_token": page["next_page_token"]}

    def ask(self, method: str, call: str, **asked: Any) -> Any:
        """The answer of a call, as JSON."""
        return self._parsed(call, self.request(method, f"/api/2.0/mlflow/{call}", **asked))

    def request(self, method: str, path: str, **asked: Any) -> httpx.Response:
        """The answer to a request. Raises TransportError for every other than a success."""
        import httpx

        try:
            answer = self._client.request(method, path, **asked)
            answer.raise_for_status()
            return answer
        except httpx.HTTPStatusError as error:
            words = f"answered {path.rpartition('mlflow/')[2]} with {error.response.status_code}: {error.response.text[:200]}"
            raise TransportError(
                f"the MLflow server {masked(self._uri)} {words}", transient=False, hint=_HINT
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            what = f"the MLflow server {masked(self._uri)} does not answer: {error}"
            raise TransportError(what, transient=True, hint=_HINT) from None

    def _parsed(self, call: str, answer: httpx.Response) -> Any:
        try:
            return answer.json()
        except ValueError:
            what = f"the MLflow server {masked(self._uri)} does not answer {call} as one does"
            raise TransportError(what, transient=True, hint=_HINT) from None


def _value(value: Any) -> float:
    try:
        return number(value)
    except ValueError:
        return float(value)
