"""One vision-language server: asked patiently, within a budget, and never twice the same.

Nothing is sent but by :meth:`Asker.ask`. Every answer goes to the cache at once, so that a run that
was stopped loses nothing and the next one goes on where it stopped.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from semtta.config import LabelsConfig
from semtta.errors import SemttaError
from semtta.labels.cache import AnswerCache
from semtta.labels.questions import Question, printable

_WAIT, _LONGEST_WAIT = 1.0, 60.0  # seconds before the first retry, and at most
_PASSING = (408, 409, 425, 429)  # codes below 500 that another try may mend
_EXTRAS = frozenset({"response_format", "temperature"})  # options that not every server knows


class Unanswered(Exception):
    """One question that got no answer, and why."""


class Stop(Exception):
    """No more questions are to be asked, and why."""


@dataclass
class Usage:
    """What was asked and what it cost.

    Args:
        requests: sent, retries included.
        from_cache: answers that were not asked for.
        read, written: tokens, as the server counts them.
    """

    requests: int = 0
    from_cache: int = 0
    read: int = 0
    written: int = 0

    def cost(self, price: Sequence[float] | None) -> float | None:
        """In the unit of ``price`` (per million tokens read, written), None without one."""
        if price is None:
            return None
        return (self.read * price[0] + self.written * price[1]) / 1e6


class Asker:
    """Asks one server that speaks OpenAI's chat API.

    Args:
        settings: server, model, budget.
        cache: of answers.
        sleep: waits some seconds; tests give another.
    Raises ``SemttaError`` if the ``openai`` package, the model's name or the key is missing, or the
    address is none.
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
        self._openai = openai
        self._client = _connect(openai, settings)
        self.settings, self.usage = settings, Usage()
        self.cache = cache or AnswerCache(settings.cache)
        self._sleep = sleep
        self._random = random.Random()  # unseeded: so that clients do not come in step
        self._extras = _EXTRAS  # what the server has not refused
        self._has_answered = False

    @property
    def url(self) -> str:
        """Where questions go."""
        return str(self._client.base_url)

    def known(self, question: Question, jpeg: bytes) -> str | None:
        """The answer to a question about an image if it is in the cache."""
        return self.cache.get(self._key(question, jpeg))

    def ask(self, question: Question, jpeg: bytes) -> str:
        """The answer's text, from the cache or the server; "" if the model refused.

        Raises ``Unanswered``, or ``Stop`` if asking on is useless, or ``SemttaError`` if the
        server cannot be used at all or the cache cannot be written."""
        known = self.known(question, jpeg)
        if known is not None:
            self.usage.from_cache += 1
            return known
        self.cache.check()  # before an answer is paid for that cannot be kept
        answer = self._patiently(question, jpeg)
        self._has_answered = True
        self.cache.put(self._key(question, jpeg), answer)
        return answer

    def _key(self, question: Question, jpeg: bytes) -> str:
        return self.cache.key({
            "url": self.url, "model": self.settings.model, "system": question.system,
            "text": question.text, "schema": question.schema,
            "image": hashlib.sha256(jpeg).hexdigest(),
        })  # fmt: skip

    def _patiently(self, question: Question, jpeg: bytes) -> str:
        tries, extras = 0, self._extras
        while True:
            if self.usage.requests >= self.settings.max_requests:
                raise Stop(f"the budget of {self.settings.max_requests} requests is spent")
            self.usage.requests += 1
            try:
                answer = self._once(question, jpeg, extras)
            except self._openai.APIStatusError as error:
                suspect = _refused_extra(error, extras)
                if suspect is not None:
                    extras = extras - {suspect}
                    continue
                reason, wait = self._judge(error), _retry_after(error.response.headers)
            except (json.JSONDecodeError, RecursionError):
                reason, wait = "the server's answer is no JSON", None
            except (self._openai.APIConnectionError, self._openai.APIResponseValidationError,
                    ValueError) as error:  # fmt: skip
                reason, wait = _sentence(error), None
            else:
                self._extras = extras  # only now is it known that they were at fault
                return answer
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
        return pause * self._random.uniform(0.75, 1.25)

    def _once(self, question: Question, jpeg: bytes, extras: frozenset[str]) -> str:
        image = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
        schema = {"name": question.name, "strict": True, "schema": question.schema}
        values = {
            "response_format": {"type": "json_schema", "json_schema": schema},
            "temperature": 0,
        }
        response = self._client.chat.completions.create(
            model=self.settings.model,
            messages=[
                {"role": "system", "content": question.system},
                {"role": "user", "content": [
                    {"type": "text", "text": question.text},
                    {"type": "image_url", "image_url": {"url": image}},
                ]},
            ],
            **{name: values[name] for name in extras},
        )  # fmt: skip
        self._count(response)
        return _content(response)

    def _count(self, response) -> None:
        usage = getattr(response, "usage", None)
        for name, field in (("prompt_tokens", "read"), ("completion_tokens", "written")):
            tokens = getattr(usage, name, None)
            if isinstance(tokens, int):
                setattr(self.usage, field, getattr(self.usage, field) + tokens)

    def _judge(self, error) -> str:
        """The reason, if another try may help; else raises."""
        code, reason = error.status_code, _sentence(error)
        # A server that has answered is usable: it then refuses this question, not its asker.
        if code in (401, 403) and not self._has_answered:
            raise SemttaError(f"{self.url} refuses the key in {self.settings.api_key_env}: "
                              f"{reason}.")  # fmt: skip
        if code == 404 and not self._has_answered:
            raise SemttaError(f"{self.url} has no model '{self.settings.model}', or is no such "
                              f"server: {reason}.")  # fmt: skip
        if getattr(error, "code", None) == "insufficient_quota":
            raise Stop(f"the account's quota is spent: {reason}")
        if code < 500 and code not in _PASSING:
            raise Unanswered(reason)
        return reason


