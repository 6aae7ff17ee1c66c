# SPDX-License-Identifier: Apache-2.0
"""The files that browsers get from the console proxy: our pages, and noVNC and the like beside them.

What there is, is looked up in a table made at the start; no path that a client sends ever reaches the file system.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

LOG = logging.getLogger("computeapi.console")

OURS = Path(__file__).with_name("web")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
}
# Other names of our pages: the one in the URL of type xvpvnc, and a serial console's, whose URL is a websocket's.
_ALIASES = {"/console": "/vnc_auto.html", "/": "/serial.html"}


class Pages:
    """Files by URL path, read when they are asked for. `web_dir` has what tools/lib/console-web put there."""

    def __init__(self, web_dir: Path, framers: Iterable[str] = ()) -> None:
        self._files = _files(OURS) | _files(web_dir)
        for alias, name in _ALIASES.items():
            self._files[alias] = self._files[name]
        for needed, of in (("/novnc/core/rfb.js", "noVNC"), ("/xterm/lib/xterm.mjs", "xterm.js")):
            if needed not in self._files:
                LOG.warning("%s is not in %s: its consoles can't be shown in a browser", of, web_dir)
        self._headers = security_headers(framers)

    def find(self, path: str) -> tuple[bytes, dict[str, str]] | None:
        """The content of a file and its headers; None where there is none."""
        file = self._files.get(path)
        if file is None:
            return None
        try:
            content = file.read_bytes()
        except OSError as error:
            LOG.warning("%s: %s", file, error)
            return None
        return content, {"Content-Type": _TYPES[file.suffix], **self._headers}


def _files(directory: Path) -> dict[str, Path]:
    """The files below a directory that are a page's, by URL path. A link that leads out of it is none."""
    root = directory.resolve()
    found: dict[str, Path] = {}
    for file in root.rglob("*") if root.is_dir() else ():
        if file.suffix in _TYPES and file.is_file() and file.resolve().is_relative_to(root):
            found["/" + file.relative_to(root).as_posix()] = file
    return found


def security_headers(framers: Iterable[str]) -> dict[str, str]:
    """Pages load from here and connect to here alone; others may show them in a frame only where they are named.

    The URL has the token, so it is told to nobody and kept in no cache. Inline styles: xterm.js makes some.
    """
    ancestors = " ".join(["'self'", *(f"{scheme}://{name}:*" for name in framers for scheme in ("https", "http"))])
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": ancestors,
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
