"""How a URL is read."""

import pytest

from backstay.hosts.urls import parse_url

READ = {
    "https://api.example.com": "https://api.example.com/",
    "HTTPS://API.example.com:443/a/b?c=d&e#f": "https://api.example.com/a/b?c=d&e",
    "http://api.example.com:8080?x": "http://api.example.com:8080/?x",
    "https://api.example.com/über/größe?q=ä": "https://api.example.com/%C3%BCber/gr%C3%B6%C3%9Fe?q=%C3%A4",
    "https://api.example.com/a%2Fb/../c": "https://api.example.com/a%2Fb/../c",
    'https://api.example.com/{"a":[1]}': "https://api.example.com/%7B%22a%22:[1]%7D",
    "https://[2606:4700:0::1111]:8443/": "https://[2606:4700::1111]:8443/",
    "http://93.184.216.34/": "http://93.184.216.34/",
    "https://under_score.example.com/": "https://under_score.example.com/",
}


@pytest.mark.parametrize("text", READ)
def test_a_url_is_read_in_one_way(text: str) -> None:
    assert str(parse_url(text)) == READ[text]


REFUSED = {
    "ftp://example.com/": "must begin with https:// or http://",
    "https:/example.com": "must begin with https:// or http://",
    "https://": "has no host",
    "https://user:geheim@example.com/": "in a header, whose value comes from a Secret",
    "https://example.com/a b": "holds ' ', which no URL may hold; encode",
    "https://example.com/a\nb": "holds '\\n'",
    "https://bücher.example/": "punycode",
    "https://2130706433/": "an IP address in an odd spelling; write four decimal numbers",
    "https://[fe80::1%eth0]/": "names a network interface",
    "https://example.com:http/": "is no port",
    "https://-a.example.com/": "no name of a host",
    "https://a..example.com/": "no name of a host",
    f"https://{'a' * 64}.example.com/": "no name of a host",
    f"https://example.com/{'a' * 9000}": "put the data into the body",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_could_be_read_in_two_ways_is_refused_with_the_mend(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        parse_url(text)
    assert REFUSED[text] in str(error.value)
    assert "geheim" not in str(error.value)


def test_what_is_shown_of_a_url_leaves_its_query_away() -> None:
    assert parse_url("https://example.com/a?key=geheim").shown == "https://example.com/a?…"
    assert parse_url("https://example.com:8443/a").shown == "https://example.com:8443/a"
