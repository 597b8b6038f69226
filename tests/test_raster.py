"""The parts of the renderer, sample by sample, against what they are by definition."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from semtta.geometry.raster import (
    front_faces,
    pixel_box,
    project_vertices,
    rasterize,
    vertex_normals,
)

K = np.array([[100.0, 0, 8], [0, 100.0, 6], [0, 0, 1]])


def test_vertices_that_touch_the_camera_or_are_nowhere_cannot_be_drawn():
    vertices = np.array(
        [[0.1, -0.2, 2], [0.1, 0, 0.06], [0, 0, 0.05], [0, 0, -1], [np.nan, 0, 1], [0, np.inf, 1]]
    )
    pixels, usable = project_vertices(vertices, K)
    assert usable.tolist() == [True, True, False, False, False, False]
    np.testing.assert_allclose(pixels[:2], [[13, -4], [8 + 10 / 0.06, 6]])
    assert np.isfinite(pixels).all()


@pytest.mark.parametrize(
    ("pixels", "box"),
    [([[1.2, 2.7], [3.5, 4.0]], (1, 2, 5, 5)), ([[3, 3]], (3, 3, 4, 4)),
     ([[-7.0, 2], [90, 4]], (0, 2, 20, 5)), ([[4, -8], [5, 80]], (4, 0, 6, 10)),
     ([[18.5, 8.5], [19, 9]], (18, 8, 20, 10)), ([[-1.0, -1.0]], None),
     ([[-2, 3], [-1.5, 4]], None), ([[5, -3], [6, -2]], None), ([[20, 3], [22, 4]], None),
     ([[3, 10], [4, 12]], None), ([[-0.5, -0.5]], (0, 0, 1, 1)), (np.zeros((0, 2)), None)],
)  # fmt: skip
def test_a_box_holds_every_pixel_that_is_touched_inside_the_image(pixels, box):
    assert pixel_box(np.array(pixels), (10, 20, 3)) == box


def test_only_whole_faces_seen_from_outside_are_drawn():
    points = np.array([[0.0, 0], [0, 4], [4, 0], [8, 0]])  # y points down
    outside, inside, edge = [0, 1, 2], [0, 2, 1], [0, 2, 3]
    usable = np.ones(4, bool)
    assert front_faces(points, np.array([outside, inside, edge]), usable).tolist() == [outside]
    for lost in outside:
        assert not len(front_faces(points, np.array([outside]), np.arange(4) != lost))


def test_a_normal_is_the_mean_of_its_faces_by_their_area():
    vertices = np.array([[0.0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 1], [9, 9, 9]])
    normals = vertex_normals(vertices, np.array([[0, 1, 2], [0, 2, 3]]))
    assert normals.dtype == np.float32
    both = np.array([1, 0, 3]) / 10**0.5  # areas 1/2 and 3/2
    expected = [both, [0, 0, 1], both, [1, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(normals, expected, atol=1e-6)


def by_definition(points, faces, depth, values, width, height):
    """Nearest triangle at every sample: position -> values, by barycentric coordinates."""
    found = {}
    for y in range(height):
        for x in range(width):
            nearest = 0.0
            for face in faces:
                corners = np.column_stack((points[face], np.ones(3)))
                weight = np.linalg.solve(corners.T, [x, y, 1.0])
                if (weight >= 0).all() and weight @ depth[face] > nearest:
                    nearest = weight @ depth[face]
                    found[y * width + x] = weight @ values[face]
    return found


@pytest.mark.parametrize("seed", range(4))
def test_every_sample_shows_the_nearest_surface_and_the_values_there(seed):
    random = np.random.default_rng(seed)
    points = random.uniform(-5, [17, 13], (24, 2))  # some outside, on every side
    depth, values = random.uniform(0.2, 2, 24), random.standard_normal((24, 2))
    faces = np.arange(24).reshape(8, 3)
    both = np.concatenate((faces, faces[:, ::-1]))
    faces = front_faces(points, both, np.ones(24, bool))
    assert len(faces) == 8
    place, value = rasterize(points, faces, depth, values, 12, 8)
    expected = by_definition(points, faces, depth, values, 12, 8)
    assert sorted(place) == sorted(expected) and 10 < len(expected)
    np.testing.assert_allclose(value, [expected[i] for i in place], atol=1e-4)


def test_neighbours_neither_overlap_nor_leave_a_crack_and_edges_belong_right_and_below():
    points = np.array([[1.0, 1], [1, 5], [5, 5], [5, 1]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # level edges divide by zero: that is meant
        place, value = rasterize(points, faces, np.ones(4), np.eye(4), 6, 6)
    assert sorted(place) == [6 * y + x for y in range(1, 5) for x in range(1, 5)]
    on_the_diagonal = [value[place.tolist().index(7 * i)] for i in range(1, 5)]
    assert not np.array(on_the_diagonal)[:, 1].any()  # of the triangle on its right


def test_a_mesh_out_of_sight_covers_nothing():
    points, faces = np.array([[-9.0, 1], [-9, 5], [-2, 5]]), np.array([[0, 1, 2]])
    place, value = rasterize(points, faces, np.ones(3), np.ones((3, 2)), 6, 6)
    assert place.shape == (0,) and value.shape == (0, 2)
