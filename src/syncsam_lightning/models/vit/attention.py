"""SAM's ViT attention on the real tokens only, with SAM's numbers.

SAM pads the token grid to a multiple of the window. At 256 pixels the grid is 16×16 and a window
14×14, so it would compute 28×28 = 784 tokens for 256. Three facts make that unnecessary:

- A padded token is zero before the projection, so its key and value are the biases of the
  projection: the padded keys of a window differ in their positions only, and share one value.
- Keys that share a value can be replaced by a single one, if its score is the log of the sum of
  their exponentials. The positional part of that sum is a product over rows and columns.
- What a padded token would ask is thrown away.

SAM's decomposed relative positions (MViTv2, Li et al., CVPR 2022, section 4.1) are linear in the
query: what row i adds to the score of row k is ``q · R[i - k]``. They are carried as extra channels
of the queries, which one-hot channels of the keys pick out, so that no array of tokens × tokens is
needed and any kernel of ``scaled_dot_product_attention`` can be used.

Shapes: B images of H×W tokens with C channels; n heads of d channels; G windows of h×w real tokens
in a window of side K.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import Attention
from torch import Tensor

# GPU kernels want a number of channels that is a multiple of this.
_CHANNEL_MULTIPLE = 8
_MOST_KEYS_OF_PLAIN_PRODUCTS = 512


class WindowAttention(Attention):  # type: ignore[misc]
    """Attention within windows, or over the whole grid; parameters and numbers are SAM's.

    Args:
        width: C, channels of the tokens.
        num_heads: n.
        window: K, side of the windows; for attention over the whole grid, the side of the grid.
    """

    def __init__(self, width: int, num_heads: int, window: int) -> None:
        super().__init__(width, num_heads, use_rel_pos=True, input_size=(window, window))
        self.window = window

    def forward(self, tokens: Tensor) -> Tensor:
        """Attend.

        Args:
            tokens: ``(B, H, W, C)``, any H and W; no window is padded by the caller.

        Returns:
            ``(B, H, W, C)``.
        """
        qkv: Tensor = self.qkv(tokens)
        row_table = _by_query(self.rel_pos_h, self.window)
        column_table = _by_query(self.rel_pos_w, self.window)
        # Split, not sliced: the gradient of a slice is an array of the whole's size.
        bands = [
            _joined([self._attend(part, row_table, column_table) for part in parts], dim=2)
            for band in torch.split(qkv, _lengths(tokens.shape[1], self.window), dim=1)
            for parts in [torch.split(band, _lengths(tokens.shape[2], self.window), dim=2)]
        ]
        return cast(Tensor, self.proj(_joined(bands, dim=1)))

    def _attend(self, qkv: Tensor, row_table: Tensor, column_table: Tensor) -> Tensor:
        """Attend in windows of equal numbers of real tokens, h × w.

        Args:
            qkv: ``(B, rows·h, columns·w, 3·C)``, whole windows, or one that is cut off, side by
                side.
            row_table: ``(K, d, K)``, see :func:`_by_query`.
            column_table: the same for columns.

        Returns:
            ``(B, rows·h, columns·w, C)``.
        """
        height, width = (min(side, self.window) for side in qkv.shape[1:3])
        rows, columns = qkv.shape[1] // height, qkv.shape[2] // width
        heads = (self.num_heads, qkv.shape[-1] // 3 // self.num_heads)
        windows = qkv.reshape(-1, rows, height, columns, width, 3, *heads)
        # (3, G, n, h·w, d), in a single copy that everything below is computed from.
        q, k, v = windows.permute(5, 0, 1, 3, 6, 2, 4, 7).flatten(1, 3).flatten(3, 4).unbind(0)
        by_row, by_column = _positional_scores(
            q.reshape(*q.shape[:2], height, width, -1), row_table, column_table
        )
        positions = [by_row[..., :height].flatten(2, 3), by_column[..., :width].flatten(2, 3)]
        picks = _one_hot_positions(height, width, like=k)
        if height < self.window or width < self.window:
            padding = _padding_score(by_row, by_column, height, width)
            positions.append(padding.to(q.dtype).flatten(2, 3).unsqueeze(-1))
            picks = F.pad(picks, (0, 1, 0, 1))
            picks[-1, -1] = 1
            pad_key, pad_value = self._padding_key_and_value(v)
            k, v = torch.cat([k, pad_key], dim=2), torch.cat([v, pad_value], dim=2)
        q = torch.cat([q * self.scale, *positions], dim=-1)
        k = torch.cat([k, picks.expand(*k.shape[:2], -1, -1)], dim=-1)
        out = _weighted_values(q, k, v)

        out = out.reshape(-1, rows, columns, self.num_heads, height, width, heads[1])
        return out.permute(0, 1, 4, 2, 5, 3, 6).reshape(*qkv.shape[:3], -1)

    def _padding_key_and_value(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return key and value of a padded token, ``(G, n, 1, d)`` each, for ``(G, n, …, d)``."""
        if self.qkv.bias is None:
            zero = like.new_zeros(*like.shape[:2], 1, like.shape[-1])
            return zero, zero
        biases = self.qkv.bias.to(like.dtype).unflatten(0, (3, self.num_heads, 1, -1))
        key, value = biases[1:].unsqueeze(1).expand(2, like.shape[0], -1, -1, -1).unbind(0)
        return key, value


