"""http steps: what is asked for, and what an answer means. Given a workflow and what came back, what a user sees."""

from datetime import timedelta
from typing import Any

import pytest

from backstay.engine.model import Fault
from tests.support.world import World

CHARGE = "https://pay.example.com/charges"


def answered(
    world: World, path: str = "a", status: int = 200, body: Any = None, *, headers: dict[str, str] | None = None, **more: Any
) -> World:
    """The server answers."""
    pause = more.pop("retry_after_seconds", None)
    return world.answer(path, {"status": status, "headers": headers or {}, "body": body, **more}, retry_after_seconds=pause)


def one(http: str, *, params: dict[str, Any] | None = None, more: str = "", after: str = "") -> World:
    names = "".join(f"{{name: {name}}}, " for name in params or {})
    return World(f"parameters: [{names}]\nsteps:\n- {{name: a, http: {http}{more}}}\n{after}", params or {})


def error(world: World) -> tuple[str, str]:
    fault = world.step("a").error
    assert fault is not None
    return fault.type, fault.detail


# ---------------------------------------------------------------------------------------------------------------- what is asked for


def test_a_request_stands_resolved_in_the_status_before_it_is_made() -> None:
    http = f"""{{method: POST, url: "{CHARGE}", query: {{dry: "${{ params.dry }}", tag: [a, "b c"], none: null}},
      headers: [{{name: X-Order, value: "${{ params.order }}"}}, {{name: Authorization, prefix: "Bearer ", valueFrom: {{secretKeyRef: {{name: pay, key: token}}}}}}],
      body: {{order: "${{ params.order }}", amount: "${{ params.amount }}"}}}}"""
    world = one(http, params={"dry": True, "order": 17, "amount": 12.5})
    (call,) = world.called
    assert call.inputs == {
        "method": "POST",
        "url": f"{CHARGE}?dry=true&tag=a&tag=b+c",
        "followRedirects": 0,
        "idempotencyHeader": "Idempotency-Key",
        "limitSeconds": 60.0,
        "headers": [
            {"name": "X-Order", "value": "17"},
            {"name": "Authorization", "secret": {"name": "pay", "key": "token"}, "prefix": "Bearer "},
        ],
        "json": {"order": 17, "amount": 12.5},
    }
    assert world.status["steps"][-1]["inputs"] == call.inputs


URLS = [
    ("https://api.example.com/orders/${ params.id }", "a-17", "https://api.example.com/orders/a-17"),
    ("https://api.example.com/orders/${ params.id }", "../admin?x=1#y", "https://api.example.com/orders/..%2Fadmin%3Fx%3D1%23y"),
    ("https://api.example.com/orders/${ params.id }/lines", 17, "https://api.example.com/orders/17/lines"),
    ("https://${ params.id }.example.com/", "evil.example/", "https://evil.example%2F.example.com/"),
    ("${ params.id }/orders", "https://api.example.com", "https://api.example.com/orders"),
    ("${ params.id }", "https://api.example.com/a/b?c=d", "https://api.example.com/a/b?c=d"),
    ('${ "https://api.example.com/" + params.id }', "a/b", "https://api.example.com/a/b"),
]


@pytest.mark.parametrize(("url", "value", "expected"), URLS)
def test_what_a_run_puts_into_a_url_stays_one_part_of_it(url: str, value: Any, expected: str) -> None:
    assert one(f"{{url: '{url}'}}", params={"id": value}).called[0].inputs["url"] == expected


@pytest.mark.parametrize("value", [".", ".."])
def test_dots_that_mean_another_place_are_no_part_of_a_url(value: str) -> None:
    world = one('{url: "https://api.example.com/orders/${ params.id }"}', params={"id": value})
    assert (world.phase, error(world)[0], world.called) == ("Failed", "ExpressionError", [])


def test_a_query_goes_before_the_fragment_and_after_what_is_there() -> None:
    world = one('{url: "https://api.example.com/?a=1#top", query: {b: 2}}')
    assert world.called[0].inputs["url"] == "https://api.example.com/?a=1&b=2#top"


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        ("plain text", {"text": "plain text"}),
        ('"${ params.x }"', {"json": {"deep": [1]}}),
        ('"x=${ params.x }"', {"text": 'x={"deep":[1]}'}),
        ("[1, 2]", {"json": [1, 2]}),
        ("null", {}),
        ("false", {"json": False}),
    ],
)
def test_a_body_is_text_or_json_as_it_is(body: str, sent: dict[str, Any]) -> None:
    inputs = one(f"{{method: POST, url: '{CHARGE}', body: {body}}}", params={"x": {"deep": [1]}}).called[0].inputs
    assert {name: inputs[name] for name in ("text", "json") if name in inputs} == sent


def test_an_attempt_takes_a_minute_unless_its_timeout_says_otherwise() -> None:
    assert one(f"{{url: '{CHARGE}'}}", more=", attemptTimeout: 5s").called[0].inputs["limitSeconds"] == 5.0


# ------------------------------------------------------------------------------------------------------------ what an answer means


