"""Who trains and who tests on motion capture: performers, actions and sides of the known clips.

The split is by performer: nobody stands on both sides, and whoever is not known stands with the
others who are not. What is tested is told apart: a new person doing what training has shown
(``SEEN``), and what training has not shown (``NEW``). The lists are in ``assets/mocap``.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from omegaconf import OmegaConf

SEEN, NEW = "seen action, new person", "new action"
TRAIN, DEV, TEST, NONE = "train", "dev", "test", "none"


@dataclass(frozen=True)
class Listed:
    """A clip that the split knows.

    Args:
        performer: who moves; ``action``: what he does, in a few words, "" if nobody said.
        side: "train", "dev", "test", or "none": neither trained on nor tested.
        part: of the dev and test sides, ``SEEN`` or ``NEW``; "" elsewhere.
        cut: frames at the start that are no motion.
        animated: keyed by hand, in loops.
    """

    performer: str
    action: str
    side: str
    part: str
    cut: int
    animated: bool


@dataclass(frozen=True)
class Split:
    """The lists as they are written; see ``assets/mocap/split.yaml``.

    Args:
        clips: name -> (performer, action).
        sides: performer -> side.
        seen: action of the dev and test sides -> what training calls it.
        new: actions of the dev and test sides that training does not have.
        left_out, animated, cut: see ``Listed``.
    """

    clips: dict[str, tuple[str, str]]
    sides: dict[str, str]
    seen: dict[str, str]
    new: frozenset[str]
    left_out: frozenset[str]
    animated: frozenset[str]
    cut: dict[str, int]

    def find(self, clip: str) -> Listed | None:
        """What is known of a clip of that name."""
        if clip not in self.clips:
            return None
        performer, action = self.clips[clip]
        side = NONE if clip in self.left_out else self.sides[performer]
        part = "" if side in (TRAIN, NONE) else NEW if action in self.new else SEEN
        cut, animated = self.cut.get(clip, 0), performer in self.animated
        return Listed(performer, action, side, part, cut, animated)


@lru_cache(1)
def load_split() -> Split:
    """The split that is shipped."""
    folder = resources.files("semtta").joinpath("assets", "mocap")
    with (folder / "clips.csv").open(encoding="utf-8") as file:
        clips = {row["clip"]: (row["performer"], row["action"]) for row in csv.DictReader(file)}
    lists = OmegaConf.to_container(OmegaConf.create((folder / "split.yaml").read_text("utf-8")))
    assert isinstance(lists, dict)
    return Split(
        clips=clips,
        sides={name: side for side in (TRAIN, DEV, TEST) for name in lists[side]},
        seen=lists["seen"],
        new=frozenset(lists["new"]),
        left_out=frozenset(lists["left_out"]),
        animated=frozenset(lists["animated"]),
        cut=lists["cut"],
    )
