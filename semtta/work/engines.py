"""Jobs to the workers of an engine: this process, processes of this machine, a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from typing import Any

from semtta.errors import SemttaError
from semtta.work.scheduling import Job, Work, schedule

ENGINES = ("local", "ray")


def run_tasks(
    tasks: Sequence[Sequence[Job]], work: Work, engine: str = "local", workers: int | None = None
) -> Generator[Any, None, None]:
    """Answers in the order in which they are finished.

    Every worker computes on one thread, so that answers are the same with any number of them.

    Args:
        tasks: jobs that share something, like the file they read, stand in one task.
        work: makes the answer of a job, never None; pickled for other processes.
        engine: ``local`` (processes; this one for one worker) or ``ray``.
        workers: default the number of cores (of the cluster); one where there is a GPU.
    Raises: ``SemttaError`` if workers cannot live at all or Ray is not installed."""
    check_engine(engine, workers)
    if engine == "ray":
        from semtta.work.ray_actors import RayActors

        actors = RayActors(work, workers)
        return schedule(tasks, actors, actors.workers)
    import torch

    workers = workers or (1 if torch.cuda.is_available() else os.cpu_count() or 1)
    if workers == 1:
        return _in_this_process(tasks, work)
    from semtta.work.processes import Processes

    return schedule(tasks, Processes(work), workers)


def check_engine(engine: str, workers: int | None) -> None:
    """Raise ``SemttaError`` for an unknown engine or a number of workers that cannot be."""
    if engine not in ENGINES:
        raise SemttaError(f"no engine '{engine}'; known are {', '.join(ENGINES)}.")
    if workers is not None and workers < 1:
        raise SemttaError(f"the number of workers must be at least 1, not {workers}.")


def _in_this_process(tasks: Sequence[Sequence[Job]], work: Work) -> Generator[Any, None, None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the workers: the same answers
    try:
        for task in tasks:
            for job in task:
                yield work(job)
    finally:
        torch.set_num_threads(threads)
