"""Real servers, real workers, real HTTP."""

import itertools
import os
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import psutil
import pytest
import redis
from django.conf import settings
from django.core.management import call_command
from django.test import TransactionTestCase

from flashsale.core.clock import now
from flashsale.core.redis_client import gate_client
from flashsale.ratelimit.in_process import limiter, ruleset
from flashsale.stack.keep import LAUNCHER_PID
from flashsale.stack.servers import free_port
from inventory.admission import gate
from inventory.admission import keys as gate_keys
from payments.providers import signature
from tests.servers import STACK, shipped_addresses
from tests.tables import empty_tables

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
_STARTING = {"workers", "_web", "sweeper"}  # fixtures that start processes of the system


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if not _STARTING.isdisjoint(item.fixturenames):
            item.add_marker("slow")


def keep_asleep(item):
    """Nobody is woken for this item, whatever worker another test has left running; a claim ends it."""
    gate_client().hset(gate_keys.meta(item.pk), "awake_until", 9_999_999_999_999_999)


def open_gate(item):
    """Opens the gate of a new item, or waits for the sweeper that is at it already."""
    from tasks.repair import gate_sync

    gate_sync.refresh_gates([item])
    eventually(lambda: gate.versions([item])[item], what="the item's gate")


def eventually(condition, *, within=15.0, what=""):
    """Waits until ``condition()`` is true and returns its value."""
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {within} s: {what or condition}"
        time.sleep(0.02)


def asked(payment_ids, fresh=()):
    """The provider's answers about these payments, recorded by nobody."""
    from payments import services as payments

    return [answer for answers in payments.ask(payment_ids, fresh) for answer in answers]


def sandbox_signature(body, moment=None):
    """The header of a sandbox event."""
    secret = settings.PROVIDER_OPTIONS["sandbox"]["WEBHOOK_SECRET"]
    return signature.sign(body, int(time.time()) if moment is None else moment, secret)


@pytest.fixture
def stack():
    return STACK


@pytest.fixture(scope="session", autouse=True)
def _tables_emptied_by_us():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda _self: empty_tables())
        yield


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """The rules of a new installation, which are taken out of the database: a test makes those that it needs."""
    from flashsale.ratelimit.rules.models import LimitRule

    with django_db_blocker.unblock():
        rules = list(LimitRule.objects.order_by("pk"))
        LimitRule.objects.all().delete()
    return rules


@pytest.fixture
def shipped_rules(transactional_db, clean_redis, django_db_setup):
    """The rules that a new installation has, in force."""
    from flashsale.ratelimit.rules import publish
    from flashsale.ratelimit.rules.models import LimitRule

    LimitRule.objects.bulk_create(django_db_setup)
    publish.publish()
    return {rule.name: rule for rule in django_db_setup}


@pytest.fixture(autouse=True)
def clean_redis(request):
    """Every test starts with an empty gate and empty queues, and its tables are emptied when nobody uses them any more."""
    if not request.node.get_closest_marker("django_db"):
        yield
        return
    request.getfixturevalue("transactional_db")
    gate_client().flushall()
    from inventory import catalog

    _empty_queues()

    catalog.forget()
    yield
    looks = itertools.count(1)
    # What a dead worker held, or one that waits for a later moment, is not waited for; a task that runs has 0.1 s to show.
    eventually(lambda: _is_idle() and (not _messages_held() or next(looks) > 5), what="workers idle")
    _empty_queues()


def _messages_held():
    """How many messages workers hold, when nobody gets one any more."""
    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as broker:
        broker.delete(*settings.QUEUES)
        return broker.hlen("unacked")


def _empty_queues():
    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as broker:
        broker.delete(*settings.QUEUES, "unacked", "unacked_index", *broker.scan_iter("fs:*"))
    ruleset().forget()
    limiter().denied.forget()


