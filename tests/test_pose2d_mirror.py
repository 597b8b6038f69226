"""The measure without labels: what is said of a crop and of its mirror image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from semtta.pose2d.estimator import Estimator, EstimatorSpec
from semtta.pose2d.evaluate import predict
from semtta.pose2d.mirror import mirror_agreement
from semtta.pose2d.samples import Entry, KeypointSet
from semtta.pose2d.skeletons import BODY16, HAND21

SIZE = 64
SPEC = EstimatorSpec(backbone="efficientnet_lite0", size=SIZE, deconv=4)
RIGHT = torch.tensor([name.startswith("right_") for name in BODY16.joints])
LIMBS = BODY16.group_indices["All"]


class ByPlace(Estimator):
    """Takes for right what is bright in the picture's left half, and for left what is in the other;
    the joints of ``by_looks`` are where it is brightest of all."""

    by_looks: tuple[int, ...] = ()

    def forward(self, images):
        cell = SIZE // self.spec.map_size
        bright = F.avg_pool2d(images.mean(1), cell)
        bright = bright - bright.amin()
        maps = bright[:, None].repeat(1, len(BODY16), 1, 1)
        half = self.spec.map_size // 2
        maps[:, RIGHT, :, half:] = 0
        maps[:, ~RIGHT, :, :half] = 0
        for joint in self.by_looks:
            maps[:, joint] = bright
        return maps


@pytest.fixture(scope="module")
def images():
    """Two squares at other heights and distances from the middle, the right one brighter."""
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    picture[16:20, 8:12], picture[40:44, 48:52] = 200, 250
    square = np.array([(SIZE - 1) / 2, (SIZE - 1) / 2, SIZE])
    entry = Entry(picture, square, np.zeros((16, 2)), np.zeros(16), name="x")
    return KeypointSet("two", BODY16, [entry] * 3)


def test_a_network_that_sees_mirror_images_mirrored_agrees_with_itself(images):
    network = ByPlace(SPEC)
    guess = predict(network, images)
    assert (guess.found[:, RIGHT, 0] < SIZE / 2).all()
    other = predict(network, images, mirrored=True)
    # but for three of the four pixels of a cell: its place is the left one
    assert (other.found - guess.found)[:, LIMBS].abs().max() <= 3.001
    assert set(mirror_agreement(network, images, guess).values()) == {100.0}


def test_joints_that_are_found_by_looks_alone_count_against_it(images):
    network = ByPlace(SPEC)
    network.by_looks = (BODY16.index("right_ankle"), BODY16.index("right_knee"))
    shares = mirror_agreement(network, images, predict(network, images))
    assert shares["Hip"] == 100 and shares["Ankle"] == shares["Knee"]
    assert shares["All"] == pytest.approx(100 * (8 + 4 * shares["Ankle"] / 100) / 12)
    assert shares["Ankle"] <= 50


def test_of_hands_there_is_no_mirror_image():
    spec = EstimatorSpec("hand21", "efficientnet_lite0", size=SIZE, deconv=4)
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    entry = Entry(picture, None, np.zeros((21, 2)), np.zeros(21), name="x")
    hands, network = KeypointSet("hands", HAND21, [entry]), Estimator(spec)
    assert mirror_agreement(network, hands, predict(network, hands)) is None
