from __future__ import annotations

import io
import json

import pytest
from syncsam_datamodules.samed2d import index

from syncsam_lightning.errors import BrokenInputError

PAIRS = {
    "images/a.png": ["masks/a--0000_000.png", "masks/a--0001_000.png"],
    "images/Größe.png": [],
    "images/b.png": ["masks/b--0000_000.png"],
}


@pytest.mark.parametrize("chunk", [1, 7, 1 << 16])
@pytest.mark.parametrize(("indent", "ascii_only"), [(None, True), (2, False)])
def test_it_is_read_the_same_in_pieces_of_any_size(
    monkeypatch: pytest.MonkeyPatch, chunk: int, indent: int | None, ascii_only: bool
):
    text = json.dumps(PAIRS, indent=indent, ensure_ascii=ascii_only)
    monkeypatch.setattr(index, "_CHUNK", chunk)
    assert dict(index.read_index(io.BytesIO(f"\n {text}\n".encode()), "i")) == PAIRS


def test_a_list_without_an_end_is_not_collected(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(index, "_CHUNK", 16)
    monkeypatch.setattr(index, "_MOST_MASKS", 8)
    file = io.BytesIO(b'{"images/a.png": [' + b'"masks/b.png", ' * 1000)
    with pytest.raises(BrokenInputError, match=r"of 'images/a.png' is not a list"):
        list(index.read_index(file, "i"))
    assert file.tell() < 500


@pytest.mark.parametrize("value", ["{}", '{"a": ["b"]}', '[["masks/b.png"]]', "null", "true"])
def test_anything_but_a_list_of_names_is_refused(value: str):
    with pytest.raises(BrokenInputError, match="i: not readable as JSON"):
        list(index.read_index(io.BytesIO(f'{{"images/a.png": {value}}}'.encode()), "i"))
