"""Licence-gated files that a user may have: what they are called, what for, where to get them.

Nothing is ever downloaded. A file is named by a setting or, left unnamed, looked for under its
usual names in ``$SEMTTA_CHECKPOINTS``, ``./checkpoints`` and the user data folder.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from semtta.errors import SemttaError
from semtta.places import user_data_folder


@dataclass(frozen=True)
class UserFile:
    """One kind of file, or of folder.

    Args:
        key: how this library calls it.
        names: usual file names, patterns allowed, the best first.
        use: what it is for.
        setting: the setting that names it, empty if it is only looked for.
        page: where it and its licence are.
    """

    key: str
    names: tuple[str, ...]
    use: str
    setting: str
    page: str


USER_FILES = {
    file.key: file
    for file in (
        UserFile("hmr", ("model_checkpoint.pt", "hmr_basemodel.pt", "basemodel.pt"),
                 "HMR of SPIN, CycleAdapt, BOA or DynaBOA (--model hmr)", "model.checkpoint",
                 "github.com/nkolot/SPIN, github.com/hygenie1228/CycleAdapt_RELEASE"),
        UserFile("mean_params", ("smpl_mean_params.npz",),
                 "mean parameters, for HMR and CLIFF files without them", "model.mean_params",
                 "github.com/nkolot/SPIN"),
        UserFile("hmr2", ("epoch=35-step=1000000.ckpt", "epoch=10-step=25000.ckpt"),
                 "HMR2.0 of 4D-Humans (--model hmr2)", "model.checkpoint",
                 "github.com/shubham-goel/4D-Humans"),
        UserFile("camerahmr", ("camerahmr_checkpoint_cleaned.ckpt",),
                 "CameraHMR (--model camerahmr)", "model.checkpoint",
                 "github.com/pixelite1201/CameraHMR"),
        UserFile("cliff", ("hr48-PA43.0_MJE69.0_MVE81.2_3dpw.pt",
                           "res50-PA45.7_MJE72.0_MVE85.3_3dpw.pt",
                           "hr48-PA53.7_MJE91.4_MVE110.0_agora_val.pt"),
                 "CLIFF (--model cliff)", "model.checkpoint",
                 "github.com/huawei-noah/noah-research, folder CLIFF"),
        UserFile("motionclip", ("checkpoint_0100.pth.tar", "checkpoint_0200.pth.tar"),
                 "MotionCLIP (--prior motionclip)", "alignment.checkpoint",
                 "github.com/GuyTevet/MotionCLIP"),
        UserFile("tmr", ("tmr", "tmr_humanml3d_amass_feats", "tmr_humanml3d_guoh3dfeats",
                         "TMR-SOMA-RP-v1"),
                 "folder of TMR, MotionFix-TMR or TMR-SOMA (--prior tmr, docs/priors.md)",
                 "alignment.checkpoint", "github.com/Mathux/TMR, github.com/atnikos/motionfix, "
                 "huggingface.co/nvidia/TMR-SOMA-RP-v1"),
        UserFile("clip", ("ViT-B-32.pt", "clip-vit-base-patch32"),
                 "text tower of CLIP ViT-B/32 (--clip)", "alignment.clip",
                 "github.com/openai/CLIP"),
        UserFile("mdnet", ("md_basemodel.pt",),
                 "CycleAdapt's denoiser (smoothing.kind=mdnet)", "smoothing.checkpoint",
                 "github.com/hygenie1228/CycleAdapt_RELEASE"),
        UserFile("h36m_regressor",
                 ("J_regressor_h36m.npy", "J_regressor_h36m.npz", "J_regressor_h36m_smpl.npy"),
                 "14 and 17 joints on an SMPL mesh (benchmarks on 3DPW, 3DHP)", "",
                 "the data archive of github.com/nkolot/SPIN"),
        UserFile("j19_regressor", ("SMPL_to_J19.pkl", "SMPL_to_J19.npy"),
                 "joints of 4D-Humans (protocol hmr2_14)", "",
                 "the data archive of github.com/shubham-goel/4D-Humans"),
    )
}  # fmt: skip


def checkpoint_folders() -> list[Path]:
    """Folders that are searched, in order."""
    named = os.environ.get("SEMTTA_CHECKPOINTS")
    first = [Path(named).expanduser()] if named else []
    return [*first, Path("checkpoints"), user_data_folder() / "checkpoints"]


def find_user_file(key: str) -> Path | None:
    """The first file found under one of its usual names, or None."""
    for folder in checkpoint_folders():
        for name in USER_FILES[key].names:
            if (folder / name).exists():
                return folder / name
    return None


def require_user_file(key: str, given: str | Path | None) -> Path:
    """The given path, or the one found; raises ``SemttaError`` that says what is missing."""
    file = USER_FILES[key]
    if given is not None:
        path = Path(given)
        if not path.exists():
            raise SemttaError(f"{file.setting}: there is no file '{path}'.")
        return path
    found = find_user_file(key)
    if found is None:
        raise SemttaError(
            f"{file.use} needs {file.setting}=PATH, or {file.names[0]} in "
            f"{checkpoint_folders()[0]}; file and licence: {file.page}."
        )
    return found
