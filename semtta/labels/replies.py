"""What servers of OpenAI's chat API send back, in all the forms that they do, as one thing."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_SHOWN = 2000  # characters of a server's own words that are looked at
_TEXT_PARTS = ("text", "output_text")


@dataclass(eq=False)
class Failed(Exception):
    """A server's error.

    Args:
        words: what it says.
        status: HTTP status, also that which stands in the body of a 200; None = no status.
        code: the server's name for the error.
        wait: seconds that it asks to wait.
        final: whether another try would only end the same way.
    """

    words: str
    status: int | None = None
    code: str = ""
    wait: float | None = None
    final: bool = False


@dataclass(frozen=True)
class Said:
    """What the model said.

    Args:
        text: "" if nothing.
        finish: the server's reason to stop, "" if it gives none.
        refusal: the model's words if it says in so many that it will not answer.
        thought: whether it thought in a field of its own.
        read, written: tokens, as the server counts them.
    """

    text: str
    finish: str = ""
    refusal: str = ""
    thought: bool = False
    read: int = 0
    written: int = 0


def read_reply(body: bytes) -> Said | Failed:
    """What a supposed success brought: a completion, a stream of its pieces, or an error."""
    data = _content(body)
    if isinstance(data, Failed):
        return data
    if not isinstance(data, dict) or data.get("error"):
        return _failure(_status(data), data)
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices:
        return Failed(_with_words("the server's answer is no chat completion", words_of(data)))
    choice = choices[0] if isinstance(choices[0], dict) else {}
    if choice.get("error"):
        return _failure(_status(choice), choice)
    message = choice.get("message")
    if not isinstance(message, dict):
        return Failed("the server's answer has no message")
    told = data.get("usage")
    usage = told if isinstance(told, dict) else {}
    tokens = (usage.get(name) for name in ("prompt_tokens", "completion_tokens"))
    read, written = (n if type(n) is int and n > 0 else 0 for n in tokens)
    return Said(
        _text(message.get("content")), str(choice.get("finish_reason") or ""),
        _text(message.get("refusal")),
        bool(message.get("reasoning_content") or message.get("reasoning")), read, written,
    )  # fmt: skip


def failure(status: int, body: bytes, wait: float | None = None) -> Failed:
    """An error from its body, be it OpenAI's object, another one, a text or a page."""
    data = _content(body)
    if isinstance(data, Failed):
        data = body[:_SHOWN].decode("utf-8", "replace")
    return _failure(status, data, wait)


def _failure(status: int | None, data: object, wait: float | None = None) -> Failed:
    error = data.get("error") if isinstance(data, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    words = words_of(data) or (f"HTTP status {status}" if status else "an error without words")
    if not isinstance(data, dict) and status is None:
        words = f"the server's answer is no chat completion: {words}"
    return Failed(words, status, str(code or ""), wait)


def words_of(data: object, depth: int = 0) -> str:
    """The sentence in an error of any server, "" if there is none."""
    if isinstance(data, str):
        return " ".join(re.sub(r"<[^<>]*>", " ", data[:_SHOWN]).split())
    if depth < 4 and isinstance(data, dict):
        for key in ("error", "message", "msg", "detail", "reason", "title"):
            if said := words_of(data.get(key), depth + 1):
                return said
    if depth < 4 and isinstance(data, list):
        return "; ".join(filter(None, (words_of(entry, depth + 1) for entry in data[:3])))
    return ""


def _content(body: bytes) -> object:
    """The JSON of a body; a stream of pieces is put together. ``Failed`` if it is neither."""
    text = body.decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if re.match(r"(?:data|event|id|retry)?:", text):
        return _joined(text)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return Failed(_with_words("the server's answer is no JSON", words_of(text)))


def _joined(stream: str) -> object:
    """One completion from the pieces of a server-sent stream, or the first error in it."""
    texts: dict[str, list[str]] = {"content": [], "refusal": [], "reasoning_content": []}
    usage: dict = {}
    finish, pieces = "", 0
    for line in stream.splitlines():
        if not line.startswith("data:") or line[5:].strip() in ("", "[DONE]"):
            continue
        try:
            piece = json.loads(line[5:])
        except (ValueError, RecursionError):
            return Failed("the server's answer is a damaged stream")
        if not isinstance(piece, dict) or piece.get("error"):
            return piece
        usage = piece.get("usage") or usage
        choices = piece.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            continue
        pieces += 1
        finish = choice.get("finish_reason") or finish
        delta = choice.get("delta") or choice.get("message")
        delta = delta if isinstance(delta, dict) else {}
        delta["reasoning_content"] = delta.get("reasoning_content") or delta.get("reasoning")
        for name, found in texts.items():
            found.append(_text(delta.get(name)))
    if not pieces:
        return {}
    message = {name: "".join(found) for name, found in texts.items()}
    return {"choices": [{"message": message, "finish_reason": finish}], "usage": usage}


def _text(content: object) -> str:
    """Text of a message, whole or in parts; parts that are thoughts are none."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        return ""
    parts = []
    for part in content:
        if isinstance(part, str):
            parts.append(part)
        elif isinstance(part, dict) and part.get("type", "text") in _TEXT_PARTS:
            parts.append(part["text"] if isinstance(part.get("text"), str) else "")
    return "".join(parts)


def _status(data: object) -> int | None:
    """The HTTP status that stands in the body of a supposed success."""
    if not isinstance(data, dict):
        return None
    inner = data.get("error")
    for place in (inner if isinstance(inner, dict) else {}, data):
        for key in ("code", "status", "statusCode"):
            value = str(place.get(key))
            if re.fullmatch(r"[45]\d\d", value):
                return int(value)
    return None


def _with_words(sentence: str, words: str) -> str:
    return f"{sentence}: {words}" if words else sentence
