"""Which joint of a BVH skeleton is which of SMPL's, by name, whatever the tool that wrote it.

A name is cut into words ("Bip01_L_Thigh" -> bip 01 l thigh). Words that many names begin or end
with say nothing of the joint and are dropped; one word says the side; the rest is looked up.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from semtta.errors import SemttaError, announce

# SMPL joint -> usual names, lower case, without side; the more exact first: where there is an
# ankle, "foot" is the joint before the toes, and where there is a wrist, "hand" lies beyond it.
_SIDED = {
    "hip": ("upleg", "thigh", "hip", "upperleg", "femur", "thighbend"),
    "knee": ("leg", "shin", "knee", "lowerleg", "lowleg", "calf", "tibia"),
    "ankle": ("ankle", "foot"),
    "foot": ("toebase", "toe", "toes", "ball", "foot"),
    "collar": ("shoulder", "collar", "clavicle", "collarbone", "clav"),
    "shoulder": ("arm", "shldr", "shoulder", "upperarm", "uparm", "humerus", "uarm", "shldrbend"),
    "elbow": ("forearm", "elbow", "lowerarm", "lowarm", "radius", "farm", "forearmbend"),
    "wrist": ("wrist", "hand"),
}
_MIDDLE = {
    "pelvis": ("hips", "hip", "pelvis", "root"),
    "neck": ("neck1", "neck", "necklower", "necktwist"),
    "head": ("head",),
}
_NEEDED = ("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
           "left_shoulder", "right_shoulder", "left_elbow", "right_elbow")  # fmt: skip
# Where one of these is, "shoulder" is the collar.
_UPPER_ARM = ("arm", "shldr", "upperarm", "uparm", "humerus", "uarm", "shldrbend")
_KNOWN = {word for words in (*_SIDED.values(), *_MIDDLE.values()) for word in words}
_PIECES = {"up", "upper", "low", "lower", "fore", "base", "bone", "spine", "chest", "thumb"}
_SIDES = {"left": "left", "l": "left", "lft": "left", "right": "right", "r": "right",
          "rgt": "right"}  # fmt: skip
_TRAILING = {"c", "m", "center", "centre", "mid", "middle", "jnt", "joint", "jt", "bone", "bind"}
_NO_HEAD = {"end", "nub", "site", "top", "tip", "jaw", "eye", "nose", "face", "tongue", "teeth",
            "hair", "ik", "ponytail"}  # fmt: skip
_SHARED = 1 / 3  # of the names have a word that says nothing
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def match_joints(path: Path, names: Sequence[str], parents: Sequence[int]) -> dict[str, int]:
    """SMPL joint -> place in the file.

    Args:
        names, parents: of the joints; -1 = no parent.
    Raises ``SemttaError`` naming the first joint that is needed and not there."""
    keys = _keys(names)
    places: dict[str, int] = {}

    def take(joint: str, side: str, candidates: Sequence[str]) -> None:
        for candidate in candidates:
            found = keys.get((side, candidate))
            if found is not None and found not in places.values():
                places[joint] = found
                return

    for side in ("left", "right"):
        has_arm = any((side, name) in keys for name in _UPPER_ARM)
        for part, words in _SIDED.items():
            if part in ("collar", "shoulder"):
                words = tuple(w for w in words if w != "shoulder" or (part == "collar") == has_arm)
            take(f"{side}_{part}", side, words)
    for part, words in _MIDDLE.items():
        take(part, "", words)
    missing = [joint for joint in _NEEDED if joint not in places]
    if missing:
        raise SemttaError(
            f"'{path}': no joint of this BVH is called like {missing[0]}; names as in CMU's, "
            "Mixamo's, Daz', Unreal's, Rigify's, 3ds Max' or SMPL's skeletons are known."
        )
    if "pelvis" not in places:
        both = set(ancestors(parents, places["left_hip"]))
        shared = [i for i in ancestors(parents, places["right_hip"]) if i in both]
        if not shared:
            raise SemttaError(f"'{path}': the hips of this BVH have no pelvis in common.")
        places["pelvis"] = shared[-1]
    places |= _neck_and_head(path, names, parents, places)
    return places


def _neck_and_head(
    path: Path, names: Sequence[str], parents: Sequence[int], places: dict[str, int]
) -> dict[str, int]:
    """Those of the two that have no name of their own, by the chain that goes on above the
    shoulders; said to the user, as is what is not found."""
    lacking = [part for part in ("neck", "head") if part not in places]
    if not lacking:
        return {}
    right = set(ancestors(parents, places["right_shoulder"]))
    shared = [i for i in ancestors(parents, places["left_shoulder"]) if i in right]
    words = [{w.lower() for w in _WORDS.findall(name)} for name in names]
    arms = {i for side in ("left", "right") for i in ancestors(parents, places[f"{side}_shoulder"])}
    arms |= {places["left_shoulder"], places["right_shoulder"]}

    def above(joint: int) -> list[int]:
        """The chain from a joint on, as long as it does not branch."""
        chain: list[int] = []
        while True:
            children = [i for i, parent in enumerate(parents) if parent == joint and i not in arms
                        and not words[i] & (_NO_HEAD | set(_SIDES))]  # fmt: skip
            if len(children) != 1:
                return chain
            joint = children[0]
            chain.append(joint)

    if "head" in places:
        between = ancestors(parents, places["head"])
        chain = [i for i in between if shared and shared[-1] in ancestors(parents, i)]
        found = {"neck": chain[0]} if chain else {}
    else:
        start = places.get("neck", shared[-1] if shared else None)
        chain = above(start) if start is not None else []
        found = {"head": chain[-1]} if chain else {}
        if "neck" in lacking and len(chain) > 1:
            found["neck"] = chain[0]
    for part in lacking:
        said = f"'{names[found[part]][:60]}' is taken for it" if part in found else (
            "it moves with the joint below"
        )  # fmt: skip
        announce(f"'{path}': no joint is called like {part}; {said}.")
    return found


def spine_joints(parents: Sequence[int], places: dict[str, int]) -> dict[str, int]:
    """Spine joints by their place between pelvis and shoulders, whatever they are called."""
    right, taken = set(ancestors(parents, places["right_shoulder"])), set(places.values())
    chain = ancestors(parents, places["left_shoulder"])
    if places["pelvis"] in chain:  # what lies above the pelvis is no spine
        chain = chain[chain.index(places["pelvis"]) :]
    chain = [i for i in chain if i in right and i not in taken and parents[i] >= 0]
    names = {1: ["spine2"], 2: ["spine1", "spine3"]}.get(len(chain), ["spine1", "spine2", "spine3"])
    picks = [chain[round(k * (len(chain) - 1) / max(1, len(names) - 1))] for k in range(len(names))
             if chain]  # fmt: skip
    return dict(zip(names, picks))


def ancestors(parents: Sequence[int], joint: int) -> list[int]:
    """All joints above one, the root first."""
    found = []
    while (joint := parents[joint]) >= 0:
        found.append(joint)
    return found[::-1]


def _keys(names: Sequence[str]) -> dict[tuple[str, str], int]:
    """(side, rest of the name) -> place; of two joints of one name the first."""
    words = [[w.lower() for w in _WORDS.findall(re.split(r"[:|]", n)[-1])] for n in names]
    shared = Counter(word for name in words for word in set(name))
    empty = {word for word, count in shared.items() if count > _SHARED * len(names)}
    empty = {w for w in empty if w not in _KNOWN | _PIECES and w not in _SIDES}
    exact: dict[tuple[str, str], int] = {}
    loose: dict[tuple[str, str], int] = {}
    led: list[tuple[str, str, str, int]] = []  # the leading words, side, rest, place
    for place, name in enumerate(words):
        while name and (name[0] in empty or name[0].isdigit()):
            name = name[1:]
        while name and name[-1] in empty and not name[-1].isdigit():
            name = name[:-1]
        side, key = _side(name)
        exact.setdefault((side, key), place)
        loose.setdefault((side, _plain(key)), place)  # toe0, neck_01
        if (rest := _known_rest(name)) is not None:
            led.append((*rest, place))
    # of joints that differ by what they begin with, those that begin as most do
    often = Counter(lead for lead, *_ in led)
    stripped: dict[tuple[str, str], int] = {}
    for _, side, key, place in sorted(led, key=lambda found: -often[found[0]]):
        stripped.setdefault((side, key), place)
    return {**stripped, **loose, **exact}


def _plain(key: str) -> str:
    return re.sub(r"0*[01]$", "", key)


def _known_rest(words: list[str]) -> tuple[str, str, str] | None:
    """What a name begins with, its side, and the rest, if that is known and the beginning not."""
    side = next((_SIDES[word] for word in words if word in _SIDES), "")
    kept = [word for word in words if word not in _SIDES]
    while kept and kept[-1] in _TRAILING:
        kept = kept[:-1]
    for first in range(len(kept)):
        key = _plain("".join(kept[first:]))
        if key in _KNOWN:
            return "".join(kept[:first]), side, key
        if kept[first] in (_KNOWN | _PIECES) - {"base", "bone"}:  # CC_Base_L_Thigh
            return None
    return None


def _side(words: list[str]) -> tuple[str, str]:
    """The side that a name says, and the rest of it in one piece; a number without zeros."""
    words = [str(int(w)) if w.isdigit() else w for w in words]
    found = next((i for i, word in enumerate(words) if word in _SIDES), None)
    if found is not None:
        return _SIDES[words[found]], "".join(words[:found] + words[found + 1 :])
    glued = "".join(words)  # "leftupleg", "lthigh", "handr"
    for mark in ("left", "right", "l", "r"):
        for rest in (glued.removeprefix(mark), glued.removesuffix(mark)):
            if rest != glued and (rest in _KNOWN or len(mark) > 1):
                return _SIDES[mark], rest
    return "", glued
