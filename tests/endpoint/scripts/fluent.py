"""A training script that logs as most do. Runs inside a job."""

import math
import os

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

main = os.environ["MLFLOW_RUN_ID"]
mlflow.log_param("lr", 0.1)
mlflow.log_params({"depth": 3, "kind": "gbdt"})
for step in range(5):
    mlflow.log_metric("loss", 1 / (step + 1), step=step)
mlflow.log_metrics({"acc": 0.5, "val/f1": float("nan"), "größe": float("inf")}, step=2)
mlflow.set_tag("team", "blue")
mlflow.set_tags({"a": "1", "b": ""})
mlflow.delete_tag("a")
mlflow.log_text("hello", "notes/hello.txt")
mlflow.log_dict({"a": [1, 2]}, "d.json")

run = mlflow.active_run()
assert run.info.run_id == main
client = MlflowClient()
data = client.get_run(main).data
assert data.params == {"lr": "0.1", "depth": "3", "kind": "gbdt"}
assert (data.metrics["loss"], data.metrics["acc"], data.metrics["größe"]) == (0.2, 0.5, math.inf)
assert math.isnan(data.metrics["val/f1"])
assert (data.tags["team"], data.tags["b"], "a" in data.tags) == ("blue", "", False)
assert [(point.step, point.value) for point in client.get_metric_history(main, "loss")][:2] == [(0, 1.0), (1, 0.5)]
assert sorted(file.path for file in client.list_artifacts(main)) == ["d.json", "notes"]
assert mlflow.artifacts.load_text(f"runs:/{main}/notes/hello.txt") == "hello"

refusals = []
try:
    mlflow.log_param("lr", 0.2)
except MlflowException as refused:
    refusals.append((refused.error_code, refused.message))
((code, message),) = refusals
assert code == "INVALID_PARAMETER_VALUE"
assert "Changing param values is not allowed. Param with key='lr' was already" in message

with mlflow.start_run(nested=True, run_name="fold 1") as child:
    mlflow.log_metric("loss", 3)
    mlflow.log_text("inner", "inner.txt")
assert client.get_run(child.info.run_id).data.tags["mlflow.parentRunId"] == main
found = client.search_runs(["0"], f"tags.mlflow.parentRunId = '{main}' AND metrics.loss > 2")
assert [one.info.run_name for one in found] == ["fold 1"]

mlflow.log_metric("async", 1, synchronous=False)
mlflow.flush_async_logging()
mlflow.end_run()
assert client.get_run(main).info.status == "FINISHED"

with mlflow.start_run(run_name="a run of its own") as second:
    mlflow.log_metric("z", 1)
assert second.info.run_id != main
assert second.info.experiment_id == "0"

try:
    client.create_registered_model("model")
except MlflowException as refused:
    refusals.append(("", str(refused)))
assert "mlcli model create" in refusals[1][1]
print("done", mlflow.__version__)
