"""Accounts: one name each, passwords checked a few at a time, revocations that outlive a lost Redis."""

import importlib
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.hashers import make_password
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client

from flashsale.accounts import names, revocations, revoke, tokens
from flashsale.accounts.denials import Denials
from flashsale.accounts.errors import AccountEnded, SignInBusy
from flashsale.accounts.hashing import Seats, seats
from flashsale.accounts.instants import issue_us
from flashsale.accounts.models import Revocation, TokenFamily
from flashsale.core.clock import now, to_us
from flashsale.ratelimit.in_process import limits_client
from flashsale.ratelimit.rules import services
from flashsale.ratelimit.rules.models import LimitRule
from tests.conftest import eventually

pytestmark = pytest.mark.django_db(transaction=True)
PASSWORD = "enigma-1815"
SAME = ["bot", "Bot", "BOT", "\uff42\uff4f\uff54"]  # the last in full-width letters


@pytest.fixture
def bot(django_user_model):
    return django_user_model.objects.create_user("bot", password=PASSWORD)


@pytest.mark.parametrize("name", SAME)
def test_one_name_signs_in_in_whatever_letters(bot, client, name):
    assert authenticate(username=name, password=PASSWORD) == bot
    assert client.post("/api/v1/auth/token/", {"username": name, "password": PASSWORD}, "application/json").status_code == 200
    assert client.post("/login/", {"username": name, "password": PASSWORD}).status_code == 302
    assert authenticate(username=f"{name}s", password=PASSWORD) is None


@pytest.mark.parametrize(("first", "second"), [("bot", "Bot"), ("Zoë", "ZOË"), ("straße", "Straße"), ("bot", "\uff22ot")])
def test_a_second_account_of_one_name_is_refused(django_user_model, first, second):
    django_user_model.objects.create_user(first)

    with pytest.raises(IntegrityError), transaction.atomic():
        django_user_model.objects.create(username=second)
    assert django_user_model.objects.count() == 1


def test_staff_are_told_that_a_name_is_taken_in_other_letters(bot, admin_client, django_user_model):
    other = django_user_model.objects.create_user("other")

    made = admin_client.post(
        "/admin/auth/user/add/", {"username": "Bot", "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
    )
    renamed = admin_client.post(f"/admin/auth/user/{other.pk}/change/", {"username": "BOT"})

    for page in (made, renamed):
        assert page.status_code == 200
        assert "Another account has this name" in page.content.decode()
    assert sorted(django_user_model.objects.values_list("username", flat=True)) == ["admin", "bot", "other"]


def test_tokens_for_load_tools_are_for_the_customers_that_there_are(django_user_model, capsys):
    first = django_user_model.objects.create_user("Load-0")
    django_user_model.objects.create_user("load-2", is_active=False)

    call_command("issue_customer_tokens", "--count", "3", "--prefix", "load-")

    lines = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()]
    assert lines == ["Load-0", "load-1"]
    assert names.find("LOAD-0") == first


def test_the_migration_names_accounts_that_have_one_name_and_says_what_to_do(django_user_model):
    migration = importlib.import_module("flashsale.accounts.migrations.0002_one_account_per_name")

    @transaction.atomic
    def migrate_with_doubles():
        connection.cursor().execute("DROP INDEX one_account_per_name")
        for name in ("bot", "Bot", "ada"):
            django_user_model.objects.create(username=name)
        migration.refuse_doubles(None, connection.schema_editor())

    with pytest.raises(migration.SeveralAccountsWithOneName, match=r"bot \(id \d+\), Bot \(id \d+\)[^;]*another name"):
        migrate_with_doubles()
    assert django_user_model.objects.count() == 0


