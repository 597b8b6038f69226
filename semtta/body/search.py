"""Where the user's SMPL files are looked for, under every name they go by."""

from __future__ import annotations

import os
from pathlib import Path

from semtta.errors import SemttaError
from semtta.places import user_data_folder

GENDERS = ("neutral", "male", "female")
LICENCE_PAGE = "https://smpl.is.tue.mpg.de"
_SHORT = {"neutral": "neutral", "male": "m", "female": "f"}


def file_names(gender: str = "neutral") -> list[str]:
    """Accepted file names of the SMPL body of one gender, preferred first."""
    if gender not in GENDERS:
        raise SemttaError(f"unknown gender '{gender}'; use one of {', '.join(GENDERS)}.")
    names = [f"SMPL_{gender.upper()}.{ending}" for ending in ("pkl", "npz")]
    for version in ("v1.1.0", "v1.0.0"):
        for stem in ("basicmodel", "basicModel"):  # both spellings were released
            names.append(f"{stem}_{_SHORT[gender]}_lbs_10_207_0_{version}.pkl")
    return names


def search_folders(search: Path | None = None) -> list[Path]:
    """Folders that are searched, in order: ``search``, $SEMTTA_BODY_MODELS, ./body_models and
    the user data folder, each followed by its ``smpl`` subfolder."""
    roots = [Path(search)] if search is not None else []
    if os.environ.get("SEMTTA_BODY_MODELS"):
        roots.append(Path(os.environ["SEMTTA_BODY_MODELS"]).expanduser())
    roots += [Path("body_models"), user_data_folder() / "body_models"]
    return [folder for root in roots for folder in (root / "smpl", root)]


def searched_paths(gender: str = "neutral", search: Path | None = None) -> list[Path]:
    """Every path at which a body of this gender would be found, in order of preference."""
    return [folder / name for folder in search_folders(search) for name in file_names(gender)]


def find_body_file(gender: str = "neutral", search: Path | None = None) -> Path | None:
    """First existing SMPL file of one gender, or None."""
    return next((path for path in searched_paths(gender, search) if path.is_file()), None)


def require_body_file(gender: str = "neutral", search: Path | None = None) -> Path:
    """Like :func:`find_body_file`; raises ``SemttaError`` that says where to put the file."""
    found = find_body_file(gender, search)
    if found is None:
        folders = ", ".join(str(folder) for folder in search_folders(search))
        raise SemttaError(
            f"no SMPL body for gender '{gender}' was found: looked for "
            f"{', '.join(file_names(gender))} in {folders}; accept the licence and download it "
            f"at {LICENCE_PAGE}, then put it into body_models/smpl/ (the body 'cc0' needs no file)."
        )
    return found
