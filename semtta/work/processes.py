"""Workers that are processes of this machine."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection, get_context, resource_tracker
from typing import Any

import torch

from semtta.process import stoppable
from semtta.work.scheduling import Work

GRACE = 3.0  # seconds in which a worker that is stopped may tidy up


@dataclass(eq=False)
class _Process:
    process: Any
    pipe: connection.Connection


@contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """Processes started meanwhile never hear Ctrl-C, not even while they import; here it waits."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # its own start, with the first worker, ends every mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Processes:
    """Spawned processes with a pipe each: no lock that a killed one could hold."""

    def __init__(self, work: Work):
        self.work, self.context = work, get_context("spawn")
        self.why = ""

    def start(self) -> _Process:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_serve, args=(self.work, theirs), daemon=True)
        with deaf_to_ctrl_c():
            process.start()
        theirs.close()
        return _Process(process, ours)

    def send(self, worker: _Process, job: Any) -> None:
        try:
            worker.pipe.send(job)
        except OSError:
            pass  # it died idle; ``ready`` finds its pipe closed

    def ready(self, workers: list[_Process]) -> list[tuple[_Process, Any]]:
        speaking = set(connection.wait([worker.pipe for worker in workers]))
        return [(w, _receive(w.pipe)) for w in workers if w.pipe in speaking]

    def stop(self, worker: _Process) -> None:
        worker.pipe.close()
        worker.process.join(timeout=0.1)
        self.why = f"exit code {worker.process.exitcode}"
        worker.process.terminate()
        worker.process.join(timeout=GRACE)
        worker.process.kill()
        worker.process.join()

    def close(self) -> None:
        pass


def _receive(pipe: connection.Connection) -> Any:
    try:
        return pipe.recv()
    except (EOFError, OSError):
        return None


def _serve(work: Work, pipe: connection.Connection) -> None:
    """What a worker process does: one job, one answer, until the pipe closes.

    When it is stopped in the middle of a job, that one's unfinished files are tidied up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that plans
    torch.set_num_threads(1)
    try:
        with stoppable():
            while True:
                pipe.send(work(pipe.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the process that plans is gone