def test_sign_in_crowd_is_refused_at_once_beyond_a_few():
    seats, go, checked = Seats(2, 2, 5.0), threading.Event(), []

    def sign_in(number):
        try:
            with seats.taken():
                go.wait(10)
                checked.append(number)
                return "checked"
        except SignInBusy as error:
            refused.release()
            return f"busy for {error.retry_after} s"

    refused = threading.Semaphore(0)
    with ThreadPoolExecutor(12) as crowd:
        answers = crowd.map(sign_in, range(12))
        for _ in range(8):
            assert refused.acquire(timeout=5)  # while not one password has been checked
        assert checked == []
        go.set()
        found = sorted(answers)
    assert found == ["busy for 2 s"] * 8 + ["checked"] * 4


def test_who_waits_for_a_seat_waits_no_longer_than_is_said():
    seats = Seats(1, 1, 0.05)

    with seats.taken(), pytest.raises(SignInBusy), seats.taken():
        pass
    with seats.taken():
        pass


SIGN_INS = {
    "api": lambda client, name: client.post("/api/v1/auth/token/", {"username": name, "password": "x"}, "application/json"),
    "shop": lambda client, name: client.post("/login/", {"username": name, "password": "x"}),
    "staff": lambda client, name: client.post("/admin/login/", {"username": name, "password": "x"}),
}


@pytest.mark.parametrize("way", SIGN_INS)
@pytest.mark.slow
def test_no_seat_is_503_busy_on_every_way_in(bot, client, way):
    with seats.taken():
        answers = [SIGN_INS[way](client, "bot")]  # waits for its turn in vain
        with ThreadPoolExecutor(1) as other:
            waiting = other.submit(authenticate, username="bot", password=PASSWORD)
            eventually(lambda: seats.is_full)
            answers.append(SIGN_INS[way](client, "bot"))
            with pytest.raises(SignInBusy):
                waiting.result()

    for answer in answers:
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
        assert way != "api" or (answer.json()["code"], answer.headers["Content-Type"]) == ("busy", "application/problem+json")
    assert SIGN_INS[way](client, "bot").status_code in (200, 401)


@pytest.fixture
def shipped_rules():
    migration = importlib.import_module("flashsale.ratelimit.rules.migrations.0005_sign_in")
    for name, values in (("sign-in-account", migration.ACCOUNT), ("sign-in-address", {**migration.ADDRESS, "key": "address"})):
        services.save_rule(LimitRule(name=name, **({"applies_to": "api:auth-token"} | values)), actor="test")


@pytest.mark.parametrize("way", SIGN_INS)
def test_a_password_is_tried_ten_times_a_minute_and_the_eleventh_is_not_looked_at(shipped_rules, bot, way, settings):
    settings.TRUSTED_PROXIES = ["127.0.0.1"]
    answers = []
    for number in range(11):  # each from another address, in letters of its own, there being such an account or not
        client = Client(headers={"X-Forwarded-For": f"192.0.2.{number}"})
        answers.append(SIGN_INS[way](client, SAME[number % 4] if way != "staff" else "nobody"))

    assert [answer.status_code for answer in answers[:10]] == [401 if way == "api" else 200] * 10
    assert answers[10].status_code == 429
    assert int(answers[10].headers["Retry-After"]) > 0
    assert authenticate(username="bot", password=PASSWORD) == bot
    other = Client(headers={"X-Forwarded-For": "192.0.2.99"})
    assert SIGN_INS[way](other, "somebody else").status_code in (200, 401)


def test_one_address_signs_in_twenty_times_at_once_and_once_a_second(shipped_rules, client):
    answers = [SIGN_INS["api"](client, f"name-{number}").status_code for number in range(25)]

    assert answers[:20] == [401] * 20
    assert 429 in answers[20:]


def read():
    """What a process that starts now knows."""
    denials = Denials(limits_client)
    assert denials.look()
    return denials


def test_a_redis_that_lost_the_list_is_given_all_of_it_again(bot):
    revoke.everything_of(bot.pk)
    revoke.session("a" * 32)
    moment = to_us(now()) - 10_000_000
    assert read().refuses(bot.pk, moment, "")

    limits_client().delete(revocations.STREAM)
    assert not read().refuses(bot.pk, moment, "")
    revocations.sweep()

    assert read().refuses(bot.pk, moment, "")
    assert read().refuses(bot.pk + 1, moment, "a" * 32)
    assert not read().refuses(bot.pk, to_us(now()) + 10_000_000, "b" * 32)


