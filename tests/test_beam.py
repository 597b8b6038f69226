"""The benchmark on real pixels: clips, variants made from them, truth, kept tracks."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from semtta.bench import beam, beam_clips
from semtta.bench import beam_variants as variants
from semtta.bench.beam import (
    LABEL,
    VARIANTS,
    BeamBenchmark,
    BeamTrackTruth,
    beam_truth,
    open_beam,
    variant_truth,
)
from semtta.bench.beam_clips import Clip, fetch_wheel, get_clips, unpack_clips
from semtta.body import load_body
from semtta.errors import SemttaError
from semtta.geometry import Camera
from semtta.keypoints import Keypoints2D, Track
from semtta.people import TrackedVideo, pipeline
from semtta.pose2d.checkpoint import save_checkpoint
from semtta.pose2d.detect import estimate_track
from semtta.pose2d.estimator import Estimator, EstimatorSpec
from semtta.shipped import asset
from semtta.skeletons import BODY27, LIMB12
from semtta.tta.result import Motion
from semtta.video import probe, read_frames, write_video

ANKLES = LIMB12.indices(["left_ankle", "right_ankle"])
ARMS = LIMB12.indices([f"{s}_{p}" for s in ("left", "right") for p in ("shoulder", "elbow")])


def track_of(points: torch.Tensor, frames: torch.Tensor | None = None, number: int = 1) -> Track:
    """A detector's track at known limb joints (T, 12, 2), pixels."""
    frames = torch.arange(len(points)) if frames is None else frames
    xy, conf = torch.zeros(len(points), 27, 2), torch.zeros(len(points), 27)
    limbs = BODY27.indices(LIMB12.joints)
    xy[:, limbs], conf[:, limbs] = points, 0.9
    boxes = torch.cat((points.amin(1) - 20, points.amax(1) + 20), dim=-1)
    return Track(number, frames, frames.double() / 60, boxes, Keypoints2D(xy, conf, BODY27),
                 torch.randn(len(points), 27, 3), conf.clone())  # fmt: skip


# Truth and variants -------------------------------------------------------------------------------


@pytest.mark.parametrize("camera", range(4))
def test_variants_hide_joints_and_change_nothing_else(camera):
    clean = variant_truth(camera, "clean")
    assert not clean.occluded.any()
    assert variant_truth(camera, "occluded").occluded.any()
    for level in ("legs", "patch"):
        truth = variant_truth(camera, level)
        assert truth.camera == clean.camera  # cutting the bottom moves no principal point
        assert torch.equal(truth.joints, clean.joints)
        assert 0.03 < float(truth.occluded.float().mean()) < 0.6
    legs = variant_truth(camera, "legs").occluded
    assert legs[:, ANKLES].float().mean() > 0.8 and not legs[:, ARMS].any()
    patch = variants.PATCHES[camera]
    mine = LIMB12.indices(patch.joints)
    hidden = variant_truth(camera, "patch").occluded
    others = [j for j in range(12) if j not in mine]
    assert hidden[:, mine].float().mean() > 0.3
    assert hidden[:, mine].float().mean() > 2 * hidden[:, others].float().mean()
    assert not hidden[:, mine].all()  # seen again at some time


def test_the_cut_removes_all_pixels_below_and_none_above():
    truth = beam_truth(1, with_occluder=True)  # the shipped clip
    row = variants.cut_row(truth.joints, truth.camera)
    images = [image for _, (_, _, image) in zip(range(3), read_frames(demo_clip()))]
    cut = list(variants.cut(iter(images), row))
    assert row % 2 == 0 and all(c.shape == (row, i.shape[1], 3) for c, i in zip(cut, images))
    assert all((c == i[:row]).all() for c, i in zip(cut, images))
    gone = variants.below(truth.joints, truth.camera, row)
    points = variants.pixels(truth.joints, truth.camera)
    assert (points[..., 1][~gone] <= row - 0.5).all() and (points[..., 1][gone] > row - 0.5).all()
    assert 0.15 < float(gone[:, variants._KNEES].float().mean()) < 0.35


def demo_clip():
    return asset("demo/cam02_occluded.mp4")


