"""SAM and MedSAM give the numbers of the ``segment_anything`` package."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from torch import nn

from syncsam_lightning.models import SAM, MedSAM, load_weights
from syncsam_lightning.models.weights.renaming import rename_weights
from syncsam_lightning.prompts import Prompts

TOLERANCE = 1e-5
SIZES = [256, pytest.param(1024, marks=pytest.mark.slow)]


def official(side: int) -> Sam:
    """SAM ViT-B as build_sam makes it, for any size of the images."""
    grid = side // 16
    return Sam(
        ImageEncoderViT(
            img_size=side,
            embed_dim=768,
            depth=12,
            num_heads=12,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=14,
            global_attn_indexes=(2, 5, 8, 11),
        ),
        PromptEncoder(256, (grid, grid), (side, side), 16),
        MaskDecoder(
            transformer_dim=256,
            transformer=TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8),
        ),
    ).eval()


@pytest.fixture(scope="module", params=SIZES)
def side(request) -> int:
    return request.param


@pytest.fixture(scope="module")
def theirs(side, seeded_state_dict) -> Sam:
    sam = official(side)
    shapes = {key: tuple(value.shape) for key, value in sam.state_dict().items()}
    sam.load_state_dict(seeded_state_dict(shapes))
    return sam


@pytest.fixture(scope="module")
def images(side) -> torch.Tensor:
    """Two images, the second of which fills part of its square."""
    generator = torch.Generator().manual_seed(4)
    coarse = torch.rand(2, 3, 16, 16, generator=generator) * 255
    return nn.functional.interpolate(coarse, (side, side), mode="bilinear").round()


@pytest.fixture(scope="module")
def sizes(side) -> torch.Tensor:
    return torch.tensor([[side, side], [side * 5 // 8, side]])


@pytest.fixture(scope="module")
def prompts(side) -> Prompts:
    """All kinds of prompts for five objects, those of the two images mixed."""
    generator = torch.Generator().manual_seed(6)
    corners = torch.rand(5, 2, 2, generator=generator).sort(1).values * (side - 1)
    return Prompts(
        image_index=torch.tensor([1, 0, 1, 0, 0]),
        boxes=corners.flatten(1),
        points=(torch.rand(5, 2, 2, generator=generator) * (side - 1)).round(),
        point_labels=torch.tensor([[1, 0], [1, 1], [0, 1], [1, -1], [1, 1]]),
        mask_logits=torch.randn(5, side // 4, side // 4, generator=generator),
    )


@pytest.fixture(scope="module")
def their_features(theirs, images, sizes) -> torch.Tensor:
    """The embedding of each image, as SAM's own preprocessing and encoder give it."""
    with torch.no_grad():
        squares = [
            theirs.preprocess(image[:, :height, :width])
            for image, (height, width) in zip(images, sizes.tolist(), strict=True)
        ]
        return theirs.image_encoder(torch.stack(squares))


@pytest.fixture(scope="module")
def ours(side, theirs) -> SAM:
    model = SAM(image_size=side).eval()
    load_weights(model, theirs.state_dict(), strict=True)
    return model


@pytest.fixture(scope="module")
def our_features(ours, images, sizes):
    with torch.no_grad():
        return ours.encode(images, sizes)


def their_answer(theirs: Sam, embeddings: torch.Tensor, prompts: Prompts, one: int):
    """What the package says to one object, all four masks: it takes one image per call."""
    single = prompts[one : one + 1]
    points = None
    if single.points is not None:
        points = (single.points, single.point_labels)
    masks = None if single.mask_logits is None else single.mask_logits.unsqueeze(1)
    with torch.no_grad():
        sparse, dense = theirs.prompt_encoder(points=points, boxes=single.boxes, masks=masks)
        return theirs.mask_decoder.predict_masks(
            image_embeddings=embeddings[single.image_index],
            image_pe=theirs.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
        )


def test_sam_s_image_embedding_agrees(our_features, their_features, relative_error):
    for found, expected in zip(our_features.embedding, their_features, strict=True):
        assert relative_error(found, expected) < TOLERANCE


@pytest.mark.parametrize(
    "kinds",
    [("boxes",), ("points",), ("points", "masks"), ("boxes", "points"), ("masks",)],
    ids="+".join,
)
def test_all_masks_of_objects_on_several_images_agree(
    theirs, their_features, ours, our_features, prompts, relative_error, kinds
):
    dropped = {"boxes", "points", "masks"} - set(kinds)
    names = {"boxes": ["boxes"], "points": ["points", "point_labels"], "masks": ["mask_logits"]}
    prompts = replace(prompts, **{name: None for kind in dropped for name in names[kind]})
    with torch.no_grad():
        found = ours.candidates(our_features, prompts)
    for one in range(prompts.num_objects):
        masks, predicted_iou = their_answer(theirs, their_features, prompts, one)
        assert relative_error(found.logits[one], masks[0]) < TOLERANCE
        assert relative_error(found.predicted_iou[one], predicted_iou[0]) < TOLERANCE


def test_medsam_s_mask_of_a_box_agrees(side, theirs, images, prompts, relative_error):
    model = MedSAM(image_size=side).eval()
    load_weights(model, theirs.state_dict(), strict=True)
    boxes = replace(prompts, points=None, point_labels=None, mask_logits=None)
    flat = images.flatten(1)
    low, high = (edge(1).values[:, None, None, None] for edge in (flat.min, flat.max))
    with torch.no_grad():
        found = model.decode(model.encode(images), boxes)
        embeddings = theirs.image_encoder((images - low) / (high - low))
    for one in range(boxes.num_objects):
        masks, _ = their_answer(theirs, embeddings, boxes, one)
        assert relative_error(found[one], masks[0, 0]) < TOLERANCE


@pytest.mark.parametrize("kind", [SAM, MedSAM])
def test_the_package_takes_weights_under_official_names(kind, side, theirs, tmp_path):
    model = kind(image_size=side)
    load_weights(model, theirs.state_dict(), strict=True)
    torch.save(dict(rename_weights(model).state_dict), tmp_path / "official.pth")
    again = official(side)
    again.load_state_dict(torch.load(tmp_path / "official.pth", weights_only=True), strict=True)
    written = again.state_dict()
    assert all(torch.equal(written[key], value) for key, value in theirs.state_dict().items())
