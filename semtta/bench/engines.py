"""Spreads the jobs of a benchmark over processes of this machine or of a Ray cluster.

A worker keeps to one item as long as that has jobs left, because the item is then read once. A
worker that dies costs the job it was at, which another one repeats.
"""

from __future__ import annotations

import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection, get_context, resource_tracker
from typing import Any, Protocol

import torch

from semtta.bench.runner import Job, Task
from semtta.errors import SemttaError

ENGINES = ("local", "ray")
ATTEMPTS = 3  # how often a job may kill its worker
Work = Callable[[Job], dict]


def run_tasks(
    tasks: Sequence[Task], work: Work, engine: str = "local", workers: int | None = None
) -> Iterator[dict]:
    """Rows in the order in which they are finished.

    Args:
        work: makes the row of a job; pickled for other processes.
        engine: ``local`` (processes; this one for one worker) or ``ray``.
        workers: default the number of cores (of the cluster); one where there is a GPU.
    Raises: ``SemttaError`` if workers cannot live at all or Ray is not installed."""
    check_engine(engine, workers)
    if engine == "ray":
        actors = RayActors(work, workers)
        return schedule(tasks, actors, actors.workers)
    workers = workers or (1 if torch.cuda.is_available() else os.cpu_count() or 1)
    if workers == 1:
        return _in_this_process(tasks, work)
    return schedule(tasks, Processes(work), workers)


def check_engine(engine: str, workers: int | None) -> None:
    """Raise ``SemttaError`` for an unknown engine or a number of workers that cannot be."""
    if engine not in ENGINES:
        raise SemttaError(f"no engine '{engine}'; known are {', '.join(ENGINES)}.")
    if workers is not None and workers < 1:
        raise SemttaError(f"the number of workers must be at least 1, not {workers}.")


class Pool(Protocol):
    """Where workers live. A worker is whatever ``start`` returns; ``why`` the last one died."""

    why: str

    def start(self) -> Any: ...

    def send(self, worker: Any, job: Job) -> None: ...

    def ready(self, workers: list) -> list[tuple[Any, dict | None]]:
        """Wait for at least one of them; its row, or None if it died."""
        ...

    def stop(self, worker: Any) -> None: ...

    def close(self) -> None: ...


def schedule(tasks: Sequence[Task], pool: Pool, workers: int) -> Iterator[dict]:
    """Hand out jobs until there are none, replacing workers that die.

    A job at which ``ATTEMPTS`` workers died becomes a row with ``error``."""
    queue = deque(deque(task) for task in tasks if task)
    count = min(workers, sum(map(len, queue)))
    own: dict[Any, deque[Job]] = {pool.start(): deque() for _ in range(count)}
    busy: dict[Any, Job] = {}
    deaths: Counter = Counter()
    barren = 0  # deaths since the last row
    try:
        while True:
            for worker in own:
                if worker not in busy:
                    own[worker] = own[worker] or _next_task(queue, own.values())
                    if own[worker]:
                        busy[worker] = own[worker].popleft()
                        pool.send(worker, busy[worker])
            if not busy:
                return
            for worker, row in pool.ready(list(busy)):
                job = busy.pop(worker)
                if row is not None:
                    barren = 0
                    yield row
                    continue
                rest = own.pop(worker)
                pool.stop(worker)
                barren += 1
                if barren > ATTEMPTS * count:
                    raise SemttaError(
                        f"every worker process dies at once ({pool.why}); run with --engine local "
                        "--workers 1 to see more."
                    )
                name = (job.item, job.model, job.method.name, job.seed)
                deaths[name] += 1
                if deaths[name] < ATTEMPTS:
                    rest.appendleft(job)
                else:
                    yield job.failed(f"{ATTEMPTS} worker processes died at it (out of memory?).")
                own[pool.start()] = rest
    finally:
        for worker in own:
            pool.stop(worker)
        pool.close()


