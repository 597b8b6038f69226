"""The renderer against analytic pictures, and the overlay on a small generated video."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest
import torch

from semtta.body import load_body
from semtta.errors import SemttaError
from semtta.keypoints import Keypoints2D
from semtta.output import render_pytorch3d
from semtta.output.layout import OverlayOptions, sheet_frames, write_sheet
from semtta.output.overlay import Panel, compose, draw_pictures, still, write_overlay
from semtta.output.render import render_mesh
from semtta.skeletons import LIMB12
from semtta.video import probe, read_frames, write_video

K = np.array([[200.0, 0, 80], [0, 200.0, 60], [0, 0, 1]])
RED, BLUE = (220, 30, 30), (30, 30, 220)


def sphere(center, radius, rings=40, sectors=80):
    """Closed sphere, faces counter-clockwise from outside."""
    theta = np.linspace(0, np.pi, rings + 1)[1:-1]
    phi = np.arange(sectors) * 2 * np.pi / sectors
    ring = [[(np.sin(t) * np.cos(p), np.cos(t), np.sin(t) * np.sin(p)) for p in phi] for t in theta]
    points = np.array([(0, 1, 0), *np.reshape(ring, (-1, 3)).tolist(), (0, -1, 0)], float)

    def at(i, j):
        return 1 + i * sectors + j % sectors

    faces = []
    for j in range(sectors):
        faces.append((0, at(0, j + 1), at(0, j)))
        faces.append((len(points) - 1, at(rings - 2, j), at(rings - 2, j + 1)))
        for i in range(rings - 2):
            a, b, c, d = at(i, j), at(i, j + 1), at(i + 1, j), at(i + 1, j + 1)
            faces += [(a, b, d), (a, d, c)]
    faces = np.array(faces)
    a, b, c = (points[faces[:, i]] for i in range(3))
    assert (np.einsum("ij,ij->i", a, np.cross(b - a, c - a)) > 0).all()
    return points * radius + np.asarray(center, float), faces


def canvas(height=120, width=160, value=100):
    return np.full((height, width, 3), value, np.uint8)


def changed(before, after):
    return (before != after).any(-1)


def test_outline_is_where_projection_says():
    image = canvas()
    vertices, faces = sphere((0.1, -0.05, 2.0), 0.3)
    drawn = render_mesh(image, vertices, faces, K)
    y, x = np.mgrid[:120, :160]
    rays = np.stack([(x - 80) / 200, (y - 60) / 200, np.ones_like(x, float)], -1)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    center = np.array([0.1, -0.05, 2.0])
    miss = np.sqrt((center @ center) - (rays @ center) ** 2)  # distance of ray and centre
    mask = changed(image, drawn)
    assert mask[miss < 0.29].all(), "every pixel inside is covered: no cracks"
    assert not mask[miss > 0.31].any()


def test_light_is_neither_black_nor_burnt_and_comes_from_above():
    vertices, faces = sphere((0, 0, 2.0), 0.4)
    drawn = render_mesh(canvas(), vertices, faces, K, (200, 200, 200))
    assert 130 < drawn[60, 80].mean() <= 255
    assert drawn[30, 80].mean() > drawn[90, 80].mean() + 20
    steps = np.abs(np.diff(drawn[60, 50:110].astype(int), axis=0)).max()
    assert steps < 12, "shading must be smooth"


def test_outline_is_blended():
    vertices, faces = sphere((0, 0, 2.0), 0.4)
    drawn = render_mesh(canvas(value=0), vertices, faces, K, (255, 255, 255))
    assert len(np.unique(drawn[60, :60, 0][drawn[60, :60, 0] > 0])) > 3
    full = (drawn[..., 0] > 0).sum()
    area = np.pi * (200 * 0.4 / np.sqrt(4 - 0.16)) ** 2
    assert full == pytest.approx(area, rel=0.06)


def test_nearer_surface_wins_in_any_order():
    far, faces = sphere((0, 0, 3.0), 0.4)
    near, _ = sphere((0.1, 0, 2.0), 0.1)
    for first, second in ((far, near), (near, far)):
        both = np.concatenate([first, second])
        both_faces = np.concatenate([faces, faces + len(first)])
        alone = render_mesh(canvas(), near, faces, K)
        drawn = render_mesh(canvas(), both, both_faces, K)
        inside = cv2.erode(changed(canvas(), alone).astype(np.uint8), np.ones((3, 3))) > 0
        assert inside.sum() > 100
        np.testing.assert_allclose(drawn[inside], alone[inside], atol=2)


def test_interpenetrating_surfaces_are_cut_by_depth():
    left, faces = sphere((-0.1, 0, 2.0), 0.3)
    right, _ = sphere((0.1, 0, 2.0), 0.3)
    both = render_mesh(
        canvas(), np.concatenate([left, right]), np.concatenate([faces, faces + len(left)]), K
    )
    for vertices, columns in ((left, slice(50, 78)), (right, slice(83, 110))):
        alone = render_mesh(canvas(), vertices, faces, K)
        np.testing.assert_allclose(both[60, columns], alone[60, columns], atol=2)


def test_opacity():
    vertices, faces = sphere((0, 0, 2.0), 0.4)
    solid = render_mesh(canvas(), vertices, faces, K, RED)[60, 80].astype(float)
    half = render_mesh(canvas(), vertices, faces, K, RED, alpha=0.5)[60, 80]
    np.testing.assert_allclose(half, (solid + 100) / 2, atol=2)
    none = render_mesh(canvas(), vertices, faces, K, RED, alpha=0.0)
    np.testing.assert_array_equal(none, canvas())


def test_input_image_is_not_changed():
    image = canvas()
    vertices, faces = sphere((0, 0, 2.0), 0.4)
    render_mesh(image, vertices, faces, K)
    np.testing.assert_array_equal(image, canvas())


@pytest.mark.parametrize("center", [(0, 0, -2.0), (30.0, 0, 2.0), (0, 0, 0.0), (0, -50.0, 1.0)])
def test_out_of_sight_changes_nothing_or_little(center):
    vertices, faces = sphere(center, 0.02)
    np.testing.assert_array_equal(render_mesh(canvas(), vertices, faces, K), canvas())


@pytest.mark.parametrize("center", [(0, 0, 0.1), (0.4, 0.3, 0.9), (-0.5, 0, 0.7), (0, 0, 0.45)])
def test_partly_behind_the_camera_or_outside_the_image(center):
    vertices, faces = sphere(center, 0.4)
    drawn = render_mesh(canvas(), vertices, faces, K)
    assert drawn.shape == (120, 160, 3)


def test_nan_vertices_are_left_out():
    vertices, faces = sphere((0, 0, 2.0), 0.4)
    whole = render_mesh(canvas(), vertices, faces, K)
    vertices[vertices[:, 0] > 0.05] = np.nan
    with np.errstate(all="raise"):
        drawn = render_mesh(canvas(), vertices, faces, K)
    assert changed(canvas(), drawn)[60, 60] and not changed(canvas(), drawn)[60, 110]
    np.testing.assert_allclose(drawn[60, 50:70], whole[60, 50:70], atol=2)
    vertices[:] = np.nan
    np.testing.assert_array_equal(render_mesh(canvas(), vertices, faces, K), canvas())


def test_shipped_body_shows_no_holes():
    body = load_body()
    pose = torch.eye(3).expand(24, 3, 3)
    vertices = body.vertices(pose, torch.zeros(10)).numpy() * [1, -1, -1] + [0, 0, 3.0]
    camera = np.array([[700.0, 0, 300], [0, 700.0, 220], [0, 0, 1]])
    image = np.zeros((480, 600, 3), np.uint8)
    mask = render_mesh(image, vertices, body.faces.numpy(), camera).any(-1).astype(np.uint8)
    contours = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]
    assert len(contours) == 1 and mask.sum() > 20000


# --- overlay ------------------------------------------------------------------------------


@pytest.fixture
def video(tmp_path):
    frames = [np.full((122, 161, 3), 60 + 20 * i, np.uint8)[:120, :160] for i in range(5)]
    return write_video(tmp_path / "in.mp4", frames, 10, (160, 120))


def panel(title="adapted", color=RED, center=(0, 0, 2.0), frames=(1, 2, 3), **changes):
    vertices, faces = sphere(center, 0.3)
    return Panel(title, np.array(frames), np.stack([vertices] * len(frames)), faces, K, color,
                 **changes)  # fmt: skip


def is_color(pixel, color):
    return int(np.argmax(pixel)) == int(np.argmax(color)) and np.ptp(pixel.astype(int)) > 40


def test_overlay_video(video, tmp_path):
    calls = []
    target = write_overlay(
        tmp_path / "out.mp4", video, [panel("base", BLUE), panel()],
        progress=lambda stage, done, total, _: calls.append((stage, done, total)),
    )  # fmt: skip
    info = probe(target)
    assert (info.width, info.height, info.fps) == (320, 120, 10)
    frames = [frame for _, _, frame in read_frames(target)]
    assert len(frames) == 5 and calls == [("overlay", i, 5) for i in range(1, 6)]
    for i, frame in enumerate(frames):
        shown = i in (1, 2, 3)
        assert is_color(frame[60, 80], BLUE) == shown and is_color(frame[60, 240], RED) == shown
        if not shown:
            assert np.ptp(frame[60, 80].astype(int)) < 10
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_people_with_one_title_share_a_picture_nearer_in_front():
    near, far = panel(color=RED, center=(0, 0, 2.0)), panel(color=BLUE, center=(0.1, 0, 4.0))
    for people in ([near, far], [far, near]):
        picture = compose(canvas(), 1, people)
        assert picture.shape == (120, 160, 3)
        assert is_color(picture[60, 80], RED)


def test_vertices_may_be_computed_per_frame():
    asked = []
    vertices, faces = sphere((0, 0, 2.0), 0.3)

    def compute(t):
        asked.append(t)
        return torch.as_tensor(vertices)

    lazy = Panel("x", torch.tensor([4, 7]), compute, torch.as_tensor(faces), torch.as_tensor(K))
    np.testing.assert_array_equal(
        compose(canvas(), 7, [lazy]),
        compose(canvas(), 4, [panel("x", lazy.color, frames=(4,))]),
    )
    compose(canvas(), 5, [lazy])
    assert asked == [1]


def test_keypoints_seen_filled_and_missing():
    xy = torch.zeros(1, 12, 2)
    xy[0, :3] = torch.tensor([[40.0, 100], [120.0, 100], [20.0, 60]])
    conf = torch.zeros(1, 12)
    conf[0, 0] = 0.9
    filled = torch.zeros(1, 12, dtype=torch.bool)
    filled[0, 1] = True
    marked = panel(frames=(0,), keypoints=Keypoints2D(xy, conf, LIMB12), filled=filled)
    picture = compose(canvas(value=0), 0, [marked]).astype(int)
    seen, new = picture[100, 40], picture[100, 120]
    assert seen[1] > 150 and new[1] < 120 and new[0] > 200
    assert picture[60, 20].sum() == 0, "a joint without confidence is not drawn"


def test_title_is_readable():
    plain, titled = (compose(canvas(400, 300), 9, [panel(title)]) for title in ("", "adapted"))
    corner = titled[8:24, 8:60]
    assert changed(plain, titled)[:60].sum() > 400 and not changed(plain, titled)[100:].any()
    assert corner.max() > 230 and np.median(corner) < 60


def test_still(video, tmp_path):
    picture = still(tmp_path / "a.png", video, [panel(), panel("b", BLUE)], 2)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png"))[..., ::-1], picture)
    with pytest.raises(SemttaError, match="no frame 99"):
        still(tmp_path / "b.png", video, [panel()], 99)
    assert not (tmp_path / "b.png").exists()


def test_errors_leave_no_file(video, tmp_path):
    with pytest.raises(SemttaError, match="at least one panel"):
        write_overlay(tmp_path / "o.mp4", video, [])

    def fail(t):
        raise SemttaError("no mesh")

    _, faces = sphere((0, 0, 2.0), 0.3)
    with pytest.raises(SemttaError, match="no mesh"):
        write_overlay(tmp_path / "o.mp4", video, [Panel("x", np.array([2]), fail, faces, K)])
    with pytest.raises(SemttaError):
        write_overlay(tmp_path / "o.mp4", tmp_path / "missing.mp4", [panel()])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4"]


@pytest.mark.parametrize(
    ("scale", "size"), [(None, (160, 120)), (1, (160, 120)), (0.5, (80, 60)), (0.1, (16, 12))]
)
def test_scale(video, tmp_path, scale, size):
    """The mesh and its 2D evidence lie where they lie in the whole picture, only smaller."""
    xy = torch.tensor([[[80.0, 60.0]] * 12])
    marked = panel("", RED, (0.1, 0.1, 2.0), (2,),
                   keypoints=Keypoints2D(xy, torch.ones(1, 12), LIMB12))  # fmt: skip
    options = OverlayOptions(scale)
    write_overlay(tmp_path / "o.mp4", video, [marked], options=options)
    frame = [frame for _, _, frame in read_frames(tmp_path / "o.mp4")][2]
    assert frame.shape[1::-1] == size
    share = size[0] / 160
    small = draw_pictures(canvas(size[1], size[0]), 2, [marked.resized(share, share)])[0]
    full = cv2.resize(draw_pictures(canvas(), 2, [marked])[0], size, interpolation=cv2.INTER_AREA)
    red = [(p[..., 0].astype(int) - p[..., 2] > 60) for p in (small, full)]
    for axis in (0, 1):  # the sphere's middle, in pixels of the small picture
        middles = [np.argwhere(mask)[:, axis].mean() for mask in red]
        assert middles[0] == pytest.approx(middles[1], abs=0.4)
    assert red[0].sum() == pytest.approx(red[1].sum(), rel=0.25)


def test_resized_panels_keep_corners_in_corners():
    """Pixel centres: the picture's corner is at -0.5 before and after."""
    xy = torch.tensor([[[-0.5, -0.5], [159.5, 119.5]] + [[80.0, 60.0]] * 10])
    one = panel(frames=(0,), keypoints=Keypoints2D(xy, torch.ones(1, 12), LIMB12))
    small = one.resized(0.25, 0.5)
    np.testing.assert_allclose(small.keypoints.xy[0, :2], [[-0.5, -0.5], [39.5, 59.5]])
    corner = np.linalg.inv(K) @ [159.5, 119.5, 1]
    np.testing.assert_allclose(small.K @ corner, [39.5, 59.5, 1])


