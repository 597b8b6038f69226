"""A result of any program as the start: nothing changes before the first step, then it learns."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from test_adapter import CAMERA, PLAIN, TinyPrior
from test_cli import empty_room, nothing_written, refused, run  # noqa: F401

from semtta.body import load_body
from semtta.config import load_config
from semtta.errors import SemttaError
from semtta.geometry import Camera, full_translation, keypoint_boxes, project
from semtta.hmr import load_model, prepare_inputs, result_match
from semtta.hmr.refiner import Refiner, RefinerSettings, make_refiner
from semtta.hmr.result_base import in_camera
from semtta.hmr.result_match import evidence_in_result, match_people
from semtta.hmr.results import ResultFile, ResultTrack, read_result
from semtta.jobs.refine import chosen_person, prepare_refinement
from semtta.keypoints import Keypoints2D, Track
from semtta.people import TrackedVideo
from semtta.people.tracker import Detections
from semtta.shipped import asset
from semtta.skeletons import BODY27, COCO17
from semtta.tta.adapter import Adapter
from semtta.tta.people import known_people
from semtta.video import VideoInfo

SMALL = RefinerSettings(embed=16, width=32, blocks=1)
FPS = 30.0
CLIP = asset("demo/cam02_occluded.mp4")  # only its hash is taken


@pytest.fixture(scope="module")
def body():
    return load_body()


def person(id=1, frames=range(40), x=0.1, off=0.0, seed=0):
    """(track, result) of somebody who swings the legs; the result is ``off`` radians from that."""
    frames = torch.tensor(list(frames))
    draw = torch.Generator().manual_seed(seed)
    rotvec = 0.05 * torch.randn(1, 24, 3, generator=draw).repeat(len(frames), 1, 1)
    phase = frames / FPS * 2 * math.pi
    rotvec[:, 1, 0] += 0.5 * phase.sin()
    rotvec[:, 2, 0] -= 0.5 * phase.sin()
    rotmats = roma.rotvec_to_rotmat(rotvec)
    rotmats[:, 0] = torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ rotmats[:, 0]
    betas = torch.zeros(len(frames), 10)
    trans = torch.tensor([x, 0.0, 4.0]) + 0.01 * frames[:, None]
    xy = project(load_body().landmarks(rotmats, betas, BODY27) + trans[:, None], CAMERA.focal,
                 torch.tensor(CAMERA.center))  # fmt: skip
    conf = torch.ones(len(frames), 27)
    boxes = keypoint_boxes(xy, conf)
    track = Track(id, frames, frames.double() / FPS, boxes, Keypoints2D(xy, conf, BODY27))
    wrong = roma.rotvec_to_rotmat(off * torch.randn(1, 24, 3, generator=draw))
    focal = torch.full((len(frames),), CAMERA.focal)
    center = torch.tensor(CAMERA.center).expand(len(frames), 2)
    base = ResultTrack(id, frames, rotmats @ wrong, betas + off, trans, focal, center, boxes)
    return track, base


def result_of(*people, remarks=()):
    return ResultFile(Path("some/result.npz"), tuple(people), "", remarks)


def adapter(result, *overrides):
    settings = [*PLAIN, "optimizer.epochs=3", "evidence.update=none", "shape.mode=per_frame"]
    config = load_config("refine", [*settings, *overrides])
    prior = TinyPrior()
    model = make_refiner(result, SMALL)
    return Adapter(model, config=config, prior=prior, gate_prior=prior)


def tracked(*tracks, frames=40):
    info = VideoInfo(CLIP, 640, 480, FPS, frames)
    return TrackedVideo(info, list(tracks), torch.arange(frames).double() / FPS)


def collect():
    said = []

    def progress(stage, done, total, values):
        if stage == "note":
            said.append(values["text"])

    return said, progress


def same(a, b):
    return all(torch.equal(getattr(a, k), getattr(b, k)) for k in vars(a))


# ------------------------------------------------------------------ the network


def test_before_the_first_step_it_is_the_result_bit_for_bit(body):
    track, base = person(off=0.1)
    expected = body.landmarks(base.rotmats, base.betas, BODY27) + base.trans[:, None]
    pixels = project(expected, CAMERA.focal, torch.tensor(CAMERA.center))
    for override in ("optimizer.epochs=0", "strategy=frozen"):
        found = adapter(result_of(base), override).adapt(track, CAMERA)
        for motion in (found.base, found.adapted):
            assert torch.equal(motion.rotmats, base.rotmats)
            assert torch.equal(motion.betas, base.betas)
            assert torch.equal(motion.trans, base.trans)
            assert torch.equal(motion.landmarks2d, pixels)
        again = full_translation(found.base.cam, found.boxes, found.camera)
        torch.testing.assert_close(again, base.trans, atol=1e-5, rtol=1e-5)


def test_the_base_of_a_refinement_passes_no_filter_and_the_refined_motion_does():
    track, base = person(off=0.1)
    shaky = roma.rotvec_to_rotmat(0.06 * torch.randn(40, 24, 3, generator=torch.manual_seed(0)))
    base = replace(base, rotmats=base.rotmats @ shaky)
    found = adapter(result_of(base), "closing.filter=spline", "strategy=frozen").adapt(
        track, CAMERA
    )
    assert torch.equal(found.base.rotmats, base.rotmats)
    assert not torch.allclose(found.adapted.rotmats, base.rotmats, atol=1e-2)


def test_what_is_learnt_of_some_frames_moves_the_others(body):
    """Shared weights: the corrections of frames without evidence follow those with."""
    track, base = person(off=0.08)
    conf = track.keypoints.conf.clone()
    conf[15:25] = 0
    seen = replace(track, keypoints=Keypoints2D(track.keypoints.xy, conf, BODY27))
    found = adapter(result_of(base), "optimizer.epochs=8", "optimizer.lr=3e-3").adapt(seen, CAMERA)
    wrong, right = (
        (motion.landmarks2d - track.keypoints.xy).norm(dim=-1)[15:25].mean()
        for motion in (found.base, found.adapted)
    )
    assert right < 0.8 * wrong


def test_it_adapts_repeats_itself_and_is_left_as_it_was():
    track, base = person(off=0.1)
    torch.manual_seed(1)
    one = adapter(result_of(base))
    before = {k: v.clone() for k, v in one.model.state_dict().items()}
    first = one.adapt(track, CAMERA)
    wrong, right = (
        (motion.landmarks2d - track.keypoints.xy).norm(dim=-1).mean()
        for motion in (first.base, first.adapted)
    )
    assert right < 0.8 * wrong
    assert all(torch.equal(v, before[k]) for k, v in one.model.state_dict().items())
    assert same(one.adapt(track, CAMERA).adapted, first.adapted)
    torch.manual_seed(2)  # whatever was drawn before, its first weights are the same
    assert same(adapter(result_of(base)).adapt(track, CAMERA).adapted, first.adapted)


def test_training_the_network_is_no_matter_of_precision_or_missing_joints(body):
    track, base = person()
    blind = replace(track, keypoints=Keypoints2D(
        torch.zeros(40, 27, 2), torch.zeros(40, 27), BODY27))  # fmt: skip
    model = make_refiner(result_of(base), SMALL)
    inputs, _ = prepare_inputs(model, blind, CAMERA, body=body)
    assert torch.isfinite(inputs).all()
    with pytest.raises(SemttaError, match="body that its betas belong to"):
        prepare_inputs(model, track, CAMERA)
    elsewhere = replace(track, frames=track.frames + 1)
    with pytest.raises(SemttaError, match="lacks frames of track 1"):
        prepare_inputs(model, elsewhere, CAMERA, body=body)


# ------------------------------------------------------------------ cameras


def test_another_camera_leaves_the_body_where_it_is_in_the_picture(body):
    _, base = person()
    other = Camera(500.0, (300.0, 260.0))
    moved = in_camera(base, other)
    assert torch.equal(in_camera(base, CAMERA), base.trans)
    for points, camera in ((base.trans, CAMERA), (moved, other)):
        found = project(points[:, None], camera.focal, torch.tensor(camera.center))
        torch.testing.assert_close(
            found[0, 0], torch.tensor([320 + 1000 * 0.1 / 4, 240.0]), atol=0.05, rtol=0
        )
    torch.testing.assert_close(moved[:, 2], base.trans[:, 2] / 2)


def test_the_camera_is_the_results_unless_the_settings_say_another():
    _, base = person()
    assert adapter(result_of(base)).camera(640, 480) == CAMERA
    assert adapter(result_of(base), "camera.focal=700").camera(640, 480).focal == 700
    silent = replace(base, focal=None, center=None)
    assert adapter(result_of(silent)).camera(640, 480).focal == 800  # the picture's diagonal
    with pytest.raises(SemttaError, match="does not belong to a picture of 3 x 2"):
        adapter(result_of(base)).camera(3, 2)


# ------------------------------------------------------------------ who is who


def test_people_are_told_apart_by_where_they_are():
    left, left_base = person(1, x=-0.8)
    right, right_base = person(2, x=0.8)
    result = result_of(replace(left_base, id=7), replace(right_base, id=4))
    found = adapter(result).run(tracked(right, left), tracks="all")
    assert [r.track.id for r in found] == [4, 7]  # the detector's order, the result's numbers
    assert torch.equal(found[0].base.trans, right_base.trans)
    assert torch.equal(found[1].base.trans, left_base.trans)
    alone = adapter(result).run(tracked(right, left), tracks="7")
    assert [r.track.id for r in alone] == [7]
    assert adapter(result).run(tracked(right, left))[0].track.id == 4


def test_a_person_of_the_result_whom_nobody_saw_is_left_out_and_named():
    left, left_base = person(1, x=-0.8)
    _, right_base = person(2, x=0.8)
    said, progress = collect()
    found = adapter(result_of(left_base, right_base, remarks=("A remark.",))).run(
        tracked(left), tracks="all", progress=progress
    )
    assert [r.track.id for r in found] == [1]
    assert "A remark." in said
    assert any("person 2 of the result was not found" in text for text in said)


def test_a_result_of_another_video_is_refused(body):
    track, _ = person()
    _, elsewhere = person(x=0.9)
    with pytest.raises(SemttaError, match="does not fit this video: its joints are off"):
        adapter(result_of(elsewhere)).run(tracked(track))
    with pytest.raises(SemttaError, match="does not fit track 1: its joints are off"):
        adapter(result_of(elsewhere)).adapt(track, CAMERA)
    _, longer = person(frames=range(30, 50))
    with pytest.raises(SemttaError, match="has frames up to 49, the video only 40"):
        adapter(result_of(longer)).run(tracked(track))
    early, late = person(frames=range(10)), person(frames=range(20, 40))
    with pytest.raises(SemttaError, match="no frame of it shows a person that was seen there"):
        adapter(result_of(late[1])).run(tracked(early[0]))


def test_all_frames_of_the_result_are_kept_and_only_those():
    """Gaps on both sides: of the result, and of a detector that lost the person."""
    frames = [*range(5, 15), *range(20, 30)]
    _, base = person(frames=frames)
    first, second = person(1, range(0, 12))[0], person(2, range(18, 26))[0]
    said, progress = collect()
    (found,) = adapter(result_of(base)).run(tracked(first, second), progress=progress)
    assert found.track.frames.tolist() == frames
    seen = found.track.keypoints.conf.amax(1) > 0
    expected = [frame for frame in frames if frame < 12 or 18 <= frame < 26]
    assert found.track.frames[seen].tolist() == expected
    torch.testing.assert_close(found.track.times, torch.tensor(frames).double() / FPS)
    assert any("seen in 7 frames that the result lacks; they are not adapted" in t for t in said)
    assert any("7 of 20 frames of the result have no 2D evidence" in t for t in said)


def test_matching_twice_says_nothing_twice(body):
    track, base = person()
    model = make_refiner(result_of(base, remarks=("A remark.",)), SMALL)
    said, progress = collect()
    once = known_people(model, tracked(track), CAMERA, body, progress)
    assert known_people(model, once, CAMERA, body, progress) is once and said == ["A remark."]
    assert known_people(torch.nn.Linear(1, 1), tracked(track), CAMERA, body).tracks == [track]


@pytest.mark.parametrize("apart, fits", [(0.0, True), (0.05, True), (0.3, False)])
def test_2d_that_the_result_holds_is_held_against_a_few_looks(monkeypatch, apart, fits):
    track, base = person()
    result = result_of(replace(base, keypoints=track.keypoints))
    here = tracked(track)
    monkeypatch.setattr(result_match, "timed", lambda video: (here.info, here.times))

    def look_at(video, frames, size):
        seen = {}
        for frame in frames:
            points = track.keypoints[frame : frame + 1].to_skeleton(COCO17)
            side = float((track.boxes[frame, 2:] - track.boxes[frame, :2]).max())
            xy = (points.xy + apart * side * torch.tensor([1.0, 0.0])).numpy()
            far = np.concatenate((xy + 500, xy))
            seen[frame] = Detections(np.zeros((2, 4)), np.ones(2), far, np.ones((2, 17)))
        return seen

    monkeypatch.setattr(result_match, "look_at", look_at)
    if fits:
        found = evidence_in_result(result, "clip.mp4")
        assert torch.equal(found.tracks[0].keypoints.xy, track.keypoints.xy)
        return
    with pytest.raises(SemttaError, match="does not fit this video: its joints are off .* by 30%"):
        evidence_in_result(result, "clip.mp4")


def test_two_detections_of_one_frame_are_one():
    _, base = person()
    long, short = person(1, range(0, 30))[0], person(2, range(25, 40))[0]
    doubt = Keypoints2D(short.keypoints.xy + 3, short.keypoints.conf * 0.5, BODY27)
    found = match_people(result_of(base), [replace(short, keypoints=doubt), long], CAMERA,
                         load_body())  # fmt: skip
    conf = found.tracks[0].keypoints.conf
    assert len(conf) == 40 and (conf[:30] == 1).all() and (conf[30:] == 0.5).all()


# ------------------------------------------------------------------ files


def arrays(id=1, count=4, **changed):
    """The parts of a ``track-XX.npz`` that are read."""
    track, base = person(id, range(count), off=0.1)
    pose = roma.rotmat_to_rotvec(base.rotmats).flatten(1).numpy()
    whole = {
        "track_id": np.int64(id), "frames": base.frames.numpy(), "global_orient": pose[:, :3],
        "body_pose": pose[:, 3:], "betas": base.betas.numpy(), "trans": base.trans.numpy(),
        "focal": np.float64(CAMERA.focal), "center": np.array(CAMERA.center),
        "boxes": track.boxes.numpy(), "detected_xy": track.keypoints.xy.numpy(),
        "detected_conf": track.keypoints.conf.numpy(), "landmark_names": np.array(BODY27.joints),
    }  # fmt: skip
    return {k: v for k, v in (whole | changed).items() if v is not None}


def test_the_library_s_own_file_is_read(tmp_path):
    np.savez(tmp_path / "track-03.npz", **arrays(3))
    np.savez(tmp_path / "track-05.npz", **arrays(5))
    np.savez(tmp_path / "other.npz", a=1)
    result = read_result(tmp_path)
    _, base = person(3, range(4), off=0.1)
    assert [track.id for track in result.tracks] == [3, 5]
    assert result.tracks[0].keypoints.skeleton == BODY27
    torch.testing.assert_close(result.tracks[0].rotmats, base.rotmats, atol=1e-5, rtol=0)
    assert torch.equal(result.tracks[0].trans, base.trans)
    model = load_model("result", tmp_path / "track-03.npz")
    assert isinstance(model, Refiner) and model.camera(640, 480) == CAMERA
    assert len(model.sha256) == 64
    assert Adapter(model).config.model.name == "result"
    with pytest.raises(SemttaError, match="needs a result"):
        load_model("result")


@pytest.mark.parametrize(
    "changed, words",
    [
        ({"trans": None}, "is no result of a program that is known"),
        ({"betas": np.full((4, 10), np.nan)}, "'betas'.* NaN"),
        ({"body_pose": np.zeros((4, 63))}, r"'body_pose' has shape \(4, 63\)"),
        ({"frames": np.array([3, 2, 1, 0])}, "do not increase"),
        ({"frames": np.zeros(0, int)}, "expected"),
        ({"trans": np.array(["a"] * 4)}, "'trans'"),
        ({"focal": np.float64(0)}, "holds no focal length"),
    ],
)
def test_damaged_results_are_named(tmp_path, changed, words):
    np.savez(tmp_path / "track-01.npz", **arrays(**changed))
    with pytest.raises(SemttaError, match=words):
        read_result(tmp_path / "track-01.npz")


def test_several_people_need_a_choice():
    result = result_of(person(3)[1], person(5)[1])
    with pytest.raises(SemttaError, match=r"holds 2 people \(3, 5\); choose one by --track"):
        chosen_person(result, None)
    with pytest.raises(SemttaError, match=r"no track '4'; it has 3, 5"):
        chosen_person(result, "4")
    assert [chosen_person(result, t) for t in ("5", "all", "largest")] == ["5", "all", "largest"]
    assert chosen_person(result_of(person(3)[1]), None) == "3"


def test_a_person_behind_the_camera_is_refused_or_left_out(tmp_path, body):
    np.savez(tmp_path / "track-01.npz", **arrays(trans=-np.ones((4, 3))))
    with pytest.raises(SemttaError, match="person 1 is not in front of a camera"):
        prepare_refinement(load_config("refine"), tmp_path / "track-01.npz", tmp_path / "new")
    track, base = person(1)
    behind = replace(person(2)[1], trans=-torch.ones(40, 3))
    found = match_people(result_of(base, behind), [track], CAMERA, body)
    assert [one.id for one in found.tracks] == [1]
    assert any("person 2 is not in front of a camera; it is left out" in n for n in found.notes)


def test_a_result_is_not_written_over(tmp_path):
    np.savez(tmp_path / "track-01.npz", **arrays())
    config = load_config("refine")
    with pytest.raises(SemttaError, match="holds the result that is refined"):
        prepare_refinement(config, tmp_path / "track-01.npz", tmp_path)
    ready, track, _ = prepare_refinement(config, tmp_path, tmp_path / "new")
    assert (ready.model.name, ready.model.checkpoint, track) == ("result", str(tmp_path), "1")


# ------------------------------------------------------------------ the command


def test_the_command_refines_with_the_2d_of_the_result(run, empty_room, tmp_path):  # noqa: F811
    from semtta.output.load import load_result

    center = np.array([79.5, 59.5])
    shrunk = {"focal": np.float64(250), "center": center}
    _, base = person()
    xy = arrays()["detected_xy"]
    shrunk["detected_xy"] = (xy - np.array(CAMERA.center)) / 4 + center
    shrunk["boxes"] = (arrays()["boxes"] - np.tile(CAMERA.center, 2)) / 4 + np.tile(center, 2)
    np.savez(tmp_path / "track-01.npz", **arrays(**shrunk))
    quick = ("optimizer.epochs=1", "optimizer.coverage=1", "smoothing.kind=gaussian",
             "gate.source=current", "evidence.fill_source=prediction")  # fmt: skip
    code, out, err = run("refine", empty_room, "--result", "track-01.npz", "-o", "new",
                         "--no-overlay", "--no-page", *quick)  # fmt: skip
    assert code == 0, err
    saved = load_result(tmp_path / "new").tracks[0]
    assert saved.provenance["model"]["name"] == "Refiner"
    assert torch.equal(saved.base.trans, read_result(tmp_path / "track-01.npz").tracks[0].trans)
    assert not torch.equal(saved.base.rotmats, saved.adapted.rotmats)


def test_the_command_refuses_in_one_sentence(run, empty_room, tmp_path):  # noqa: F811
    refused(run("refine", empty_room), "--result FILE is missing")
    refused(run("refine", empty_room, "--result", "absent.npz"), "'absent.npz' does not exist")
    (tmp_path / "broken.npz").write_bytes(b"no archive")
    refused(run("refine", empty_room, "--result", "broken.npz"), "broken.npz")
    np.savez(tmp_path / "track-01.npz", **arrays(count=9))
    refused(run("refine", empty_room, "--result", "track-01.npz"),
            "has frames up to 8, the video only 4")  # fmt: skip
    np.savez(tmp_path / "track-01.npz", **arrays())
    refused(run("refine", empty_room, "--result", "track-01.npz"),
            "of its 2D joints lie outside the picture of 160 x 120")  # fmt: skip
    nothing_written(tmp_path, "empty room.mp4", "broken.npz", "track-01.npz")


def test_a_free_correction_of_each_frame_shares_nothing():
    track, base = person(off=0.1)
    maker = adapter(result_of(base), "model.trainable=frames", "optimizer.lr=1e-2")
    before = {name: p.detach().clone() for name, p in maker.model.named_parameters()}
    assert [p.shape for p in maker.model.parameter_groups("frames")] == [(40, 157)]
    assert all(p is not maker.model.free.weight for p in maker.model.parameter_groups("all"))
    result = maker.adapt(track, CAMERA)
    for name, p in maker.model.named_parameters():
        assert torch.equal(p, before[name]), name  # put back
    error = [
        float((m.landmarks2d - track.keypoints.xy).norm(dim=-1).mean())
        for m in (result.base, result.adapted)
    ]
    assert error[1] < 0.9 * error[0]


def test_a_frame_without_evidence_learns_nothing_from_the_others_then():
    track, base = person(off=0.1)
    track.keypoints.conf[20] = 0
    plain = ("evidence.heldout=0", "hold.after=null", "hold.depth=false")
    free = adapter(result_of(base), "model.trainable=frames", "optimizer.lr=1e-2", *plain)
    shared = adapter(result_of(base), *plain)
    moved = [
        float((r.adapted.rotmats - r.base.rotmats)[20].abs().max())
        for r in (free.adapt(track, CAMERA), shared.adapt(track, CAMERA))
    ]
    assert moved[0] < 1e-6 < 1e-3 < moved[1]
