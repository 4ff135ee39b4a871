"""Credentials over real HTTP: browsers' sessions as well as tokens, and their revocation."""

import itertools

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from flashsale.core.clock import now
from flashsale.stack.servers import free_port
from tasks.models import DeadLetter
from tests.conftest import Process, eventually, running
from tests.e2e.browser import PASSWORD, Browser

pytestmark = pytest.mark.django_db(transaction=True)
KNOWN_WITHIN_S = 5.0
_numbers = itertools.count()


@pytest.fixture
def ada():
    return get_user_model().objects.create_user("ada", password=PASSWORD)


@pytest.fixture
def tokens_path(make_item):
    """Where to ask for a purchase token; the web process remembers a sale for a second, so each test has its own."""

    def open_sale(**terms):
        slug = f"credentials-{next(_numbers)}"
        make_item(units=3, slug=slug, **terms)
        return f"sales/{slug}/items/thing/purchase-tokens/"

    return open_sale


@pytest.fixture
def browser(live_url, ada):
    return Browser(live_url).sign_in()


@pytest.fixture
def program(live_url, ada):
    client = Browser(live_url)
    client.refresh = client.get_tokens()
    return client


def refused(client):
    """Within the time that is promised, and then for good."""
    eventually(lambda: client.status() == 401, within=KNOWN_WITHIN_S, what="refused")
    return client.status() == 401


def renew(client, refresh):
    return client.send("POST", "auth/token/refresh/", {"refresh": refresh})


def test_a_browser_orders_with_its_session_and_its_csrf_token(browser, tokens_path):
    path = tokens_path()

    status, issued, _ = browser.send("POST", path, {})
    body = {"token": issued["token"], "sku": "thing", "quantity": 1, "source": "shop", "seq": "1"}
    session = {"Cookie": f"sessionid={browser.cookie('sessionid')}"}
    forged = Browser(browser.url).send("POST", "orders/", body, headers=session)
    accepted = browser.send("POST", "orders/", body)

    assert (status, forged[0], forged[1]["code"], accepted[0]) == (201, 403, "permission_denied", 202)
    assert browser.send("GET", accepted[1]["status_url"])[0] == 200
    assert len(browser.cookie("sessionid")) < 1000


def test_a_copy_of_a_cookie_is_good_for_nothing_after_the_sign_out(browser):
    copy = Browser(browser.url)
    header = {"Cookie": f"sessionid={browser.cookie('sessionid')}"}
    assert copy.send("GET", "orders/", headers=header)[0] == 200

    status, _, headers = browser.send("POST", "/logout/", form={})

    assert (status, headers["Location"], browser.cookie("sessionid")) == (302, "/", None)
    eventually(lambda: copy.send("GET", "orders/", headers=header)[0] == 401, within=KNOWN_WITHIN_S)
    assert "Sign in" in copy.send("GET", "/", headers=header)[1]


BLOCKED = {
    "blocked by save()": lambda user: _save(user),
    "blocked by update()": lambda user: get_user_model().objects.filter(pk=user.pk).update(is_active=False),
    "blocked by SQL": lambda user: _sql("UPDATE auth_user SET is_active = false WHERE id = %s", user.pk),
    "deleted": lambda user: user.delete(),
    "deleted by SQL": lambda user: _sql("DELETE FROM auth_user WHERE id = %s", user.pk),
}


def _save(user):
    user.is_active = False
    user.save()


def _sql(statement, *values):
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


@pytest.mark.parametrize("block", BLOCKED.values(), ids=BLOCKED)
def test_a_blocked_account_is_refused_on_every_call(browser, program, ada, tokens_path, block):
    path = tokens_path(room=1)
    get_user_model().objects.create_user("bob", password=PASSWORD)
    first = Browser(program.url)
    first.get_tokens("bob")
    assert first.send("POST", path, {})[0] == 201
    ticket = program.send("POST", path, {})[1]["ticket"]

    block(ada)

    assert refused(program)
    assert refused(browser)
    for client in (program, browser):
        calls = [
            client.send("POST", path, {}),
            client.send("GET", f"waiting-room/{ticket}/"),
            client.send("POST", "orders/", {}),
        ]
        assert [(status, body["code"]) for status, body, _ in calls] == [(401, "not_authenticated")] * 3
    assert (renew(program, program.refresh)[0], renew(program, program.refresh)[1]["code"]) == (401, "not_authenticated")
    assert program.send("POST", "auth/token/", {"username": "ada", "password": PASSWORD})[0] == 401
    assert first.status() == 200


def test_an_unblocked_account_signs_in_at_once_and_what_was_refused_stays_so(browser, program, ada):
    users = get_user_model().objects.filter(pk=ada.pk)
    users.update(is_active=False)
    users.update(is_active=True)

    again, page = Browser(program.url), Browser(program.url)
    again.get_tokens()
    page.sign_in()

    assert refused(program)
    assert refused(browser)
    assert (again.status(), page.status()) == (200, 200)
    assert renew(program, program.refresh)[0] == 401


def test_a_new_password_ends_what_the_old_one_opened(browser, program, ada):
    ada.set_password("another-1816")
    ada.save()

    assert refused(program)
    assert refused(browser)
    assert renew(program, program.refresh)[0] == 401
    assert Browser(program.url).get_tokens(password="another-1816")


