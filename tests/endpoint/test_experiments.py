"""The calls about experiments, one by one."""

from __future__ import annotations

import pytest

from tests.endpoint.helpers import RUN, Endpoint, Refused


def _names(endpoint: Endpoint, **given: object) -> list[str]:
    return [one["name"] for one in endpoint.post("experiments/search", **{"max_results": 100, **given})["experiments"]]


def test_the_job_s_experiment_is_there_from_the_start(endpoint: Endpoint) -> None:
    told = endpoint.get("experiments/get", experiment_id="0")["experiment"]
    assert (told["name"], told["lifecycle_stage"], told["tags"]) == ("iris", "active", [])
    assert told["artifact_location"] == endpoint.folder.as_uri()
    assert endpoint.get("experiments/get-by-name", experiment_name="iris")["experiment"] == told
    assert endpoint.get("experiments/search", max_results=5)["experiments"] == [told]


def test_create_and_get(endpoint: Endpoint) -> None:
    tags = [{"key": "team", "value": "blue"}, {"key": "empty", "value": ""}]
    new = endpoint.post("experiments/create", name="Mine", artifact_location="here", tags=tags)["experiment_id"]
    told = endpoint.get("experiments/get", experiment_id=new)["experiment"]
    assert (told["name"], told["tags"]) == ("Mine", tags)
    assert told["artifact_location"] == str(endpoint.working_directory / "here")
    run = endpoint.run(endpoint.create_run(new))
    assert run["info"]["artifact_uri"] == f"{told['artifact_location']}/{run['info']['run_id']}/artifacts"


def test_a_location_elsewhere_is_kept(endpoint: Endpoint) -> None:
    new = endpoint.post("experiments/create", name="far", artifact_location="s3://bucket/x/")["experiment_id"]
    run = endpoint.run(endpoint.create_run(new))
    assert run["info"]["artifact_uri"] == f"s3://bucket/x/{run['info']['run_id']}/artifacts"


def test_a_name_is_taken_once(endpoint: Endpoint) -> None:
    endpoint.post("experiments/create", name="a")
    for name in ("a", "iris"):
        with pytest.raises(Refused) as refused:
            endpoint.post("experiments/create", name=name)
        assert (refused.value.status, refused.value.code) == (400, "RESOURCE_ALREADY_EXISTS")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "Missing value for required parameter 'name'"),
        ({"name": ""}, "Missing value for required parameter 'name'"),
        ({"name": 123}, "Invalid value 123 for parameter 'name' supplied"),
        ({"name": "x", "artifact_location": 9.0}, "Invalid value 9.0 for parameter 'artifact_location'"),
        ({"name": "x", "tags": "5"}, "Invalid value \"5\" for parameter 'tags'"),
        ({"name": "x" * 501}, "exceeded length limit of 500"),
    ],
)
def test_create_checks_what_it_is_given(shared_endpoint: Endpoint, given: dict[str, object], message: str) -> None:
    with pytest.raises(Refused) as refused:
        shared_endpoint.post("experiments/create", **given)
    assert refused.value.code == "INVALID_PARAMETER_VALUE"
    assert message in refused.value.message


def test_what_is_not_there(shared_endpoint: Endpoint) -> None:
    with pytest.raises(Refused) as refused:
        shared_endpoint.get("experiments/get", experiment_id="77")
    assert (refused.value.status, refused.value.code) == (404, "RESOURCE_DOES_NOT_EXIST")
    with pytest.raises(Refused) as refused:
        shared_endpoint.get("experiments/get-by-name", experiment_name="nobody")
    assert (refused.value.status, refused.value.code) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_delete_restore_rename(endpoint: Endpoint) -> None:
    new = endpoint.post("experiments/create", name="old")["experiment_id"]
    endpoint.post("experiments/update", experiment_id=new, new_name="new")
    endpoint.post("experiments/delete", experiment_id=new)
    told = endpoint.get("experiments/get", experiment_id=new)["experiment"]
    assert (told["name"], told["lifecycle_stage"]) == ("new", "deleted")
    with pytest.raises(Refused, match="must be in the 'active' state"):
        endpoint.post("runs/create", experiment_id=new)
    assert _names(endpoint) == ["iris"]
    assert _names(endpoint, view_type="DELETED_ONLY") == ["new"]
    assert _names(endpoint, view_type="ALL") == ["new", "iris"]
    endpoint.post("experiments/restore", experiment_id=new)
    assert endpoint.get("experiments/get", experiment_id=new)["experiment"]["lifecycle_stage"] == "active"


def test_tags(endpoint: Endpoint) -> None:
    for value in ("one", "two\nlines", ""):
        endpoint.post("experiments/set-experiment-tag", experiment_id="0", key="data", value=value)
        told = endpoint.get("experiments/get", experiment_id="0")["experiment"]
        assert told["tags"] == [{"key": "data", "value": value}]
    endpoint.post("experiments/delete-experiment-tag", experiment_id="0", key="data")
    assert endpoint.get("experiments/get", experiment_id="0")["experiment"]["tags"] == []
    with pytest.raises(Refused, match="No tag with name: data"):
        endpoint.post("experiments/delete-experiment-tag", experiment_id="0", key="data")


def test_search(endpoint: Endpoint) -> None:
    for name, value in (("a", "value"), ("ab", "vaLue"), ("Abc", None)):
        tags = [{"key": "key", "value": value}] if value else []
        endpoint.post("experiments/create", name=name, tags=tags)
    assert _names(endpoint) == ["Abc", "ab", "a", "iris"]
    for condition, names in {
        "attribute.name = 'a'": ["a"],
        "name != 'a'": ["Abc", "ab", "iris"],
        "name LIKE 'a%'": ["ab", "a"],
        "name ILIKE 'a%'": ["Abc", "ab", "a"],
        "tag.key = 'value'": ["a"],
        "tag.key != 'value'": ["ab"],
        "tags.key ILIKE '%alu%' AND name = 'ab'": ["ab"],
        "creation_time > 1700000000000": ["Abc", "ab", "a"],
    }.items():
        assert _names(endpoint, filter=condition) == names, condition
    assert _names(endpoint, order_by=["name DESC"]) == ["iris", "ab", "a", "Abc"]
    first = endpoint.post("experiments/search", max_results=3)
    rest = endpoint.post("experiments/search", max_results=3, page_token=first["next_page_token"])
    assert [one["name"] for one in rest["experiments"]] == ["iris"]
    assert "next_page_token" not in rest


def test_experiments_outlive_the_process(endpoint: Endpoint) -> None:
    endpoint.post("experiments/create", name="mine")
    endpoint.kill()
    endpoint.start()
    assert _names(endpoint) == ["mine", "iris"]


def test_the_run_follows_its_script_into_another_experiment(endpoint: Endpoint) -> None:
    """What ``mlflow.set_experiment`` asks for, before ``start_run`` takes the job's run up again."""
    new = endpoint.post("experiments/create", name="the script's own")["experiment_id"]
    assert endpoint.run()["info"]["experiment_id"] == new
    endpoint.get("experiments/get-by-name", experiment_name="iris")
    assert endpoint.run()["info"]["experiment_id"] == "0"
    endpoint.post("runs/update", run_id=RUN, status="RUNNING")
    endpoint.get("experiments/get-by-name", experiment_name="the script's own")
    assert endpoint.run()["info"]["experiment_id"] == "0", "a run that has begun stays where it is"
