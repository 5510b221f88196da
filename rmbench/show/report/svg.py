"""matplotlib's SVG → SVG that stands inside a page: its colours, its fonts, no style attributes."""

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple
from xml.etree import ElementTree

__all__ = ["COLOURS", "FigureLabel", "inline_svg"]

# matplotlib wants colours, the page has light and dark ones: what is drawn in the colour on the
# right takes the page's variable on the left.
COLOURS: Final[Mapping[str, str]] = {
    "ink": "#000001",
    "muted": "#000002",
    "grid": "#000003",
    "paper": "#000004",
    "won": "#000005",
    "lost": "#000006",
    "tied": "#000007",
    "model-1": "#000011",
    "model-2": "#000012",
    "model-3": "#000013",
    "model-4": "#000014",
}
_VARIABLES: Final = {colour: f"var(--{name})" for name, colour in COLOURS.items()}
_KEPT: Final = frozenset(
    {
        "fill",
        "fill-opacity",
        "font-size",
        "font-weight",
        "opacity",
        "stroke",
        "stroke-dasharray",
        "stroke-linecap",
        "stroke-linejoin",
        "stroke-opacity",
        "stroke-width",
        "text-anchor",
    }
)
_LINK: Final = "{http://www.w3.org/1999/xlink}href"
_REFERENCE = re.compile(r"#([\w.-]+)")
_DECIMALS = re.compile(r"-?\d+\.\d+")


class FigureLabel(NamedTuple):
    """What a figure is called, and what somebody who cannot see it is told."""

    name: str
    title: str
    description: str


def inline_svg(source: str, label: FigureLabel) -> str:
    """Return an SVG element for a page.

    Style attributes become presentation attributes, which a strict Content-Security-Policy lets
    through; the colours of `COLOURS` become the page's variables; fonts are the page's; ids begin
    with the figure's name, which must be unique in the page. Whatever stands in a text stays text.

    Args:
        source: an SVG file of matplotlib with ``svg.fonttype`` ``none``.
        label: name, title and description.
    """
    root = ElementTree.fromstring(source)
    used = {match for element in root.iter() for match in _references(element)}
    _drop_foreign(root)
    for element in root.iter():
        _clean(element, used, label.name)
    _label(root, label)
    return ElementTree.tostring(root, encoding="unicode")


def _references(element: ElementTree.Element) -> Iterator[str]:
    for key in (_LINK, "clip-path"):
        yield from _REFERENCE.findall(element.get(key, ""))


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _drop_foreign(root: ElementTree.Element) -> None:
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)


def _clean(element: ElementTree.Element, used: set[str], name: str) -> None:
    element.tag = _local(element.tag)
    element.text = (element.text or "").strip() or None if element.tag != "text" else element.text
    element.tail = None
    attributes: dict[str, str] = {}
    for key, value in element.attrib.items():
        if key == "style":
            attributes |= _presentation(value)
        elif key == "id":
            attributes |= {"id": f"{name}-{value}"} if value in used else {}
        elif key == _LINK or key == "clip-path":
            attributes[_local(key)] = value.replace("#", f"#{name}-")
        elif key == "transform" and value.startswith("rotate(-0 "):
            continue
        else:
            attributes[key] = _shortened(value) if key in ("d", "x", "y") else value
    element.attrib.clear()
    element.attrib.update(attributes)


def _presentation(style: str) -> dict[str, str]:
    pairs = (item.partition(":") for item in style.split(";"))
    declared = {key.strip(): value.strip() for key, _, value in pairs}
    if "font" in declared:
        size = re.search(r"[\d.]+px", declared["font"])
        declared |= {"font-size": size.group()} if size else {}
    return {key: _VARIABLES.get(value, value) for key, value in declared.items() if key in _KEPT}


def _shortened(path: str) -> str:
    """Return coordinates to a tenth of a pixel; a finer place cannot be seen."""
    rounded = _DECIMALS.sub(lambda match: f"{float(match.group()):.1f}".removesuffix(".0"), path)
    return " ".join(rounded.split())


def _label(root: ElementTree.Element, label: FigureLabel) -> None:
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    _, _, width, _ = root.attrib["viewBox"].split()
    root.set("role", "img")
    root.set("width", width)
    root.set("aria-labelledby", f"{label.name}-title {label.name}-desc")
    parts = (("title", label.title), ("desc", label.description))
    for position, (tag, text) in enumerate(parts):
        part = ElementTree.Element(tag)
        part.set("id", f"{label.name}-{tag}")
        part.text = text
        root.insert(position, part)
