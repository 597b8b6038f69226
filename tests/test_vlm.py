"""Labels from a vision-language model, against a local server that misbehaves in every way."""

from __future__ import annotations

import json
import re
import sys
import time
from email.utils import formatdate

import cv2
import numpy as np
import pytest
from hostile import flipped, hostile
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner
from vlm_server import Script, Server, completion, write_two_people

from semtta.cli import app
from semtta.config_schema import LabelsConfig
from semtta.errors import SemttaError
from semtta.labels.answers import spoken
from semtta.labels.asker import Asker
from semtta.labels.cache import AnswerCache
from semtta.labels.questions import label_question, read_check, read_label
from semtta.labels.replies import Said, failure, read_reply
from semtta.labels.server import is_local, masked
from semtta.labels.strips import Segment, Strip
from semtta.labels.vlm import label_strips, open_questions

pytest.importorskip("openai")

NAMES = ("walk", "run", "sit on a chair")
WALK = json.dumps({"description": "walks", "label": "walk", "confidence": 0.9})
HOUR = {"retry-after": "3600"}
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
        ('{"a": ' * 50_000, "other", False),
        ('{"label": "walk", "confidence": 1%s}' % ("0" * 400), "walk", True),
        ('{"answer": {"label": "walk"}, "confidence": 1}', "walk", True),
        ('<think>{"label": "run"} or {x}?</think>' + WALK, "walk", True),
        ('{"label": "run"} no, rather ' + WALK, "walk", True),
        ('{"Label": ["walk"], "confidence": "90 %"}', "walk", True),
        ("{'label': 'sit_on_a_chair', 'confidence': 0.9,}", "sit on a chair", True),
        ("**Label:** walk\n\n**Confidence:** 0.9", "walk", True),
        (
            'He may run or jump; all in all the best label is "walk", with confidence 0.9.',
            "walk",
            True,
        ),
        (json.dumps(WALK), "walk", True),
        ('{"label": "other", "description": "x\\ud800 \\u001b[31my"}', "x [31my", False),
    ],
)
def test_servers_that_ignore_the_schema(serve, said, text, sure):
    span = serve(said, YES)[0].spans[0]
    assert span.text == text and (span.confidence > 0) == sure


def test_confidences_of_all_kinds_lie_between_0_and_1():
    def confidence(value):
        return read_label(f'{{"label": "walk", "confidence": {value}}}', NAMES, nearest).confidence

    assert [confidence(x) for x in ("0.5", "85", "1", "0")] == [0.5, 0.85, 1.0, 0.0]
    unsaid = confidence('"high"')
    assert all(confidence(x) == unsaid for x in ("NaN", "-1", "1e9", "true", "null"))


def test_the_second_answer_counts_without_the_thoughts_before_it():
    assert read_check("<think>yes or no?</think> No.") == read_check("no") < read_check("unsure")


JUMP = 'perhaps {"label": "run", "confidence": 0.2}'


@pytest.mark.parametrize("said", [
    f"<think>{JUMP}</think>{WALK}", f"{JUMP}</think>{WALK}", f"<thinking>{JUMP}</thinking>{WALK}",
    f"[THINK]{JUMP}[/THINK]{WALK}", f"◁think▷{JUMP}◁/think▷{WALK}", f"{WALK}<think>{JUMP}",
    f"<think>a<think>{JUMP}</think>b</think>{WALK}", f"{WALK}<reasoning>{JUMP}</reasoning>",
    f"<|channel|>analysis<|message|>{JUMP}<|end|><|start|>assistant<|channel|>final"
    f"<|constrain|>json<|message|>{WALK}<|return|>",
    f"analysis{JUMP}assistantfinal{WALK}",
    [{"type": "thinking", "thinking": JUMP}, {"type": "text", "text": WALK}],
])  # fmt: skip
def test_thoughts_are_not_read_in_any_markup(serve, said):
    span = serve({"body": completion(said)}, YES)[0].spans[0]
    assert (span.text, span.confidence) == ("walk", 0.9)