def test_the_last_known_list_holds_while_redis_is_away(bot, stack):
    revoke.everything_of(bot.pk)
    denials = read()
    server = stack.servers["CELERY_BROKER_URL"]
    server.kill()
    try:
        assert denials.look() is False
        assert denials.refuses(bot.pk, 1, "")
    finally:
        server.start()


def test_entries_of_a_newer_version_are_passed_over(bot):
    limits_client().xadd(revocations.STREAM, {"v": "9", "device": "x"})
    limits_client().xadd(revocations.STREAM, {"v": "9", "user": "everybody", "before": "never", "more": "1"})
    revoke.everything_of(bot.pk)

    assert read().refuses(bot.pk, 1, "")


def test_a_process_that_publishes_late_or_twice_tells_all(bot, django_user_model):
    """Rows are found by what has not been told, not by their number: a transaction may commit after younger ones."""
    with transaction.atomic():
        django_user_model.objects.filter(pk=bot.pk).update(is_active=False)
        with ThreadPoolExecutor(1) as other:
            other.submit(_sign_out_beside, "c" * 32).result()
    revocations.publish()
    revocations.publish()

    denials = read()
    assert denials.refuses(bot.pk, 1, "")
    assert denials.refuses(0, 1, "c" * 32)
    assert not Revocation.objects.filter(is_published=False).exists()


def _sign_out_beside(session):
    try:
        revoke.session(session)
    finally:
        connection.close()


def test_what_changes_nothing_about_credentials_ends_none(bot):
    bot.first_name = "Bo"
    bot.save()
    get_user_model().objects.filter(pk=bot.pk).update(last_login=now(), email="bo@example.com", is_staff=True)
    assert Revocation.objects.count() == 0

    get_user_model().objects.filter(pk=bot.pk).update(is_staff=False)
    get_user_model().objects.filter(pk=bot.pk).update(password=make_password("other"))
    assert [row.user_id for row in Revocation.objects.all()] == [bot.pk, bot.pk]


def test_what_is_over_is_forgotten(bot):
    revoke.everything_of(bot.pk)
    Revocation.objects.update(at=now() - revocations.lifetime())
    revoke.session("d" * 32)

    revocations.sweep()

    assert [row.session for row in Revocation.objects.all()] == ["d" * 32]


@pytest.mark.parametrize("change", [{"is_active": False}, {"password": "another"}], ids=["blocked", "new password"])
def test_a_sign_in_that_overlaps_a_change_of_its_account_fails(bot, change):
    """The password was right and the change is not committed yet: the sign-in waits for it and sees it."""
    changed, may_commit = threading.Event(), threading.Event()

    def change_slowly():
        try:
            with transaction.atomic():
                get_user_model().objects.filter(pk=bot.pk).update(**change)
                changed.set()
                assert may_commit.wait(10)
        finally:
            connection.close()

    def sign_in():
        try:
            tokens.start(bot)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as both:
        first = both.submit(change_slowly)
        assert changed.wait(10)
        second = both.submit(sign_in)
        eventually(_somebody_waits_for_a_lock)
        may_commit.set()
        first.result()
        with pytest.raises(AccountEnded):
            second.result()
    assert TokenFamily.objects.count() == 0


def _somebody_waits_for_a_lock():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")
        return cursor.fetchone()[0]


def test_what_is_issued_lies_after_every_revocation_whatever_the_clocks_say(bot):
    ahead = now() + timedelta(seconds=30)
    Revocation.objects.create(user_id=bot.pk, at=ahead)

    with transaction.atomic():
        issued = issue_us(bot.pk)

    assert issued == to_us(ahead) + 1
    revocations.publish()
    assert not read().refuses(bot.pk, issued, "")
    assert read().refuses(bot.pk, issued - 2, "")
