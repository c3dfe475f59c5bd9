"""``run submit-hyperdrive``: a search over a script's arguments."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Mlcli
from tests.spec.hdconfig import DOCUMENTED
from tests.v1.conftest import ok

HDCONFIG = DOCUMENTED.replace("type: random", "type: Grid")


def test_each_run_gets_its_arguments(mlcli: Mlcli, project: Path) -> None:
    (project / "conf").mkdir()
    (project / "conf" / "hdconfig.yml").write_text(HDCONFIG)
    typed = ("run", "submit-hyperdrive", "-e", "search", "-c", "mine", "--hyperdrive-configuration-name", "hdconfig")
    ran = mlcli(*typed, "-t", "run.json", "train.py", cwd=project)
    assert ran.code == 0, ran.stderr
    found = ok(mlcli("run", "show", "-t", "run.json", cwd=project))
    assert (found["type"], found["experiment_name"], found["status"]) == ("sweep", "search", "Completed")
    assert found["trial"]["command"] == "python train.py --rate 0.1 --penalty ${{search_space.penalty}}"
    trials = ok(mlcli("sweep", "trials", "-n", found["name"]))
    assert sorted(trial["values"]["penalty"] for trial in trials) == [0.5, 1, 1.5]
    best = ok(mlcli("sweep", "best", "-n", found["name"]))
    assert (best["metric"], best["values"]) == (1.5, {"penalty": 1.5})


def test_an_argument_of_both_is_refused(mlcli: Mlcli, project: Path) -> None:
    (project / "hdconfig.yml").write_text(HDCONFIG)
    typed = ("run", "submit-hyperdrive", "-c", "mine", "--hyperdrive-configuration-name", "hdconfig.yml")
    for given in (("--penalty", "3"), ("--penalty=3",)):
        refused = mlcli(*typed, "train.py", *given, cwd=project)
        assert refused.code == 1
        assert "hdconfig.yml:5:7: error[duplicate-key]: '--penalty': each run gets its own value" in refused.stderr
    (project / "hdconfig.yml").write_text(HDCONFIG.replace("--penalty", "penalty"))
    refused = mlcli(*typed, "train.py", "--penalty", "3", cwd=project)
    assert "'penalty': each run gets its own value" in refused.stderr
    planned = ok(mlcli(*typed[:2], "--dry-run", *typed[2:], "train.py", cwd=project))
    assert planned["first_trial"]["command"].startswith("python train.py --rate 0.1 --penalty ")


def test_what_is_missing(mlcli: Mlcli, project: Path) -> None:
    typed = ("run", "submit-hyperdrive", "--hyperdrive-configuration-name", "hdconfig.yml")
    assert "give --run-configuration-name NAME" in mlcli(*typed, "train.py", cwd=project).stderr
    lost = mlcli(*typed, "-c", "mine", cwd=project)
    assert lost.code == 3
    assert "there is no HyperDrive configuration 'hdconfig.yml'" in lost.stderr
    for name in ("a", "b"):
        (project / name).mkdir()
        (project / name / "hdconfig.yml").write_text(HDCONFIG)
    both = mlcli(*typed, "-c", "mine", cwd=project)
    assert both.code == 2
    assert "several files end with" in both.stderr
