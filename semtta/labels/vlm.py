"""Labels from a vision-language model behind any server that speaks OpenAI's chat API.

Nothing is sent unless :func:`label_strips` is called with an asker. Every answer goes to the cache
at once, so that a run that was stopped loses nothing and the next one goes on where it stopped.
"""

from __future__ import annotations

import base64
import hashlib
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from semtta.config import LabelsConfig
from semtta.errors import SemttaError
from semtta.labels.cache import AnswerCache
from semtta.labels.labels import LabelSpan
from semtta.labels.questions import (
    Nearest,
    Question,
    check_question,
    label_question,
    read_check,
    read_label,
)
from semtta.labels.strips import Strip

_WAIT, _LONGEST_WAIT = 1.0, 60.0  # seconds before the first retry, and at most
_IN_A_ROW = 3  # questions without an answer after which the server counts as gone
_PASSING = (408, 409, 425, 429)  # codes below 500 that another try may mend


class Unanswered(Exception):
    """One question that got no answer, and why."""


class Stop(Exception):
    """No more questions are to be asked, and why."""


@dataclass
class Usage:
    """What was asked and what it cost."""

    requests: int = 0
    from_cache: int = 0
    read: int = 0
    written: int = 0

    def cost(self, price: Sequence[float] | None) -> float | None:
        """In the unit of ``price`` (per million tokens read, written), None without one."""
        if price is None:
            return None
        return (self.read * price[0] + self.written * price[1]) / 1e6


@dataclass
class Outcome:
    """What came of a video's strips.

    Args:
        spans: one per answered strip, ranges in frames.
        unanswered: (strip number from 1, reason).
        stopped: why the rest was not asked, None = everything was.
        interrupted: stopped by Ctrl-C.
    """

    spans: list[LabelSpan] = field(default_factory=list)
    unanswered: list[tuple[int, str]] = field(default_factory=list)
    stopped: str | None = None
    interrupted: bool = False


class Asker:
    """Asks one server, patiently and within a budget.

    Args:
        settings: server, model, budget.
        cache: of answers.
        sleep: waits some seconds; tests give another.
    Raises ``SemttaError`` if the ``openai`` package, the model's name or the key is missing.
    """

    def __init__(
        self,
        settings: LabelsConfig,
        cache: AnswerCache | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ):
        if not settings.model:
            raise SemttaError("say which model is to be asked: --model NAME, or labels.model.")
        try:
            import openai
        except ImportError:
            raise SemttaError("labels by a vision-language model need the package 'openai'; "
                              "install it with: pip install 'semtta[vlm]'.") from None  # fmt: skip
        key = os.environ.get(settings.api_key_env)
        if not key and not settings.base_url:
            raise SemttaError(f"no key in the environment variable {settings.api_key_env}; set it, "
                              "or give --base-url of a local server that needs none.")  # fmt: skip
        self._openai = openai
        self._client = openai.OpenAI(
            api_key=key or "none", base_url=settings.base_url, timeout=settings.timeout,
            max_retries=0,
        )  # fmt: skip
        self.settings, self.usage = settings, Usage()
        self.cache = cache or AnswerCache(settings.cache)
        self._sleep, self._random = sleep, random.Random(0)
        self._extras = {"response_format", "temperature"}  # what the server has not refused

    @property
    def url(self) -> str:
        """Where questions go."""
        return str(self._client.base_url)

    def key(self, question: Question, jpeg: bytes) -> str:
        """The cache's key of a question about an image."""
        return self.cache.key({
            "url": self.url, "model": self.settings.model, "system": question.system,
            "text": question.text, "schema": question.schema,
            "image": hashlib.sha256(jpeg).hexdigest(),
        })  # fmt: skip

    def ask(self, question: Question, jpeg: bytes) -> str:
        """The answer's text, from the cache or the server; "" if the model refused.

        Raises ``Unanswered``, or ``Stop`` if asking on is useless, or ``SemttaError`` if the
        server cannot be used at all."""
        key = self.key(question, jpeg)
        known = self.cache.get(key)
        if known is not None:
            self.usage.from_cache += 1
            return known
        answer = self._patiently(question, jpeg)
        self.cache.put(key, answer)
        return answer

    def _patiently(self, question: Question, jpeg: bytes) -> str:
        tries = 0
        while True:
            if self.usage.requests >= self.settings.max_requests:
                raise Stop(f"the budget of {self.settings.max_requests} requests is spent")
            self.usage.requests += 1
            try:
                return self._once(question, jpeg)
            except self._openai.APIStatusError as error:
                if self._drops_an_extra(error):
                    continue
                reason, wait = self._judge(error), _retry_after(error.response.headers)
            except (self._openai.APIConnectionError, self._openai.APIResponseValidationError,
                    ValueError) as error:  # fmt: skip
                reason, wait = _sentence(error), None
            tries += 1
            if tries > self.settings.retries:
                raise Unanswered(reason)
            self._sleep(self._pause(tries, wait))

    def _pause(self, tries: int, wanted: float | None) -> float:
        """Seconds until the next try: what the server asks for, else doubled each time."""
        if wanted is not None:
            if wanted > _LONGEST_WAIT:
                raise Stop(f"the server wants a pause of {wanted:.0f} s; try again later")
            return wanted
        pause = min(_LONGEST_WAIT, _WAIT * 2 ** (tries - 1))
        return pause * self._random.uniform(0.75, 1.25)  # so that clients do not come in step

    def _once(self, question: Question, jpeg: bytes) -> str:
        image = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
        options: dict = {}
        if "response_format" in self._extras:
            options["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": question.name, "strict": True, "schema": question.schema},
            }
        if "temperature" in self._extras:
            options["temperature"] = 0
        response = self._client.chat.completions.create(
            model=self.settings.model,
            messages=[
                {"role": "system", "content": question.system},
                {"role": "user", "content": [
                    {"type": "text", "text": question.text},
                    {"type": "image_url", "image_url": {"url": image}},
                ]},
            ],
            **options,
        )  # fmt: skip
        self._count(response)
        return _content(response)

    def _count(self, response) -> None:
        usage = getattr(response, "usage", None)
        for name, field_ in (("prompt_tokens", "read"), ("completion_tokens", "written")):
            tokens = getattr(usage, name, None)
            if isinstance(tokens, int):
                setattr(self.usage, field_, getattr(self.usage, field_) + tokens)

    def _drops_an_extra(self, error) -> bool:
        """After a 400 or 422: ask on without what the server seems not to know."""
        if error.status_code not in (400, 422) or not self._extras:
            return False
        message = str(error).lower()
        named = [extra for extra in self._extras if extra in message]
        if not named and any(word in message for word in ("schema", "grammar", "format")):
            named = ["response_format"]
        named = [extra for extra in named if extra in self._extras] or sorted(self._extras)[:1]
        self._extras.discard(named[0])
        return True

    def _judge(self, error) -> str:
        """The reason, if another try may help; else raises."""
        code, reason = error.status_code, _sentence(error)
        if code in (401, 403):
            raise SemttaError(f"{self.url} refuses the key in {self.settings.api_key_env}: "
                              f"{reason}.")  # fmt: skip
        if code == 404:
            raise SemttaError(f"{self.url} has no model '{self.settings.model}', or is no such "
                              f"server: {reason}.")  # fmt: skip
        if getattr(error, "code", None) == "insufficient_quota":
            raise Stop(f"the account's quota is spent: {reason}")
        if code < 500 and code not in _PASSING:
            raise Unanswered(reason)
        return reason


