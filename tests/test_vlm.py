"""Labels from a vision-language model, against a local server that misbehaves in every way."""

from __future__ import annotations

import json
import sys

import pytest
from vlm_server import Script, Server, completion

from semtta.config import LabelsConfig
from semtta.errors import SemttaError
from semtta.labels.cache import AnswerCache
from semtta.labels.strips import Segment, Strip
from semtta.labels.vlm import Asker, label_strips

pytest.importorskip("openai")

NAMES = ("walk", "run", "sit on a chair")
WALK = json.dumps({"description": "walks", "label": "walk", "confidence": 0.9})
YES, NO = '{"answer": "yes"}', '{"answer": "no"}'


def strips(count=1):
    return [
        Strip(
            Segment(1, 60 * i, 60 * i + 60, (2.0 * i, 2.0 * i + 2)), (0,), bytes([255, i]), (8, 8)
        )
        for i in range(count)
    ]


def nearest(text):
    return ("run", 0.9) if "jog" in text else ("walk", 0.1)


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """serve(*steps, **settings) -> (outcome, script, asker, naps), answers cached in tmp_path."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def call(*steps, count=1, cache=None, **settings):
        script, naps = Script(*steps), []
        with Server(script) as server:
            given = {"model": "m", "timeout": 5.0, "retries": 2} | settings
            config = LabelsConfig(base_url=server.url, **given)
            asker = Asker(config, cache or AnswerCache(tmp_path / "answers"), naps.append)
            outcome = label_strips(strips(count), NAMES, asker, nearest)
        return outcome, script, asker, naps

    return call


def test_a_server_that_honours_the_schema(serve):
    outcome, script, asker, _ = serve(WALK, YES)
    (span,) = outcome.spans
    assert (span.text, span.start, span.end, span.track) == ("walk", 0, 60, 1)
    assert (span.source, span.confidence) == ("m", 0.9)
    first, second = script.requests
    schema = first["response_format"]["json_schema"]
    assert schema["strict"] and schema["schema"]["properties"]["label"]["enum"] == [*NAMES, "other"]
    assert schema["schema"]["additionalProperties"] is False
    image = first["messages"][1]["content"][1]["image_url"]["url"]
    assert image.startswith("data:image/jpeg;base64,")
    # The second question is a conversation of its own and knows nothing of the first answer.
    assert len(second["messages"]) == 2 and '"walk"' in second["messages"][1]["content"][0]["text"]
    assert (asker.usage.requests, asker.usage.read, asker.usage.written) == (2, 200, 20)
    assert asker.usage.cost([1.0, 10.0]) == pytest.approx(400e-6)


def test_a_doubted_label_keeps_its_text_and_loses_confidence(serve):
    sure = serve(WALK, YES)[0].spans[0].confidence
    denied = serve(WALK, NO, model="n")[0].spans[0]
    unsure = serve(WALK, "hm", model="o")[0].spans[0].confidence
    assert denied.text == "walk" and denied.confidence < unsure < sure


@pytest.mark.parametrize(
    ("said", "text", "sure"),
    [
        ("walk", "walk", True),
        ("Walk.", "walk", True),
        ("```json\n" + WALK + "\n```", "walk", True),
        ("The person is going for a run.", "run", True),
        ('{"label": "JOGGING", "confidence": 1}', "run", True),
        ('{"label": "run", "confidence": "high"}', "run", True),
        ('{"label": "other", "description": "juggles", "confidence": 1}', "juggles", False),
        ('{"label": "flying", "confidence": 1}', "other", False),
        ('{"label": null}', "other", False),
        ("{{{ not json", "other", False),
        ("I cannot help with that request.", "other", False),
        ("", "other", False),
    ],
)
def test_servers_that_ignore_the_schema(serve, said, text, sure):
    span = serve(said, YES)[0].spans[0]
    assert span.text == text and (span.confidence > 0) == sure


def test_a_refusal_is_other(serve):
    outcome, script, *_ = serve({"body": completion(None, refusal="no")})
    assert outcome.spans[0].text == "other" and outcome.spans[0].confidence == 0
    assert len(script.requests) == 1  # nothing to verify


def test_the_second_run_asks_nothing(serve, tmp_path):
    cache = AnswerCache(tmp_path / "kept")
    script = Script(WALK, YES, WALK, YES)
    with Server(script) as server:
        config = LabelsConfig(base_url=server.url, model="m")
        first = label_strips(strips(2), NAMES, Asker(config, cache), nearest)
        asker = Asker(config, cache)
        second = label_strips(strips(2), NAMES, asker, nearest)
        other = Asker(LabelsConfig(base_url=server.url, model="another"), cache)
        assert other.cache.get(other.key(*_question())) is None
    assert first.spans == second.spans and len(script.requests) == 4
    assert (asker.usage.requests, asker.usage.from_cache) == (0, 4)


def _question():
    from semtta.labels.questions import label_question

    return label_question(NAMES), strips()[0].jpeg


def test_a_damaged_cache_is_asked_again(serve, tmp_path):
    cache = AnswerCache(tmp_path / "answers")
    cache.put("ab", "x")
    (path,) = (tmp_path / "answers").rglob("*.json")
    path.write_text('{"ans')
    assert cache.get("ab") is None
    cache.put("ab", "y")
    assert cache.get("ab") == "y"
    assert [p.name for p in (tmp_path / "answers" / "ab").iterdir()] == ["ab.json"]


def test_a_429_is_waited_for_as_long_as_the_server_says(serve):
    busy = {"status": 429, "headers": {"retry-after": "7"}, "body": {"error": {"message": "slow"}}}
    outcome, script, asker, naps = serve(busy, WALK, YES)
    assert outcome.spans[0].text == "walk" and naps == [7.0] and asker.usage.requests == 3


def test_a_pause_of_an_hour_is_not_waited_for(serve):
    busy = {"status": 429, "headers": {"retry-after": "3600"}, "body": {}}
    outcome, _, _, naps = serve(busy)
    assert not outcome.spans and "3600" in outcome.stopped and naps == []


def test_a_spent_quota_ends_the_run(serve):
    body = {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}
    outcome, script, *_ = serve({"status": 429, "body": body}, count=3)
    assert "quota" in outcome.stopped and len(script.requests) == 1


def test_500s_are_retried_with_growing_pauses(serve):
    down = {"status": 500, "body": {"error": {"message": "oops"}}}
    outcome, _, _, naps = serve(down, down, WALK, YES)
    assert outcome.spans[0].text == "walk"
    assert len(naps) == 2 and 0 < naps[0] < naps[1]


def test_one_segment_without_answer_does_not_stop_the_others(serve):
    down = {"status": 503, "body": {"error": {"message": "oops"}}}
    outcome, *_ = serve(WALK, YES, down, down, down, WALK, YES, count=3)
    assert [span.start for span in outcome.spans] == [0, 120]
    assert [number for number, _ in outcome.unanswered] == [2] and outcome.stopped is None


def test_a_dead_server_is_given_up_after_three_segments(serve):
    outcome, script, *_ = serve({"status": 500, "body": {}}, count=9, retries=1)
    assert not outcome.spans and "in a row" in outcome.stopped and len(script.requests) == 6


def test_disconnects_and_garbage_are_retried(serve):
    outcome, _, _, naps = serve(
        {"hang_up": True}, {"raw": "<html>no</html>", "type": "text/html"},
        {"raw": '{"choices": ', "type": "application/json"}, {"body": {"choices": []}}, WALK, YES,
        retries=4,
    )  # fmt: skip
    assert outcome.spans[0].text == "walk" and len(naps) == 4


def test_timeouts_are_retried_and_slow_answers_are_waited_for(serve):
    slow, too_slow = ({"content": WALK, "wait": wait} for wait in (0.2, 1.5))
    outcome, _, _, naps = serve(too_slow, slow, YES, timeout=0.6)
    assert outcome.spans[0].text == "walk" and len(naps) == 1


def test_nobody_listens(tmp_path):
    config = LabelsConfig(base_url="http://127.0.0.1:9/v1", model="m", retries=1)
    naps = []
    outcome = label_strips(
        strips(), NAMES, Asker(config, AnswerCache(tmp_path), naps.append), nearest
    )
    assert not outcome.spans and len(naps) == 1 and outcome.unanswered


def test_a_server_without_schemas_or_temperature_is_asked_without(serve):
    def picky(request):
        if "response_format" in request:
            return {"status": 400, "body": {"error": {"message": "unknown response_format"}}}
        if "temperature" in request:
            return {"status": 400, "body": {"error": {"message": "temperature must be 1"}}}
        return YES if "Somebody else" in request["messages"][1]["content"][0]["text"] else WALK

    outcome, script, *_ = serve(picky, count=2)
    assert [span.confidence for span in outcome.spans] == [0.9, 0.9]
    assert len(script.requests) == 2 + 4  # found out once


def test_the_budget_counts_retries_and_keeps_what_was_answered(serve):
    down = {"status": 500, "body": {}}
    outcome, script, *_ = serve(down, WALK, YES, WALK, YES, count=5, max_requests=4)
    assert len(outcome.spans) == 1 and "budget of 4" in outcome.stopped
    assert len(script.requests) == 4


def test_ctrl_c_keeps_what_was_answered(serve, tmp_path):
    script = Script(WALK, YES)
    with Server(script) as server:
        config = LabelsConfig(base_url=server.url, model="m")
        asker = Asker(config, AnswerCache(tmp_path / "a"))

        def stop(done, total):
            asker._once = lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt)

        outcome = label_strips(strips(3), NAMES, asker, nearest, stop)
    assert outcome.interrupted and len(outcome.spans) == 1


@pytest.mark.parametrize(
    ("status", "words"), [(401, "refuses the key"), (403, "refuses the key"), (404, "no model")]
)
def test_a_server_that_cannot_be_used_is_one_sentence(serve, status, words):
    with pytest.raises(SemttaError, match=words):
        serve({"status": status, "body": {"error": {"message": "go away"}}})


def test_what_is_missing_is_said_before_anything_is_sent(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(SemttaError, match="no key in the environment variable OPENAI_API_KEY"):
        Asker(LabelsConfig(model="m"))
    with pytest.raises(SemttaError, match="--model"):
        Asker(LabelsConfig(base_url="http://127.0.0.1:9/v1"))
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(SemttaError, match=r"semtta\[vlm\]"):
        Asker(LabelsConfig(model="m", base_url="http://127.0.0.1:9/v1"))


def test_a_key_goes_to_the_server_it_is_meant_for(serve, monkeypatch):
    _, script, *_ = serve(WALK, YES)
    assert script.keys[0] == "Bearer none"
    monkeypatch.setenv("MY_KEY", "secret")
    _, script, *_ = serve(WALK, YES, api_key_env="MY_KEY", model="n")
    assert script.keys[0] == "Bearer secret"