def test_a_large_video_is_made_smaller_unless_told_otherwise():
    plain = OverlayOptions()
    assert plain.picture_size(1920, 1080) == (1280, 720)
    assert plain.picture_size(1080, 1920) == (720, 1280)
    assert plain.picture_size(641, 479) == (641, 479)
    assert OverlayOptions(scale=1).picture_size(1921, 1081) == (1921, 1081)
    assert OverlayOptions(scale=0.1).picture_size(8, 8) == (2, 2)


@pytest.mark.parametrize("wrong", [{"scale": 0.05}, {"scale": 1.5}, {"scale": float("nan")},
                                   {"layout": "above"}])  # fmt: skip
def test_options_that_cannot_be(wrong):
    with pytest.raises(SemttaError, match="overlay"):
        OverlayOptions(**wrong)


def test_layouts(video, tmp_path):
    frames = {}
    for layout in ("side", "wipe", "adapted"):
        path = tmp_path / f"{layout}.mp4"
        write_overlay(path, video, [panel("base", BLUE), panel()],
                      options=OverlayOptions(layout=layout))  # fmt: skip
        frames[layout] = [frame for _, _, frame in read_frames(path)]
        again = path.read_bytes()
        write_overlay(path, video, [panel("base", BLUE), panel()],
                      options=OverlayOptions(layout=layout))  # fmt: skip
        assert path.read_bytes() == again
    side, wipe, adapted = (frames[name][1] for name in ("side", "wipe", "adapted"))
    assert side.shape == (120, 320, 3) and wipe.shape == adapted.shape == (120, 160, 3)
    assert is_color(side[60, 80], BLUE) and is_color(side[60, 240], RED)
    assert is_color(adapted[60, 70], RED) and is_color(adapted[60, 100], RED)
    # at 0.1 s the line stands 10 pixels right of the middle
    line = int(np.argmax(wipe[100].astype(int).sum(-1)))
    assert line == pytest.approx(80 + 160 * 0.42 * np.sin(2 * np.pi * 0.1 / 4), abs=1.5)
    assert is_color(wipe[60, 70], BLUE) and is_color(wipe[60, 100], RED)
    later = int(np.argmax(frames["wipe"][3][100].astype(int).sum(-1)))
    assert later > line + 5, "it moves"


