"""What is said of a run: what it gained, and whether its labels did anything."""

import json
from dataclasses import replace

import pytest
import torch
from page_results import waving
from test_adapter import CAMERA, adapter, walker

from semtta.body import load_body
from semtta.motion.dictionary import Dictionary
from semtta.output.files import report
from semtta.output.page.data import track_data
from semtta.output.summary import gain, label_remarks, summary
from semtta.tta.gated import gate_opened, label_runs, short_runs, shut_out
from semtta.tta.heldout import HeldoutErrors
from semtta.tta.result import Heard

NAN = float("nan")


@pytest.fixture(scope="module")
def read():
    return Dictionary.load().read


def told(labels, similarity, readings=(), opened=(), guards="label", seconds=2.0, weight=0.1):
    """A result of 30 frames a second; similarities are those of the gate, whose sigma is 0.5."""
    result = waving(range(len(labels)), labels=labels)
    heard = Heard(seconds, 1 / 30, {r.text: r for r in readings}, frozenset(opened))
    config = {"gate": {"guards": guards}, "alignment": {"weight": weight}}
    values = torch.tensor(similarity)
    return replace(
        result, heard=heard, similarity=values, gate_similarity=values, history=[{"epoch": 1}],
        provenance={"config": config},
    )  # fmt: skip


def test_a_label_that_the_prior_does_not_know_is_named_with_the_nearest(read):
    reading = read("riding a horse")
    result = told(["riding a horse"] * 70, [NAN] * 70, [reading])
    assert gate_opened(result) == (
        "gate open in 0 of 70 frames (label 'riding a horse' is not known to the prior: nearest "
        f"'{reading.names[0]}' {reading.nearness:.2f})"
    )
    for guards in ("label", "fill"):  # it pulls nothing, whatever the gate guards
        unknown = told(["riding a horse"] * 70, [NAN] * 70, [reading], guards=guards)
        assert shut_out(unknown) == "the label did nothing"
    both = told(["walk"] * 10 + ["riding a horse"] * 10, [0.9] * 10 + [NAN] * 10,
                [read("walk"), reading], ["walk"])  # fmt: skip
    assert gate_opened(both).startswith("gate open in 10 of 10 frames ('walk'), 0 of 10 frames (")
    assert shut_out(both) == "label 'riding a horse' did nothing"


def test_actions_in_turn_are_not_called_unknown(read):
    said = gate_opened(
        told(["walks, then sits down"] * 9, [NAN] * 9, [read("walks, then sits down")])
    )
    assert "names actions one after another" in said and "not known" not in said


def test_a_known_label_whose_gate_stays_shut(read):
    labels, walk = ["walk"] * 70, read("walk")
    assert shut_out(told(labels, [0.4] * 70, [walk])) == "the label did nothing"
    pulled = "the label pulled all the same (gate.guards=fill)"
    assert shut_out(told(labels, [0.4] * 70, [walk], guards="fill")) == pulled
    assert shut_out(told(labels, [0.4] * 70, [walk], guards="fill", weight=0)) == (
        "the label did nothing"
    )
    # open for a while: what it let in stays, so nothing is claimed
    assert shut_out(told(labels, [0.4] * 70, [walk], ["walk"])) == ""
    assert shut_out(told(labels, [0.6] * 70, [walk], ["walk"])) == ""
    many = [f"walk {i}" for i in range(6)]
    said = shut_out(told(many, [0.4] * 6))
    assert said == "labels 'walk 0', 'walk 1', 'walk 2', 'walk 3' and 2 more did nothing"


def test_runs_shorter_than_the_prior_reads_are_named():
    alone = told(["walk"] * 18, [0.6] * 18)
    assert short_runs(alone) == ("shorter than the 2 s that the prior reads: 'walk' (0.6 s) padded")
    beside = told(["sit"] * 70 + ["walk"] * 18 + [None] * 9, [0.6] * 70 + [NAN] * 27)
    assert short_runs(beside).endswith("'walk' (0.6 s) left out")
    assert [run.use for run in label_runs(beside)] == ["whole", "left out", ""]
    assert short_runs(told(["walk"] * 59, [0.6] * 59)) != ""  # 58 steps: half a frame too short
    assert short_runs(told(["walk"] * 60, [0.6] * 60)) == ""


def test_short_runs_are_told_as_segments_took_them():
    """Against the segments themselves: rows without similarity are those that none covers."""
    long = adapter("optimizer.epochs=1").adapt(walker(), CAMERA, ["walk"] * 60 + ["sit"] * 10)
    assert [run.use for run in label_runs(long)] == ["whole", "left out"]
    short = adapter("optimizer.epochs=1").adapt(walker(), CAMERA, ["walk"] * 40 + ["sit"] * 30)
    assert [run.use for run in label_runs(short)] == ["padded", "padded"]
    assert long.heard.seconds == pytest.approx(2) and long.heard.readings == {}


def test_the_adaptation_remembers_for_which_labels_the_gate_opened():
    for sigma, opened in ((-1, {"walk"}), (1, set())):
        result = adapter("optimizer.epochs=1", f"gate.sigma={sigma}").adapt(
            walker(), CAMERA, ["walk"] * 70
        )
        assert result.heard.opened == opened
    assert adapter("optimizer.epochs=1").adapt(walker(), CAMERA).heard is None


def test_what_is_gained_stands_in_report_and_summary():
    result, body = waving(), load_body()
    entry = report(result, body)
    assert entry["gain"]["error_px"]["adapted"] < entry["gain"]["error_px"]["base"]
    assert set(entry["gain"]) == {"error_px", "acceleration_mm", "shake_mm"}
    assert entry["summary"][0] == "track 1: 12 frames (0 to 11)"
    base, adapted = entry["gain"]["error_px"].values()
    assert f"2D error {base:.1f} -> {adapted:.1f} px; jitter" in entry["summary"][1]
    assert entry["camera"]["focal"] == 800 and json.dumps(entry)
    assert not any(line.startswith("held-out") for line in entry["summary"])
    measured = torch.full((12, len(result.detections.skeleton)), NAN)
    measured[3:5, :4] = 5.0
    unshown = replace(result, heldout=HeldoutErrors(measured, measured - 1))
    gained = gain(unshown, body)
    assert gained["heldout_px"] == {"base": 5.0, "adapted": 4.0, "joint_frames": 8}
    assert "held-out joints: base 5.0 px, adapted 4.0 px (8 joint-frames)" in summary(
        unshown, gained
    )
    whole = replace(unshown, base_share=torch.ones(12))
    assert "did no better on held-out joints" in " ".join(summary(whole, gained))
    asked = replace(whole, provenance={"config": {"select": "base"}, "model": {"name": "Refiner"}})
    said = " ".join(summary(asked, gained))
    assert "the base is kept in 12 of 12 frames: select=base" in said
    assert "the base may have been fitted to them" in said
    single = waving(range(1))  # one frame has no acceleration, and says none
    assert "jitter" not in " ".join(report(single, body)["summary"])


def test_the_page_says_it_too(read):
    result = told(["riding a horse"] * 12, [NAN] * 12, [read("riding a horse")])
    (remark,) = track_data(result, load_body())["remarks"]
    assert remark.startswith("Gate open in 0 of 12 frames") and "did nothing" in remark
    assert label_remarks(told(["waving"] * 70, [0.9] * 70, [read("waving")], ["waving"])) == []
