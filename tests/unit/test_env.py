"""What settings may be in the environment."""

import pytest

from flashsale.settings import env


def test_addresses_are_one_or_several(monkeypatch):
    monkeypatch.delenv("PLACES", raising=False)
    assert env.addresses("PLACES", "web:8000") == [("web", 8000)]

    monkeypatch.setenv("PLACES", "10.0.0.1:80, 10.0.0.2:81,")
    assert env.addresses("PLACES", "web:8000") == [("10.0.0.1", 80), ("10.0.0.2", 81)]


@pytest.mark.parametrize("wrong", ["", ",", "web", "web:", ":80", "web:80,second"])
def test_an_address_without_host_or_port_is_refused_by_name(monkeypatch, wrong):
    monkeypatch.setenv("PLACES", wrong)

    with pytest.raises(env.MissingSetting, match="PLACES must be host:port"):
        env.addresses("PLACES", "web:8000")
