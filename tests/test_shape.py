"""One body per person: shapes that are told, where their wearer stands, and what is refused."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_adapter import CAMERA, adapter, same, tiny_model, walker
from test_cli import empty_room, nothing_written, refused, run  # noqa: F401
from test_refiner import adapter as refining
from test_refiner import collect, person, result_of, tracked

from semtta.body import load_body
from semtta.body.shape_files import read_betas
from semtta.body.stature import body_mass, shape_of, standing_height
from semtta.config import load_config
from semtta.errors import SemttaError
from semtta.hmr.base import CropSpec, Prediction
from semtta.output.summary import summary
from semtta.skeletons import BODY27
from semtta.tta.adapter import Adapter
from semtta.tta.shape import worn
from semtta.tta.view import View

BODY = load_body()
NOBODY = torch.zeros(10)


# ------------------------------------------------------------------ height and mass


def test_the_height_is_the_meshs_and_the_mass_its_volumes():
    up = BODY.vertices(torch.eye(3).expand(24, 3, 3), NOBODY)[:, 1]
    assert standing_height(BODY, NOBODY) == pytest.approx(float(up.max() - up.min()))
    assert 1.6 < standing_height(BODY, NOBODY) < 1.8 and 50 < body_mass(BODY, NOBODY) < 75
    cube = copy.deepcopy(BODY)  # of two metres: 8000 litres
    corners = torch.tensor([[x, y, z] for x in (-1.0, 1) for y in (-1.0, 1) for z in (-1.0, 1)])
    sides = ([0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3])
    faces = torch.tensor([[s[0], s[i], s[i + 1]] for s in sides for i in (1, 2)])
    cube.v_template, cube.shapedirs, cube.faces = corners, torch.zeros(8, 3, 10), faces
    assert body_mass(cube, NOBODY) == pytest.approx(8 * 985)
    cube.faces = faces[1:]
    with pytest.raises(SemttaError, match="holes"):
        body_mass(cube, NOBODY)


@given(st.floats(1.4, 2.0), st.one_of(st.none(), st.floats(0.85, 1.3)), st.integers(0, 99))
@settings(max_examples=6, deadline=None)
def test_the_shape_has_the_height_and_is_the_nearest_that_has(height, stout, seed):
    start = 0.7 * torch.randn(10, generator=torch.Generator().manual_seed(seed)).double()
    found = shape_of(BODY, start, height)
    mass = None if stout is None else stout * body_mass(BODY, found)
    found = shape_of(BODY, start, height, mass)
    assert standing_height(BODY, found) == pytest.approx(height, abs=1e-4)
    if mass is not None:
        assert body_mass(BODY, found) == pytest.approx(mass, rel=1e-4)
    away = (found - start).norm()
    draw = torch.Generator().manual_seed(seed)
    for _ in range(3):  # whoever else has it is farther off
        other = found + 0.3 * torch.randn(10, generator=draw).double()
        try:
            other = shape_of(BODY, other, height, mass)
        except SemttaError:
            continue
        assert (other - start).norm() > away - 1e-3


def test_who_has_the_height_keeps_the_shape_and_nobody_has_any():
    betas = torch.tensor([0.5, -1, 0.3, 0, 0, 1, 0, 0, -0.2, 0])
    own = shape_of(BODY, betas, standing_height(BODY, betas), body_mass(BODY, betas))
    torch.testing.assert_close(own, betas, atol=1e-4, rtol=0)
    assert shape_of(BODY, betas) is betas
    for height, mass, words in ((0.6, None, "0.6 m"), (2.9, None, "standard deviations"),
                                (1.7, 400.0, "1.7 m and 400 kg"), (None, 2.0, "2 kg")):  # fmt: skip
        with pytest.raises(SemttaError, match=words):
            shape_of(BODY, NOBODY, height, mass)


# ------------------------------------------------------------------ files


def test_betas_are_read_from_every_kind_of_file(tmp_path):
    betas = np.linspace(-1, 1, 10).astype(np.float32)
    np.save(tmp_path / "a.npy", betas)
    np.savez(tmp_path / "b.npz", betas=np.stack([betas, betas, betas + 9]), frames=np.arange(3))
    np.savez(tmp_path / "c.npz", betas[None])
    (tmp_path / "d.json").write_text(json.dumps(betas.tolist()))
    (tmp_path / "e.json").write_text(json.dumps({"betas": betas.tolist(), "gender": "neutral"}))
    for path in sorted(tmp_path.iterdir()):
        np.testing.assert_allclose(read_betas(path), betas, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", "[1, 2, 3]", r"shape \(3,\)"), ("a.json", '{"beta": []}', "it has no 'betas'"),
        ("a.json", "[[1], 2]", "cannot be read"), ("a.json", "1", "shape"),
        ("a.json", '["a"]', "cannot be read"), ("a.npy", b"nonsense", "cannot be read"),
        ("a.json", json.dumps([float("nan")] + 9 * [0]), "some that are not"),
        ("a.npz", {"pose": np.zeros(3), "trans": np.zeros(3)}, "no array 'betas', only pose"),
        ("a.npz", {"betas": np.zeros((4, 16))}, r"shape \(4, 16\)"),
        ("a.npz", {"betas": np.zeros((0, 10))}, "shape"), ("b.npz", None, "does not exist"),
        ("a.npz", {"betas": np.array([{}], object)}, "betas"),
    ],
)  # fmt: skip
def test_files_that_hold_no_betas_are_named(tmp_path, name, content, words):
    path = tmp_path / name
    if isinstance(content, dict):
        np.savez(path, **content)
    elif content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SemttaError, match=words) as error:
        read_betas(path)
    assert str(path) in str(error.value)


# ------------------------------------------------------------------ where its wearer stands


@pytest.mark.parametrize("kind", ["crop", "full", "metric"])
@pytest.mark.parametrize("lifted", [0.0, -0.25])
def test_a_larger_body_stands_as_much_farther_away(kind, lifted):
    """Whatever the camera is, and wherever the body's own pelvis lies."""
    body = copy.deepcopy(BODY)
    for part in (body.v_template, body.joint_template):
        part[:, 1] += lifted
    short, tall = (shape_of(body, NOBODY, height) for height in (1.5, 1.8))
    turns = torch.eye(3).repeat(2, 24, 1, 1)
    turns[:, 0] = torch.diag(torch.tensor([1.0, -1, -1]))
    crop = CropSpec(camera=kind, focal=5000.0)
    view = View(body, CAMERA, torch.tensor([[300.0, 220, 500], [350, 260, 400]]), crop, BODY27)
    cam = torch.tensor([[0.2, 0.1, 4.0], [-0.1, 0.3, 5.0]]) if kind == "metric" else (
        torch.tensor([[0.9, 0.1, 0.2], [0.7, -0.1, 0.3]]))  # fmt: skip
    before, frames = Prediction(turns, short.repeat(2, 1), cam), torch.arange(2)
    after = worn(body, before.betas, tall, kind == "metric").put_on(before, frames)
    was, now = (view.project(p, frames, view.landmarks(p)) for p in (before, after))
    height = was[..., 1].amax(1) - was[..., 1].amin(1)
    assert ((was - now).norm(dim=-1).mean(1) < 0.015 * height).all()  # proportions change a little
    depth = [view.translation(p, frames)[:, 2] for p in (before, after)]
    torch.testing.assert_close(depth[1] / depth[0], torch.full((2,), 1.2), atol=0.02, rtol=0)
    assert torch.equal(after.betas, tall.repeat(2, 1)) and torch.equal(after.rotmats, turns)