def test_the_patch_covers_what_the_mask_says_and_nothing_else():
    truth = beam_truth(1, with_occluder=True)
    boxes = variants.patch_boxes(truth.joints, truth.camera, variants.PATCHES[1])[:3]
    images = [image for _, (_, _, image) in zip(range(3), read_frames(demo_clip()))]
    pasted = list(variants.paste(iter(images), boxes, seed=1))
    again = list(variants.paste(iter(images), boxes, seed=1))
    other = list(variants.paste(iter(images), boxes, seed=2))
    for before, after, same, (x0, y0, x1, y1) in zip(images, pasted, again, boxes):
        changed = (before != after).any(-1)
        assert changed[y0:y1, x0:x1].mean() > 0.9
        changed[y0:y1, x0:x1] = False
        assert not changed.any() and (after == same).all()
        assert after[y0:y1, x0:x1].std() > 5  # textured
    assert (pasted[0] != other[0]).any()


def test_a_joint_is_covered_exactly_if_its_pixel_is():
    camera = Camera(100.0, (50.0, 50.0))
    joints = torch.zeros(2, 12, 3)
    joints[..., 2] = 1.0
    joints[0, 0, :2] = torch.tensor([0.0949, 0.0])  # pixel 59.49 is still column 59
    joints[0, 1, :2] = torch.tensor([0.0951, 0.0])
    boxes = np.array([[40, 40, 60, 60]] * 2)
    covered = variants.inside(joints, camera, boxes)
    assert covered[0, 0] and not covered[0, 1] and covered[1].all()


def test_a_patch_that_moves_comes_and_goes_and_may_leave_the_picture():
    truth = beam_truth(0, with_occluder=False)
    boxes = variants.patch_boxes(truth.joints, truth.camera, variants.PATCHES[0])
    assert variants.PATCHES[0].moves and (np.diff(boxes[:, 0]) >= 0).all()
    assert boxes[-1, 0] - boxes[0, 0] > 300
    assert len({tuple(size) for size in (boxes[:, 2:] - boxes[:, :2]).tolist()}) <= 4  # rounding
    outside = np.array([[-50, 10, -5, 30], [-10, -10, 20, 20], [90, 90, 130, 130]])
    images = [np.zeros((100, 100, 3), np.uint8)] * 3
    first, second, third = variants.paste(iter(images), outside, seed=0)
    assert not first.any() and second[:20, :20].any() and not second[20:].any()
    assert third[90:, 90:].any() and not third[:90].any()


def test_edited_videos_have_the_same_length_and_are_whole_or_absent(tmp_path):
    images = [np.full((64, 48, 3), 40 + i, np.uint8) for i in range(6)]
    source = write_video(tmp_path / "a.mp4", images, 60, (48, 64))
    target = variants.edited_video(source, tmp_path / "b.mp4", lambda f: variants.cut(f, 40))
    info = probe(target)
    assert (info.width, info.height, info.fps) == (48, 40, 60)
    assert len(list(read_frames(target))) == 6

    def broken(frames):
        yield next(frames)[:40]
        raise SemttaError("no more")

    with pytest.raises(SemttaError, match="no more"):
        variants.edited_video(source, tmp_path / "c.mp4", broken)
    assert not (tmp_path / "c.mp4").exists() and len(list(tmp_path.iterdir())) == 2


# The benchmark ------------------------------------------------------------------------------------


@pytest.fixture
def benchmark(tmp_path, monkeypatch):
    """The benchmark on tiny clips, with a detector that knows the truth and counts its calls."""
    calls = []
    images = [np.full((64, 48, 3), 90, np.uint8)] * 100
    tiny = write_video(tmp_path / "tiny.mp4", images, 60, (48, 64))
    clips = [Clip(c, v, tiny) for v in ("clean", "occluded") for c in range(4)]
    monkeypatch.setattr(beam, "get_clips", lambda folder, wheel=None: clips)

    def fake(video, **settings):
        calls.append(video)
        truth = beam_truth(1, with_occluder=False)
        points = variants.pixels(truth.joints, truth.camera)
        bystander, man = track_of(points + 400, number=1), track_of(points[5:90] + 3, None, 2)
        man = replace(man, frames=torch.arange(5, 90), times=torch.arange(5, 90).double() / 60)
        return TrackedVideo(probe(video), [bystander, man], torch.arange(100).double() / 60)

    monkeypatch.setattr(pipeline, "track_video", fake)
    return BeamBenchmark(tmp_path / "cache"), calls


