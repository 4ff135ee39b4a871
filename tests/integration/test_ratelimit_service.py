"""The RPC service over real gRPC, in Envoy's protocol."""

import signal
import subprocess

import grpc
import pytest
from envoy.extensions.common.ratelimit.v3.ratelimit_pb2 import RateLimitDescriptor
from envoy.service.ratelimit.v3 import rls_pb2, rls_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from flashsale.ratelimit.rules import services
from flashsale.ratelimit.rules.models import LimitRule
from flashsale.ratelimit.service.client import RateLimitClient
from flashsale.stack.servers import free_port
from tests.conftest import Process, eventually, running

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
OK, OVER = rls_pb2.RateLimitResponse.OK, rls_pb2.RateLimitResponse.OVER_LIMIT


@pytest.fixture(scope="module")
def _service(django_db_setup, django_db_blocker):
    port = free_port()
    with django_db_blocker.unblock():
        process = Process("ratelimit", "python", "manage.py", "ratelimit_service", "--port", str(port))
    with running(process):
        eventually(lambda: health(f"127.0.0.1:{port}"), within=30, what=process.log)
        yield f"127.0.0.1:{port}"


def health(address):
    with grpc.insecure_channel(address) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=1)
        except grpc.RpcError:
            return False
        return answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.fixture
def service(clean_redis, _service):
    return _service


@pytest.fixture
def make_rule(service):
    def make(**changes):
        fields = {"name": "gate", "applies_to": "gateway", "key": "address", "algorithm": "token_bucket", "burst": 3}
        rule = LimitRule(**{**fields, "rate": 1, "window_ms": 60_000, **changes})
        services.save_rule(rule, actor="test")
        probe = [("remote_address" if rule.key == "address" else "generic_key", f"probe-{rule.name}"), ("rule", rule.name)]
        policy = f'"{rule.name}";q={rule.burst};'
        # In force once the service tells it.
        eventually(lambda: policy in said(ask(service, [probe], hits=1)).get("ratelimit-policy", ""), within=2)
        return rule

    return make


def ask(address, descriptors, *, hits=0, domain="flashsale"):
    request = rls_pb2.RateLimitRequest(domain=domain, hits_addend=hits)
    for entries in descriptors:
        request.descriptors.append(
            RateLimitDescriptor(entries=[RateLimitDescriptor.Entry(key=key, value=value) for key, value in entries])
        )
    with grpc.insecure_channel(address) as channel:
        return rls_pb2_grpc.RateLimitServiceStub(channel).ShouldRateLimit(request, timeout=5)


def said(answer):
    return {header.key: header.value for header in answer.response_headers_to_add}


def test_an_address_over_its_limit_is_refused_and_another_is_not(service, make_rule):
    make_rule()

    answers = [ask(service, [[("remote_address", "198.51.100.1")]]) for _ in range(4)]

    assert [answer.overall_code for answer in answers] == [OK, OK, OK, OVER]
    assert [answer.statuses[0].limit_remaining for answer in answers] == [2, 1, 0, 0]
    refused = answers[3]
    assert said(refused)["retry-after"] == "60"
    assert said(refused)["ratelimit-policy"] == '"gate";q=3;w=180'
    assert refused.statuses[0].current_limit.unit == rls_pb2.RateLimitResponse.RateLimit.MINUTE
    assert refused.statuses[0].duration_until_reset.seconds == 60
    assert ask(service, [[("remote_address", "198.51.100.2")]]).overall_code == OK


def test_hits_are_counted_all_or_nothing(service, make_rule):
    make_rule()

    codes = [ask(service, [[("remote_address", "a")]], hits=hits).overall_code for hits in (2, 2, 1)]

    assert codes == [OK, OVER, OK]


def test_a_refused_descriptor_charges_no_other_and_each_has_its_status(service, make_rule):
    make_rule(burst=1)
    make_rule(name="all", key="all", burst=100)
    both = [[("remote_address", "a")], [("generic_key", "gateway")], [("unknown", "x")]]

    first, second = ask(service, both), ask(service, both)

    assert [one.code for one in first.statuses] == [OK, OK, OK]
    assert (second.overall_code, [one.code for one in second.statuses]) == (OVER, [OVER, OK, OK])
    assert ask(service, [[("generic_key", "gateway")]]).statuses[0].limit_remaining == 97  # the probe, the first, this one


def test_what_has_no_rule_passes(service, make_rule):
    make_rule(burst=1)

    assert all(ask(service, [[("remote_address", "a")]], domain="other").overall_code == OK for _ in range(3))
    assert ask(service, []).overall_code == OK
    with pytest.raises(grpc.RpcError, match="more than 32"):
        ask(service, [[("remote_address", str(number))] for number in range(33)])


def test_the_client_says_what_the_service_says(service, make_rule):
    make_rule()
    client = RateLimitClient(service, timeout_s=5)

    permissions = [client.should_pass([[("remote_address", "client")]]) for _ in range(4)]
    client.close()

    assert [permission.allowed for permission in permissions] == [True, True, True, False]
    assert permissions[3].headers["retry-after"] == "60"


def test_reflection_names_the_service(service):
    with grpc.insecure_channel(service) as channel:
        names = ProtoReflectionDescriptorDatabase(channel).get_services()

    assert "envoy.service.ratelimit.v3.RateLimitService" in list(names)


def test_at_sigterm_it_says_so_first_answers_on_and_then_ends_by_itself():
    port = free_port()
    process = Process("ratelimit-once", "python", "manage.py", "ratelimit_service", "--port", str(port))
    address = f"127.0.0.1:{port}"
    eventually(lambda: health(address), within=30)

    with grpc.insecure_channel(address) as channel:
        checks, stub = health_pb2_grpc.HealthStub(channel), rls_pb2_grpc.RateLimitServiceStub(channel)
        process.popen.send_signal(signal.SIGTERM)
        question = health_pb2.HealthCheckRequest()
        eventually(lambda: checks.Check(question, timeout=1).status == health_pb2.HealthCheckResponse.NOT_SERVING, within=2)
        answers = [stub.ShouldRateLimit(rls_pb2.RateLimitRequest(domain="flashsale"), timeout=1) for _ in range(50)]

    assert [answer.overall_code for answer in answers] == [OK] * 50
    assert process.popen.wait(10) == 0


def test_a_port_in_use_is_one_clear_line(service):
    port = service.rpartition(":")[2]
    process = Process("ratelimit-twice", "python", "manage.py", "ratelimit_service", "--port", port)

    assert process.popen.wait(20) == 1
    assert port in process.text().strip().splitlines()[-1]
    assert isinstance(process.popen, subprocess.Popen)
