"""What mkdocs is told about this repository: links of docs/ that lead out of docs/.

Pages link to files beside docs/ (``../configs/default.yaml``) as a viewer of the repository needs
it. A site knows its own folder only, so each such file is copied into it, as text that a browser
shows, and the link leads there. README is the front page. A file that is not there is left as it
is, and mkdocs then warns.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path

_LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]*)?\))")
_FOLDER = "files"  # of the copies, in the site
_FRONT = {"README.md": "index.md"}


def on_page_markdown(markdown: str, page, config, files) -> str:
    """The page with links that stay in the site; the files that they need are added to it."""
    root = Path(config.config_file_path).parent
    docs = Path(config.docs_dir)
    here = posixpath.dirname(page.file.src_uri)

    def inside(match: re.Match) -> str:
        before, target, after = match.groups()
        path = posixpath.normpath(posixpath.join(docs.name, here, target))
        if "://" in target or path.startswith((docs.name + "/", "../")):
            return match[0]
        if not (root / path).is_file():
            return match[0]
        inner = _FRONT.get(path) or _copied(root, path, config, files)
        return before + posixpath.relpath(inner, here or ".") + after

    return _LINK.sub(inside, markdown)


def _copied(root: Path, path: str, config, files) -> str:
    """Place in the site of the copy of a file, which is added unless it is there."""
    from mkdocs.structure.files import File

    place = f"{_FOLDER}/{path}" if path.endswith((".html", ".txt")) else f"{_FOLDER}/{path}.txt"
    if files.get_file_from_path(place) is None:
        text = (root / os.fspath(path)).read_text(encoding="utf-8")
        files.append(File.generated(config, place, content=text))
    return place