def test_sixteen_items_in_a_fixed_order():
    items = BeamBenchmark("somewhere").items()
    assert len(items) == 16 and len({item.name for item in items}) == 16
    assert [item.level for item in items[:4]] == list(VARIANTS)
    assert {item.label for item in items} == {LABEL}
    assert {item.sequence for item in items} == {f"cam0{k}" for k in (1, 2, 3, 4)}
    loaded = pickle.loads(pickle.dumps(BeamBenchmark("somewhere")))
    assert loaded.items() == items


def test_the_detector_runs_once_and_the_man_is_measured(benchmark):
    benchmark, calls = benchmark
    items = {item.name: item for item in benchmark.items()}
    sample = benchmark.load(items["cam02-clean"])
    assert sample.track.id == 2 and sample.track.frames[0] == 5  # not the bystander
    assert sample.labels == [LABEL] * 85 and sample.video.is_file()
    assert sample.camera == variant_truth(1, "clean").camera
    again = benchmark.load(items["cam02-clean"])
    assert len(calls) == 1
    assert torch.equal(again.track.keypoints.xy, sample.track.keypoints.xy)
    assert torch.equal(again.track.landmarks3d, sample.track.landmarks3d)
    for path in (benchmark.folder / "tracks").iterdir():
        path.write_bytes(path.read_bytes()[:100])  # a damaged file is made anew
    benchmark.load(items["cam02-clean"])
    assert len(calls) == 2
    with pytest.raises(SemttaError, match="no item"):
        benchmark.load(replace(items["cam02-clean"], name="cam09-clean"))


def test_an_estimator_finds_the_evidence_in_the_mans_boxes(benchmark, tmp_path):
    benchmark, _ = benchmark
    net = Estimator(EstimatorSpec(backbone="efficientnet_lite0", size=64, deconv=8))
    net = save_checkpoint(tmp_path / "net.pt", net)
    item = next(item for item in benchmark.items() if item.name == "cam02-clean")
    own, told = benchmark.load(item), replace(benchmark, estimator=net).load(item)
    assert torch.equal(told.track.frames, own.track.frames) and told.track.id == own.track.id
    expected = estimate_track(net, own.video, own.track).keypoints
    assert torch.equal(told.track.keypoints.xy, expected.xy)
    assert not torch.equal(expected.xy[:, 0], own.track.keypoints.xy[:, 0])
    assert told.track.landmarks3d is None
    with pytest.raises(SemttaError, match="none.pt"):
        open_beam(cache=benchmark.folder, estimator=tmp_path / "none.pt")


def test_a_lost_man_is_an_error(benchmark):
    benchmark, _ = benchmark
    items = {item.name: item for item in benchmark.items()}
    with pytest.raises(SemttaError, match="lost the man in clip 'cam04-clean'"):
        benchmark.load(items["cam04-clean"])  # the fake detector knows camera 2 only


def test_a_perfect_motion_scores_zero():
    body = load_body()
    rotmats = torch.eye(3).expand(100, 24, 3, 3)
    betas, zeros = torch.zeros(100, 10), torch.zeros(100, 3)
    parts = (rotmats, betas, zeros, zeros, torch.zeros(100, 27, 2), zeros)
    motion = Motion(*parts)
    hidden = torch.zeros(100, 12, dtype=torch.bool)
    hidden[10:20, 3] = True
    joints = body.landmarks(rotmats, betas, LIMB12) + torch.tensor([0.1, 0.2, 3.0])
    truth = replace(beam_truth(0, False), joints=joints, occluded=hidden)
    frames = torch.arange(5, 90)
    part = Motion(*(x[frames] for x in parts))
    score = BeamTrackTruth(truth, frames).score(part, body)
    assert score["frames"] == 85 and score["occluded"] == 10
    for key in ("mpjpe_mm", "pa_mpjpe_mm", "accel_mm", "mpjpe_occluded_mm"):
        assert score[key] < 0.02
    assert truth.score(motion, body, torch.arange(100))["frames"] == 100


