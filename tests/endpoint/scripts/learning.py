"""Autologging and models with scikit-learn and LightGBM; system metrics. Runs inside a job."""

import os
import time
import warnings

warnings.simplefilter("ignore")

import lightgbm  # noqa: E402
import mlflow  # noqa: E402
from mlflow import MlflowClient  # noqa: E402
from sklearn.datasets import load_iris  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.model_selection import GridSearchCV, train_test_split  # noqa: E402

is_new = int(mlflow.__version__.split(".")[0]) >= 3
main = os.environ["MLFLOW_RUN_ID"]
# What a model requires is found out in a process that imports everything again: it takes long, and asks no server.
mlflow.models.infer_pip_requirements = lambda *_, fallback=None, **__: fallback or []
client = MlflowClient()
inputs, labels = load_iris(return_X_y=True, as_frame=True)
train_x, test_x, train_y, test_y = train_test_split(inputs, labels, random_state=1)

# The job's own run: LightGBM, as the seed's script does it
mlflow.autolog()
with mlflow.start_run() as run:
    assert run.info.run_id == main
    booster = lightgbm.train(
        {"objective": "multiclass", "num_class": 3, "verbose": -1},
        lightgbm.Dataset(train_x, label=train_y),
        num_boost_round=10,
        valid_sets=[lightgbm.Dataset(test_x, label=test_y)],
        valid_names=["test"],
    )
told = client.get_run(main)
assert len(client.get_metric_history(main, "test-multi_logloss")) == 10
assert told.data.params["num_boost_round"] == "10"
assert (mlflow.lightgbm.load_model(f"runs:/{main}/model").predict(test_x) == booster.predict(test_x)).all()
assert mlflow.pyfunc.load_model(f"runs:/{main}/model").predict(test_x).shape == (38, 3)
assert bool(told.outputs and told.outputs.model_outputs) if is_new else "mlflow.log-model.history" in told.data.tags

# scikit-learn, without the models
mlflow.autolog(log_models=False)
with mlflow.start_run() as run:
    GridSearchCV(LogisticRegression(max_iter=50), {"C": [0.1, 1, 10]}, cv=2).fit(train_x, train_y)
told = client.get_run(run.info.run_id)
assert {"best_C", "cv"} <= set(told.data.params)
assert "training_accuracy_score" in told.data.metrics
assert told.inputs.dataset_inputs[0].tags[0].value == "train"
assert len(client.search_runs(["0"], f"tags.mlflow.parentRunId = '{run.info.run_id}'")) >= 3
mlflow.autolog(disable=True)

# A model by hand
model = LogisticRegression(max_iter=300).fit(train_x, train_y)
with mlflow.start_run():
    name = {"name": "mine"} if is_new else {"artifact_path": "mine"}
    logged = mlflow.sklearn.log_model(model, pip_requirements=[], serialization_format="cloudpickle", **name)
    assert (mlflow.sklearn.load_model(logged.model_uri).predict(test_x) == model.predict(test_x)).all()
    if is_new:
        mlflow.log_metric("acc", 0.9, model_id=logged.model_id)
        assert [metric.value for metric in mlflow.get_logged_model(logged.model_id).metrics] == [0.9]
        found = mlflow.search_logged_models(filter_string="name = 'mine'", output_format="list")
        assert [one.model_id for one in found] == [logged.model_id]

# System metrics
mlflow.set_system_metrics_sampling_interval(0.1)
mlflow.set_system_metrics_samples_before_logging(1)
with mlflow.start_run(log_system_metrics=True) as run:
    time.sleep(1)
assert "system/cpu_utilization_percentage" in client.get_run(run.info.run_id).data.metrics
print("done")
