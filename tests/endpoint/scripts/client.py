"""What MlflowClient can ask for. Runs inside a job."""

import os
import tempfile
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException, RestException

client = MlflowClient()
main = os.environ["MLFLOW_RUN_ID"]


def refused(call: Any, *arguments: Any, **named: Any) -> Any:
    try:
        call(*arguments, **named)
    except MlflowException as error:
        return error
    raise AssertionError("it was not refused")


# Experiments
mine = client.create_experiment("mine", tags={"k": "v"})
assert client.get_experiment(mine).tags == {"k": "v"}
assert client.get_experiment_by_name("mine").experiment_id == mine
assert client.get_experiment_by_name("nobody") is None
assert refused(client.create_experiment, "mine").error_code == "RESOURCE_ALREADY_EXISTS"
assert refused(client.get_experiment, "99").error_code == "RESOURCE_DOES_NOT_EXIST"
client.rename_experiment(mine, "ours")
client.set_experiment_tag(mine, "text", "two\nlines")
assert client.get_experiment(mine).tags["text"] == "two\nlines"
client.delete_experiment(mine)
assert [one.name for one in client.search_experiments(view_type=ViewType.DELETED_ONLY)] == ["ours"]
client.restore_experiment(mine)
assert client.search_experiments(order_by=["name DESC"])[0].name == "ours"
assert [one.name for one in client.search_experiments(filter_string="name LIKE 'ou%'")] == ["ours"]

# Runs
run = client.create_run(mine, start_time=456, tags={"mlflow.user": "bob"}, run_name="first")
run_id = run.info.run_id
assert client.get_run(run_id).info == run.info
assert (run.info.start_time, run.info.run_name, run.info.experiment_id) == (456, "first", mine)
client.update_run(run_id, name="renamed")
client.set_terminated(run_id, "FAILED", end_time=789)
info = client.get_run(run_id).info
assert (info.run_name, info.status, info.end_time) == ("renamed", "FAILED", 789)
client.delete_run(run_id)
assert f"The run {run_id} must be in the 'active' state" in str(refused(client.log_metric, run_id, "a", 1))
client.restore_run(run_id)
assert [one.info.run_id for one in client.search_runs([mine], "attributes.status = 'FAILED'")] == [run_id]

# Logging
client.log_metric(run_id, "m", 123.456, timestamp=789, step=2)
client.log_param(run_id, "p", "")
client.set_tag(run_id, "t", "do-dah")
client.log_batch(
    run_id,
    metrics=[Metric("b", step / 7, 1000 + step, step) for step in range(900)],
    params=[Param(f"p{number}", "x" * 500) for number in range(99)],
    tags=[RunTag("u", "")],
)
data = client.get_run(run_id).data
assert (data.metrics["m"], data.params["p"], data.tags["t"], data.tags["u"]) == (123.456, "", "do-dah", "")
assert [point.value for point in client.get_metric_history(run_id, "b")] == [step / 7 for step in range(900)]
assert client.get_metric_history(run_id, "nothing") == []
client.delete_tag(run_id, "t")
assert "No tag with name: t" in str(refused(client.delete_tag, run_id, "t"))
assert "Run with id=nobody not found" in str(refused(client.get_run, "nobody"))
assert refused(client.log_metric, run_id, "a,b", 1).error_code == "INVALID_PARAMETER_VALUE"
assert isinstance(refused(client.search_runs, [mine], "nonsense ~ 1"), RestException)
assert refused(client.search_runs, [mine], max_results=123456789).error_code == "INVALID_PARAMETER_VALUE"
client.log_inputs(
    run_id, [DatasetInput(Dataset("iris", "d1", "code", "{}"), [InputTag("mlflow.data.context", "train")])]
)
(logged,) = client.get_run(run_id).inputs.dataset_inputs
assert (logged.dataset.name, logged.dataset.digest, logged.tags[0].value) == ("iris", "d1", "train")

# Pages
ids = sorted(client.create_run(mine, start_time=1).info.run_id for _ in range(10))
page = client.search_runs([mine], "start_time = 1", max_results=4)
rest = client.search_runs([mine], "start_time = 1", max_results=10, page_token=page.token)
assert [one.info.run_id for one in [*page, *rest]] == ids
assert not rest.token

# Artifacts
with tempfile.TemporaryDirectory() as folder:
    (Path(folder) / "my.file").write_text("Hello, World!")
    client.log_artifact(run_id, f"{folder}/my.file")
    client.log_artifacts(run_id, folder, "dir")
    assert {file.path for file in client.list_artifacts(run_id)} == {"my.file", "dir"}
    assert [(file.path, file.file_size) for file in client.list_artifacts(run_id, "dir")] == [("dir/my.file", 13)]
    assert Path(client.download_artifacts(run_id, "dir/my.file", folder)).read_text() == "Hello, World!"

# Models, where this client has them
if hasattr(client, "create_logged_model"):
    model = client.create_logged_model(mine, name="model", source_run_id=run_id, params={"a": "1"}, tags={"t": "2"})
    client.finalize_logged_model(model.model_id, "READY")
    client.set_logged_model_tags(model.model_id, {"u": "3"})
    client.delete_logged_model_tag(model.model_id, "t")
    client.log_metric(run_id, "acc", 0.9, model_id=model.model_id, dataset_name="iris", dataset_digest="d1")
    told = client.get_logged_model(model.model_id)
    assert (str(told.status), told.params, told.tags) == ("READY", {"a": "1"}, {"u": "3"})
    assert [(metric.key, metric.value, metric.dataset_name) for metric in told.metrics] == [("acc", 0.9, "iris")]
    found = client.search_logged_models([mine], "metrics.acc > 0.5", order_by=[{"field_name": "metrics.acc"}])
    assert [one.model_id for one in found] == [model.model_id]
    client.delete_logged_model(model.model_id)
    assert client.search_logged_models([mine]) == []
print("done")
