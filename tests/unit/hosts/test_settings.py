"""The installation's rules for HTTP calls, as the operator is told them."""

import pytest

from backstay.settings import Settings


def test_hosts_are_separated_by_commas_or_blanks() -> None:
    told = {"BACKSTAY_HTTP_ALLOWED_HOSTS": "api.example.com, erp.example.com=10.20.0.0/16", "BACKSTAY_HTTP_INTERNAL_RANGES": "52.1.0.0/16"}
    found = Settings.from_environment(told)
    assert found.http_allowed_hosts == ("api.example.com", "erp.example.com=10.20.0.0/16")
    assert found.http_internal_ranges == ("52.1.0.0/16",)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("BACKSTAY_HTTP_ALLOWED_HOSTS", "api.example.com,*.svc", "'*.svc': a wildcard never allows what is inside of the cluster"),
        ("BACKSTAY_HTTP_ALLOWED_HOSTS", "https://api.example.com/x", "leave the path away"),
        ("BACKSTAY_HTTP_INTERNAL_RANGES", "10.0.0.1/8", "has host bits set"),
        ("BACKSTAY_HTTP_CA_FILE", "/nowhere/ca.crt", "the file cannot be read (No such file or directory)"),
    ],
)
def test_a_rule_that_cannot_be_read_is_told_with_its_variable(name: str, value: str, says: str) -> None:
    with pytest.raises(ValueError, match=name) as error:
        Settings.from_environment({name: value})
    assert says in str(error.value)
