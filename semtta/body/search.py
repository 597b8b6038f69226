"""Where the user's SMPL files are looked for, under every name they go by."""

from __future__ import annotations

import os
from pathlib import Path

from semtta.errors import SemttaError
from semtta.places import user_data_folder

GENDERS = ("neutral", "male", "female")
LICENCE_PAGE = "https://smpl.is.tue.mpg.de"
_DEEPEST = 4  # levels of folders below one that is searched
_MOST_ENTRIES = 5000
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
    """First existing SMPL file of one gender, or None.

    Where no file lies at its usual place, folders are searched as the official archives unpack
    (``SMPL_python_v.1.1.0/smpl/models/``), a few levels down, in whatever case names are."""
    usual = next((path for path in searched_paths(gender, search) if path.is_file()), None)
    if usual is not None:
        return usual
    order = {name.lower(): rank for rank, name in enumerate(file_names(gender))}
    for root in search_folders(search)[1::2]:
        found = [path for path in _files_below(root) if path.name.lower() in order]
        if found:
            return min(found, key=lambda path: (order[path.name.lower()], len(path.parts), path))
    return None


def _files_below(root: Path) -> list[Path]:
    """Files of a folder and of those inside it, near ones first; not more than a few thousand."""
    files: list[Path] = []
    level, looked = [root], 0
    for _ in range(_DEEPEST + 1):
        inner: list[Path] = []
        for folder in level:
            try:
                for entry in sorted(folder.iterdir()):
                    looked += 1
                    if looked > _MOST_ENTRIES:
                        return files
                    (inner if entry.is_dir() else files).append(entry)
            except OSError:  # a folder that may not be read, or is none
                continue
        level = inner
    return [path for path in files if path.is_file()]


def require_body_file(gender: str = "neutral", search: Path | None = None) -> Path:
    """Like :func:`find_body_file`; raises ``SemttaError`` that says where to put the file."""
    found = find_body_file(gender, search)
    if found is None:
        folders = ", ".join(str(folder) for folder in search_folders(search))
        raise SemttaError(
            f"no SMPL body for gender '{gender}' was found: looked for "
            f"{', '.join(file_names(gender))} in {folders} and "
            f"{_DEEPEST} levels below them (such as SMPL_python_v.1.1.0/smpl/models); accept the "
            f"licence and download it at {LICENCE_PAGE}, then put it into body_models/smpl/ (the "
            "body 'cc0' needs no file)."
        )
    return found
