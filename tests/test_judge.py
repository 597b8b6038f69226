"""The judge that no adaptation uses: what it says of a motion whose action is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import roma
import torch

from semtta.bench.judge import Judge
from semtta.motion import load_prior
from semtta.shipped import asset, file_sha256
from semtta.skeletons import SMPL24

GOLDEN = Path(__file__).parent / "golden" / "walk_heldout.npz"  # see test_prior
TIMES = torch.arange(60).double() / 30
WALK = ["walk"] * 60
LEGS = SMPL24.indices([f"{s}_{p}" for s in ("left", "right") for p in ("hip", "knee", "ankle")])


@pytest.fixture(scope="module")
def judge():
    return Judge.load()


@pytest.fixture(scope="module")
def walk():
    pose = np.load(GOLDEN)["pose"].astype(np.float32)
    return roma.rotvec_to_rotmat(torch.from_numpy(pose))


def test_it_tells_legs_that_walk_from_legs_that_do_not(judge, walk):
    still = walk.clone()
    still[:, LEGS] = walk[:1, LEGS]
    walking, standing = (judge.score(motion, TIMES, WALK) for motion in (walk, still))
    assert walking["named"] == 1.0 and standing["named"] == 0.0
    assert walking["label_similarity"] > 0.8 and standing["label_similarity"] < 0.2


def test_the_view_and_the_frame_rate_do_not_matter(judge, walk):
    turned = walk.clone()
    turned[:, 0] = roma.rotvec_to_rotmat(torch.tensor([torch.pi, 0.3, 0.2]))
    same = judge.score(walk, TIMES, WALK)
    assert judge.score(turned, TIMES, WALK) == same
    slower = judge.score(walk[::2], TIMES[::2], WALK[::2])
    assert slower["named"] == 1.0
    assert slower["label_similarity"] == pytest.approx(same["label_similarity"], abs=0.1)


def test_the_commonest_label_counts_and_an_unknown_one_is_not_judged(judge, walk):
    mixed = judge.score(walk, TIMES, ["sit on a chair"] * 10 + ["walk"] * 40 + [None] * 10)
    assert mixed == judge.score(walk, TIMES, WALK)
    assert judge.score(walk, TIMES, ["sit on a chair"] * 60)["named"] == 0.0
    nothing = {"named": None, "label_similarity": None}
    assert judge.score(walk, TIMES, [None] * 60) == nothing
    assert judge.score(walk, TIMES, ["fold an umbrella"] * 60) == nothing


def test_no_adaptation_uses_it(judge):
    mine = file_sha256(asset("motion/prior_judge.pt"))
    assert mine not in {file_sha256(asset(f"motion/prior_{n}.pt")) for n in ("align", "gate")}
    ours = judge.prior.encoder.state_dict()
    theirs = load_prior("embedded-gate").encoder.state_dict()  # the one of the same build
    same = [k for k in ours if ours[k].dim() > 1 and torch.equal(ours[k], theirs[k])]
    assert not [key for key in same if key.endswith("weight")]


def test_a_moment_between_gaps_shows_nothing(judge, walk):
    times = torch.cat((TIMES, torch.tensor([9.0]).double()))  # one more frame, long after
    alone = judge.score(walk, TIMES, WALK)
    assert judge.score(torch.cat((walk, walk[:1])), times, [*WALK, "walk"]) == alone
    assert judge.score(walk[:3], TIMES[:3], WALK[:3]) == {"named": None, "label_similarity": None}
