"""The wire to a vision-language server: to that server alone, and no more of it than is needed."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import time
import urllib.parse
from itertools import groupby

from semtta.config_schema import LabelsConfig
from semtta.errors import SemttaError
from semtta.reading import MEBI

_LARGEST = 4 * MEBI  # of an answer, unpacked; a label takes a few hundred bytes
_PATIENCE = 4  # times ``labels.timeout``: an answer that still trickles in then is given up
_FRAMING = ("content-encoding", "content-length", "transfer-encoding")  # of bytes that were read
_WINDOW = 8  # characters of a key in a row that nobody is shown
_SHORTEST_KEY = 4  # characters; a shorter one is a stand-in


class Endless(Exception):
    """An answer that is larger than any, or does not end."""


def connect(openai, settings: LabelsConfig):
    """A client of the server that the settings name, else of ``$OPENAI_BASE_URL``, else OpenAI.

    It follows no redirect: whoever is named there would get the pictures and the key. A server on
    this machine is never asked through a proxy.

    Args:
        openai: the package.
    Raises ``SemttaError`` if the address or the key is none."""
    url = settings.base_url
    if url is None:
        url = os.environ.get("OPENAI_BASE_URL") or None
    if url is not None and not _is_address(url):
        raise SemttaError(f"'{without_login(url)}' is no address of a server; --base-url takes one "
                          "such as http://localhost:11434/v1.")  # fmt: skip
    key = api_key(settings)
    if not key and url is None:
        raise SemttaError(f"no key in the environment variable {settings.api_key_env}; set it, "
                          "or give --base-url of a local server that needs none.")  # fmt: skip
    if not (key.isascii() and key.isprintable()):
        raise SemttaError(f"the environment variable {settings.api_key_env} holds characters that "
                          "no key has; copy the key anew.")  # fmt: skip
    try:
        return openai.OpenAI(
            api_key=key or "none", base_url=url, timeout=settings.timeout, max_retries=0,
            http_client=_http_client(openai, url, settings.timeout),
        )  # fmt: skip
    except Exception as error:  # proxies and certificates of the environment fail in many ways
        reason = masked(str(error), key).strip().rstrip(".")
        raise SemttaError(f"the HTTP client cannot be set up ({reason}); look at HTTP_PROXY, "
                          "HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE.") from None  # fmt: skip


def api_key(settings: LabelsConfig) -> str:
    """The key in the environment, "" if there is none."""
    return os.environ.get(settings.api_key_env, "").strip()


def masked(text: str, secret: str) -> str:
    """A text without a secret, nor any eight characters of it in a row."""
    size = min(len(secret), _WINDOW)
    parts = {secret[i : i + size] for i in range(len(secret) - size + 1)}
    if len(secret) < _SHORTEST_KEY or not any(part in text for part in parts):
        return text
    hidden = bytearray(len(text))
    for i in range(len(text) - size + 1):
        if text[i : i + size] in parts:
            hidden[i : i + size] = b"\1" * size
    runs = groupby(zip(text, hidden), key=lambda pair: pair[1])
    return "".join("***" if hide else "".join(c for c, _ in run) for hide, run in runs)


def without_login(url: str) -> str:
    """An address without the name and password that may stand in it."""
    head, mark, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    return head + mark + place.rpartition("@")[2] + slash + path


def is_local(host: str) -> bool:
    """Whether a host is this machine, by any of its usual names."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(name))  # 127.1 and the like
        except (OSError, ValueError):
            return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def _http_client(openai, url: str | None, timeout: float):
    class Bounded(openai.DefaultHttpxClient):
        """Reads every answer itself, so that none is endless."""

        def send(self, request, **options):
            deadline = time.monotonic() + _PATIENCE * timeout
            response = super().send(request, **(options | _AS_IT_COMES))
            try:
                body = _body(response, deadline)
            finally:
                response.close()
            headers = [(k, v) for k, v in response.headers.items() if k.lower() not in _FRAMING]
            return type(response)(
                response.status_code, headers=headers, content=body, request=request
            )

    host = urllib.parse.urlsplit(url or "").hostname or ""
    if is_local(host):
        # without the environment there is no proxy, but no SSL_CERT_FILE either
        return Bounded(trust_env=False, timeout=timeout, verify=ssl.create_default_context())
    return Bounded(timeout=timeout)


_AS_IT_COMES = {"stream": True, "follow_redirects": False}


def _body(response, deadline: float) -> bytes:
    data = bytearray()
    for chunk in response.iter_bytes():
        data += chunk
        if len(data) > _LARGEST:
            raise Endless(f"the answer has more than {_LARGEST // MEBI} MiB")
        if time.monotonic() > deadline:
            raise Endless("the answer does not end")
    return bytes(data)


def _is_address(url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0  # a port that is none raises
    except ValueError:
        return False
    return named and parts.scheme in ("http", "https") and not any(c.isspace() for c in url)
