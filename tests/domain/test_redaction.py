"""Secrets are masked by where they stand in a URL and by the name they stand under; the rest is left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcli.domain.redaction import MASK, is_secret_name, masked, masked_record


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:pa55@host/x", "https://***@host/x"),
        ("pip --index-url https://tok@host/simple six", "pip --index-url https://***@host/simple six"),
        ("https://a.blob/x.csv?sv=2021&sig=abc%3D&se=1", "https://a.blob/x.csv?sv=2021&sig=***&se=1"),
        ("https://host/x?access_token=1", "https://host/x?access_token=***"),
        ("git@github.com:me/x.git", "git@github.com:me/x.git"),
        ("wasbs://container@account.blob/x?sig=abc", "wasbs://container@account.blob/x?sig=***"),
        ("abfss://container:pa55@account.dfs/x", "abfss://***@account.dfs/x"),
        ("a plain text with key=value", "a plain text with key=value"),
    ],
)
def test_urls_lose_their_credentials(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize(
    "name", ["API_KEY", "apiKey", "dbPassword", "HF_TOKEN", "client.secret", "AWS_SECRET_ACCESS_KEY"]
)
def test_secret_names_are_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["monkey", "keyboard", "tokenizer_name", "author", "ENV_VAR", "passes", "learning_rate"]
)
def test_other_names_are_not(name: str) -> None:
    assert not is_secret_name(name)


def test_records_are_masked_throughout() -> None:
    record = {"environment_variables": {"API_KEY": "s3cret", "N": 1}, "list": [{"password": 123}, "https://u:p@h/"]}
    assert masked_record(record) == {
        "environment_variables": {"API_KEY": MASK, "N": 1},
        "list": [{"password": MASK}, "https://***@h/"],
    }


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_masking_twice_changes_nothing_more(value: object) -> None:
    once = masked_record(value)
    assert masked_record(once) == once
