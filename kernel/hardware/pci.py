"""Names of PCI vendors and products, from the database of the distribution (`pci.ids`), if it is installed."""

import functools
from pathlib import Path

DATABASES = (Path("/usr/share/misc/pci.ids"), Path("/usr/share/hwdata/pci.ids"))


@functools.lru_cache(maxsize=256)
def names(vendor_id: str, product_id: str, databases: tuple[Path, ...] = DATABASES) -> tuple[str, str]:
    """Vendor and product for ids like `0x8086` and `0x10fb`, each "" if unknown. Reads a file once per product."""
    if not vendor_id:
        return "", ""
    for database in databases:
        try:
            content = database.read_bytes()
        except FileNotFoundError:
            continue
        return find_names(content, vendor_id, product_id)
    return "", ""


def find_names(content: bytes, vendor_id: str, product_id: str) -> tuple[str, str]:
    """Look up names in a database: vendors start a line, their products follow, indented by one tab."""
    vendor, section = _entry(b"\n" + content, b"\n", vendor_id)
    if not vendor:
        return "", ""
    product, _ = _entry(section, b"\n\t", product_id)
    return vendor, product


def _entry(content: bytes, indent: bytes, id: str) -> tuple[str, bytes]:
    """The name behind an id, and the indented lines below it, comments included."""
    mark = indent + id.removeprefix("0x").lower().encode() + b"  "
    start = content.find(mark)
    if start < 0:
        return "", b""
    end = content.find(b"\n", start + len(mark))
    end = len(content) if end < 0 else end
    stop = end
    while (stop := content.find(b"\n", stop + 1)) >= 0 and content[stop + 1 : stop + 2] in (b"\t", b"#"):
        pass
    name = content[start + len(mark) : end].decode("utf-8", "replace").strip()
    return name, content[end : stop if stop >= 0 else None]