def test_status_and_body_are_kept_and_seen_by_later_steps() -> None:
    world = one(f"{{url: '{CHARGE}'}}", after='- {name: b, set: {id: "${ steps.a.outputs.body.id + 1 }"}}')
    answered(world, body={"id": 41})
    assert (world.phase, world.step("a").outputs, world.status["vars"]) == ("Succeeded", {"status": 200, "body": {"id": 41}}, {"id": 42})
    assert world.step("a").inputs is None
    assert world.writes == 2


@pytest.mark.parametrize(
    ("output", "kept"),
    [
        (
            '{id: "${ response.body.id }", tag: "${ response.headers.etag }", code: "${ response.status }"}',
            {"id": 7, "tag": "x1", "code": 201},
        ),
        ('"${ response.body.nested }"', {"a": 1}),
        ('{both: "${ params.who }-${ string(response.body.id) }"}', {"both": "me-7"}),
        ("None", {"status": 201}),
    ],
)
def test_output_picks_what_is_kept(output: str, kept: Any) -> None:
    world = one(f"{{url: '{CHARGE}', output: {output}}}", params={"who": "me"})
    answered(world, status=201, body={"id": 7, "nested": {"a": 1}, "rest": "x" * 50_000}, headers={"etag": "x1"})
    assert world.step("a").outputs == kept


def test_what_is_too_large_to_be_kept_says_how_to_keep_a_part() -> None:
    world = answered(one(f"{{url: '{CHARGE}'}}"), body={"rest": "x" * 5000})
    assert error(world) == (
        "InvalidOutput",
        "what is kept of the answer takes 5,033 bytes of at most 4,095; keep a part of it with output, as in {id: ${ response.body.id }}, or nothing with output: None",
    )


def test_an_output_that_is_no_object_says_what_it_is() -> None:
    kind, detail = error(answered(one(f"{{url: '{CHARGE}', output: '${{ response.body }}'}}"), body=[1, 2]))
    assert (kind, "gives a list of 2 and must give an object" in detail) == ("InvalidOutput", True)


def test_a_body_that_could_not_be_read_matters_only_where_it_is_wanted() -> None:
    unread = {"unread": "it is larger than 262,144 bytes"}
    kind, detail = error(answered(one(f"{{url: '{CHARGE}'}}"), **unread))
    assert (kind, detail) == (
        "InvalidOutput",
        "the body of the answer cannot be taken: it is larger than 262,144 bytes; write output: None if it is not wanted",
    )
    assert answered(one(f"{{url: '{CHARGE}', output: None}}"), **unread).phase == "Succeeded"


def test_an_output_that_asks_for_what_is_not_there_is_an_expression_error() -> None:
    kind, detail = error(answered(one(f"{{url: '{CHARGE}', output: {{id: '${{ response.body.id }}'}}}}"), body={"name": "x"}))
    assert (kind, "id" in detail) == ("ExpressionError", True)


STATUSES = [
    ("[2xx]", 200, ""),
    ("[2xx]", 299, ""),
    ("[2xx]", 301, "HttpStatus"),
    ("[2xx]", 404, "HttpStatus"),
    ("[2xx, 404]", 404, ""),
    ('["200-204"]', 204, ""),
    ('["200-204"]', 205, "HttpStatus"),
    ("[204]", 200, "HttpStatus"),
    ("[2xx]", 408, "HttpUnavailable"),
    ("[2xx]", 425, "HttpUnavailable"),
    ("[2xx]", 429, "HttpUnavailable"),
    ("[2xx]", 500, "HttpUnavailable"),
    ("[2xx]", 503, "HttpUnavailable"),
    ("[5xx]", 503, ""),
    ("[2xx]", 402, "HttpStatus"),
]


@pytest.mark.parametrize(("expect", "status", "expected"), STATUSES)
def test_which_statuses_are_a_success_which_pass_and_which_do_not(expect: str, status: int, expected: str) -> None:
    world = answered(one(f"{{url: '{CHARGE}', expect: {expect}}}"), status=status)
    assert (world.phase, world.step("a").error.type if world.step("a").error else "") == ("Failed" if expected else "Succeeded", expected)


def test_an_error_shows_what_was_asked_without_the_query_and_how_the_answer_begins() -> None:
    world = one(f"{{method: POST, url: '{CHARGE}?key=geheim'}}")
    answered(world, status=404, body="no such thing", excerpt="no such thing")
    assert error(world) == ("HttpStatus", f"POST {CHARGE}?… was answered with 404 Not Found: no such thing")


def test_a_redirect_that_is_not_followed_says_so() -> None:
    world = answered(one(f"{{url: '{CHARGE}'}}"), status=308, headers={"location": "https://new.example.com/"})
    assert error(world)[1].endswith("308 Permanent Redirect; it redirects to https://new.example.com/, see followRedirects")


DECLINED = """{method: POST, url: "https://pay.example.com/charges", errors: [
  {when: "${ response.status == 402 && response.body.code == 'declined' }", error: CardDeclined, message: "declined: ${ response.body.why }"},
  {when: "${ response.body.ok == false }", error: NotOk}]}"""