def test_wiping_one_picture_shows_it(video, tmp_path):
    path = write_overlay(tmp_path / "o.mp4", video, [panel()], options=OverlayOptions(None, "wipe"))
    assert is_color([f for _, _, f in read_frames(path)][2][60, 80], RED)


@pytest.mark.parametrize("seen", [11, 2, 0])
def test_marks_grow_with_the_person_whatever_was_detected(seen):
    """Radius by the person's size in the picture: the mesh's, not that of the joints in sight."""

    def mark(depth: float) -> int:
        xy, conf = torch.full((1, 12, 2), 600.0), torch.zeros(1, 12)
        xy[0, 0] = torch.tensor([30.0, 30.0])
        conf[0, : 1 + seen] = 1
        one = panel("", RED, (0, 0, depth), (0,),
                    keypoints=Keypoints2D(xy, conf, LIMB12))  # fmt: skip
        far = Panel(one.title, one.frames, one.vertices, one.faces,
                    np.array([[2000.0, 0, 600], [0, 2000.0, 600], [0, 0, 1]]), RED,
                    keypoints=one.keypoints)  # fmt: skip
        drawn = draw_pictures(canvas(900, 1200), 0, [far])[0]
        mark = changed(canvas(900, 1200), drawn)[10:50, 10:50]
        return int(np.tril(mark[::-1], -1).sum())  # the half that no bone leads away from

    near, far = mark(1.5), mark(3.0)  # 800 and 400 pixels high: radii of 6.7 and 3.3
    assert near == pytest.approx(np.pi / 2 * (1.25 * 6.67 + 0.5) ** 2, rel=0.15)
    assert far == pytest.approx(np.pi / 2 * (1.25 * 3.33 + 0.5) ** 2, rel=0.25)
    assert mark(500.0) < 9, "a tiny person is not covered by its marks"


