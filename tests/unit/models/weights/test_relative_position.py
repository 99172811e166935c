from __future__ import annotations

import torch
from segment_anything.modeling.image_encoder import get_rel_pos

from syncsam_lightning.models.weights.relative_position import (
    is_position_table,
    resize_position_table,
)


def test_only_global_blocks_and_absolute_positions_depend_on_the_image_size(build):
    model = build()
    tables = {key for key in model.state_dict() if is_position_table(model, key)}
    assert tables == {"image_encoder.vit.pos_embed"} | {
        f"image_encoder.vit.blocks.{i}.attn.rel_pos_{axis}" for i in (1, 3, 5, 7) for axis in "hw"
    }


def test_a_constant_stays_constant():
    assert torch.equal(resize_position_table(torch.ones(127, 4), (31, 4)), torch.ones(31, 4))
    found = resize_position_table(torch.ones(1, 64, 64, 4), (1, 16, 16, 4))
    assert torch.equal(found, torch.ones(1, 16, 16, 4))


def test_a_ramp_of_four_becomes_the_means_of_its_halves():
    ramp = torch.tensor([[0.0], [1], [2], [3]])
    assert resize_position_table(ramp, (2, 1)).tolist() == [[0.5], [2.5]]


def test_the_bicubic_rule_takes_the_mean_of_what_a_cell_covers():
    # Antialiased: far ends count, where the bilinear rule looks at the two cells in the middle.
    table = torch.zeros(1, 16, 16, 1)
    table[:, ::4] = 4.0
    smooth = resize_position_table(table, (1, 4, 4, 1), "bicubic")
    torch.testing.assert_close(smooth[:, 1:3], torch.ones(1, 2, 4, 1), atol=0.05, rtol=0)
    assert not resize_position_table(table, (1, 4, 4, 1), "bilinear").any()


def test_rows_and_columns_are_not_mixed_up():
    table = torch.arange(4.0).reshape(1, 4, 1, 1).expand(1, 4, 4, 1)  # differs down the rows
    assert resize_position_table(table, (1, 2, 2, 1))[0, :, :, 0].tolist() == [[0.5] * 2, [2.5] * 2]


def test_relative_tables_follow_the_rule_sam_itself_uses():
    table = torch.randn(127, 8)
    expected = get_rel_pos(16, 16, table)
    assert torch.equal(get_rel_pos(16, 16, resize_position_table(table, (31, 8))), expected)


def test_tables_that_differ_in_width_can_t_be_resized():
    assert resize_position_table(torch.zeros(127, 64), (31, 32)) is None
    assert resize_position_table(torch.zeros(1, 8, 8, 4), (1, 4, 4, 5)) is None
    assert resize_position_table(torch.zeros(8, 8, 4), (4, 4, 4)) is None


def test_the_dtype_stays():
    assert resize_position_table(torch.ones(7, 2).half(), (3, 2)).dtype == torch.float16