def _connect(openai, settings: LabelsConfig):
    """A client of the server that the settings name, else of ``$OPENAI_BASE_URL``, else OpenAI."""
    url = settings.base_url
    if url is None:
        url = os.environ.get("OPENAI_BASE_URL") or None
    if url is not None and not _is_address(url):
        raise SemttaError(f"'{url}' is no address of a server; --base-url takes one such as "
                          "http://localhost:11434/v1.")  # fmt: skip
    key = os.environ.get(settings.api_key_env, "").strip()
    if not key and url is None:
        raise SemttaError(f"no key in the environment variable {settings.api_key_env}; set it, "
                          "or give --base-url of a local server that needs none.")  # fmt: skip
    if not (key.isascii() and key.isprintable()):
        raise SemttaError(f"the environment variable {settings.api_key_env} holds characters that "
                          "no key has; copy the key anew.")  # fmt: skip
    try:
        return openai.OpenAI(
            api_key=key or "none", base_url=url, timeout=settings.timeout, max_retries=0
        )
    except Exception as error:  # proxies and certificates of the environment fail in many ways
        raise SemttaError(
            f"the HTTP client cannot be set up ({_sentence(error)}); look at HTTP_PROXY, "
            "HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE."
        ) from None


def _is_address(url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0  # a port that is none raises
    except ValueError:
        return False
    return named and parts.scheme in ("http", "https") and not any(c.isspace() for c in url)


def _refused_extra(error, extras: frozenset[str]) -> str | None:
    """The option that a server seems not to know, named by its error or guessed from a 400."""
    code, message = error.status_code, str(error).lower()
    if code not in (400, 422, 500, 501) or not extras:
        return None
    for extra in sorted(extras):
        if extra in message:
            return extra
    about_schema = any(word in message for word in ("schema", "grammar", "format"))
    if "response_format" in extras and about_schema:
        return "response_format"
    return min(extras) if code < 500 else None


def _content(response) -> str:
    """Text of the first choice; "" for a refusal.

    Raises ``ValueError`` if it is no answer, ``Unanswered`` if it is half of one."""
    choices = getattr(response, "choices", None)
    if not isinstance(choices, list) or not choices:
        raise ValueError("the server's answer is no chat completion")
    message = getattr(choices[0], "message", None)
    if message is None:
        raise ValueError("the server's answer has no message")
    if getattr(choices[0], "finish_reason", None) == "length":
        raise Unanswered("the answer was cut off at the server's limit of tokens")
    content = getattr(message, "content", None)
    if content is not None and not isinstance(content, str):
        raise ValueError("the server's answer is no text")
    return content or ""


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait, None if it does not say."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        said = headers.get(name, "")
        try:
            return max(0.0, float(said) * unit)
        except ValueError:
            pass
        try:
            return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None


def _sentence(error: Exception) -> str:
    """One short line of an error, and of what caused it, without the final stop."""
    text = printable(str(error)).rstrip(".") or type(error).__name__
    cause = printable(str(error.__cause__ or "")).rstrip(".")
    if cause and cause not in text and "timed out" not in text:
        text = f"{text} ({cause})"
    return text if len(text) < 200 else text[:197] + "..."