def _is_idle():
    """No other session is inside a statement or a transaction, nor was a moment ago."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND (state <> 'idle' OR state_change > clock_timestamp() - interval '0.1 s')"
        )
        return cursor.fetchone()[0] == 0


def environment():
    from django.db import connection

    url = settings.DATABASES["default"]
    name = connection.settings_dict["NAME"]
    database = f"postgresql://{url['USER']}:{url['PASSWORD']}@{url['HOST']}:{url['PORT']}/{name}"
    return os.environ | shipped_addresses() | {"DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": "flashsale.settings.test"}


class Process:
    """A process of the system, with its log; ``variables``: what it gets beside the tests' environment."""

    def __init__(self, name, *command, **variables):
        self.log = Path(settings.STATIC_ROOT).parent / f"{name}-{time.time_ns()}.log"
        with self.log.open("wb") as log:
            self.popen = subprocess.Popen(
                [str(BIN / command[0]), *command[1:]],
                cwd=ROOT,
                env=environment() | variables,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def text(self):
        return self.log.read_text(errors="replace")

    def family(self):
        """It and all that it has started, from the top."""
        main = psutil.Process(self.popen.pid)
        return [main, *main.children(recursive=True)]

    def stop(self):
        """End it at once with all it has started; how long it would take to end in order is for the tests of that."""
        if self.popen.poll() is None and "COVERAGE_PROCESS_CONFIG" in os.environ:  # one that is killed reports no lines
            self.popen.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.popen.wait(15)
        if self.popen.poll() is None:
            family = self.family()
            for each in family:  # from the top, so that nobody starts another again
                with suppress(psutil.NoSuchProcess):
                    each.kill()
            self.popen.wait()
            eventually(lambda: not any(_is_alive(each) for each in family))

    def kill(self):
        """SIGKILL for the process and all it has forked."""
        os.killpg(self.popen.pid, 9)
        self.popen.wait()


def _is_alive(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE  # who reaps an orphan is not for us to say
    except psutil.NoSuchProcess:
        return False


def start_worker(name="test", queues=None, concurrency=2, kept=False):
    """A real worker; ``kept``: started again when it dies, as in the stack, and then not to be killed by a test."""
    return start_workers((name, queues or settings.QUEUES, concurrency), kept=kept)[0]


def start_workers(*wanted, kept=False):
    """Real workers that start at the same time; ``wanted``: of each its name, its queues and its concurrency."""
    launcher = {LAUNCHER_PID: str(os.getpid())} if kept else {}
    processes = [
        Process(name, *_worker_command(name, queues, concurrency, kept), **launcher) for name, queues, concurrency in wanted
    ]
    keys = {f"fs:workers:{queue}" for _, queues, _ in wanted for queue in queues}
    try:
        eventually(
            lambda: all(map(_takes_messages, processes)) and gate_client().exists(*keys) == len(keys),
            within=30,
            what=f"ready: {[process.log for process in processes]}",
        )
    except BaseException:
        for process in processes:
            process.stop()
        raise
    return processes


def _takes_messages(worker):
    """Whether its event loop runs: the last thing that it does for that is to listen to what is said to all workers."""
    try:
        ports = {each.laddr.port for one in worker.family() for each in one.net_connections("tcp")}
    except psutil.Error:  # one of them has just ended
        return False
    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as broker:
        listening = {int(client["addr"].rpartition(":")[2]) for client in broker.client_list(_type="pubsub")}
    return not ports.isdisjoint(listening)


def _worker_command(name, queues, concurrency, kept):
    options = ("-n", f"{name}@%h", "-Q", ",".join(queues), "-c", str(concurrency), "-l", "WARNING")
    command = ("celery", "-A", "flashsale", "worker", *options, "--without-gossip", "--without-mingle")
    if kept:
        return "python", "-m", "flashsale.stack", "keep", "--", str(BIN / "celery"), *command[1:]
    return command


@contextmanager
def running(*processes):
    """Yields the first, and ends all."""
    try:
        yield processes[0]
    finally:
        for process in processes:
            process.stop()


class KeptWorker:
    """The worker that the tests of a file share: started by the first that wants it, ended by one that wants none."""

    def __init__(self):
        self.process = None

    def start(self):
        if self.process is None:
            self.process = start_worker(kept=True)
        return self.process

    def stop(self):
        if self.process is not None:
            self.process.stop()
            self.process = None


@pytest.fixture(scope="module")
def _kept_worker(django_db_setup, django_db_blocker):
    kept = KeptWorker()
    yield kept
    kept.stop()


@pytest.fixture
def workers(transactional_db, clean_redis, _kept_worker):
    """A real worker of all queues."""
    return _kept_worker.start()


@pytest.fixture
def no_workers(transactional_db, clean_redis, _kept_worker):
    """No worker but those that the test starts."""
    _kept_worker.stop()


@pytest.fixture
def sweeper(transactional_db, clean_redis):
    """A real process of sweeps."""
    with running(Process("sweeper", "python", "manage.py", "sweep")) as process:
        yield process


@pytest.fixture(scope="session")
def _web(django_db_setup, django_db_blocker):
    call_command("collectstatic", interactive=False, verbosity=0)  # what is not there at its start is not served
    port = free_port()
    with django_db_blocker.unblock():
        process = Process(
            "web",
            "granian",
            *(
                "--interface",
                "asginl",
                "--loop",
                "uvloop",
                "--runtime-mode",
                "st",
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
                "--workers",
                "1",
            ),
            *("--no-ws", "--log-level", "warning", "flashsale.asgi:application"),
            CATALOG_TTL_S="0.1",  # a test ends with 0.1 s of silence: what is remembered of its sales is over then
        )
    with running(process):
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: _answers(f"{url}/health/live"), within=30, what=f"web ready: {process.log}")
        yield url


def _answers(url):
    import urllib.error
    import urllib.request

    try:
        return urllib.request.urlopen(url, timeout=1).status == 200
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture
def live_url(transactional_db, clean_redis, _web):
    """The address of a real web process."""
    return _web


@pytest.fixture
def customers(django_user_model):
    """Makes N customers."""

    def make(count=1, prefix="c"):
        model = django_user_model
        model.objects.bulk_create([model(username=f"{prefix}{n}", password="!") for n in range(count)])
        return list(model.objects.filter(username__in=[f"{prefix}{n}" for n in range(count)]).order_by("pk"))

    return make


@pytest.fixture
def customer(customers):
    return customers(1, "solo")[0]


@pytest.fixture
def make_item():
    """Makes a sale with one item and opens its gate."""

    def make(
        units=10,
        *,
        slug="drop",
        sku="thing",
        price="10.00",
        per_customer=1,
        window_s=600,
        opens_in_s=-60,
        closes_in_s=3600,
        room=None,
    ):
        from inventory import services

        sale = services.create_sale(
            slug=slug,
            name=slug,
            opens_at=now() + timedelta(seconds=opens_in_s),
            closes_at=now() + timedelta(seconds=closes_in_s),
            payment_window=timedelta(seconds=window_s),
            waiting_room_rate=room,
        )
        item = services.add_item(sale=sale, sku=sku, name=sku, units=units, price=Decimal(price), per_customer=per_customer)
        open_gate(item.pk)
        return item

    return make


@pytest.fixture
def order(make_item):
    """Admits an order the way the API does, wake-up included unless told otherwise."""
    from orders import placement

    counter = iter(range(1_000_000))

    def place(item, customer, *, units=1, token=None, source="shop", seq=None, method="pm_ok", sku=None):
        token = token or gate.issue_token(item.pk, customer.pk).token
        request = placement.OrderRequest(
            token=token,
            sku=sku or item.product.sku,
            quantity=units,
            source=source,
            seq=seq or f"seq-{next(counter)}",
            payment_method=method,
        )
        return placement.place_order(customer.pk, request)

    return place


@pytest.fixture
def api(customer):
    """A client that is signed in as ``customer`` by a JWT."""
    return client_of(customer)


def client_of(user):
    from rest_framework.test import APIClient
    from rest_framework_simplejwt.tokens import AccessToken

    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {AccessToken.for_user(user)}")
    return client
