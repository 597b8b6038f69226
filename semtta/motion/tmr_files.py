"""The files of TMR's family: what lies where in a release, and what the user adds.

A folder holds the weights and what belongs to them::

    motion_encoder.pt, text_encoder.pt     side by side, or both in Lightning's last.ckpt
    config.json or config.yaml             may be absent; what it says is obeyed or refused
    mean.pt, std.pt                        of TMR and MotionFix-TMR, e.g. stats/.../mean.pt
    global_root/, body/ (mean.npy, std.npy)                of TMR-SOMA, e.g. stats/...
    skeleton_example_h3d.npy               TMR only: of its repository, src/guofeats
    joints.p                               TMR-SOMA only: kimodo/assets/skeletons/somaskel30
    texts.npz                              the user's text vectors, see ``tmr_texts``

All but the configuration are looked for up to three folders deep. Beside the folder lies what
``tools/calibrate_prior.py`` writes, ``FOLDER.sigma.yaml``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from semtta.body import load_body
from semtta.errors import SemttaError
from semtta.files import whole_file
from semtta.motion.tmr_features import HUMANML, SOMA, Layout, MotionFixFeatures, TMRFeatures
from semtta.motion.tmr_humanml import HumanMLFeatures
from semtta.motion.tmr_soma import SomaFeatures
from semtta.reading import MEBI, read_npy, read_text, reading
from semtta.settings_files import read_yaml
from semtta.shipped import file_sha256
from semtta.tensor_files import read_tensors

_DEEP = ("", "*/", "*/*/", "*/*/*/")
_MOTION, _TEXT, _WHOLE = "motion_encoder.pt", "text_encoder.pt", "last.ckpt"
_CONFIGS = ("config.json", "config.yaml")
_BESIDE = (*_CONFIGS, "mean.pt", "std.pt", "global_root/mean.npy", "global_root/std.npy",
           "body/mean.npy", "body/std.npy", "joints.p", "skeleton_example_h3d.npy",
           "texts.npz")  # fmt: skip
_SMALL = MEBI
_ACTIVATION = "gelu"  # of every release; no tensor tells
_HEADS = 4  # the same
_RATES = (10.0, 120.0)  # frames a second


@dataclass(frozen=True)
class Calibration:
    """What ``tools/calibrate_prior.py`` found.

    Args:
        sigma: threshold of the gate, a cosine.
        matched: usual similarity of true motions to their label.
        auc: how well matched pairs stand out from mismatched ones: 0.5 not at all, 1 wholly.
        windows: how many pieces of motion it was found on.
        weights: SHA-256 of the motion encoder's file.
    """

    sigma: float
    matched: float
    auc: float
    windows: int
    weights: str

    def write(self, path: Path) -> None:
        lines = ["# Threshold of the gate for these weights, by tools/calibrate_prior.py"]
        lines += [f"{key}: {value}" for key, value in vars(self).items()]
        with whole_file(path) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Calibration:
        """Raises ``SemttaError`` if the file is anything else."""
        what = "calibration of a motion prior"
        content = read_yaml(path, what)
        with reading(path, what):
            if set(content) != set(cls.__dataclass_fields__):
                raise ValueError(f"it must have the keys {', '.join(cls.__dataclass_fields__)}")
            sigma, matched, auc = (float(content[key]) for key in ("sigma", "matched", "auc"))
            if not all(math.isfinite(v) and abs(v) <= 1 for v in (sigma, matched, auc)):
                raise ValueError("sigma, matched and auc must lie between -1 and 1")
            return cls(sigma, matched, auc, int(content["windows"]), str(content["weights"]))


@dataclass(frozen=True)
class TMRFiles:
    """Where the parts of one release are.

    Args:
        given: the folder or file that the user named.
        motion: file with the motion encoder; ``text``: with the text encoder, None if absent.
        folder: in which everything else is looked for.
    """

    given: Path
    motion: Path
    text: Path | None
    folder: Path

    @classmethod
    def find(cls, path: str | Path) -> TMRFiles:
        """Of a folder, or of its file of motion weights; raises ``SemttaError`` without one."""
        path = Path(path)
        if not path.exists():
            raise SemttaError(f"there is no folder or file '{path}' of TMR's family.")
        if path.is_dir():
            name = _MOTION if _named(path, _MOTION) else _WHOLE
            motion, folder = _only(path, name, f"the release's weights ({_MOTION})"), path
        else:
            motion, folder = path, path.parent
            if folder.name.endswith("_weights"):
                folder = folder.parent
        text = motion.with_name(_TEXT) if motion.name == _MOTION else motion
        return cls(path, motion, text if text.is_file() else None, folder)

    def present(self) -> dict[str, Path]:
        """Every file that the prior may read, by what it is."""
        found = {"motion encoder": self.motion, "text encoder": self.text,
                 "calibration": self.calibration_path}  # fmt: skip
        found |= {name: next(iter(_named(self.folder, name)), None) for name in _BESIDE}
        return {use: path for use, path in found.items() if path and path.is_file()}

    @property
    def table(self) -> Path:
        """The user's text vectors in the folder; raises ``SemttaError`` if there are none."""
        whose = "a table of text vectors (docs/priors.md), or name it with alignment.text_vectors"
        return _only(self.folder, "texts.npz", whose)

    # -------------------------------------------------------------------------- what it says

    @cached_property
    def fps(self) -> float | None:
        """Frame rate that the configuration tells, None if it tells none or several."""
        rates = {float(value) for value in self._said("fps")}
        if len(rates) != 1:
            return None
        rate = rates.pop()
        if not _RATES[0] <= rate <= _RATES[1]:
            raise SemttaError(f"the configuration in '{self.folder}' has {rate:g} frames a second.")
        return rate

    @cached_property
    def heads(self) -> int:
        """Of the encoders' attention; raises ``SemttaError`` for encoders of another kind."""
        heads = self._said("num_heads") or {str(_HEADS)}
        activation = self._said("activation") or {_ACTIVATION}
        if len(heads) > 1 or activation != {_ACTIVATION}:
            raise SemttaError(f"the configuration in '{self.folder}' tells of encoders with "
                              f"{' and '.join(sorted(heads))} heads and the activation "
                              f"{' and '.join(sorted(activation))}; only one number of heads and "
                              f"{_ACTIVATION} are read.")  # fmt: skip
        return int(heads.pop()[:4])

    def _said(self, key: str) -> set[str]:
        """What is given for a key wherever it stands in the configuration.

        Its shape differs from release to release, and nothing else in it is needed."""
        text = ""
        for name in _CONFIGS:
            if (self.folder / name).is_file():
                text += read_text(self.folder / name, "TMR's configuration", _SMALL) + "\n"
        value = r"[a-z]\w*" if key == "activation" else r"\d+(?:\.\d+)?"
        return set(re.findall(rf"(?<!\w)[\"']?{key}[\"']?\s*:\s*[\"']?({value})", text))

    # -------------------------------------------------------------------------- numbers

    def features(self, layout: Layout) -> TMRFeatures:
        """What makes the encoder's numbers, with the release's own statistics and skeleton."""
        mean, std = (self._statistic(layout, name) for name in ("mean", "std"))
        if layout is SOMA:
            path = _only(
                self.folder, "joints.p", "kimodo's file of that name (skeleton somaskel30)"
            )
            return SomaFeatures(mean, std, _tensor(path, "SOMA's skeleton"), self.fps)
        rest = load_body().joint_template
        if layout is HUMANML:
            path = _only(self.folder, "skeleton_example_h3d.npy", "TMR's file of that name")
            skeleton = torch.from_numpy(_numbers(path, "HumanML3D's skeleton"))
            return HumanMLFeatures(mean, std, skeleton, rest, self.fps)
        return MotionFixFeatures(mean, std, rest, self.fps)

    def _statistic(self, layout: Layout, name: str) -> Tensor:
        """(size,) mean or standard deviation of the training's numbers."""
        if layout is not SOMA:
            whose = f"the release's {name} of its motions ('stats' in its repository or download)"
            return _tensor(_only(self.folder, f"{name}.pt", whose), f"TMR's {name}").float()
        parts = []
        for part in ("global_root", "body"):
            path = _only(self.folder, f"{part}/{name}.npy", "the folder of the model's statistics")
            parts.append(torch.from_numpy(_numbers(path, f"TMR-SOMA's {name}")).flatten())
        return torch.cat(parts).float()

    # -------------------------------------------------------------------------- calibration

    @property
    def calibration_path(self) -> Path:
        whole = self.given.resolve()
        return whole.with_name(whole.name + ".sigma.yaml")

    def calibration(self) -> Calibration | None:
        """None if there is none; raises ``SemttaError`` if it is of other weights."""
        if not self.calibration_path.is_file():
            return None
        found = Calibration.read(self.calibration_path)
        if found.weights != file_sha256(self.motion):
            raise SemttaError(f"'{self.calibration_path}' is of other weights than "
                              f"'{self.motion}'; run tools/calibrate_prior.py anew.")  # fmt: skip
        return found


