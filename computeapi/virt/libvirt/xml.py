# SPDX-License-Identifier: Apache-2.0
"""A small builder of XML: a tree of elements, never a string, so that no value can become markup."""

from __future__ import annotations

import re
from xml.etree import ElementTree

Element = ElementTree.Element

# What XML 1.0 cannot hold, escaped or not (https://www.w3.org/TR/xml/#charsets).
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: str) -> str:
    """`text` with each character that XML cannot hold replaced by U+FFFD."""
    return _FORBIDDEN.sub("\ufffd", text)


def element(tag: str, *parts: Element | str | int | None, **attributes: str | int | None) -> Element:
    """An element with its children and its text in `parts`; parts and attributes that are None are left out.

    A trailing underscore of an attribute's name is dropped, for names that are Python's own words.
    """
    made = Element(tag)
    for name, value in attributes.items():
        if value is not None:
            made.set(name.rstrip("_"), clean(str(value)))
    for part in parts:
        if isinstance(part, Element):
            made.append(part)
        elif part is not None:
            made.text = (made.text or "") + clean(str(part))
    return made


def to_text(root: Element) -> str:
    """The document, indented."""
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode")


def parse(text: str) -> Element:
    """A document that libvirt made."""
    return ElementTree.fromstring(text)  # noqa: S314  (libvirt's own output, not a user's)
