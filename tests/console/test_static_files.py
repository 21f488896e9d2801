"""What browsers get of the static files."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from django.core.files.storage import FileSystemStorage

from console.static_files import STYLES, Storage
from tests.support.processes import ROOT


def test_the_style_sheets_are_served_as_one_in_their_order(tmp_path: Path) -> None:
    """A page needs one request for its styles, and the addresses in them lead to files."""
    source, served = FileSystemStorage(ROOT / "static"), tmp_path / "served"
    shutil.copytree(ROOT / "static", served)
    names = [str(path.relative_to(served)) for path in served.rglob("*.*")]
    storage = Storage(location=served, base_url="/static/")
    results = list(storage.post_process({name: (source, name) for name in names}))
    assert not [result for *_, result in results if isinstance(result, Exception)]
    styles = (served / storage.hashed_files[STYLES]).read_text()
    sheets = [source.open(f"css/{name}").read().decode() for name in imports(source)]
    places = [styles.index(sheet.partition("url(")[0]) for sheet in sheets]
    assert len(places) > 30 and places == sorted(places) and not re.search("@import", styles)
    addresses = [address for address in re.findall(r'url\("?([^")]+)', styles) if ":" not in address]
    assert addresses
    for address in addresses:
        assert (served / "css" / address).is_file() and re.search(r"\.[0-9a-f]{12}\.", address), address


def imports(source: FileSystemStorage) -> list[str]:
    return re.findall(r'@import "([^"]+)"', source.open(STYLES).read().decode())
