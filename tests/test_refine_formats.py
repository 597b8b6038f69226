"""Other programs' results as the base of a refinement, and written back in their layout."""

import cv2
import numpy as np
import pytest
import result_files as files
import torch
from test_cli import refused, run  # noqa: F401

from semtta.body import Body, load_body
from semtta.errors import SemttaError
from semtta.geometry import Camera, project
from semtta.hmr.result_base import in_camera, in_picture, on_body, refined_of
from semtta.hmr.results import as_same, read_result
from semtta.jobs.refine import SameLayout
from semtta.output.load import load_result
from semtta.skeletons import COCO17
from semtta.video import VideoInfo

FRAMES = 12
QUICK = ("optimizer.epochs=2", "optimizer.coverage=1", "optimizer.lr=3e-3",
         "smoothing.kind=gaussian", "gate.source=current",
         "evidence.fill_source=prediction")  # fmt: skip
MIDDLE = Camera(800.0, ((files.WIDTH - 1) / 2, (files.HEIGHT - 1) / 2))  # the diagonal
WRITERS = {
    "gvhmr.pt": files.gvhmr,
    "wham.pkl": lambda path, p: files.wham(path, {3: p}),
    "vibe.pkl": lambda path, p: files.vibe(path, {3: p}),
    "phalp.pkl": lambda path, p: files.phalp(path, {3: p}),
    "romp.npz": lambda path, p: files.romp(path, {3: p}),
    "tram.npy": lambda path, p: files.tram(path.parent / "tram", p),
    "glamr.pkl": lambda path, p: files.glamr(path, p, FRAMES),
    "prompthmr.pkl": lambda path, p: files.prompthmr(path, {3: p}, FRAMES),
    "cliff.npz": lambda path, p: files.cliff(path, {0: p}, FRAMES),
}


@pytest.fixture(scope="module")
def body():
    return load_body()


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    size = (files.WIDTH, files.HEIGHT)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 30, size)
    for i in range(FRAMES):
        writer.write(np.full((size[1], size[0], 3), 90 + i, np.uint8))
    writer.release()
    return path


def written(tmp_path, name):
    return read_result(WRITERS[name](tmp_path / name, files.person(FRAMES)))


def poses(path, result, body, shift=4.0, number=0):
    """Points of one of a result's people, a little beside where it has them."""
    track = result.tracks[number]
    camera = track.camera(files.WIDTH, files.HEIGHT) or MIDDLE
    base = on_body(result, track, body, camera)
    points = body.landmarks(base.rotmats, base.betas, COCO17) + in_camera(base, camera)[:, None]
    xy = project(points, camera.focal, torch.tensor(camera.center)).numpy() + shift
    every = np.zeros((FRAMES, *xy.shape[1:])), np.zeros((FRAMES, xy.shape[1]))
    every[0][track.frames], every[1][track.frames] = xy, 1
    np.savez(path, xy=every[0], conf=every[1], skeleton="coco17")
    return camera


@pytest.mark.parametrize("name", WRITERS)
def test_it_is_refined_and_written_in_its_layout(name, run, clip, tmp_path, body):  # noqa: F811
    result = written(tmp_path, name)
    camera = poses(tmp_path / "poses.npz", result, body)
    code, out, err = run("refine", clip, "--result", result.path, "--as", "same", "-o", "new",
                         "--quiet", "--poses2d", "poses.npz", "--no-overlay", "--no-page",
                         *QUICK)  # fmt: skip
    assert code == 0, err
    saved = load_result(tmp_path / "new").tracks[0]
    again = tmp_path / "new" / result.path.name
    before, after = result.tracks[0], read_result(again).tracks[0]
    assert torch.equal(saved.base.rotmats.float(), saved.base.rotmats)
    torch.testing.assert_close(saved.base.rotmats, before.rotmats, atol=1e-5, rtol=0)
    torch.testing.assert_close(after.rotmats[:, :22], saved.adapted.rotmats[:, :22], atol=1e-4,
                               rtol=0)  # fmt: skip
    assert not torch.allclose(after.rotmats, before.rotmats, atol=1e-3)
    assert torch.equal(after.betas, before.betas)  # of another body than the one refined on
    old, new = before.pelvis(camera), after.pelvis(camera)
    assert (new - old).norm(dim=-1).max() > 1e-3
    assert float((new[:, 2] / old[:, 2]).median()) == pytest.approx(1, abs=0.02)
    # in the picture it is where the refined one is
    center = torch.tensor(camera.center)
    torch.testing.assert_close(project(new[:, None], camera.focal, center),
                               project(saved.adapted.trans[:, None], camera.focal, center),
                               atol=0.5, rtol=0)  # fmt: skip
    if before.world is not None:
        turn = before.world.orient @ before.rotmats[:, 0].mT
        moved = before.world.trans + (turn @ (new - old)[..., None])[..., 0]
        torch.testing.assert_close(after.world.trans, moved, atol=1e-4, rtol=0)
        torch.testing.assert_close(after.world.orient, turn @ after.rotmats[:, 0], atol=1e-4,
                                   rtol=0)  # fmt: skip


