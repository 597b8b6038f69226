"""A local server that speaks just enough of the chat API, and misbehaves on demand."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np


class Script:
    """What the server does: steps one after the other, the last one again and again.

    A step is a text (the answer's content), a dict with ``status``, ``headers``, ``body``,
    ``raw``, ``wait``, ``hang_up``, ``endless`` (seconds between pieces of a body without end);
    or a function of the request's JSON that returns one."""

    def __init__(self, *steps):
        self.steps, self.requests, self.keys = list(steps), [], []

    def next(self):
        return self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_POST(self):
        script: Script = self.server.script
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        script.requests.append(request)
        script.keys.append(self.headers.get("authorization"))
        step = script.next()
        step = step(request) if callable(step) else step
        step = {"content": step} if isinstance(step, str) or step is None else step
        time.sleep(step.get("wait", 0))
        if step.get("hang_up"):
            self.close_connection = True
            self.connection.close()
            return
        if "endless" in step:
            return self.never_end(step["endless"])
        body = step.get("raw")
        if body is None:
            body = json.dumps(step.get("body") or completion(step.get("content")))
        data = body.encode()
        try:
            self.send_response(step.get("status", 200))
            for name, value in step.get("headers", {}).items():
                self.send_header(name, value)
            self.send_header("content-type", step.get("type", "application/json"))
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except OSError:  # the client did not wait
            self.close_connection = True

    def never_end(self, pause: float):
        self.close_connection = True
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        try:
            while True:
                self.wfile.write(b" " * (1 if pause else 65536))
                time.sleep(pause)
        except OSError:  # the client has had enough
            pass


def completion(content, refusal=None, finish="stop", **message) -> dict:
    message = {"role": "assistant", "content": content, "refusal": refusal} | message
    return {
        "id": "c1", "object": "chat.completion", "created": 0, "model": "m",
        "choices": [{"index": 0, "finish_reason": finish, "message": message}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }  # fmt: skip


class Server:
    """Context manager: ``url`` of a server that follows a script."""

    def __init__(self, script: Script):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.server.daemon_threads = True
        self.server.script = script
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def __enter__(self):
        # shutdown() waits for the next poll
        thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.server.server_close()


def write_two_people(path):
    """COCO keypoints of two people in four frames, nothing like a motion."""
    g = np.random.default_rng(0)
    xyc = np.concatenate((g.uniform(10, 100, (2, 4, 17, 2)), np.ones((2, 4, 17, 1))), -1)
    people = [
        {"image_id": frame, "idx": person + 1, "keypoints": xyc[person, frame].ravel().tolist()}
        for frame in range(4)
        for person in range(2)
    ]
    path.write_text(json.dumps(people), encoding="utf-8")
