"""XML files from strangers -> trees that know their lines. Size and depth are bounded, entities refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from xml.sax import SAXException, SAXParseException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl, Locator

from defusedxml.common import DefusedXmlException
from defusedxml.sax import parseString

from sppnet.data.problems import broken, unreadable
from sppnet.storage import read_file

MAX_BYTES: Final = 10_000_000
MAX_DEPTH: Final = 32


@dataclass(slots=True)
class Node:
    """An element: its tag, the line it starts on, its attributes, the pieces of its text and the elements in it."""

    tag: str
    line: int
    attributes: Mapping[str, str] = field(default_factory=dict)
    pieces: list[str] = field(default_factory=list)
    children: list["Node"] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text right in the element."""
        return "".join(self.pieces)

    def find(self, tag: str) -> "Node | None":
        """Return the first child with this tag."""
        return next((child for child in self.children if child.tag == tag), None)

    def text_of(self, tag: str) -> str:
        """Return the text in the first child with this tag, "" if there is none."""
        child = self.find(tag)
        return child.text.strip() if child else ""


def read_xml(path: Path, *, limit: int = MAX_BYTES) -> Node:
    """Return the root element of a file.

    Raises:
        BrokenSampleError: naming the line, if it is not XML, larger than ``limit`` bytes, deeper than ``MAX_DEPTH``,
            or declares entities.
    """
    tree = _Tree()
    try:
        if path.stat().st_size > limit:
            broken(path, f"is larger than {limit:,} bytes")
        parseString(read_file(path, most=limit), tree)
    except OSError as error:
        unreadable(path, error)
    except SAXParseException as error:
        broken(path, f"is not XML: {error.getMessage()}", line=error.getLineNumber())
    except DefusedXmlException:
        broken(path, "declares entities, which are refused", line=tree.line)
    except (SAXException, ValueError, LookupError) as error:  # LookupError: an encoding that does not exist
        broken(path, f"cannot be read: {error}", line=tree.line)
    return tree.top.children[0]


class _Tree(ContentHandler):
    def __init__(self) -> None:
        super().__init__()
        self.top = Node("", 0)
        self._open = [self.top]
        self._locator: Locator | None = None

    @property
    def line(self) -> int | None:
        return self._locator.getLineNumber() if self._locator else None

    def setDocumentLocator(self, locator: Locator) -> None:  # noqa: N802
        self._locator = locator

    def startElement(self, name: str, attrs: AttributesImpl) -> None:  # noqa: N802
        if len(self._open) > MAX_DEPTH:
            raise SAXException(f"elements lie more than {MAX_DEPTH} deep")
        node = Node(name, self.line or 0, dict(attrs))
        self._open[-1].children.append(node)
        self._open.append(node)

    def endElement(self, name: str) -> None:  # noqa: ARG002, N802
        self._open.pop()

    def characters(self, content: str) -> None:
        self._open[-1].pieces.append(content)
