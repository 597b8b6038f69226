"""What not every server of OpenAI's chat API knows, and how a question is put without it."""

from __future__ import annotations

import base64
import re

from semtta.labels.questions import Question
from semtta.labels.replies import Failed

_OPTIONS = ("response_format", "temperature")
EXTRAS = frozenset({*_OPTIONS, "system"})  # two options, and messages of the role ``system``
_NO_SYSTEM = re.compile(
    r"system.{0,40}(?:role|message|prompt|instruction)|role.{0,20}system|developer instruction"
    r"|roles? must|only .{0,40}\broles?\b"
)
_BLIND = re.compile(
    r"(?:\bnot|n't|\bno) (?:\w+ ){0,2}(?:support|accept|allow|enabl|handl)\w*.{0,20}"
    r"(?:image|vision|visual|picture|multimodal)"
    r"|no endpoints.{0,40}image|(?:image|vision|multimodal)[\w ]{0,20} (?:is|are) not "
    r"(?:supported|enabled|allowed)|not a (?:vision|multimodal)|\btext[- ]only|image_url.{0,20}only"
)


def request(question: Question, jpeg: bytes, extras: frozenset[str]) -> dict:
    """What is sent: messages and options, without those that are not in ``extras``."""
    image = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
    text, system = question.text, [{"role": "system", "content": question.system}]
    if "system" not in extras:
        text, system = f"{question.system}\n\n{question.text}", []
    user = {"role": "user", "content": [
        {"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": image}},
    ]}  # fmt: skip
    schema = {"name": question.name, "strict": True, "schema": question.schema}
    options = {
        "response_format": {"type": "json_schema", "json_schema": schema},
        "temperature": 0,
    }
    return {"messages": [*system, user]} | {k: options[k] for k in _OPTIONS if k in extras}


def refused_extra(error: Failed, extras: frozenset[str]) -> str | None:
    """What a server seems not to know, named by its error or guessed from a 400."""
    code, words = error.status, error.words.lower()
    if code not in (400, 422, 500, 501) or reads_no_pictures(error):
        return None
    for name in _OPTIONS:
        if name in extras and name in words:
            return name
    if "system" in extras and _NO_SYSTEM.search(words):
        return "system"
    about_schema = any(word in words for word in ("schema", "grammar", "format"))
    if "response_format" in extras and about_schema:
        return "response_format"
    options = [name for name in _OPTIONS if name in extras]
    return options[0] if options and code < 500 else None


def reads_no_pictures(error: Failed) -> bool:
    """Whether a server says that its model is blind."""
    return error.status is not None and bool(_BLIND.search(error.words.lower()))