def errors(result):
    seen = result.evidence.detected
    return [float((motion.landmarks2d - result.detections.xy).norm(dim=-1)[seen].mean())
            for motion in (result.base, result.adapted)]  # fmt: skip


@pytest.mark.parametrize("path", ["track", "frames"])
def test_base_and_adapted_have_the_height_and_fit_the_picture_as_before(path):
    usual = ("shape.mode=track", f"closing.path={path}")
    free = adapter(*usual).adapt(walker(), CAMERA, ["walk"] * 70)
    told = adapter(*usual, "shape.height=1.9").adapt(walker(), CAMERA, ["walk"] * 70)
    for motion in (told.base, told.adapted):
        assert (motion.betas == motion.betas[0]).all()
        assert standing_height(BODY, motion.betas[0]) == pytest.approx(1.9, abs=1e-3)
    assert "as told: 1.9 m (shape.height)" in " ".join(summary(told, {}))
    assert "as told" not in " ".join(summary(free, {}))
    was, now = free.base.landmarks2d, told.base.landmarks2d
    tall = float((was[..., 1].amax(1) - was[..., 1].amin(1)).mean())
    assert float((was - now).norm(dim=-1).mean()) < 0.02 * tall  # but for other proportions
    assert errors(told)[1] < 0.8 * errors(told)[0]
    was = standing_height(BODY, free.base.betas[0])
    assert float((told.base.trans / free.base.trans)[:, 2].median()) == pytest.approx(
        1.9 / was, rel=0.03
    )


