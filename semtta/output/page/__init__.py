"""``result.html``: a result as one self-contained page that opens offline in any browser."""

from semtta.output.page.write import write_page

__all__ = ["write_page"]
