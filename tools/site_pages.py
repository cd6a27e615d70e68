"""What the docs site has beside the pages of ``docs``: a hook of MkDocs (``mkdocs.yml``).

README and the other pages of the root stay where GitHub shows them. The site shows them, too, and
the notebook as a page, with their links led to where the pages stand there.
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

#: File of the repository -> its place on the site.
PLACES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "CITATION.cff": "CITATION.cff",
    "docs/tutorial.ipynb": "tutorial.md",
}
_ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):<code>~?")
_LINK = re.compile(r"(?<=\]\()([^)#:\s]+)(?=[)#])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root."""
    for place, src in PLACES.items():
        text = (Path(config.config_file_path).parent / place).read_text(encoding="utf-8")
        content = _page_of(text) if place.endswith(".ipynb") else text
        files.append(File.generated(config, src, content=content))
    return files


def _page_of(notebook: str) -> str:
    """A notebook as Markdown: its texts, and its code without what that prints."""
    parts = []
    for cell in json.loads(notebook)["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    return "\n\n".join(parts)


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Lead links of the repository to the same files on the site."""
    at = next((here for here, src in PLACES.items() if src == page.file.src_uri), None)
    folder = posixpath.dirname(at if at else f"docs/{page.file.src_uri}")

    def led(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, found[1]))
        return PLACES.get(path) or posixpath.relpath(path, "docs")

    return _LINK.sub(led, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Take the roles of docstrings away, which Markdown does not know."""
    return _ROLE.sub("<code>", html)