def test_a_shape_in_chunks_is_the_shape_of_the_whole():
    whole, parts = (
        adapter("shape.mode=track", "shape.height=1.8", chunk).adapt(walker(), CAMERA).adapted
        for chunk in ("optimizer.chunk=null", "optimizer.chunk=16")
    )
    torch.testing.assert_close(parts.rotmats, whole.rotmats, atol=1e-4, rtol=0)
    assert torch.equal(parts.betas, whole.betas)


def test_betas_of_a_file_are_worn_and_a_height_starts_from_them(tmp_path):
    betas = torch.tensor([0.5, -1, 0.3, 0, 0, 1, 0, 0, -0.2, 0])
    np.save(tmp_path / "b.npy", betas.numpy())
    told = ("shape.mode=track", f"shape.betas={tmp_path / 'b.npy'}", "optimizer.epochs=0")
    found = adapter(*told).adapt(walker(), CAMERA)
    assert torch.equal(found.base.betas, betas.expand(70, 10)) and same(found.base, found.adapted)
    taller = adapter(*told, "shape.height=1.9").adapt(walker(), CAMERA).base.betas[0]
    torch.testing.assert_close(taller, shape_of(BODY, betas, 1.9))


def test_of_a_refinement_the_base_stays_and_the_known_height_tells_the_distance():
    """A file has somebody of 1.70 m as one of 1.50 m, at the distance where that looks right."""
    track, base = person()
    true = base.trans[:, 2]
    small = shape_of(BODY, NOBODY, 1.5)
    share = 1.5 / standing_height(BODY, NOBODY)
    base = replace(base, betas=small.repeat(40, 1), trans=share * base.trans)
    usual = ("shape.mode=track", "closing.path=track", "hold.after=0.2")
    height = f"shape.height={standing_height(BODY, NOBODY)}"
    for epochs in (0, 3):
        free, told = (
            refining(result_of(base), *usual, f"optimizer.epochs={epochs}", *more).adapt(
                track, CAMERA)
            for more in ((), (height,))
        )  # fmt: skip
        for result in (free, told):
            assert torch.equal(result.base.trans, base.trans)
            assert torch.equal(result.base.betas, base.betas)
            assert torch.equal(result.base.rotmats, base.rotmats)
        assert (told.adapted.trans[:, 2] / true - 1).abs().max() < 0.02
        assert (free.adapted.trans[:, 2] / true - 1).abs().min() > 0.08
        assert errors(told)[1] < errors(free)[1] + 0.5


def test_hidden_legs_are_held_at_the_distance_of_the_told_body():
    track, base = person(off=0.03)
    conf = track.keypoints.conf.clone()
    legs = [i for i, name in enumerate(BODY27.joints) if name.split("_")[-1] in
            ("knee", "ankle", "heel", "toe")]  # fmt: skip
    conf[:, legs] = 0
    track = replace(track, keypoints=replace(track.keypoints, conf=conf))
    told = ("shape.mode=track", "hold.after=0.1", "hold.depth=true", "hold.to=base")
    depths = [
        refining(result_of(base), *told, f"shape.height={height}").adapt(track, CAMERA)
        .adapted.trans[:, 2].median() for height in (1.6, 1.8)
    ]  # fmt: skip
    assert float(depths[1] / depths[0]) == pytest.approx(1.8 / 1.6, rel=0.02)


