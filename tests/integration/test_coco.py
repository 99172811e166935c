"""A folder with a COCO file, from the release to a mask: the commands of docs/add_a_dataset.md."""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from syncsam_lightning.cli.main import main

ROOT = Path(__file__).parents[2]
TINY = Path(__file__).with_name("tiny.yaml")
SIDE = 48


def release(root: Path) -> None:
    """Ten patients with two pictures each, a polyp as polygon and a tool as run lengths."""
    (root / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(20):
        name = f"p{number // 2}_{number % 2}.png"
        pixels = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        Image.fromarray(pixels).save(root / "images" / name)
        images.append({"id": number, "file_name": name, "height": SIDE, "width": SIDE})
        polygon = [3, 4, 30 + number / 2, 4, 30, 36.5, 3, 36]
        tool = {"size": [SIDE, SIDE], "counts": [40 * SIDE, 5 * SIDE, 3 * SIDE]}
        for category, outline in ((1, [polygon]), (2, tool)):
            one = {"image_id": number, "category_id": category, "segmentation": outline}
            annotations.append({"id": len(annotations), **one})
    annotations.append({"id": 99, "image_id": 0, "category_id": 1, "bbox": [1, 1, 5, 5]})
    categories = [{"id": 1, "name": "polyp"}, {"id": 2, "name": "tool"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations.json").write_text(json.dumps(content))


def test_the_commands_of_the_page_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = (ROOT / "docs" / "add_a_dataset.md").read_text(encoding="utf-8")
    section = page.split("### COCO files")[1]
    (block,) = re.findall(r"```\n(syncsam prepare.*?)```", section, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    release(tmp_path / "my_polyps")
    for command in block.strip().splitlines():
        line = command.replace("resnet34_samed.yaml", str(TINY)).replace("resnet34_samed", "tiny")
        program, *words = shlex.split(line)
        assert program == "syncsam"
        assert main(words) == 0, line
    (listed,) = map(json.loads, Path("polyps.skipped.jsonl").read_text().splitlines())
    assert listed["kind"] == "no segmentation"
    (report,) = tmp_path.rglob("report.md")
    assert "endoscopy" in report.read_text(encoding="utf-8")
    with Path("predictions/predictions.csv").open(newline="") as file:
        (line,) = csv.DictReader(file)
    assert Image.open(Path("predictions") / line["file"]).size == (SIDE, SIDE)
