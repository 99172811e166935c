"""SyncSAM gives the numbers of the authors' arrangement, in every prompt mode."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from syncsam_lightning.models import SyncSAM, load_weights
from syncsam_lightning.prompts import Prompts

GOLDEN = Path(__file__).parent / "golden"
COUNTS = {"34": (116_019_884, 25_982_028), "50": (138_428_204, 48_390_348)}


def seeded_state_dict(shapes):
    spec = importlib.util.spec_from_file_location("golden_seeding", GOLDEN / "seeding.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {k: torch.from_numpy(v) for k, v in module.seeded_state_dict(shapes).items()}


def relative_error(ours, theirs):
    theirs = torch.from_numpy(theirs)
    return ((ours - theirs).norm() / theirs.norm()).item()


@pytest.fixture(scope="module", params=["34", "50"])
def case(request):
    torch.manual_seed(0)
    model = SyncSAM(cnn=f"resnet{request.param}").eval()
    shapes = json.loads((GOLDEN / f"syncsam{request.param}_keys.json").read_text())
    report = load_weights(model, seeded_state_dict(shapes))
    golden = np.load(GOLDEN / f"syncsam{request.param}.npz")
    with torch.no_grad():
        features = model.encode(torch.from_numpy(golden["image"]))
    return request.param, model, report, golden, features


def test_parameter_counts_are_the_papers(case):
    name, model, *_ = case
    parameters = list(model.parameters())
    total = sum(p.numel() for p in parameters)
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    assert (total, trained) == COUNTS[name]


def test_the_predecessors_layout_is_loaded_whole(case):
    _, model, report, *_ = case
    assert report.missing == ()
    assert report.unexpected == ()
    assert report.resized == ()
    assert set(report.loaded) == set(model.state_dict())


def test_embedding_and_multi_scale_map_agree(case):
    *_, golden, features = case
    assert relative_error(features.embedding, golden["image_embedding"]) < 1e-4
    assert relative_error(features.multi_scale, golden["multi_scale"]) < 1e-4


@pytest.mark.parametrize(
    ("mode", "kinds"),
    [
        ("box", ("boxes",)),
        ("points", ("points",)),
        ("box_points", ("boxes", "points")),
        ("points_mask", ("points", "masks")),
    ],
)
def test_logits_agree(case, mode, kinds):
    _, model, _, golden, features = case

    def flat(name):
        return torch.from_numpy(golden[name]).flatten(0, 1)

    has_points = "points" in kinds
    prompts = Prompts(
        image_index=torch.arange(2).repeat_interleave(3),
        boxes=flat("boxes") if "boxes" in kinds else None,
        points=flat("point_coords") if has_points else None,
        point_labels=flat("point_labels").long() if has_points else None,
        mask_logits=flat("mask_input")[:, 0] if "masks" in kinds else None,
    )
    with torch.no_grad():
        logits = model.decode(features, prompts)
    theirs = golden[f"logits_{mode}"].reshape(6, 64, 64)
    assert relative_error(logits, theirs) < 1e-4
