"""The engine room: many items, one function, any number of workers; some of them die."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

from semtta.errors import SemttaError
from semtta.files import new_folder
from semtta.work import check_engine, map_items
from semtta.work.items import _Piece
from semtta.work.scheduling import schedule


def square(item: int) -> tuple[int, int]:
    if item == 3:
        raise SemttaError("three is not squared.")
    if item == 4:
        raise ValueError("four\nis a bug")
    return item * item, torch.get_num_threads()


def dies(item: tuple[str, Path]) -> str:
    """``once`` kills its first worker, ``always`` every one."""
    name, folder = item
    mark = folder / f"{name}-{os.getpid()}"
    mark.touch()
    if name == "always" or (name == "once" and len(list(folder.glob("once-*"))) == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    return name


def writes(item: Path) -> None:
    """One that is done at once, and one that never is."""
    with new_folder(item) as partial:
        if item.name == "endless":
            (partial / "begun").touch()
            time.sleep(600)
        while not any(item.parent.glob(".endless*partial/begun")):
            time.sleep(0.01)


def seen(outcomes) -> list[tuple]:
    return [(o.item, o.value, o.error, bool(o.trace), o.ok) for o in outcomes]


SQUARES = [
    (5, (25, 1), "", False, True),
    (3, None, "three is not squared.", False, False),
    (4, None, "ValueError: four is a bug", True, False),
    (1, (1, 1), "", False, True),
]


def test_outcomes_are_those_of_the_items_in_their_order():
    told = []
    threads = torch.get_num_threads()
    found = map_items(square, [5, 3, 4, 1], workers=1, finished=told.append)
    assert seen(found) == SQUARES and told == found
    assert "four" in found[2].trace and "in square" in found[2].trace
    assert torch.get_num_threads() == threads
    assert map_items(square, [], workers=1) == []


@pytest.mark.slow
def test_outcomes_of_processes_are_those_of_one():
    told = []
    found = map_items(square, [5, 3, 4, 1], workers=2, finished=told.append)
    assert seen(found) == SQUARES
    assert sorted(seen(told), key=str) == sorted(SQUARES, key=str)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
def test_a_killed_worker_loses_nothing(tmp_path):
    names = ["fine", "once", "always", "good"]
    found = map_items(dies, [(name, tmp_path) for name in names], workers=2)
    assert [o.value for o in found] == ["fine", "once", None, "good"]
    assert "3 worker processes died" in found[2].error
    assert [len(list(tmp_path.glob(f"{name}-*"))) for name in names] == [1, 2, 3, 1]


@pytest.mark.slow
def test_workers_that_are_stopped_tidy_up(tmp_path):
    def stop(outcome):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        map_items(writes, [tmp_path / "endless", tmp_path / "quick"], workers=2, finished=stop)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["quick"]


def test_what_an_engine_cannot_be_is_said():
    with pytest.raises(SemttaError, match="no engine 'slurm'; known are local, ray"):
        map_items(square, [1], engine="slurm")
    with pytest.raises(SemttaError, match="at least 1, not 0"):
        check_engine("local", 0)


class ShrinkingPool:
    """Two cores, of which one is lost with the first worker: who is started then has to wait
    until the other one ends."""

    why = "because"

    def __init__(self):
        self.alive, self.lost, self.number, self.jobs = [], False, 0, {}

    def start(self):
        self.number += 1
        self.alive.append(self.number)
        return self.number

    def send(self, worker, job):
        self.jobs[worker] = job

    def ready(self, workers):
        placed = self.alive[: 1 if self.lost else 2]
        worker = next((w for w in workers if w in placed), None)
        assert worker is not None, "would wait for ever"
        job = self.jobs.pop(worker)
        if not self.lost:
            self.lost = True
            return [(worker, None)]
        return [(worker, job.number)]

    def stop(self, worker):
        self.alive.remove(worker)

    def close(self): ...


def test_a_lost_machine_loses_no_job():
    pool = ShrinkingPool()
    tasks = [[_Piece(number, None)] for number in range(4)]
    assert sorted(schedule(tasks, pool, 2)) == [0, 1, 2, 3]
    assert pool.alive == [] and pool.number == 3


def slowly(item: int) -> int:
    time.sleep(0.3)
    return item * item


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
def test_a_lost_node_of_a_ray_cluster_loses_no_item(monkeypatch):
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_worker_niceness", "0")  # else they starve on a machine that is busy
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))  # finds this file
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    node = cluster.add_node(num_cpus=1)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    told = []

    def lose(outcome):
        told.append(outcome)
        if len(told) == 2:
            cluster.remove_node(node, allow_graceful=False)

    try:
        found = map_items(slowly, list(range(8)), engine="ray", finished=lose)
    finally:
        cluster.shutdown()
    assert [o.value for o in found] == [item * item for item in range(8)]
    assert len(told) == 8
