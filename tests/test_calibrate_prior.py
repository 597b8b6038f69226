"""The threshold of a prior: found on motions that show their label, and only where one is there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_motions import amass
from test_tmr_features import motion
from tmr_release import WIDTH, release

from semtta.errors import SemttaError
from semtta.motion import load_embedded, load_prior
from semtta.motion.dictionary import Dictionary
from tools import calibrate_prior
from tools.calibrate_prior import at_rate, check, generated, measure, recorded
from tools.training import procedural

LABELS = ("walk", "jump", "sit on a chair", "clap", "wave with the right hand", "squat", "kick",
          "stand still", "spin", "bow", "not an action")  # fmt: skip
TO_Y = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])


class Shipped:
    """The shipped prior behind what TMR's family has: z up, another frame rate."""

    def __init__(self, fps: float = 30.0):
        self.inner = load_embedded()
        self.fps, self.length = fps, round(2 * fps)
        self.texts, self.upright = LABELS, []

    def embed_text(self, labels):
        return self.inner.embed_text(labels)

    def exemplar_root(self, label):
        return at_rate((TO_Y.T @ self.inner.exemplar_root(label))[None], 30, self.fps,
                       self.length)[0]  # fmt: skip

    def embed_motion(self, rotmats):
        up = rotmats[:, :, 0, 2, 1]  # of the pelvis's own up, how much points along z
        self.upright.append(float((up > 0.5).double().mean()))
        rotmats = at_rate(rotmats, self.fps, 30, 60)
        return self.inner.embed_motion(torch.cat((TO_Y @ rotmats[:, :, :1], rotmats[:, :, 1:]), 2))


@pytest.fixture(scope="module")
def clips():
    return generated(LABELS, 3, 0)


@pytest.fixture(scope="module")
def prior():
    return Shipped()


@pytest.fixture(scope="module")
def measured(prior, clips):
    with torch.no_grad():
        return measure(prior, clips)


def test_a_generated_motion_is_long_enough_and_has_its_label(clips):
    known = [label for label in LABELS if label in procedural.ACTIONS]
    assert [clip.label for clip in clips] == [label for label in known for _ in range(3)]
    assert all(len(clip) >= 60 for clip in clips) and len(known) > 8
    again = generated(LABELS, 3, 0)
    assert all(np.array_equal(a.rotmats, b.rotmats) for a, b in zip(clips, again))


def test_true_motions_pass_and_wrong_and_collapsed_ones_do_not(measured):
    found, rows = measured
    share = {row.name: row.passed for row in rows}
    mean = {row.name: row.mean for row in rows}
    assert found.auc > 0.9 and 0.1 < found.sigma < 0.9 and found.windows >= 3 * 10
    assert mean["own label"] > found.sigma > mean["another label"]
    assert share["another label"] < 0.1 < 0.6 < share["own label"]
    assert share["walk, legs mean"] < 0.3 < share["walk, clean"]
    check(found, rows)


def test_people_stand_along_z_as_in_an_adaptation(measured, prior):
    assert len(prior.upright) > 3 and min(prior.upright) > 0.8


def test_another_frame_rate_finds_about_the_same(measured, clips):
    with torch.no_grad():
        found, _ = measure(Shipped(20.0), clips)
    assert found.sigma == pytest.approx(measured[0].sigma, abs=0.1)
    assert found.auc == pytest.approx(measured[0].auc, abs=0.02)


def test_motions_are_read_at_the_right_times():
    motions = motion(60).float()
    there = at_rate(motions, 30, 15, 30)
    assert torch.equal(there, motions[:, ::2])
    back = at_rate(there, 15, 30, 60)
    assert torch.equal(back[:, ::2], there) and (back - motions)[:, :-1].abs().max() < 0.05


def test_a_prior_that_tells_nothing_gets_no_threshold(measured):
    found, rows = measured
    for auc, order in ((0.55, rows), (0.9, [rows[1], rows[0]])):
        named = [type(row)(name, row.mean, row.passed)
                 for name, row in zip(("own label", "another label"), order)]  # fmt: skip
        with pytest.raises(SemttaError, match="nothing is written"):
            check(type(found)(0.3, 0.5, auc, 9, ""), named)


def test_too_few_labels_are_refused(clips):
    for some in (clips[:12], [clip for clip in clips if clip.label != "walk"], []):
        with pytest.raises(SemttaError, match="needs two seconds of walking and of 7 other labels"):
            measure(Shipped(), some)


def test_the_users_motions_have_the_label_that_the_table_has(tmp_path):
    for name in ("walking", "moonwalk", "yodel"):
        amass(tmp_path / "s" / f"{name}.npz")
    found = recorded(tmp_path, ("walk", "moonwalk"))
    assert sorted(clip.label for clip in found) == ["moonwalk", "walk"]


def table(path, labels):
    vectors = np.random.RandomState(0).standard_normal((len(labels), WIDTH)).astype(np.float32)
    np.savez(path, texts=np.array(labels), vectors=vectors)


def test_the_tool_writes_what_the_prior_reads(tmp_path, monkeypatch, measured, capsys):
    folder = release(tmp_path / "r")
    table(folder / "texts.npz", LABELS)
    monkeypatch.setattr(calibrate_prior, "measure", lambda prior, clips: measured)
    calibrate_prior.main(["--checkpoint", str(folder), "--generated", "1"])
    prior = load_prior("tmr", folder)
    assert prior.sigma == pytest.approx(measured[0].sigma, abs=1e-9)
    assert prior.matched("walk") == pytest.approx(measured[0].matched)
    said = capsys.readouterr().out
    assert "own label" in said and "r.sigma.yaml" in said and "AUC" in said
    calibrate_prior.main(["--checkpoint", str(folder), "--generated", "1"])  # over the old one


def test_random_weights_get_no_threshold(tmp_path, capsys):
    folder = release(tmp_path / "r", "humanml3d")
    table(folder / "texts.npz", LABELS)
    with pytest.raises(SemttaError, match="does not tell a motion's own label from another"):
        calibrate_prior.main(["--checkpoint", str(folder), "--generated", "1"])
    assert not (tmp_path / "r.sigma.yaml").exists()


def test_texts_for_the_table_are_listed(capsys):
    calibrate_prior.main(["--list"])
    said = capsys.readouterr().out.splitlines()
    assert set(Dictionary.load().labels) | set(procedural.ACTIONS) == set(said)
    with pytest.raises(SystemExit):
        calibrate_prior.main([])
