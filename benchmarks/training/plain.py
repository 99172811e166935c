"""The straightforward arrangement of the same model: what one would write first.

Same weights, same numbers. The ViT is made of ``segment_anything``'s own blocks, which pad the grid
to whole windows; so are the norms and the decoder's transformer. Masks are decoded image by image,
as ``segment_anything``'s decoder demands, with the image's embedding repeated for each of them.
"""

from __future__ import annotations

import torch
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.image_encoder import Block
from segment_anything.modeling.transformer import TwoWayTransformer
from torch import Tensor, nn

from syncsam_lightning.models import ImageFeatures, SyncSAM
from syncsam_lightning.models.syncsam.decoder import MedTokenDecoder
from syncsam_lightning.prompts import Prompts


class PlainSyncSAM(SyncSAM):
    """A SyncSAM with the parts of ``segment_anything`` in place of ours, decoded per image."""

    def __init__(self, model: SyncSAM) -> None:
        """Take architecture and weights of ``model``; its tensors are copied."""
        settings = {
            name: getattr(model.architecture, name)
            for name in model.architecture.__dataclass_fields__
        }
        super().__init__(**settings)
        vit = self.image_encoder.vit
        grid = self.architecture.grid_size
        if vit is not None:
            for index, block in enumerate(vit.blocks):
                vit.blocks[index] = Block(
                    dim=self.architecture.vit_width,
                    num_heads=self.architecture.vit_heads,
                    norm_layer=_layer_norm,
                    use_rel_pos=True,
                    window_size=block.window_size,
                    input_size=(grid, grid),
                )
        self.mask_decoder = _PlainDecoder()
        self.mask_decoder.transformer = TwoWayTransformer(
            depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8
        )
        _put_sam_norms(self)
        self.load_state_dict(model.state_dict())
        for own, theirs in zip(self.parameters(), model.parameters(), strict=True):
            own.requires_grad_(theirs.requires_grad)
        # Memory in torch's default order, as every convolution is created.
        self.to(memory_format=torch.contiguous_format)
        self.train(model.training)

    def decode(self, features: ImageFeatures, prompts: Prompts) -> Tensor:
        """Decode image by image."""
        logits = []
        for image in range(len(features.embedding)):
            of_image = ImageFeatures(
                features.embedding[image : image + 1],
                None if features.multi_scale is None else features.multi_scale[image : image + 1],
            )
            chosen = prompts[prompts.image_index == image]
            logits.append(super().decode(of_image, _on_first_image(chosen)))
        return torch.cat(logits)[_order(prompts.image_index)]


class _PlainDecoder(MedTokenDecoder):
    def _weighted_sum(self, weights: Tensor, upscaled: Tensor) -> Tensor:
        return torch.einsum("nc,nchw->nhw", weights, self.mask_features(upscaled))


def _on_first_image(prompts: Prompts) -> Prompts:
    return Prompts(
        torch.zeros_like(prompts.image_index),
        prompts.boxes,
        prompts.points,
        prompts.point_labels,
        prompts.mask_logits,
    )


def _order(image_index: Tensor) -> Tensor:
    """Return where each object stands in a list that is sorted by image."""
    return image_index.argsort(stable=True).argsort()


def _layer_norm(width: int) -> nn.LayerNorm:
    return nn.LayerNorm(width, eps=1e-6)


def _put_sam_norms(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, LayerNorm2d):
            setattr(module, name, LayerNorm2d(child.weight.shape[0], eps=child.eps))
        else:
            _put_sam_norms(child)