# ------------------------------------------------------------------ cameras of results


def test_the_camera_of_a_refinement_is_told_or_the_results_or_guessed_and_says_which():
    _, base = person()
    silent = replace(base, focal=None, center=None)
    zooming = replace(base, focal=base.focal + torch.arange(40))
    for result, told, focal, origin in (
        (base, ("camera.focal=26mm",), 26 / np.hypot(36, 24) * 800, "given as 26 mm"),
        (base, (), CAMERA.focal, "as the result says"),
        (zooming, (), CAMERA.focal + 19, "as the result says, the median of its frames'"),
        (base, ("camera.center=[300,250]",), CAMERA.focal, "as the result says"),
        (silent, (), 800, "guessed: the picture's diagonal"),
    ):
        camera = refining(result_of(result), *told).camera(640, 480)
        assert camera.focal == pytest.approx(focal) and camera.origin.startswith(origin)
        assert camera.center == ((300, 250) if "center" in str(told) else camera.center)


# ------------------------------------------------------------------ refused


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--height", "178"), "shape.height"), (("--height", "0.5"), "no person of 0.5 m"),
        (("--height", "1.8", "shape.mode=per_frame"), "one for each frame"),
        (("--betas", "absent.npy"), "absent.npy"), (("shape.mass=500",), "no person of 500 kg"),
    ],
)  # fmt: skip
def test_shapes_that_cannot_be_are_refused(run, tmp_path, empty_room, options, words):  # noqa: F811
    refused(run("adapt", empty_room, *options), words)
    nothing_written(tmp_path, empty_room.name)


def test_one_told_shape_of_several_people_is_said():
    people = [person(1)[1], person(2, x=0.6)[1]]
    tracks = [person(1)[0], person(2, x=0.6)[0]]
    for several, said in ((True, 1), (False, 0)):
        notes, progress = collect()
        refining(result_of(*people[: 1 + several]), "shape.mode=track", "shape.height=1.7",
                 "optimizer.epochs=0").run(
            tracked(*tracks[: 1 + several]), tracks="all", progress=progress)  # fmt: skip
        assert sum("all 2 people get it" in note for note in notes) == said


def test_the_shape_is_checked_when_an_adapter_is_made(tmp_path):
    with pytest.raises(SemttaError, match="no person"):
        Adapter(tiny_model(), config=load_config("default", ["shape.height=2.9"]))


@pytest.mark.parametrize(
    ("values", "words"),
    [([20.0] * 10, "no body looks like a person"), ([1e300] * 10, "no body looks like a person"),
     (np.ones(10, complex), "complex128"), (np.array(["1"] * 10), "it holds <U1")],
)  # fmt: skip
def test_betas_that_nobody_has_are_refused(tmp_path, values, words):
    np.savez(tmp_path / "b.npz", betas=np.asarray(values))
    with pytest.raises(SemttaError, match=words):
        read_betas(tmp_path / "b.npz")


def test_betas_of_another_body_are_refused(tmp_path):
    result = adapter("optimizer.epochs=0").adapt(walker(30), CAMERA)
    folder = result.save(tmp_path / "out")
    told = load_config("default", [f"shape.betas={folder / 'track-01.npz'}"])
    Adapter(tiny_model(), config=told)  # its own body
    report = json.loads((folder / "report.json").read_text())
    report["tracks"][0]["provenance"]["body"] = {"name": "smpl", "sha256": "ab" * 32}
    (folder / "report.json").write_text(json.dumps(report))
    with pytest.raises(SemttaError, match="belong to body 'smpl' .SHA-256 abababababab"):
        Adapter(tiny_model(), config=told)
