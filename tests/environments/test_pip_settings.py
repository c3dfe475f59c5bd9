"""What the person told pip reaches uv: pip's files and variables, in pip's order of precedence."""

from __future__ import annotations

import os

import pytest

from mlcli.environments._pip_settings import pip_settings, uv_variables


@pytest.fixture
def home(tmp_path):
    """An environment whose configuration is all below ``tmp_path``; the machine's own is masked by what it sets last."""
    (tmp_path / ".config" / "pip").mkdir(parents=True)
    (tmp_path / ".pip").mkdir()
    return {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path / "etc")}


def test_the_users_file_is_read(home, tmp_path):
    (tmp_path / ".config/pip/pip.conf").write_text(
        "[global]\nindex-url = https://a/simple\nextra-index-url =\n    https://b\n    https://c\nfind-links = /x /y\ntrusted-host=intern\n"
    )
    found = uv_variables(home)
    assert found["UV_DEFAULT_INDEX"] == "https://a/simple"
    assert found["UV_INDEX"] == "https://b https://c"
    assert found["UV_FIND_LINKS"] == "/x,/y"
    assert found["UV_INSECURE_HOST"] == "intern"


def test_later_files_the_install_section_and_variables_win(home, tmp_path):
    (tmp_path / ".pip/pip.conf").write_text("[global]\nindex_url = https://old\n[install]\nno-index = true\n")
    (tmp_path / ".config/pip/pip.conf").write_text("[global]\nindex-url = https://new\n")
    assert pip_settings(home)["index-url"] == "https://new"
    assert pip_settings(home)["no-index"] == "true"
    (tmp_path / "own.conf").write_text("[install]\nindex-url = https://own\n")
    home["PIP_CONFIG_FILE"] = str(tmp_path / "own.conf")
    assert pip_settings(home)["index-url"] == "https://own"
    home["PIP_INDEX_URL"] = "https://variable"
    assert pip_settings(home)["index-url"] == "https://variable"


def test_no_file_at_all(home, tmp_path):
    (tmp_path / ".pip/pip.conf").write_text("[global]\nindex-url = https://old\n")
    home["PIP_CONFIG_FILE"] = os.devnull
    assert pip_settings(home) == {"config-file": os.devnull}


@pytest.mark.parametrize("own", ["UV_DEFAULT_INDEX", "UV_INDEX_URL"])
def test_what_uv_was_told_itself_stands(home, own):
    assert "UV_DEFAULT_INDEX" not in uv_variables({**home, "PIP_INDEX_URL": "https://pip", own: "https://uv"})


def test_a_file_that_cannot_be_read_is_passed_over(home, tmp_path):
    (tmp_path / ".pip/pip.conf").write_bytes(b"\xff\xfe not [an ini file\n")
    (tmp_path / ".config/pip/pip.conf").write_text("[global]\nindex-url = https://%%41/%s\n")
    assert pip_settings(home)["index-url"] == "https://%%41/%s"


def test_certificates_and_proxy(home):
    told = {**home, "PIP_CERT": "/ca.pem", "PIP_PROXY": "http://proxy:3128"}
    assert uv_variables(told)["SSL_CERT_FILE"] == "/ca.pem"
    assert uv_variables(told)["ALL_PROXY"] == "http://proxy:3128"
    assert "ALL_PROXY" not in uv_variables({**told, "HTTPS_PROXY": "http://other"})
