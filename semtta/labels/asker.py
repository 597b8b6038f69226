"""One vision-language server: asked patiently, within a budget, and never twice the same.

Nothing is sent but by :meth:`Asker.ask`. Every answer goes to the cache at once, so that a run that
was stopped loses nothing and the next one goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime

from semtta.config_schema import LabelsConfig
from semtta.errors import SemttaError
from semtta.labels.answers import spoken
from semtta.labels.cache import AnswerCache
from semtta.labels.dialects import EXTRAS, reads_no_pictures, refused_extra, request
from semtta.labels.questions import Question, printable
from semtta.labels.replies import Failed, Said, failure, read_reply
from semtta.labels.server import Endless, api_key, connect, masked, without_login

_WAIT, _LONGEST_WAIT = 1.0, 60.0  # seconds before the first retry, and at most
_PASSING = (408, 409, 425, 429)  # codes below 500 that another try may mend
_SHOWN = 200  # characters of an error


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

    The key is never shown, kept or sent to anybody else, whatever the server makes of it.

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
        self._client = connect(openai, settings)
        self._secret = api_key(settings)
        self.settings, self.usage = settings, Usage()
        self.cache = cache or AnswerCache(settings.cache)
        self._sleep = sleep
        self._random = random.Random()  # unseeded: so that clients do not come in step
        self._extras = EXTRAS  # what the server has not refused
        self._has_answered = False

    @property
    def url(self) -> str:
        """Where questions go, as it may be shown."""
        return self._clean(without_login(str(self._client.base_url)))

    def known(self, question: Question, jpeg: bytes) -> str | None:
        """The answer to a question about an image if it is in the cache."""
        answer = self.cache.get(self._key(question, jpeg))
        return answer if answer and spoken(answer) else None

    def ask(self, question: Question, jpeg: bytes) -> str:
        """The answer's text, from the cache or the server; never an empty one.

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
            "url": str(self._client.base_url), "model": self.settings.model,
            "system": question.system, "text": question.text, "schema": question.schema,
            "image": hashlib.sha256(jpeg).hexdigest(),
        })  # fmt: skip

    def _patiently(self, question: Question, jpeg: bytes) -> str:
        tries, extras, empty = 0, self._extras, False
        while True:
            if self.usage.requests >= self.settings.max_requests:
                raise Stop(f"the budget of {self.settings.max_requests} requests is spent")
            self.usage.requests += 1
            try:
                said = self._once(question, jpeg, extras)
            except Failed as error:
                suspect = refused_extra(error, extras)
                if suspect is not None:
                    extras = extras - {suspect}
                    continue
                reason, wait = self._judge(error), error.wait
            else:
                if self._is_answer(said, question):
                    self._extras = extras  # only now is it known that they were at fault
                    return masked(said.text, self._secret)
                if empty:
                    raise Unanswered(_why_empty(said))
                # Some servers lose what a schema lets through, or take it for thoughts.
                empty, extras = True, extras - {"response_format"}
                continue
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

    def _once(self, question: Question, jpeg: bytes, extras: frozenset[str]) -> Said:
        """One request. Raises ``Failed``."""
        outcome: Said | Failed
        sent = request(question, jpeg, extras)
        create = self._client.chat.completions.with_raw_response.create
        try:
            content = create(model=self.settings.model, **sent).content
        except self._openai.APIStatusError as error:
            outcome = _refused(error)
        except Exception as error:  # every HTTP library below has its own kinds
            outcome = Failed(_sentence(error), final=_endless(error))
        else:
            outcome = read_reply(content)
        if isinstance(outcome, Failed):  # raised here, it does not carry the key along
            raise replace(outcome, words=self._clean(outcome.words))
        self.usage.read += outcome.read
        self.usage.written += outcome.written
        return outcome

    def _clean(self, text: str) -> str:
        """One short line without the key and the final stop."""
        text = printable(masked(text, self._secret)).rstrip(".")
        return text if len(text) < _SHOWN else text[: _SHOWN - 3] + "..."

    def _is_answer(self, said: Said, question: Question) -> bool:
        """False for an empty one, that may be asked for again; raises ``Unanswered`` for others."""
        if said.finish == "length" and not question.answered_by(said.text):
            thinking = ", while it still thought" if not spoken(said.text) else ""
            raise Unanswered(f"the answer was cut off at the server's limit of tokens{thinking}")
        if spoken(said.text):
            return True
        if said.refusal.strip():
            raise Unanswered(self._clean(f"the model refuses: {said.refusal}"))
        if said.finish == "content_filter":
            raise Unanswered("the server's content filter withheld the answer")
        return False

    def _judge(self, error: Failed) -> str:
        """The reason, if another try may help; else raises."""
        code, reason = error.status, error.words
        # A server that has answered is usable: it then refuses this question, not its asker.
        if not self._has_answered and code is not None:
            self._check_usable(error)
        if error.code == "insufficient_quota":
            raise Stop(f"the account's quota is spent: {reason}")
        passing = code is None or code >= 500 or code in _PASSING
        if error.final or not passing or reads_no_pictures(error):
            raise Unanswered(reason)
        return reason

    def _check_usable(self, error: Failed) -> None:
        """Raise ``SemttaError`` for an error that every other question would get too."""
        code, reason, model = error.status, error.words, f"model '{self.settings.model}'"
        if code in range(300, 400):
            raise SemttaError(f"{self.url} {reason}; nothing was sent there, give its own address "
                              "with --base-url if that is meant.")  # fmt: skip
        if code in (401, 403):
            raise SemttaError(f"{self.url} refuses the key in {self.settings.api_key_env}: "
                              f"{reason}.")  # fmt: skip
        if reads_no_pictures(error):
            raise SemttaError(f"{self.url} says that {model} reads no pictures: {reason}; choose "
                              "a vision model with --model.")  # fmt: skip
        if code == 404:
            raise SemttaError(f"{self.url} has no {model}, or is no such server: {reason}.")


def _refused(error) -> Failed:
    """What a response that is no success says; a redirect, whom it names."""
    code, headers = error.status_code, error.response.headers
    if code in range(300, 400):
        place = without_login(headers.get("location", "another address"))
        return Failed(f"sends questions on to {place}", code)
    return failure(code, error.response.content, _retry_after(headers))


def _why_empty(said: Said) -> str:
    thought = said.thought or said.text.strip()
    return "the model only thought and gave no answer" if thought else "the model's answer is empty"


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


def _endless(error: Exception) -> bool:
    return any(isinstance(one, Endless) for one in (error, error.__cause__))


def _sentence(error: Exception) -> str:
    """What happened to a connection, and what caused it."""
    text = str(error).rstrip(".") or type(error).__name__
    cause = str(error.__cause__ or "").rstrip(".")
    if cause and cause not in text and "timed out" not in text:
        text = f"{text} ({cause})"
    return text