@pytest.mark.parametrize(("empty", "words"), [
    (completion(""), "answer is empty"), (completion(" \n"), "answer is empty"),
    (completion(None), "answer is empty"), (completion("```json\n```"), "only thought"),
    (completion("{}"), "only thought"), (completion([]), "answer is empty"),
    (completion("", reasoning_content=WALK), "only thought"),
    (completion(None, reasoning=WALK), "only thought"),
    (completion(f"<think>{JUMP} but"), "only thought"),
    (completion(f"<think>{JUMP}</think>"), "only thought"),
    (completion(f"<|channel|>analysis<|message|>{JUMP}"), "only thought"),
])  # fmt: skip
def test_an_empty_answer_is_none_and_asked_for_once_more_without_a_schema(
    serve, tmp_path, empty, words
):
    outcome, script, *_ = serve({"body": empty}, retries=4)
    assert not outcome.spans and words in outcome.unanswered[0][1]
    assert ["response_format" in request for request in script.requests] == [True, False]
    assert not list((tmp_path / "answers").rglob("*.json"))
    outcome, script, *_ = serve({"body": empty}, WALK, YES)
    assert outcome.spans[0].text == "walk" and len(script.requests) == 3


def test_an_empty_answer_that_an_earlier_version_kept_is_asked_for_again(serve, tmp_path):
    class Old(AnswerCache):
        def get(self, key):
            return super().get(key) or ""

    outcome, script, *_ = serve(WALK, YES, cache=Old(tmp_path / "old"))
    assert outcome.spans[0].text == "walk" and len(script.requests) == 2


@pytest.mark.parametrize(("body", "words"), [
    (completion(None, refusal="I can't help"), "the model refuses: I can't help"),
    (completion("", finish="content_filter"), "content filter"),
    (completion(None, finish="length", reasoning="hm"), "cut off .* still thought"),
])  # fmt: skip
def test_who_will_not_answer_is_not_asked_again(serve, body, words):
    outcome, script, *_ = serve({"body": body})
    assert not outcome.spans and re.search(words, outcome.unanswered[0][1])
    assert len(script.requests) == 1


def test_a_whole_answer_counts_even_if_the_server_cut_off_what_followed(serve):
    assert serve({"body": completion(WALK + " and", finish="length")}, YES)[0].spans


def stream(*pieces):
    lines = [": waiting", "event: message", *(f"data: {json.dumps(piece)}" for piece in pieces)]
    return {"raw": "\n\n".join([*lines, "data: [DONE]", ""]), "type": "text/event-stream"}


def test_a_stream_that_nobody_asked_for_is_put_together(serve):
    deltas = [{"role": "assistant"}, {"reasoning_content": JUMP}, {"content": WALK[:9]},
              {"content": WALK[9:]}]  # fmt: skip
    pieces = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    usage = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}
    outcome, _, asker, _ = serve(stream(*pieces, usage), YES)
    assert outcome.spans[0].text == "walk" and asker.usage.read == 107
    outcome, *_ = serve(stream({"error": {"message": "overloaded"}}), retries=0, model="n")
    assert outcome.unanswered[0][1] == "overloaded"


@pytest.mark.parametrize(("body", "words"), [
    ({"error": {"message": "image too large", "code": 400}}, "image too large"),
    ({"error": "boom"}, "boom"), ({"choices": [{"error": {"message": "boom"}}]}, "boom"),
    ({"detail": [{"msg": "boom"}]}, "no chat completion: boom"), ("boom", "boom"),
])  # fmt: skip
def test_an_error_in_a_200_is_one(serve, tmp_path, body, words):
    outcome, *_ = serve({"body": body}, retries=0)
    assert words in outcome.unanswered[0][1]
    assert not list((tmp_path / "answers").rglob("*.json"))


@pytest.mark.parametrize(("status", "message"), [
    (400, "System role not supported"), (500, "Only user and assistant roles are supported!"),
    (400, "Conversation roles must alternate user/assistant"),
    (400, "Developer instruction is not enabled for this model"),
])  # fmt: skip
def test_a_server_without_system_messages_gets_both_texts_in_one(serve, status, message):
    def picky(request):
        if request["messages"][0]["role"] == "system":
            return {"status": status, "body": {"error": {"message": message}}}
        text = request["messages"][0]["content"][0]["text"]
        assert text.startswith("You label human motion")
        return YES if "Somebody else" in text else WALK

    outcome, script, *_ = serve(picky, count=2)
    assert len(outcome.spans) == 2 and len(script.requests) == 1 + 4
    assert all("response_format" in request for request in script.requests)