def _next_task(queue: deque, others) -> deque[Job]:
    """A new item; when there is none, the last job of whoever has most left."""
    if queue:
        return queue.popleft()
    longest = max(others, key=len, default=None)
    return deque([longest.pop()]) if longest else deque()


def _in_this_process(tasks: Sequence[Task], work: Work) -> Iterator[dict]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the workers: the same rows
    try:
        for task in tasks:
            for job in task:
                yield work(job)
    finally:
        torch.set_num_threads(threads)


# ---------------------------------------------------------------------- processes


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

    def send(self, worker: _Process, job: Job) -> None:
        try:
            worker.pipe.send(job)
        except OSError:
            pass  # it died idle; ``ready`` finds its pipe closed

    def ready(self, workers: list[_Process]) -> list[tuple[_Process, dict | None]]:
        speaking = set(connection.wait([worker.pipe for worker in workers]))
        return [(w, _receive(w.pipe)) for w in workers if w.pipe in speaking]

    def stop(self, worker: _Process) -> None:
        worker.pipe.close()
        worker.process.join(timeout=0.1)
        self.why = f"exit code {worker.process.exitcode}"
        worker.process.kill()
        worker.process.join()

    def close(self) -> None:
        pass


def _receive(pipe: connection.Connection) -> dict | None:
    try:
        return pipe.recv()
    except (EOFError, OSError):
        return None


def _serve(work: Work, pipe: connection.Connection) -> None:
    """What a worker process does: one job, one row, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that plans
    torch.set_num_threads(1)
    try:
        while True:
            pipe.send(work(pipe.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the process that plans is gone


# ---------------------------------------------------------------------- Ray


@dataclass(eq=False)
class _RayWorker:
    actor: Any
    answer: Any = None


class RayActors:
    """Actors on a Ray cluster: that of ``RAY_ADDRESS``, or one started on this machine.

    Each node must see the same files under the same paths."""

    def __init__(self, work: Work, workers: int | None):
        try:
            import ray
        except ImportError:
            raise SemttaError(
                "--engine ray needs the package ray: pip install 'semtta[ray]'."
            ) from None
        self.ray, self.why = ray, ""
        self.started = not ray.is_initialized()
        if self.started:
            local = {} if os.environ.get("RAY_ADDRESS") else {
                "num_cpus": workers, "include_dashboard": False
            }  # fmt: skip
            ray.init(log_to_driver=False, logging_level="error", **local)
        cores = int(ray.cluster_resources().get("CPU", 1))
        # An actor beyond the cluster's cores would wait for one for ever, with a job in its hands.
        self.workers = min(workers or cores, cores)
        gpus = int(ray.cluster_resources().get("GPU", 0)) / self.workers
        self.actor = ray.remote(num_cpus=1, num_gpus=min(1.0, gpus))(_Actor)
        self.work = ray.put(work)

    def start(self) -> _RayWorker:
        return _RayWorker(self.actor.remote(self.work))

    def send(self, worker: _RayWorker, job: Job) -> None:
        worker.answer = worker.actor.run.remote(job)

    def ready(self, workers: list[_RayWorker]) -> list[tuple[_RayWorker, dict | None]]:
        done, _ = self.ray.wait([worker.answer for worker in workers])
        return [(w, self._row(w.answer)) for w in workers if w.answer in done]

    def _row(self, answer) -> dict | None:
        exceptions = self.ray.exceptions
        try:
            return self.ray.get(answer)
        except (exceptions.RayActorError, exceptions.WorkerCrashedError,
                exceptions.OutOfMemoryError) as error:  # fmt: skip
            self.why = " ".join(str(error).split())[-300:]
            return None

    def stop(self, worker: _RayWorker) -> None:
        self.ray.kill(worker.actor)

    def close(self) -> None:
        if self.started:
            self.ray.shutdown()


class _Actor:
    def __init__(self, work: Work):
        torch.set_num_threads(1)
        self.work = work

    def run(self, job: Job) -> dict:
        return self.work(job)
