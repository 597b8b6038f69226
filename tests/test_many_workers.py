"""Several videos on processes of their own, some of which are killed, and on a cluster."""

import importlib.util
import os
import signal
import sys
from pathlib import Path

import pytest
from test_many import clip, people_in, same_motions

from semtta.cache import Cache
from semtta.config import load_config
from semtta.errors import SemttaError
from semtta.files import write_npz
from semtta.jobs.asked import Asked
from semtta.jobs.many import AdaptEach, Item, adapt_many
from semtta.people.cache import detector_key
from semtta.people.track_files import tracked_arrays
from semtta.video import content_hash


def planted(tmp_path: Path, count: int = 2) -> tuple[AdaptEach, list[Item]]:
    """Videos whose people are in the cache already: workers of their own find no fake detector."""
    kept = Cache(tmp_path / "cache")
    quick = ["optimizer.epochs=1", "optimizer.coverage=1", "evidence.heldout=0"]
    config, items = load_config("default", quick), []
    for number in range(count):
        video = clip(tmp_path / f"{number}.mp4", 40 + 20 * number)
        asked = {"video": content_hash(video), "detector": detector_key(config.detector.size)}
        path = kept.path("detections", f"{asked['video'][:32]}-{asked['detector']}-all")
        arrays = tracked_arrays(people_in(video), asked | {"people": None})
        kept.keep(path, lambda file, arrays=arrays: write_npz(file, arrays, False))
        items.append(Item(video, tmp_path / "out" / str(number)))
    asked = Asked(config, tracks="all", overlay=False, page=False)
    return AdaptEach(asked, label="walk", cache=kept), items


class DiesOnce(AdaptEach):
    """The first worker of the first video is killed when it has adapted to its first person."""

    def __call__(self, item):
        from semtta.jobs.kept import KeptTracks

        usual, mark = KeptTracks.put, item.folder.parent.parent / "killed"

        def put(store, *given):
            usual(store, *given)
            if item.folder.name == "0" and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)

        KeptTracks.put = put
        return super().__call__(item)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
def test_a_worker_killed_in_the_middle_loses_nothing(tmp_path):
    each, items = planted(tmp_path / "a")
    alone = adapt_many(each, items, workers=1)
    assert all(outcome.ok for outcome in alone), alone
    each, items = planted(tmp_path / "b")
    dying = DiesOnce(each.asked, label="walk", cache=each.cache)
    heard: list[str] = []

    def hear(stage, done, total, values):
        if stage == "note":
            heard.append(values["text"])

    outcomes = adapt_many(dying, items, workers=2, progress=hear)
    assert [outcome.ok for outcome in outcomes] == [True, True] and (tmp_path / "b/killed").exists()
    assert sum("0.mp4: track 1 was adapted by an earlier run" in text for text in heard) == 1
    same_motions(tmp_path / "a" / "out", tmp_path / "b" / "out")
    assert sorted(p.name for p in (tmp_path / "b" / "out").iterdir()) == ["0", "1"]
    assert list((tmp_path / "b" / "cache" / "adapted").iterdir()) == []


def test_a_machine_that_lacks_the_folder_says_so(tmp_path):
    each = AdaptEach(Asked(load_config()), home=tmp_path / "absent")
    with pytest.raises(SemttaError, match="this machine has no folder"):
        each(Item(tmp_path / "a.mp4", tmp_path / "o"))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
def test_two_nodes_of_a_ray_cluster_give_the_results_of_one_process(tmp_path, monkeypatch):
    from ray.cluster_utils import Cluster

    each, items = planted(tmp_path / "a")
    assert all(outcome.ok for outcome in adapt_many(each, items, workers=1))
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else they starve on a machine that is busy
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))  # finds this file
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    each, items = planted(tmp_path / "b")
    try:
        outcomes = adapt_many(each, items, engine="ray")
    finally:
        cluster.shutdown()
    assert all(outcome.ok for outcome in outcomes), [outcome.error for outcome in outcomes]
    same_motions(tmp_path / "a" / "out", tmp_path / "b" / "out")