@pytest.mark.parametrize("body", [
    {"error": "Model does not support images. Please use a model that does."},
    {"error": {"message": "image input is not supported - hint: you may need the mmproj"}},
    {"error": {"message": "No endpoints found that support image input"}},
])  # fmt: skip
def test_a_model_that_reads_no_pictures_is_said_at_once(serve, body):
    with pytest.raises(SemttaError, match="reads no pictures: .*--model"):
        serve({"status": 400, "body": body})


def test_a_page_is_no_sentence_but_holds_one(serve):
    page = {"status": 413, "raw": "<html><h1>413 Request Too Large</h1></html>"}
    outcome, *_ = serve(page, retries=0)
    assert outcome.unanswered[0][1] == "413 Request Too Large"


def test_the_second_run_asks_nothing(serve, tmp_path):
    cache = AnswerCache(tmp_path / "kept")
    script = Script(WALK, YES, WALK, YES)
    with Server(script) as server:
        config = LabelsConfig(base_url=server.url, model="m")
        first = label_strips(strips(2), NAMES, Asker(config, cache), nearest)
        asker = Asker(config, cache)
        second = label_strips(strips(2), NAMES, asker, nearest)
        other = Asker(LabelsConfig(base_url=server.url, model="another"), cache)
        assert other.known(label_question(NAMES), strips()[0].jpeg) is None
    assert first.spans == second.spans and len(script.requests) == 4
    assert (asker.usage.requests, asker.usage.from_cache) == (0, 4)


def test_what_will_be_sent_is_known_before(serve, tmp_path):
    def still_open(asker):
        return [open_questions(strip, NAMES, asker, nearest) for strip in strips(3)]

    flying = '{"label": "flying"}'  # no name: nothing to verify
    _, script, asker, _ = serve(WALK, YES, flying, WALK, count=3, max_requests=4)
    assert still_open(asker) == [0, 0, 1] and len(script.requests) == 4


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


def test_a_429_may_name_a_date(serve):
    soon = {"retry-after": formatdate(time.time() + 20, usegmt=True)}
    _, _, _, naps = serve({"status": 429, "headers": soon, "body": {}}, WALK, YES)
    assert 15 < naps[0] <= 20
    late = {"retry-after": formatdate(time.time() + 36_000, usegmt=True)}
    outcome, *_ = serve({"status": 429, "headers": late, "body": {}}, model="n")
    assert "try again later" in outcome.stopped


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


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"raw": "", "status": 204}, "no JSON"),
        ({"raw": "[" * 100_000}, "no JSON"),
        ({"raw": "[1]"}, "no chat completion"),
        ({"raw": '{"choices": [null]}'}, "no message"),
        ({"status": 500, "body": {"error": {"message": "oops \x1b[31m\n"}}}, "oops [31m"),
    ],
)
def test_why_a_segment_has_no_label_is_one_clean_line_and_not_kept(serve, tmp_path, step, words):
    outcome, *_ = serve(step, retries=0)
    ((_, reason),) = outcome.unanswered
    assert words in reason and reason.isprintable()
    assert not list((tmp_path / "answers").rglob("*.json"))


def test_half_an_answer_is_neither_kept_nor_asked_for_again(serve):
    cut = completion('{"description": "wal')
    cut["choices"][0]["finish_reason"] = "length"
    outcome, script, *_ = serve({"body": cut})
    assert "cut off" in outcome.unanswered[0][1] and len(script.requests) == 1
    assert serve(WALK, YES)[0].spans[0].text == "walk"


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


def test_one_bad_image_does_not_cost_the_others_their_schema(serve):
    bad = {"status": 400, "body": {"error": {"message": "image refused"}}}
    outcome, script, *_ = serve(bad, bad, bad, WALK, YES, count=2)
    assert [span.start for span in outcome.spans] == [60]
    assert [len({"response_format", "temperature"} & r.keys()) for r in script.requests] == [
        2, 1, 0, 2, 2,
    ]  # fmt: skip


def test_a_refusal_in_the_middle_leaves_out_one_segment(serve):
    flagged = {"status": 403, "body": {"error": {"message": "flagged"}}}
    outcome, *_ = serve(WALK, YES, flagged, WALK, YES, count=3)
    assert [span.start for span in outcome.spans] == [0, 120] and outcome.stopped is None


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

        def between(done, total):
            raise KeyboardInterrupt

        outcome = label_strips(strips(3), NAMES, asker, nearest, between)
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