def label_strips(
    strips: Sequence[Strip],
    names: Sequence[str],
    asker: Asker,
    nearest: Nearest,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Ask what each strip shows, then whether that is right.

    A label that the second answer denies keeps its text and loses confidence. What was answered
    before Ctrl-C, the end of the budget or of the server is kept.

    Args:
        names: of the dictionary.
        nearest: the name nearest to a text, for servers that ignore the schema.
        progress: called as ``progress(done, total)``.
    Raises ``SemttaError`` if the server cannot be used at all."""
    outcome, failures = Outcome(), 0
    for number, strip in enumerate(strips, 1):
        try:
            outcome.spans.append(_label(strip, names, asker, nearest))
            failures = 0
        except Unanswered as error:
            outcome.unanswered.append((number, str(error)))
            failures += 1
            if failures >= _IN_A_ROW or (failures == number == len(strips)):
                outcome.stopped = f"{failures} questions in a row got no answer: {error}"
        except Stop as error:
            outcome.stopped = str(error)
        except KeyboardInterrupt:
            outcome.stopped, outcome.interrupted = "interrupted", True
        if outcome.stopped:
            break
        if progress is not None:
            progress(number, len(strips))
    return outcome


def _label(strip: Strip, names: Sequence[str], asker: Asker, nearest: Nearest) -> LabelSpan:
    answer = read_label(asker.ask(label_question(names), strip.jpeg), names, nearest)
    confidence = answer.confidence
    if confidence > 0 and asker.settings.verify:
        confidence *= read_check(asker.ask(check_question(answer.text), strip.jpeg))
    segment = strip.segment
    return LabelSpan(
        answer.text, segment.start, segment.end, segment.track, asker.settings.model or "",
        round(confidence, 3),
    )  # fmt: skip


def _content(response) -> str:
    """Text of the first choice; "" for a refusal. Raises ``ValueError`` if it is no answer."""
    choices = getattr(response, "choices", None)
    if not isinstance(choices, list) or not choices:
        raise ValueError("the server's answer is no chat completion")
    message = getattr(choices[0], "message", None)
    content = getattr(message, "content", None)
    if content is None and message is None:
        raise ValueError("the server's answer has no message")
    return content if isinstance(content, str) else ""


def _retry_after(headers) -> float | None:
    """Seconds that the server asks to wait, None if it does not say (dates are not read)."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[name]) * unit)
        except (KeyError, ValueError, TypeError):
            continue
    return None


def _sentence(error: Exception) -> str:
    """One short line of an error without its final stop."""
    text = " ".join(str(error).split()) or type(error).__name__
    return (text if len(text) < 200 else text[:197] + "...").rstrip(".")