def test_a_part_is_refined_and_the_rest_stays(run, clip, tmp_path, body):  # noqa: F811
    result = written(tmp_path, "wham.pkl")
    poses(tmp_path / "poses.npz", result, body)
    words = ("refine", clip, "--result", "wham.pkl", "--poses2d", "poses.npz", "--no-overlay",
             "--no-page", *QUICK)  # fmt: skip
    code, out, err = run(*words, "--as", "same", "-o", "new", "--start", "4", "--end", "0.3s")
    assert code == 0 and "frames outside the part stay in the file" in " ".join(err.split()), err
    saved = load_result(tmp_path / "new").tracks[0]
    assert saved.track.frames.tolist() == list(range(4, 9))
    before, after = result.tracks[0], read_result(tmp_path / "new" / "wham.pkl").tracks[0]
    torch.testing.assert_close(saved.base.rotmats, before.rotmats[4:9], atol=1e-5, rtol=0)
    moved = (after.rotmats - before.rotmats).flatten(1).abs().amax(1)
    assert (moved[4:9] > 1e-4).all() and (moved[[*range(4), *range(9, 12)]] < 1e-5).all()
    world = (after.world.trans - before.world.trans).abs().amax(1)
    assert (world[[*range(4), *range(9, 12)]] < 1e-5).all() and world[4:9].max() > 1e-4
    refused(run(*words, "--start", "12", "-o", "no"), "lies outside")
    files.wham(tmp_path / "late.pkl", {3: files.person(4, first=8)})
    refused(run("refine", clip, "--result", "late.pkl", "--end", "6", *words[4:]),
            "result 'late.pkl' has nobody in this part of")  # fmt: skip
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("larger", [1, 2])
def test_what_did_not_move_comes_back_as_it_was(name, larger, tmp_path, body):
    """Also by another camera, and in a video of which the program saw a smaller copy."""
    result = written(tmp_path, name)
    width, height = larger * files.WIDTH, larger * files.HEIGHT
    shown = in_picture(result, width, height)
    camera = Camera(1500.0, (width / 2 + 3, height / 2 - 5))
    track = shown.tracks[0]
    base = on_body(shown, track, body, camera)
    motion = (base.rotmats, base.betas, in_camera(base, camera))
    same = refined_of(result, shown, 1, base.frames, motion, body, camera)
    as_same(result, {1: same}, tmp_path / f"again-{name}")
    after, before = read_result(tmp_path / f"again-{name}").tracks[0], result.tracks[0]
    torch.testing.assert_close(after.rotmats, before.rotmats, atol=1e-5, rtol=0)
    torch.testing.assert_close(after.pelvis(MIDDLE), before.pelvis(MIDDLE), atol=1e-4, rtol=1e-4)
    if before.world is not None:
        torch.testing.assert_close(after.world.trans, before.world.trans, atol=1e-4, rtol=1e-4)


def with_a_gap(first=2, gap=(5, 6)):
    """Somebody who comes late, and is not seen for a while."""
    p = files.person(FRAMES, seed=1)
    rows = [i for i in range(first, FRAMES) if i not in gap]
    return files.Person(**{key: value[rows] for key, value in vars(p).items()})


TWO = {
    "phalp.pkl": lambda path, a, b: files.phalp(path, {3: a, 5: b}),
    "romp.npz": lambda path, a, b: files.romp(path, {3: a, 5: b}),
    "prompthmr.pkl": lambda path, a, b: files.prompthmr(path, {3: a, 5: b}, FRAMES),
}


@pytest.mark.parametrize("name", TWO)
def test_of_two_people_one_with_gaps_is_refined_and_the_other_stays(
    name, run, clip, tmp_path, body  # noqa: F811
):  # fmt: skip
    late = with_a_gap()
    result = read_result(TWO[name](tmp_path / name, files.person(FRAMES), late))
    poses(tmp_path / "poses.npz", result, body, number=1)
    code, out, err = run("refine", clip, "--result", name, "--as", "same", "-o", "new", "--quiet",
                         "--poses2d", "poses.npz", "--no-overlay", "--no-page", "--track", "2",
                         *QUICK)  # fmt: skip
    assert code == 0, err
    (saved,) = load_result(tmp_path / "new").tracks
    assert saved.track.id == 2 and saved.track.frames.tolist() == late.frames.tolist()
    other, moved = read_result(tmp_path / "new" / name).tracks
    assert torch.equal(other.rotmats, result.tracks[0].rotmats)
    assert torch.equal(other.pelvis(MIDDLE), result.tracks[0].pelvis(MIDDLE))
    assert moved.frames.tolist() == late.frames.tolist()
    torch.testing.assert_close(moved.rotmats[:, :22], saved.adapted.rotmats[:, :22], atol=1e-4,
                               rtol=0)  # fmt: skip