@pytest.mark.parametrize(
    "url", ["localhost:11434/v1", "/v1", "", "null", "ftp://x/v1", "http://", "http://[::1/v1",
            "http://localhost:99999/v1", "http://exa mple/v1"],
)  # fmt: skip
def test_an_address_that_is_none_is_one_sentence_and_never_openais(url, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with pytest.raises(SemttaError, match="no address of a server"):
        Asker(LabelsConfig(model="m", base_url=url))
    monkeypatch.setenv("OPENAI_BASE_URL", "localhost:1")
    with pytest.raises(SemttaError, match="'localhost:1' is no address"):
        Asker(LabelsConfig(model="m"))


def test_what_the_environment_spoils_is_one_sentence_without_the_key(monkeypatch):
    settings = LabelsConfig(model="m", base_url="http://example.invalid/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-\u201csecret")
    with pytest.raises(SemttaError, match="no key has") as caught:
        Asker(settings)
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret\n")  # as from a file
    monkeypatch.setenv("ALL_PROXY", "x y:z")
    with pytest.raises(SemttaError, match="HTTP_PROXY"):
        Asker(settings)


def test_a_cache_that_cannot_be_written_is_said_before_anything_is_sent(serve, tmp_path):
    (tmp_path / "file").write_text("")
    script = Script(WALK, YES)
    with Server(script) as server:
        config = LabelsConfig(base_url=server.url, model="m", cache=str(tmp_path / "file" / "c"))
        with pytest.raises(SemttaError, match="cannot be written.*labels.cache"):
            label_strips(strips(), NAMES, Asker(config), nearest)
    assert not script.requests


def test_the_cache_may_lie_at_home_if_there_is_one(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("XDG_CACHE_HOME", "SEMTTA_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    assert AnswerCache().folder == tmp_path / ".cache" / "semtta" / "answers"
    assert AnswerCache("~/a").folder == tmp_path / "a"
    monkeypatch.setenv("SEMTTA_CACHE", "~/own")
    assert AnswerCache().folder == tmp_path / "own" / "answers"
    with pytest.raises(SemttaError, match="home folder is unknown"):
        AnswerCache("~nobody-of-this-name/a")


def test_a_key_goes_to_the_server_it_is_meant_for(serve, monkeypatch):
    _, script, *_ = serve(WALK, YES)
    assert script.keys[0] == "Bearer none"
    monkeypatch.setenv("MY_KEY", "secret")
    _, script, *_ = serve(WALK, YES, api_key_env="MY_KEY", model="n")
    assert script.keys[0] == "Bearer secret"


SECRET = "sk-proj-0123456789abcdef"
ECHO = f"Incorrect API key provided: {SECRET}, or {SECRET[:12]}... for short."


def test_a_key_that_a_server_echoes_is_shown_and_kept_nowhere(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", SECRET)
    refused = {"status": 401, "body": {"error": {"message": ECHO}}}
    with pytest.raises(SemttaError, match=r"refuses the key in MY_KEY") as caught:
        serve(refused, api_key_env="MY_KEY")
    chain, error = "", caught.value
    while error is not None:
        chain, error = f"{chain} {error} {vars(error)}", error.__cause__ or error.__context__
    assert SECRET[:8] not in chain and "provided: ***, or ***... for short" in chain
    said = json.dumps({"label": "other", "description": f"wears {SECRET}"})
    outcome, *_ = serve(said, {"status": 500, "body": ECHO}, retries=0, count=2,
                        api_key_env="MY_KEY")  # fmt: skip
    assert outcome.spans[0].text == "wears ***" and "***" in outcome.unanswered[0][1]
    kept = "".join(file.read_text() for file in (tmp_path / "answers").rglob("*.json"))
    assert kept and SECRET[:8] not in kept


def test_masking_leaves_the_rest_as_it_was():
    assert masked(f"a{SECRET}b{SECRET[5:]}", SECRET) == "a***b***"
    assert masked("a label", "lab") == "a label" and masked("x", "") == "x"


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_nothing_is_sent_to_where_a_redirect_points(serve, code):
    elsewhere = Script(WALK)
    with Server(elsewhere) as other:
        place = {"location": f"{other.url.replace('//', '//me:pw@')}/chat/completions"}
        moved = {"status": code, "headers": place, "body": {}}
        with pytest.raises(SemttaError, match="sends questions on to http://127.*nothing was"):
            serve(moved)
        outcome, script, asker, _ = serve(WALK, YES, moved, count=2)
    assert not elsewhere.requests and len(script.requests) == asker.usage.requests == 3
    assert other.url in outcome.unanswered[0][1] and "pw" not in outcome.unanswered[0][1]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1"])
def test_this_machine_is_not_asked_through_a_proxy(tmp_path, monkeypatch, host):
    proxy, script = Script(WALK), Script(WALK, YES)
    with Server(proxy) as between, Server(script) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, between.url.removesuffix("/v1"))
        url = server.url.replace("127.0.0.1", host)
        asker = Asker(LabelsConfig(base_url=url, model="m"), AnswerCache(tmp_path))
        outcome = label_strips(strips(), NAMES, asker, nearest)
    assert outcome.spans and not proxy.requests


def test_what_this_machine_is_called():
    local = ("localhost", "LOCALHOST.", "a.localhost", "127.8.9.1", "127.1", "::1", "0.0.0.0",
             "::ffff:127.0.0.1")  # fmt: skip
    assert all(is_local(name) for name in local)
    assert not any(is_local(name) for name in ("example.com", "10.0.0.1", "", "localhost.com"))


@pytest.mark.parametrize(("pause", "words"), [(0, "more than 4 MiB"), (0.05, "does not end")])
def test_an_answer_without_end_is_given_up(serve, pause, words):
    began = time.monotonic()
    outcome, script, *_ = serve({"endless": pause}, timeout=0.5)
    assert words in outcome.unanswered[0][1] and len(script.requests) == 1
    assert time.monotonic() - began < 8


@hostile
@given(
    st.binary(max_size=400)
    | st.sampled_from(
        [
            json.dumps(completion(WALK)).encode(),
            stream({"choices": [{"delta": {}}]})["raw"].encode(),
            json.dumps({"error": {"code": 400}}).encode(),
        ]
    ).flatmap(flipped)
)
def test_no_reply_whatever_it_is_raises_anything(body):
    said = read_reply(body)
    if isinstance(said, Said):
        spoken(said.text), read_label(said.text, NAMES, nearest), read_check(said.text)
    else:
        assert said.words
    assert failure(500, body).words


# ---------------------------------------------------------------------- the commands


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """ask(server, ...) -> (code, stdout, stderr) of ``semtta label`` on two people in 4 frames."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "frames").mkdir()
    for i in range(4):
        cv2.imwrite(str(tmp_path / "frames" / f"{i}.png"), np.full((120, 160, 3), 90, np.uint8))
    write_two_people(tmp_path / "p.json")

    def call(server, *arguments):
        common = ("label", "frames", "--poses2d", "p.json", "--track", "all", "--provider",
                  "openai", "--model", "m", "--base-url", server.url, "labels.cache=cache",
                  "labels.retries=1", "-o", "l.json")  # fmt: skip
        return CliRunner().invoke(app, [*common, *arguments], env={"COLUMNS": "200"})

    return call


def test_a_servers_words_are_printed_as_they_are_and_its_failures_are_named(ask, tmp_path):
    broken = {"status": 500, "body": {"error": {"message": "bad [/red] [b]thing"}}}
    with Server(Script(WALK, YES, broken)) as server:
        result = ask(server)
        assert result.exit_code == 0, result.exception
        assert "No answer for track 2, frames 0-3: " in result.output
        assert "bad [/red] [b]thing" in result.output
        (tmp_path / "cache").rename(tmp_path / "old")
        server.server.script.steps = [WALK, YES, broken | {"status": 429, "headers": HOUR}]
        result = ask(server, "--overwrite")
    assert result.exit_code == 1 and "pause of 3600 s" in result.stderr
    assert len(json.loads((tmp_path / "l.json").read_text())["labels"]) == 1


def test_what_was_answered_is_not_announced_as_sent(ask):
    with Server(Script(WALK, YES, WALK, YES)) as server:
        assert "Sending 2 images" in ask(server).output
        again = ask(server, "--overwrite")
    assert "Nothing is sent: all was answered before." in again.output
    assert "0 requests, 4 answers" in again.output


def test_ctrl_c_writes_what_was_answered_and_says_how_to_go_on(ask, tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    with Server(Script(WALK, YES)) as server:
        asked = Asker._once

        def once(self, *arguments):
            return (asked if self.usage.requests < 3 else interrupted)(self, *arguments)

        monkeypatch.setattr(Asker, "_once", once)
        result = ask(server)
    assert result.exit_code == 130 and "goes on" in result.stderr
    assert len(json.loads((tmp_path / "l.json").read_text())["labels"]) == 1
