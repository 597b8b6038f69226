"""Compound texts and the user's own names."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from typer.testing import CliRunner

from semtta.cli import app
from semtta.config import load_config
from semtta.errors import SemttaError
from semtta.jobs.labels import Vocabulary
from semtta.motion import load_prior
from semtta.motion.dictionary import Dictionary
from semtta.motion.user_dictionary import ExtendedPrior, UserDictionary
from semtta.shipped import asset
from semtta.skeletons import SMPL24
from semtta.tta.adapter import Adapter
from tests.test_adapter import CAMERA, walker

GOLDEN = Path(__file__).parent / "golden" / "walk_heldout.npz"


@pytest.fixture(scope="module")
def prior():
    return load_prior("embedded")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("walking and waving", ("walk", "wave with the right hand")),
        ("waving and walking", ("walk", "wave with the right hand")),  # legs first
        ("sit while drinking", ("sit on a chair", "drink")),
        ("walk with hands on hips", ("walk", "hands on hips")),
        ("run, clap", ("run", "clap")),
        ("walking", ()),
        ("wave with the left hand", ()),  # a name, although there is a "with" in it
        ("sit with feet crossed", ()),
        ("walking and throwing", ()),  # the dictionary has it as a whole
        ("walking and xqzt", ()),
        ("walk and stroll", ()),  # one action said twice
        ("walk and", ()),
        ("run,, clap", ("run", "clap")),
        ("clap & run + wave", ("run", "clap", "wave with the right hand")),
        ("run & clap + sit on a chair", ()),  # no body can
        ("fall down and get up", ()),
        ("the and he", ()),  # who, not what
    ],
)
def test_compound_texts_have_parts(dictionary, text, parts):
    assert dictionary.parts(text) == parts


def test_a_compound_text_lies_between_its_parts(prior):
    both, walk, wave = prior.embed_text(
        ["walking and waving", "walk", "wave with the right hand"]
    )  # fmt: skip
    assert float(both @ walk) == pytest.approx(float(both @ wave), abs=1e-5)
    assert float(both @ walk) > 0.5 and float(both.norm()) == pytest.approx(1, abs=1e-5)


def test_its_exemplar_has_the_legs_and_root_of_one_and_the_arms_of_the_other(dictionary):
    both, walk, wave = (
        dictionary.exemplar_pose(text)
        for text in ("waving and walking", "walk", "wave with the right hand")
    )
    knee, elbow = SMPL24.index("left_knee") - 1, SMPL24.index("right_elbow") - 1
    assert torch.equal(both[:, knee], walk[:, knee]) and torch.equal(both[:, elbow], wave[:, elbow])
    assert not torch.equal(both[:, knee], wave[:, knee])
    roots = dictionary.exemplar_root("waving and walking"), dictionary.exemplar_root("walk")
    assert torch.equal(*roots)
    legs = [name.endswith(("hip", "knee", "ankle", "foot")) for name in SMPL24.joints[1:]]
    assert torch.equal(both, torch.where(torch.tensor(legs)[:, None, None], walk, wave))


def test_poses_of_an_exemplar_are_the_files_at_twice_its_rate(dictionary):
    rows = dictionary.pose_of.tolist()
    label = dictionary.labels[rows.index(0)]
    found = dictionary.exemplar_pose(label)
    stored = roma.rotvec_to_rotmat(dictionary.poses[0])
    assert found.shape == (60, 23, 3, 3) and torch.equal(found[59], stored[29])
    torch.testing.assert_close(found[::2], stored, atol=1e-5, rtol=0)
    torch.testing.assert_close(found[1], found[[0, 2]].mean(0), atol=2e-2, rtol=0)
    without = dictionary.labels[rows.index(-1)]
    assert dictionary.exemplar_pose(without) is None
    small = replace(dictionary, labels=("walk", "clap"), pose_of=torch.tensor([0, -1]),
                    phrases=("walk", "clap"), phrase_label=torch.tensor([0, 1]))  # fmt: skip
    assert small.parts("walk and clap") == ("walk", "clap")
    assert small.exemplar_pose("walk and clap") is None
    assert small.exemplar_pose("clap") is None and small.exemplar_pose("walk") is not None


def test_the_words_that_say_who_do_not_count(dictionary):
    walk = dictionary.feature("walk")
    assert torch.equal(dictionary.feature("The person is walk"), walk)
    assert torch.equal(dictionary.feature("the person"), dictionary.text.encode(["the person"])[0])
    assert not torch.equal(dictionary.text.encode(["the person is walk"])[0], walk)


def test_a_dictionary_may_have_no_poses_at_all(tmp_path):
    with np.load(asset("motion/dictionary.npz")) as file:
        arrays = dict(file)
    arrays |= {"poses": arrays["poses"][:0], "pose_of": np.full_like(arrays["pose_of"], -1)}
    np.savez(tmp_path / "d.npz", **arrays)
    assert Dictionary.load(tmp_path / "d.npz").exemplar_pose("walk") is None


@pytest.mark.parametrize(
    "change",
    [{"roots": lambda a: a[:, :59]}, {"phrases": lambda a: a[1:]}, {"pose_of": lambda a: a[1:]},
     {"poses": lambda a: a[:, :29]}, {"poses": lambda a: a[..., :2]}],
)  # fmt: skip
def test_a_dictionary_whose_parts_do_not_fit_is_refused(tmp_path, change):
    with np.load(asset("motion/dictionary.npz")) as file:
        arrays = dict(file)
    changed = {key: of(arrays[key]) for key, of in change.items()}
    np.savez(tmp_path / "d.npz", **(arrays | changed))
    with pytest.raises(SemttaError, match="d.npz' is inconsistent; make it anew"):
        Dictionary.load(tmp_path / "d.npz")
    np.savez(tmp_path / "d.npz", **{k: v for k, v in arrays.items() if k not in change})
    with pytest.raises(SemttaError, match=f"it has no {next(iter(change))}; make one"):
        Dictionary.load(tmp_path / "d.npz")


def test_ranked_puts_the_exact_name_first(dictionary):
    assert dictionary.ranked("Jogging", 1) == [("jog", 1.0)]
    names = [cosine for _, cosine in dictionary.ranked("a slow stroll", 4)]
    assert names == sorted(names, reverse=True) and len(names) == 4
    assert len(dictionary.ranked("walk")) == 5
    names = ("walk up", "up walk")  # the same words
    alike = replace(dictionary, labels=names, phrases=names, phrase_label=torch.arange(2))
    assert [alike.ranked(name, 1)[0] for name in names] == [(name, 1.0) for name in names]
    nearest = [dictionary.nearest(text) for text in ("a slow stroll", "JOGGING")]
    assert nearest == [dictionary.ranked("a slow stroll", 1)[0][0], "jog"]
    with pytest.raises(SemttaError, match="no word"):
        dictionary.ranked("???")


# ---------------------------------------------------------------------- the user's names


@pytest.fixture
def folder(tmp_path):
    """A folder with an AMASS file of the held-out walk, z up."""
    with np.load(GOLDEN) as file:
        pose = file["pose"].astype(np.float32)
    poses = np.zeros((len(pose), 72), np.float32)
    poses[:] = pose.reshape(len(pose), -1)
    np.savez(tmp_path / "walk.npz", poses=poses, trans=np.zeros((len(pose), 3), np.float32),
             mocap_framerate=30.0)  # fmt: skip
    return tmp_path


def write(folder, text):
    path = folder / "names.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_names_phrases_and_motions_are_read(folder):
    added = UserDictionary.load(write(
        folder, "# mine\n\npruning a hedge\ndo the funny walk: silly walk, amble @ walk.npz # x\n"
    ))  # fmt: skip
    assert added.names == ("pruning a hedge", "do the funny walk")
    assert added.resolve("Silly  Walk") == "do the funny walk"
    assert added.resolve("DO the funny walk") == "do the funny walk"
    assert added.resolve("run") == "run"
    motion = added.motions["do the funny walk"]
    assert motion.shape == (1, 60, 24, 3, 3)
    assert float(motion[0, 0, 0, 0, 2]) == pytest.approx(0, abs=1e-5)  # faces +z at first
    assert float(motion[0, 0, 0, 2, 2]) > 0
    assert UserDictionary.load(None).names == ()


def test_a_name_with_a_motion_is_understood_through_it(folder, prior):
    added = UserDictionary.load(write(folder, "frobnicate: frob @ walk.npz\nprune a hedge\n"))
    extended = ExtendedPrior(prior, added)
    motion = added.motions["frobnicate"]
    text = extended.embed_text(["frob", "walk", "prune a hedge"])
    assert float(extended.embed_motion(motion)[0] @ text[0]) > 0.999
    assert torch.equal(text[1:], prior.embed_text(["walk", "prune a hedge"]))
    assert torch.equal(extended.exemplar_root("frob"), motion[0, :, 0])
    assert torch.equal(extended.exemplar_root("walk"), prior.exemplar_root("walk"))
    assert extended.sigma < extended.matched("frob") < 1
    assert extended.matched("walk") == prior.matched("walk")


def test_a_name_without_a_known_word_adapts_through_its_motion(folder, prior):
    """The denoiser reads words: it gets none, and what another phrase of a name means."""
    added = UserDictionary.load(write(folder, "прыжок: hop hop @ walk.npz\nstroll: прогулка\n"))
    extended = ExtendedPrior(prior, added)
    quick = ("optimizer.epochs=1", "optimizer.coverage=1", "evidence.heldout=0")
    config = load_config("default", [*quick, "gate.guards=fill"])  # heard or not
    adapter = Adapter(config=config, prior=extended, gate_prior=extended)

    @cache
    def adapted(label):
        labels = [label] * 70
        return adapter.adapt(walker(), CAMERA, labels).adapted.rotmats

    assert torch.equal(adapted("прыжок"), adapted("hop hop"))
    assert torch.equal(adapted("прогулка"), adapted("stroll"))
    assert not torch.equal(adapted("прыжок"), adapted("stroll"))
    with pytest.raises(SemttaError, match="'бег' has no word"):
        adapted("бег")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("walk\nWALK\n", "line 2.*twice"),
        ("a: b @ absent.npz", "line 1.*no motion file"),
        ("ok\n: b", "line 2.*name is missing"),
        ("other", "line 1.*'other'"),
    ],
)
def test_a_wrong_file_gets_one_sentence_that_names_the_line(folder, text, words):
    with pytest.raises(SemttaError, match=words):
        UserDictionary.load(write(folder, text))


def search(text, folder, *arguments):
    result = CliRunner().invoke(app, ["dictionary", "search", text, *arguments])
    if isinstance(result.exception, SemttaError):
        return str(result.exception)
    assert result.exit_code == 0, result.exception
    return result.output


def test_search_says_how_a_text_is_understood(folder):
    names = write(folder, "\u6b69\u304f: zzq @ walk.npz\nprune a [hedge]\n")
    own = ("--dictionary", str(names))
    assert "through its motion" in search("zzq", folder, *own)  # no word that the encoder knows
    assert "no word" in search("zzq\u6b69", folder, *own)
    words = search("Prune a [hedge]", folder, *own)
    assert "'prune a [hedge]', understood through its words" in words and "0." in words
    assert "walk + wave" in search("waving and walking", folder)
    assert "dictionary's 'jog'" in search("jogging", folder)
    assert "no word" in search("???", folder)


def test_a_dictionary_may_have_any_path(folder):
    path = folder / "my #1: [names].txt"
    path.write_text("prune a hedge: cut\n", encoding="utf-8")
    listed = CliRunner().invoke(app, ["dictionary", "ls", "--dictionary", str(path)]).output
    assert "prune a hedge (yours)  cut" in listed


def test_a_shipped_name_of_the_users_is_offered_once_in_the_users_case(folder, dictionary):
    added = UserDictionary.load(write(folder, "WALK: my way @ walk.npz\n"))
    names = Vocabulary(dictionary, added).names
    assert names[0] == "WALK" and "walk" not in names and len(names) == len(dictionary.labels)
    path = ("dictionary", "ls", "--dictionary", str(folder / "names.txt"))
    listed = CliRunner().invoke(app, path).output
    assert listed.startswith("WALK (yours)  ") and listed.splitlines()[0].endswith("my way")


def test_files_that_are_none(folder):
    with pytest.raises(SemttaError, match="does not exist"):
        UserDictionary.load(folder / "absent.txt")
    with pytest.raises(SemttaError, match="cannot be read"):
        UserDictionary.load(folder / "walk.npz")