def test_who_changes_the_own_password_stays_signed_in(live_url, ada):
    get_user_model().objects.filter(pk=ada.pk).update(is_staff=True)
    here, elsewhere = Browser(live_url).sign_in(), Browser(live_url).sign_in()
    new = {"old_password": PASSWORD, "new_password1": "another-1816", "new_password2": "another-1816"}

    status, page, headers = here.send("POST", "/admin/password_change/", form=new)

    assert (status, headers["Location"]) == (302, "/admin/password_change/done/"), page
    assert refused(elsewhere)
    assert here.status() == 200
    assert here.send("GET", "/admin/password_change/")[0] == 200


def test_a_refresh_token_is_good_for_one_use(program):
    status, first, headers = renew(program, program.refresh)
    second = renew(program, first["refresh"])

    assert (status, headers["Cache-Control"], second[0]) == (200, "no-store", 200)
    assert len({program.refresh, first["refresh"], second[1]["refresh"]}) == 3
    stolen = renew(program, program.refresh)
    assert (stolen[0], stolen[1]["code"]) == (401, "not_authenticated")
    assert renew(program, second[1]["refresh"])[0] == 401  # one of the two had stolen it
    assert refused(program)


def test_a_client_that_lost_the_answer_gets_the_same_successor(program):
    first, again = renew(program, program.refresh), renew(program, program.refresh)

    assert (first[0], again[0]) == (200, 200)
    followers = [renew(program, each[1]["refresh"])[0] for each in (first, again)]
    assert followers == [200, 200]


def test_a_sign_in_is_ended_by_its_refresh_token_and_the_answer_tells_nothing(program, ada):
    other = Browser(program.url)
    other.get_tokens()
    answers = [
        other.send("POST", "auth/token/revoke/", {"refresh": each})
        for each in (program.refresh, program.refresh, "nonsense", program.bearer)
    ]

    assert [(status, body, headers["Cache-Control"]) for status, body, headers in answers] == [(200, {}, "no-store")] * 4
    assert renew(program, program.refresh)[0] == 401
    assert refused(program)
    assert other.status() == 200
    assert other.send("POST", "auth/token/revoke/", {})[0] == 400


def test_tokens_of_the_version_before_are_taken_and_renewed_once(live_url, ada):
    from rest_framework_simplejwt.tokens import RefreshToken

    old = RefreshToken.for_user(ada)
    program = Browser(live_url)
    program.bearer = str(old.access_token)

    renewed = renew(program, str(old))

    assert (program.status(), renewed[0]) == (200, 200)
    assert renew(program, renewed[1]["refresh"])[0] == 200
    assert renew(program, str(old))[0] == 401


def test_a_forged_an_old_and_a_changed_session_are_nobodys(browser):
    value = browser.cookie("sessionid")
    for forged in (value[:-1] + ("a" if value[-1] != "a" else "b"), "x" * 32, "eyJfYXV0aF91c2VyX2lkIjoiMSJ9:1:x", "", "{}"):
        assert Browser(browser.url).send("GET", "orders/", headers={"Cookie": f"sessionid={forged}"})[0] == 401


def test_staff_sign_an_account_out_everywhere(browser, program, ada):
    get_user_model().objects.create_superuser("boss", password=PASSWORD)
    boss = Browser(browser.url).sign_in("boss")

    ticked = {"action": "sign_out_everywhere", "_selected_action": ada.pk}
    status, _, headers = boss.send("POST", "/admin/auth/user/", form=ticked)

    assert (status, headers["Location"]) == (302, "/admin/auth/user/")
    assert "1 accounts will be signed out everywhere" in boss.send("GET", "/admin/auth/user/")[1]
    assert refused(program)
    assert refused(browser)
    assert (renew(program, program.refresh)[0], boss.status()) == (401, 200)
    assert Browser(browser.url).sign_in().status() == 200


def test_a_hundred_messages_sign_nobody_out(live_url):
    """They are in a cookie of their own; in the session's they would exceed what a browser keeps."""
    users = get_user_model().objects
    users.create_superuser("boss", password=PASSWORD)
    boss = Browser(live_url).sign_in("boss")
    closed = {"task": "tasks.create_orders", "queue": "orders", "args": [], "attempts": 1, "resolved_at": now()}
    letters = DeadLetter.objects.bulk_create([DeadLetter(fingerprint=str(number), **closed) for number in range(100)])

    ticked = [("action", "run_again"), *(("_selected_action", letter.pk) for letter in letters)]
    status, _, headers = boss.send("POST", "/admin/tasks/deadletter/", form=ticked)

    assert status == 302
    assert all(len(value) < 4096 for value in headers.get_all("Set-Cookie"))
    assert boss.send("GET", "/admin/")[0] == 200


def test_the_canary_refuses_a_blocked_account_too(program, ada):
    port = free_port()
    command = ("granian", "--interface", "asginl", "--host", "127.0.0.1", "--port", str(port), "flashsale.asgi:application")
    with running(Process("canary", *command, FLEET="canary")):
        canary = Browser(f"http://127.0.0.1:{port}")
        canary.bearer = program.bearer
        eventually(lambda: _status(canary) == 200, within=30)

        _sql("UPDATE auth_user SET is_active = false WHERE id = %s", ada.pk)

        assert refused(canary)
        assert refused(program)


def _status(client):
    try:
        return client.status()
    except OSError:
        return None