def _lengths(side: int, window: int) -> list[int]:
    """Return how many tokens of a side lie in whole windows, and how many in the last one."""
    return [length for length in (side - side % window, side % window) if length]


def _joined(parts: list[Tensor], dim: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


def _by_query(table: Tensor, window: int) -> Tensor:
    """Sort a table of relative positions by query and key.

    Args:
        table: ``(2·K - 1, d)``, from the key farthest ahead of the query to the one farthest
            behind it; of another length, it is interpolated, as SAM does.
        window: K.

    Returns:
        ``(K, d, K)``: for each query, the vector of each key.
    """
    if table.shape[0] != 2 * window - 1:
        table = F.interpolate(table.T[None], 2 * window - 1, mode="linear")[0].T
    # Row i - k + K - 1 for query i and key k. Sliding along the table needs no array of indices,
    # which would have to be copied to the device.
    return table.flip(0).unfold(0, window, 1).flip(0)


def _positional_scores(q: Tensor, row_table: Tensor, column_table: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scores of the rows and of the columns of keys.

    All queries of a row share a matrix of the table: so many products as there are rows, not as
    there are rows of all windows and heads.

    Args:
        q: ``(G, n, h, w, d)``.
        row_table: ``(K, d, K)``, see :func:`_by_query`.
        column_table: the same for columns.

    Returns:
        Two of ``(G, n, h, w, K)``.
    """
    windows, heads, height, width, _ = q.shape
    by_row = q.permute(2, 0, 1, 3, 4).flatten(1, 3) @ row_table[:height]
    by_column = q.permute(3, 0, 1, 2, 4).flatten(1, 3) @ column_table[:width]
    return (
        by_row.reshape(height, windows, heads, width, -1).permute(1, 2, 0, 3, 4),
        by_column.reshape(width, windows, heads, height, -1).permute(1, 2, 3, 0, 4),
    )


def _weighted_values(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return ``softmax(q kᵀ) v``.

    On a CPU, the plain products are faster there and back than the kernel that never holds an
    array of queries × keys, as long as that array is small. In half precision the kernel is taken
    too, since it keeps the scores in float32: rounded to bfloat16, a score of 10 is off by 0.03.

    Args:
        q: ``(G, n, Q, c)``.
        k: ``(G, n, L, c)``.
        v: ``(G, n, L, d)``, d of at most c.

    Returns:
        ``(G, n, Q, d)``.
    """
    is_exact = q.dtype in (torch.float32, torch.float64)
    if is_exact and q.device.type == "cpu" and k.shape[2] <= _MOST_KEYS_OF_PLAIN_PRODUCTS:
        return (q @ k.transpose(-2, -1)).softmax(-1) @ v
    channels = v.shape[-1]
    filled = -(-q.shape[-1] // _CHANNEL_MULTIPLE) * _CHANNEL_MULTIPLE
    q, k, v = (F.pad(part, (0, filled - part.shape[-1])) for part in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, scale=1.0)[..., :channels]


def _one_hot_positions(height: int, width: int, like: Tensor) -> Tensor:
    """Return ``(h·w, h + w)``: the row and the column of each key, one-hot."""
    rows = torch.eye(height, dtype=like.dtype, device=like.device).repeat_interleave(width, 0)
    columns = torch.eye(width, dtype=like.dtype, device=like.device).repeat(height, 1)
    return torch.cat([rows, columns], dim=1)


def _padding_score(by_row: Tensor, by_column: Tensor, height: int, width: int) -> Tensor:
    """Return the positional score of all padded keys together, in float32.

    Padded keys lie below the real rows, in any column, or beside the real columns, in a real row.

    Args:
        by_row: ``(G, n, h, w, K)`` scores of the rows of keys.
        by_column: ``(G, n, h, w, K)`` scores of the columns of keys.
        height: h.
        width: w.

    Returns:
        ``(G, n, h, w)``.
    """
    by_row, by_column = by_row.float(), by_column.float()
    parts = []
    if height < by_row.shape[-1]:
        parts.append(by_row[..., height:].logsumexp(-1) + by_column.logsumexp(-1))
    if width < by_column.shape[-1]:
        parts.append(by_row[..., :height].logsumexp(-1) + by_column[..., width:].logsumexp(-1))
    return parts[0] if len(parts) == 1 else torch.logaddexp(*parts)
