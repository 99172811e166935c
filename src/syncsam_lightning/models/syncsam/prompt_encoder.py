"""SAM's prompt encoder for N objects at once, without host synchronisation."""

from __future__ import annotations

from typing import cast

import torch
from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom, PromptEncoder
from torch import Tensor

from syncsam_lightning.models.syncsam.architecture import EMBED_DIM
from syncsam_lightning.models.vit import PATCH_SIZE
from syncsam_lightning.prompts import MixedPrompts, Prompts
from syncsam_lightning.prompts.mixed import FIRST_CORNER, LAST_CORNER
from syncsam_lightning.prompts.prompts import BACKGROUND, FOREGROUND, PADDING


class PositionEmbedding(PositionEmbeddingRandom):  # type: ignore[misc]
    """SAM's random Fourier features, computed in float32 whatever the model runs in.

    The sine of a large angle in bfloat16 would move a click by pixels.
    """

    def _pe_encoding(self, coords: Tensor) -> Tensor:
        matrix = self.positional_encoding_gaussian_matrix
        with torch.autocast(coords.device.type, enabled=False):
            angles = 2 * torch.pi * ((2 * coords.float() - 1) @ matrix.float())
            return torch.cat([angles.sin(), angles.cos()], dim=-1).to(matrix.dtype)


class BatchedPromptEncoder(PromptEncoder):  # type: ignore[misc]
    """SAM's prompt encoder; parameter names and numbers are SAM's.

    Points are embedded with ``torch.where`` rather than boolean-index writes, which would make the
    host wait for the GPU.

    Args:
        image_size: side S of the model's square in pixels.
        embed_dim: C, channels of its tokens and maps; SAM's are 256.
    """

    def __init__(self, image_size: int, embed_dim: int = EMBED_DIM) -> None:
        grid, side = image_size // PATCH_SIZE, image_size
        super().__init__(
            embed_dim=embed_dim,
            image_embedding_size=(grid, grid),
            input_image_size=(side, side),
            mask_in_chans=16,
        )
        self.pe_layer = PositionEmbedding(embed_dim // 2)

    def dense_positions(self) -> Tensor:
        """Return the position of every cell of the image embedding, ``(1, C, S/16, S/16)``."""
        return cast(Tensor, self.get_dense_pe())

    def encode(self, prompts: Prompts) -> tuple[Tensor, Tensor]:
        """Embed prompts of N objects.

        Returns:
            Sparse tokens ``(N, T, C)``: points, SAM's padding point if there are points but no
            boxes, then two tokens per box (T may be 0); and the dense embedding
            ``(N, C, S/16, S/16)``.

        Raises:
            ValueError: the previous masks have another size than S/4.
        """
        zero = self._zero_of_every_parameter()
        if isinstance(prompts, MixedPrompts):
            return self._embed_mixed(prompts), self._mixed_dense(prompts) + zero
        sparse = [self.no_mask_embed.weight.new_zeros(prompts.num_objects, 0, self.embed_dim)]
        if prompts.points is not None and prompts.point_labels is not None:
            pad = prompts.boxes is None
            sparse.append(self._embed_points(prompts.points, prompts.point_labels, pad))
        if prompts.boxes is not None:
            sparse.append(self._embed_boxes(prompts.boxes))
        return torch.cat(sparse, dim=1), self._dense(prompts, zero)

    def _dense(self, prompts: Prompts, zero: Tensor) -> Tensor:
        if prompts.mask_logits is None:
            no_mask: Tensor = self.no_mask_embed.weight.reshape(1, -1, 1, 1) + zero
            return no_mask.expand(prompts.num_objects, -1, *self.image_embedding_size)
        if prompts.mask_logits.shape[1:] != self.mask_input_size:
            raise ValueError(
                f"mask_logits must be {prompts.num_objects, *self.mask_input_size}, "
                f"got {tuple(prompts.mask_logits.shape)}"
            )
        masks = prompts.mask_logits.unsqueeze(1).to(self.no_mask_embed.weight.dtype)
        return cast(Tensor, self._embed_masks(masks)) + zero

    def _mixed_dense(self, prompts: MixedPrompts) -> Tensor:
        assert prompts.mask_logits is not None
        masks = prompts.mask_logits.unsqueeze(1).to(self.no_mask_embed.weight.dtype)
        no_mask = self.no_mask_embed.weight.reshape(1, -1, 1, 1)
        return torch.where(prompts.has_mask[:, None, None, None], self._embed_masks(masks), no_mask)

    def _embed_mixed(self, prompts: MixedPrompts) -> Tensor:
        assert prompts.points is not None
        assert prompts.point_labels is not None
        points = prompts.points.float() + 0.5  # as clicks and corners alone
        positions = self.pe_layer.forward_with_coords(points, self.input_image_size)
        labels = prompts.point_labels.unsqueeze(-1)
        embedded = torch.where(labels == PADDING, self.not_a_point_embed.weight, positions)
        for label in (BACKGROUND, FOREGROUND, FIRST_CORNER, LAST_CORNER):
            kind = self.point_embeddings[label].weight
            embedded = torch.where(labels == label, positions + kind, embedded)
        return embedded

    def _embed_points(self, points: Tensor, labels: Tensor, pad: bool) -> Tensor:
        points = points.float() + 0.5  # from the pixel's corner to its centre
        if pad:
            points = torch.nn.functional.pad(points, (0, 0, 0, 1))
            labels = torch.nn.functional.pad(labels, (0, 1), value=PADDING)
        positions = self.pe_layer.forward_with_coords(points, self.input_image_size)
        labels = labels.unsqueeze(-1)
        background, foreground = self.point_embeddings[0].weight, self.point_embeddings[1].weight
        embedded = torch.where(labels == BACKGROUND, positions + background, positions)
        embedded = torch.where(labels == FOREGROUND, positions + foreground, embedded)
        return torch.where(labels == PADDING, self.not_a_point_embed.weight, embedded)

    def _embed_boxes(self, boxes: Tensor) -> Tensor:
        corners = boxes.float().reshape(-1, 2, 2) + 0.5
        positions: Tensor = self.pe_layer.forward_with_coords(corners, self.input_image_size)
        kinds = torch.cat([self.point_embeddings[2].weight, self.point_embeddings[3].weight])
        return positions + kinds

    def _zero_of_every_parameter(self) -> Tensor:
        """Return a zero that depends on every trainable parameter while training.

        Which embeddings a batch uses depends on its prompts. DistributedDataParallel waits for a
        gradient of each trainable parameter unless it is told to search for unused ones on every
        step; with this term the unused ones have a gradient of zero.
        """
        zero: Tensor = self.no_mask_embed.weight.new_zeros(())
        if self.training and torch.is_grad_enabled():
            for parameter in self.parameters():
                if parameter.requires_grad:
                    zero = zero + 0.0 * parameter.sum()
        return zero