def test_thumbnails(video, tmp_path):
    sheet = tmp_path / "t.jpg"
    write_overlay(tmp_path / "o.mp4", video, [panel("base", BLUE), panel()], thumbnails=sheet)
    picture = cv2.imread(str(sheet))[..., ::-1]
    assert picture.shape == (120, 480, 3), "frames 1, 2, 3: those that show the person"
    assert all(is_color(picture[60, 80 + 160 * i], RED) for i in range(3))
    assert sheet.stat().st_size < 300_000
    first = sheet.read_bytes()
    write_overlay(tmp_path / "o.mp4", video, [panel("base", BLUE), panel()], thumbnails=sheet)
    assert sheet.read_bytes() == first
    with pytest.raises(SemttaError):
        write_overlay(tmp_path / "p.mp4", tmp_path / "none.mp4", [panel()],
                      thumbnails=tmp_path / "u.jpg")  # fmt: skip
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "o.mp4", "t.jpg"]


def test_sheets_are_small_and_spread_over_the_track(tmp_path):
    assert sheet_frames(range(100, 220)) == [110, 130, 150, 169, 189, 209]
    assert sheet_frames([5, 5, 5]) == [5] and sheet_frames([]) == [0]
    noise = np.random.default_rng(0).integers(0, 256, (6, 360, 360, 3), np.uint8)
    path = write_sheet(tmp_path / "t.jpg", list(noise))
    assert path.stat().st_size < 300_000
    assert cv2.imread(str(path)).shape == (720, 1080, 3)
    upright = write_sheet(tmp_path / "u.jpg", list(noise[:, :, :200]))
    assert cv2.imread(str(upright)).shape == (360, 1200, 3)


def test_pytorch3d_backend_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch3d", None)
    vertices, faces = sphere((0, 0, 2.0), 0.3)
    with pytest.raises(SemttaError, match="conda"):
        render_pytorch3d.render_mesh(canvas(), vertices, faces, K)


def test_pytorch3d_backend_agrees_on_the_outline():
    pytest.importorskip("pytorch3d")
    vertices, faces = sphere((0.1, -0.05, 2.0), 0.3)
    ours = changed(canvas(), render_mesh(canvas(), vertices, faces, K))
    theirs = changed(canvas(), render_pytorch3d.render_mesh(canvas(), vertices, faces, K))
    assert (ours ^ theirs).mean() < 0.02