def test_every_frame_s_own_focal_length_counts(tmp_path, body):
    """A zoom: one camera shows the base where the file's cameras do, and it comes back."""
    path = files.gvhmr(tmp_path / "zoom.pt", files.person(FRAMES))
    data = torch.load(path)
    data["K_fullimg"][:, 0, 0] *= torch.linspace(1, 1.4, FRAMES)
    data["K_fullimg"][:, 1, 1] = data["K_fullimg"][:, 0, 0]
    torch.save(data, path)
    result = read_result(path)
    track = result.tracks[0]
    camera = track.camera(files.WIDTH, files.HEIGHT)
    base = on_body(result, track, body, camera)
    places = in_camera(base, camera)
    center = torch.tensor(camera.center)
    for i in (0, FRAMES - 1):
        there = project(base.trans[i][None, None], float(track.focal[i]), track.center[i])
        here = project(places[i][None, None], camera.focal, center)
        torch.testing.assert_close(here, there, atol=1e-2, rtol=0)
    motion = (base.rotmats, base.betas, places)
    same = refined_of(result, result, 1, base.frames, motion, body, camera)
    as_same(result, {1: same}, tmp_path / "again.pt")
    after = read_result(tmp_path / "again.pt").tracks[0]
    torch.testing.assert_close(after.trans, track.trans, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(after.world.trans, track.world.trans, atol=1e-4, rtol=1e-4)


class Smpl(Body):
    """Said to be SMPL's."""

    is_smpl = True


def test_on_the_file_s_own_body_betas_and_distance_are_written_too(tmp_path):
    """A shape that moves the pelvis of the rest pose: the file's pelvis moves with it."""
    body = load_body()
    body.__class__ = Smpl
    body.joint_template += torch.tensor(files.PELVIS).float() - body.joint_template[0]
    body.joint_shapedirs[0, :, 0] = torch.tensor([0.0, -0.02, 0.01])
    result = written(tmp_path, "wham.pkl")
    track = result.tracks[0]
    base = on_body(result, track, body, MIDDLE)
    assert torch.equal(base.betas, track.betas)
    torch.testing.assert_close(base.trans, track.trans)  # the same body: added as it is
    grown = base.betas + torch.eye(10)[0]
    motion = (base.rotmats, grown, base.trans * 1.1)
    found = refined_of(result, result, 1, base.frames, motion, body, MIDDLE)
    as_same(result, {1: found}, tmp_path / "new.pkl")
    after = read_result(tmp_path / "new.pkl").tracks[0]
    torch.testing.assert_close(after.betas, grown)
    torch.testing.assert_close(after.trans, 1.1 * track.trans)
    step = 0.1 * track.trans + torch.tensor([0.0, -0.02, 0.01])
    turn = track.world.orient @ track.rotmats[:, 0].mT
    expected = track.world.trans + (turn @ step[..., None])[..., 0]
    expected = expected - torch.tensor([0.0, -0.02, 0.01])
    torch.testing.assert_close(after.world.trans, expected, atol=1e-5, rtol=0)
    gvhmr = written(tmp_path, "gvhmr.pt")  # SMPL-X: its betas mean something else
    assert not on_body(gvhmr, gvhmr.tracks[0], body, MIDDLE).betas.any()


def test_frames_that_were_not_refined_stay(tmp_path, body):
    result = written(tmp_path, "vibe.pkl")
    base = on_body(result, result.tracks[0], body, MIDDLE)
    rows = torch.arange(3, 9)
    motion = (base.rotmats[rows].mT, base.betas[rows], base.trans[rows] + torch.tensor([0.1, 0, 0]))
    found = refined_of(result, result, 1, base.frames[rows], motion, body, MIDDLE)
    as_same(result, {1: found}, tmp_path / "new.pkl")
    after, before = read_result(tmp_path / "new.pkl").tracks[0], result.tracks[0]
    step = after.pelvis(MIDDLE) - before.pelvis(MIDDLE)
    other = torch.ones(FRAMES, dtype=torch.bool)
    other[rows] = False
    assert step[other].abs().max() < 1e-5
    torch.testing.assert_close(step[rows], torch.tensor([0.1, 0, 0]).expand(6, 3), atol=1e-4,
                               rtol=0)  # fmt: skip
    torch.testing.assert_close(after.rotmats[other], before.rotmats[other], atol=1e-5, rtol=0)
    assert not torch.allclose(after.rotmats[rows], before.rotmats[rows], atol=1e-2)


def test_a_smaller_copy_s_pixels_are_the_video_s(tmp_path):
    result = written(tmp_path, "gvhmr.pt")
    twice = in_picture(result, 2 * files.WIDTH, 2 * files.HEIGHT).tracks[0]
    assert float(twice.focal[0]) == pytest.approx(2 * files.FOCAL)
    assert twice.center[0].tolist() == pytest.approx([files.WIDTH, files.HEIGHT])
    assert in_picture(result, files.WIDTH, files.HEIGHT) is result
    with pytest.raises(SemttaError, match="is of a picture of 640 x 480, the video has 480 x 640"):
        in_picture(result, files.HEIGHT, files.WIDTH)


def test_what_cannot_be_refined_is_refused_in_one_sentence(run, clip, tmp_path):  # noqa: F811
    files.amass(tmp_path / "amass.npz", files.person(FRAMES))
    refused(run("refine", clip, "--result", "amass.npz"),
            "does not say where person 1 is before the camera; it cannot be refined")  # fmt: skip
    files.wham_api(tmp_path / "api.pkl", files.person(FRAMES))
    refused(run("refine", clip, "--result", "api.pkl"), "does not say where person 1 is")
    files.wham(tmp_path / "two.pkl", {3: files.person(FRAMES), 5: files.person(FRAMES, seed=1)})
    refused(run("refine", clip, "--result", "two.pkl"), "holds 2 people (1, 2); choose one")
    refused(run("refine", clip, "--result", "two.pkl", "--as", "other"), "--as is 'same'")
    files.gvhmr(tmp_path / "short.pt", files.person(FRAMES - 4))
    refused(run("refine", clip, "--result", "short.pt"),
            "covers 8 frames, the video has 12")  # fmt: skip
    assert not (tmp_path / "semtta-out").exists() or not any((tmp_path / "semtta-out").iterdir())


def test_results_of_other_videos_and_broken_ones_are_refused(
    run, clip, tmp_path, body  # noqa: F811
):  # fmt: skip
    whole = files.person(FRAMES)

    def refine(name, *words):
        return run("refine", clip, "--result", name, "--no-overlay", "--no-page", "--quiet",
                   *words)  # fmt: skip

    data = torch.load(files.gvhmr(tmp_path / "tall.pt", whole))
    data["K_fullimg"][:, :2, 2] = torch.tensor([240.0, 320.0])
    torch.save(data, tmp_path / "tall.pt")
    refused(refine("tall.pt"), "is of a picture of 480 x 640, the video has 640 x 480")
    result = written(tmp_path, "wham.pkl")
    poses(tmp_path / "poses.npz", result, body, shift=90)
    refused(refine("wham.pkl", "--poses2d", "poses.npz"), "does not fit this video: its joints are "
            "off the nearest person's there by")  # fmt: skip
    whole.trans[3, 1] = np.nan
    files.wham(tmp_path / "nan.pkl", {3: whole})
    refused(refine("nan.pkl"), "person 3, 'trans': holds NaN")
    np.savez(tmp_path / "other.npz", theta=np.zeros((FRAMES, 72)), tran=np.zeros((FRAMES, 3)))
    refused(refine("other.npz"), "it holds the keys theta, tran. Known are GVHMR's")
    refused(refine("wham.pkl", "--track", "5"), "has no track '5'; it has 1")
    refused(refine("wham.pkl", "--body", "smplx"), "smplx")
    assert not (tmp_path / "semtta-out").exists() or not any((tmp_path / "semtta-out").iterdir())


def test_the_shape_of_another_body_is_held_out_and_that_is_said(
    run, clip, tmp_path, body  # noqa: F811
):  # fmt: skip
    """SMPL-X's betas have no mapping to SMPL's: the mean shape is refined, the file's stays."""
    result = written(tmp_path, "prompthmr.pkl")
    assert result.tracks[0].betas.abs().max() > 0.5
    poses(tmp_path / "poses.npz", result, body)
    code, out, err = run("refine", clip, "--result", "prompthmr.pkl", "--poses2d", "poses.npz",
                         "--no-overlay", "--no-page", "-o", "new", "strategy=frozen")  # fmt: skip
    assert code == 0 and "its body is SMPL-X" in " ".join(err.split()), err
    assert not load_result(tmp_path / "new").tracks[0].base.betas.any()


def test_a_name_of_ours_is_left_to_ours(tmp_path, body):
    path = files.cliff(tmp_path / "track-07.npz", {0: files.person(FRAMES)}, FRAMES)
    result, said = read_result(path), []
    info = VideoInfo(path, files.WIDTH, files.HEIGHT, 30.0, FRAMES)
    (tmp_path / "new").mkdir()
    SameLayout(result)(
        tmp_path / "new", [], body, info, lambda stage, done, total, values: said.append(values)
    )
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["result-track-07.npz"]
    assert any("written again as result-track-07.npz" in values["text"] for values in said)