def test_an_answer_may_be_an_error_of_the_business() -> None:
    world = one(
        DECLINED,
        more=", retry: {errors: [Transient]}, catch: [{errors: [CardDeclined], steps: [{name: say, set: {why: '${ error.detail }'}}]}]",
    )
    answered(world, status=402, body={"code": "declined", "why": "no money"})
    assert (world.phase, world.status["vars"]) == ("Succeeded", {"why": "declined: no money"})


def test_an_answer_whose_status_is_fine_may_be_an_error_all_the_same() -> None:
    assert error(answered(one(DECLINED), body={"ok": False})) == ("NotOk", "POST https://pay.example.com/charges was answered with 200 OK")


def test_a_condition_that_cannot_be_looked_at_hides_no_failure_that_passes() -> None:
    world = answered(one(DECLINED), status=502, body="<html>bad gateway</html>", excerpt="<html>bad gateway</html>")
    assert error(world)[0] == "HttpUnavailable"


def test_a_condition_that_cannot_be_looked_at_in_a_success_is_told() -> None:
    kind, detail = error(answered(one(DECLINED), status=200, body="fine"))
    assert (kind, detail.startswith("errors[1]: ")) == ("ExpressionError", True)


# -------------------------------------------------------------------------------------------------------------------- over time


RETRY = ", retry: {maxAttempts: 3, interval: 1s, jitter: None, errors: [Transient]}"


def test_a_busy_server_is_left_alone_as_long_as_it_asks() -> None:
    world = one(f"{{url: '{CHARGE}'}}", more=RETRY)
    answered(world, status=429, retry_after_seconds=30.0)
    assert world.step("a").due_at == world.now + timedelta(seconds=30)
    world.pass_time("29s")
    assert len(world.called) == 1
    world.pass_time("2s")
    assert [call.attempt for call in world.called] == [1, 2]
    answered(world, body="ok")
    assert world.phase == "Succeeded"


def test_an_answer_is_forgotten_as_soon_as_it_is_written_what_it_came_to() -> None:
    world = one(f"{{url: '{CHARGE}'}}", more=RETRY)
    answered(world, status=429, retry_after_seconds=3600.0)
    assert (str(world.step("a").phase), world.calls) == ("Retrying", {})


def test_a_server_that_asks_for_less_than_the_policy_gets_the_policy() -> None:
    world = one(f"{{url: '{CHARGE}'}}", more=RETRY)
    answered(world, status=503, retry_after_seconds=0.0)
    assert world.step("a").due_at == world.now + timedelta(seconds=1)


def test_an_error_of_the_client_is_not_tried_again() -> None:
    world = answered(one(f"{{url: '{CHARGE}'}}", more=RETRY), status=400)
    assert (world.phase, len(world.called)) == ("Failed", 1)


def test_a_call_whose_operator_died_is_made_again_as_the_same_attempt() -> None:
    world = one(f"{{method: POST, url: '{CHARGE}'}}")
    world.restart()
    first, again = world.called
    assert (first.name, first.attempt, first.inputs) == (again.name, again.attempt, again.inputs)
    assert answered(world).phase == "Succeeded"


def test_a_call_that_takes_too_long_is_ended_and_its_attempt_fails() -> None:
    world = one(f"{{url: '{CHARGE}'}}", more=", attemptTimeout: 10s")
    world.pass_time("11s")
    assert (world.phase, error(world)[0], world.calls) == ("Failed", "Timeout", {})


def test_a_call_that_nobody_wants_any_more_is_ended() -> None:
    world = one(f"{{url: '{CHARGE}'}}").wants(cancel=True)
    assert (world.phase, world.calls, world.step("a").phase) == ("Cancelled", {}, "Cancelled")


def test_what_the_executor_says_is_an_error_as_it_is() -> None:
    world = one(f"{{url: '{CHARGE}'}}")
    world.answer("a", fault=Fault("HostForbidden", "The host may not be called", "no"))
    assert (world.phase, error(world)) == ("Failed", ("HostForbidden", "no"))


def test_a_request_can_undo_what_a_request_did() -> None:
    undo = f", compensate: {{http: {{method: DELETE, url: '{CHARGE}/${{ self.outputs.body.id }}', expect: [2xx, 404]}}}}"
    world = one(f"{{method: POST, url: '{CHARGE}'}}", more=undo, after="- {name: b, fail: {error: Late}}")
    answered(world, body={"id": "c/1"})
    assert (world.phase, world.called[-1].inputs["url"]) == ("Compensating", f"{CHARGE}/c%2F1")
    answered(world, "a:compensate", status=404)
    assert (world.phase, world.step("a").phase) == ("Failed", "Compensated")


def test_too_much_to_send_is_told_before_it_is_sent() -> None:
    world = one(f"{{method: POST, url: '{CHARGE}', body: '${{ params.x }}'}}", params={"x": "x" * 140_000})
    assert (error(world)[0], world.called) == ("LimitExceeded", [])
