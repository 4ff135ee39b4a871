"""Tokens that this shop issued pass at once; every other one is left to the library."""

from datetime import timedelta

import jwt
import pytest
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from flashsale.core.clock import now
from flashsale.web.express import credentials, own_tokens

KEY = api_settings.SIGNING_KEY


def _issued(**changes):
    token = AccessToken()
    token["user_id"] = "7"
    token.payload.update(changes)
    return str(token).encode()


def test_an_issued_token_passes_with_the_claims_of_the_library():
    raw = _issued(sid="family")
    assert own_tokens.claims(raw) == jwt.decode(raw, KEY, algorithms=["HS256"])
    assert credentials._verified(raw).customer == 7


def _signed(payload, headers=None, key=KEY, algorithm="HS256"):
    return jwt.encode(payload, key, algorithm=algorithm, headers=headers).encode()


def _claims(**changes):
    return jwt.decode(_issued(**changes), options={"verify_signature": False})


@pytest.mark.parametrize(
    "raw",
    [
        _signed(_claims(), key="another key that is as long as it should be"),
        _signed(_claims(), algorithm="HS512"),
        _signed(_claims(), algorithm="none", key=None),
        _signed(_claims(), headers={"kid": "1"}),
        _signed(_claims(exp=int(now().timestamp()) - 1)),
        _signed(_claims(iat=int((now() + timedelta(hours=1)).timestamp()))),
        _signed(_claims(nbf=int((now() + timedelta(hours=1)).timestamp()))),
        _signed(_claims(exp=1e300)),
        _signed(_claims(token_type="refresh")),
        _signed({name: value for name, value in _claims().items() if name != "jti"}),
        str(RefreshToken()).encode(),
        b"",
        b"..",
        b"a.b.c",
        _issued() + b"=",
        _issued()[:-2] + b"\xff\xff",
    ],
)
def test_whatever_looks_different_is_left_to_the_library(raw):
    assert own_tokens.claims(raw) is None


def test_a_signed_token_with_an_absurd_expiry_is_nobodys():
    assert credentials._verified(_signed(_claims(exp=10**400))) is None