# The package file ---------------------------------------------------------------------------------


@pytest.fixture
def small_wheel(tmp_path, monkeypatch):
    """A package file with eight small clips that is the pinned one for this test."""
    wheel, hashes = tmp_path / "pose2sim-small.whl", {}
    with zipfile.ZipFile(wheel, "w") as package:
        for variant, folder in beam_clips._FOLDERS.items():
            for camera in range(4):
                data = f"{variant} {camera}".encode() * 50
                package.writestr(f"Pose2Sim/{folder}/videos/cam{camera + 1:02d}.mp4", data)
                hashes[variant, camera] = hashlib.sha256(data).hexdigest()
    monkeypatch.setattr(beam_clips, "_SHA256", hashes)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setattr(beam_clips, "WHEELS", {digest: "small"})
    return wheel


def test_clips_are_unpacked_checked_and_not_fetched_again(small_wheel, tmp_path, monkeypatch):
    def no_network(*args, **kwargs):
        raise AssertionError("fetched")

    folder = tmp_path / "cache"
    clips = get_clips(folder, small_wheel)
    assert len(clips) == 8 and len(list(folder.iterdir())) == 8
    monkeypatch.setattr(subprocess, "run", no_network)
    assert {c.name for c in get_clips(folder)} == {c.name for c in clips}
    clips[0].path.write_bytes(b"x" * clips[0].path.stat().st_size)  # damaged, same size
    with pytest.raises(AssertionError, match="fetched"):
        get_clips(folder)
    get_clips(folder, small_wheel)
    assert get_clips(folder)[0].path.read_bytes().startswith(b"clean 0")


def test_missing_clips_are_fetched_with_pip(small_wheel, tmp_path, monkeypatch):
    def run(command, **kwargs):
        folder = command[command.index("--dest") + 1]
        assert command[1:4] == ["-m", "pip", "download"] and "--no-deps" in command
        assert command[-1] == "pose2sim==0.10.0"
        (tmp_path / "got").write_bytes(b"")
        (beam_clips.Path(folder) / "p.whl").write_bytes(small_wheel.read_bytes())
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    folder = tmp_path / "cache"
    assert len(get_clips(folder)) == 8 and (tmp_path / "got").exists()
    assert sorted(p.suffix for p in folder.iterdir()) == [".mp4"] * 8  # the package is not kept


def test_without_a_network_one_sentence_says_what_to_do(tmp_path, monkeypatch):
    failed = SimpleNamespace(returncode=1, stderr="WARNING: x\nERROR: No matching distribution")
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: failed)
    with pytest.raises(SemttaError, match=r"No matching distribution.*pip download.*--wheel"):
        open_beam(cache=tmp_path / "cache")

    def slow(*args, **kwargs):
        raise subprocess.TimeoutExpired("pip", 1)

    monkeypatch.setattr(subprocess, "run", slow)
    with pytest.raises(SemttaError, match="timed out"):
        fetch_wheel(tmp_path)


def test_a_cache_that_cannot_be_written_is_one_sentence(small_wheel, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "cache" / "cam01-clean.mp4").mkdir(parents=True)
    for folder in (tmp_path / "file" / "beam", tmp_path / "cache"):
        with pytest.raises(SemttaError, match="cannot be written into"):
            get_clips(folder, small_wheel)


def test_wrong_package_files_are_refused(small_wheel, tmp_path, monkeypatch):
    with pytest.raises(SemttaError, match="no package file"):
        unpack_clips(tmp_path / "absent.whl", tmp_path / "a")
    other = tmp_path / "other.whl"
    other.write_bytes(b"something else")
    with pytest.raises(SemttaError, match="not the pinned file"):
        unpack_clips(other, tmp_path / "a")
    hashes = dict(beam_clips._SHA256)
    hashes["clean", 2] = "0" * 64
    monkeypatch.setattr(beam_clips, "_SHA256", hashes)
    with pytest.raises(SemttaError, match="clip clean 3"):
        unpack_clips(small_wheel, tmp_path / "a")
    with pytest.raises(SemttaError, match="unknown level 'feet'"):
        open_beam(small_wheel, tmp_path / "b", levels=("feet",))
