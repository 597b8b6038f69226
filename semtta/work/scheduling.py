"""Which worker does which job, and what happens when one dies.

A worker keeps to one task as long as that has jobs left, because what they share is then read
once. A worker that dies costs the job it was at, which another one repeats.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol

from semtta.errors import SemttaError

ATTEMPTS = 3  # how often a job may kill its worker


class Job(Protocol):
    """One thing to be done; it can be pickled."""

    def failed(self, reason: str) -> Any:
        """The answer of a job that could not be done."""
        ...


Work = Callable[[Any], Any]  # a job to its answer, which is never None; can be pickled


class Pool(Protocol):
    """Where workers live. A worker is whatever ``start`` returns; ``why`` the last one died."""

    why: str

    def start(self) -> Any: ...

    def send(self, worker: Any, job: Job) -> None: ...

    def ready(self, workers: list) -> list[tuple[Any, Any]]:
        """Wait for at least one of them; its answer, or None if it died."""
        ...

    def stop(self, worker: Any) -> None: ...

    def close(self) -> None: ...


def schedule(
    tasks: Sequence[Sequence[Job]], pool: Pool, workers: int
) -> Generator[Any, None, None]:
    """Hand out jobs until there are none, replacing workers that die.

    A job at which ``ATTEMPTS`` workers died is answered by its ``failed``. A worker for which
    nothing is left ends: its cores may be the only ones for one whose machine is gone."""
    queue = deque(deque(task) for task in tasks if task)
    count = min(workers, sum(map(len, queue)))
    own: dict[Any, deque[Job]] = {pool.start(): deque() for _ in range(count)}
    busy: dict[Any, Job] = {}
    deaths: Counter[int] = Counter()  # by the id of the job, which ``tasks`` keeps alive
    barren = 0  # deaths since the last answer
    try:
        while True:
            for worker in [worker for worker in own if worker not in busy]:
                own[worker] = own[worker] or _next_task(queue, own.values())
                if own[worker]:
                    busy[worker] = own[worker].popleft()
                    pool.send(worker, busy[worker])
                else:
                    del own[worker]
                    pool.stop(worker)
            if not busy:
                return
            for worker, answer in pool.ready(list(busy)):
                job = busy.pop(worker)
                if answer is not None:
                    barren = 0
                    yield answer
                    continue
                rest = own.pop(worker)
                pool.stop(worker)
                barren += 1
                if barren > ATTEMPTS * count:
                    raise SemttaError(
                        f"every worker process dies at once ({pool.why}); run with --engine local "
                        "--workers 1 to see more."
                    )
                deaths[id(job)] += 1
                if deaths[id(job)] < ATTEMPTS:
                    rest.appendleft(job)
                else:
                    yield job.failed(f"{ATTEMPTS} worker processes died at it (out of memory?).")
                own[pool.start()] = rest
    finally:
        for worker in own:
            pool.stop(worker)
        pool.close()


def _next_task(queue: deque, others) -> deque[Job]:
    """A new task; when there is none, the last job of whoever has most left."""
    if queue:
        return queue.popleft()
    longest = max(others, key=len, default=None)
    return deque([longest.pop()]) if longest else deque()
