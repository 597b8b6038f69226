"""Workers that are actors of a Ray cluster."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch

from semtta.errors import SemttaError
from semtta.work.scheduling import Work


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

    def send(self, worker: _RayWorker, job: Any) -> None:
        worker.answer = worker.actor.run.remote(job)

    def ready(self, workers: list[_RayWorker]) -> list[tuple[_RayWorker, Any]]:
        done, _ = self.ray.wait([worker.answer for worker in workers])
        return [(w, self._answer(w.answer)) for w in workers if w.answer in done]

    def _answer(self, answer) -> Any:
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

    def run(self, job: Any) -> Any:
        return self.work(job)
