"""The documentation builds as a site, without warnings, and asks no server for anything."""

import os
import re
import socket
from html.parser import HTMLParser

import pytest
from docs_pages import ROOT

import semtta

pytest.importorskip("mkdocs")
pytest.importorskip("material", reason="pip install 'semtta[docs]'")
pytest.importorskip("mkdocstrings", reason="pip install 'semtta[docs]'")

# What makes a browser fetch something by itself; a link that a reader may follow is none of these.
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src",
         "audio": "src", "embed": "src", "object": "data"}  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; mkdocs in strict mode ends with the first warning."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    def refuse(*_):
        raise AssertionError("building the documentation asked for a server")

    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        build(load_config("mkdocs.yml", strict=True, site_dir=str(folder)))
    return folder


class _Loads(HTMLParser):
    """What a page loads, and its scripts and styles."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[str] = []
        self.inside = ""
        self.inline = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.inside = tag
        rel = (given.get("rel") or "").split()
        if tag == "link" and not {"canonical", "prev", "next"} & set(rel):
            self.found.append(given.get("href") or "")
        elif tag in LOADS:
            self.found.append(given.get(LOADS[tag]) or "")

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside in ("script", "style"):
            self.inline += data


def _external(text: str) -> list[str]:
    """Addresses of other servers that a page would load."""
    page = _Loads(text)
    fetched = r"(?:url\(|@import|fetch\(|import\(|src=)"
    inline = re.findall(rf"""{fetched}\s*["']?((?:https?:)?//[^"')]+)""", page.inline)
    return [url for url in page.found if re.match(r"(https?:)?//", url)] + inline


def test_no_page_loads_anything_from_a_server(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25
    found = {p.name: urls for p in pages if (urls := _external(p.read_text(encoding="utf-8")))}
    assert not found


def test_no_style_loads_anything_from_a_server(site):
    styles = list(site.rglob("*.css"))
    assert styles
    for style in styles:
        assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", style.read_text("utf-8"))


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/css">',
        "<style>@import 'https://fonts.example/css';</style>",
        '<img src="http://example.org/a.png">',
    ],
)
def test_a_page_that_would_load_something_is_found(text):
    assert _external(text)
    assert not _external('<a href="https://example.org">x</a><img src="a.png">')


def test_every_public_name_has_an_anchor(site):
    text = (site / "reference" / "api.html").read_text(encoding="utf-8")
    for name in semtta.__all__:
        found = getattr(semtta, name)
        assert f'id="{found.__module__}.{found.__qualname__}"' in text, name


def test_files_outside_docs_are_in_the_site_where_pages_link_to_them(site):
    text = (site / "paper.html").read_text(encoding="utf-8")
    link = re.search(r'href="([^"]*default\.yaml[^"]*)"', text)
    assert link is not None
    copy = site / link[1]
    assert copy.read_bytes() == (ROOT / "configs" / "default.yaml").read_bytes()


def test_links_between_pages_lead_to_files(site):
    for page in site.rglob("*.html"):
        if page.name == "404.html":  # its links count from the root of a server
            continue
        for link in re.findall(r'<a[^>]* href="([^"#?]+)', page.read_text(encoding="utf-8")):
            if not re.match(r"\w+:|//", link):
                assert os.path.exists(page.parent / link), (page.name, link)
