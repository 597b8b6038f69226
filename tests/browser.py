"""A headless Chromium for tests, spoken to over its debugging socket with the standard library."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """$CHROMIUM, or one on the path."""
    named = os.environ.get("CHROMIUM")
    return named or next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page. ``events`` holds what the browser said on its own: requests, errors, logs."""

    def __init__(self, program: str, width: int = 1280, height: int = 900):
        self.folder = tempfile.mkdtemp(prefix="semtta-chromium-")
        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--use-angle=swiftshader",
             "--enable-unsafe-swiftshader", "--no-first-run", "--mute-audio", "--hide-scrollbars",
             f"--window-size={width},{height}", f"--user-data-dir={self.folder}",
             "--remote-debugging-port=0", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.events: list[dict] = []
        self.number = 0
        try:
            self._connect(self._port())
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, method: str, **parameters) -> dict:
        self.number += 1
        self._send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            said = self._receive()
            if said.get("id") == self.number:
                assert "error" not in said, said["error"]
                return said["result"]
            self.events.append(said)

    def run(self, script: str):
        """The value of an expression; a promise is waited for."""
        done = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, script: str, seconds: float = 60) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.1)

    def open(self, path: Path) -> None:
        self.call("Page.navigate", url=path.absolute().as_uri())
        self.until("document.readyState === 'complete'")

    def screenshot(self, path: Path | None = None) -> bytes:
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        if path is not None:
            path.write_bytes(data)
        return data

    def errors(self) -> list[str]:
        """What a developer would see in the console as an error, and uncaught exceptions."""
        found = []
        for event in self.events:
            kind, said = event.get("method"), event.get("params", {})
            if kind == "Runtime.exceptionThrown":
                found.append(json.dumps(said["exceptionDetails"]))
            elif kind == "Runtime.consoleAPICalled" and said["type"] in ("error", "assert"):
                found.append(json.dumps(said["args"]))
            elif kind == "Log.entryAdded" and said["entry"]["level"] == "error":
                found.append(said["entry"]["text"])
        return found

    def requests(self) -> list[str]:
        kind = "Network.requestWillBeSent"
        return [e["params"]["request"]["url"] for e in self.events if e.get("method") == kind]

    # ------------------------------------------------------------------ the socket

    def _port(self) -> int:
        file = Path(self.folder) / "DevToolsActivePort"
        end = time.monotonic() + 60
        while not (file.is_file() and "\n" in file.read_text()):
            assert self.process.poll() is None, "the browser ended at once"
            assert time.monotonic() < end, "the browser did not start"
            time.sleep(0.1)
        return int(file.read_text().splitlines()[0])

    def _connect(self, port: int) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=60) as answer:
            pages = [page for page in json.load(answer) if page["type"] == "page"]
        path = pages[0]["webSocketDebuggerUrl"].split(str(port), 1)[1]
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
            .encode()
        )  # fmt: skip
        self.stream = self.socket.makefile("rb")
        while self.stream.readline().strip():
            pass

    def _send(self, text: str) -> None:
        data, mask = text.encode(), os.urandom(4)
        head = b"\x81\xff" + struct.pack(">Q", len(data))
        self.socket.sendall(head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))

    def _receive(self) -> dict:
        parts = b""
        while True:
            first, second = self.stream.read(2)
            length = second & 127
            if length > 125:
                width, code = (2, ">H") if length == 126 else (8, ">Q")
                length = struct.unpack(code, self.stream.read(width))[0]
            data = self.stream.read(length)
            if first & 15 in (0, 1):  # text and its continuation
                parts += data
                if first & 128:
                    return json.loads(parts)