def _only(folder: Path, name: str, whose: str) -> Path:
    """The one file of that name; ``whose`` says what a user is to put there.

    Raises ``SemttaError`` if there is none, or more than one."""
    found = _named(folder, name)
    if len(found) > 1:
        shown = ", ".join(f"'{file.relative_to(folder)}'" for file in found[:3])
        raise SemttaError(f"'{folder}' has more than one {name} ({shown}); leave the one that "
                          "belongs to the weights.")  # fmt: skip
    if not found:
        raise SemttaError(f"'{folder}' has no {name}; put {whose} there.")
    return found[0]


def _named(folder: Path, name: str) -> list[Path]:
    """Files of that name, as near the top as there are any."""
    levels = (sorted(f for f in folder.glob(deep + name) if f.is_file()) for deep in _DEEP)
    return next((found for found in levels if found), [])


def _tensor(path: Path, what: str) -> Tensor:
    """The one tensor that a file holds."""
    content = read_tensors(path, what)
    if not isinstance(content, Tensor) or not content.is_floating_point():
        raise SemttaError(f"'{path}' does not hold {what}: it must be one tensor of numbers.")
    return content.detach().squeeze()


def _numbers(path: Path, what: str):
    array = read_npy(path, what, _SMALL)
    if array.dtype.kind != "f":
        raise SemttaError(f"'{path}' does not hold {what}: it must be an array of numbers.")
    return array.astype("float32")
