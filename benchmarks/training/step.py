"""The training step, beside the straightforward arrangement and with more rounds."""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.training.peak import large_products, operations, peak_rate
from benchmarks.training.plain import PlainSyncSAM
from benchmarks.training.report import Line
from benchmarks.training.setting import Setting
from benchmarks.training.timing import in_turns
from syncsam_lightning.data.batch import ImageBatch
from syncsam_lightning.interaction import TrainingEpisode
from syncsam_lightning.losses import PromptLoss
from syncsam_lightning.models import SyncSAM
from syncsam_lightning.training.schedules import joint_loss

_ONE_BOX = TrainingEpisode(iterations=0, box_probability=1.0)
_EIGHT_ROUNDS = TrainingEpisode(iterations=8, box_probability=1.0)
_PLAIN = "plain"


def measure_step(setting: Setting) -> list[Line]:
    """Compare one box round with the plain arrangement, and eight more rounds with one."""
    model, batch = setting.model().train(), setting.batch()
    plain = PlainSyncSAM(model).to(setting.device)
    lines = [_agreement(model, plain, batch)]
    exact, half = torch.float32, torch.bfloat16
    ways = {
        "ours": training_step(setting, model, batch, _ONE_BOX, exact),
        _PLAIN: training_step(setting, plain, batch, _ONE_BOX, exact),
        "half": training_step(setting, model, batch, _ONE_BOX, half),
        "plain half": training_step(setting, plain, batch, _ONE_BOX, half),
        "nine": training_step(setting, model, batch, _EIGHT_ROUNDS, exact),
    }
    if setting.compiles:
        compiled = setting.model().train()
        compiled.compile_parts()
        ways["compiled"] = training_step(setting, compiled, batch, _ONE_BOX, exact)
    products = large_products(setting, exact)
    ways |= {product.name: product.work for product in products}
    seconds = in_turns(ways, setting.repeats)
    at_peak = [operations(ways["ours"]) / peak_rate(products, seconds) / 1e9]
    ours, beside = seconds["ours"], seconds[_PLAIN]
    name, one = "step, 4 images x 5 masks", "one round"
    if setting.compiles:
        lines += [Line("  compiled", seconds["compiled"], "s", None, False, beside, _PLAIN)]
    return [
        *lines,
        Line(f"{name}, float32", ours, "s", 0.60, False, beside, _PLAIN),
        Line("  its products at the peak rate", at_peak, "s", None, False, beside, _PLAIN),
        Line(f"{name}, bfloat16", seconds["half"], "s", 0.35, False, beside, "plain, float32"),
        Line("  beside bfloat16", seconds["half"], "s", None, False, seconds["plain half"], _PLAIN),
        Line("episode, eight more rounds", seconds["nine"], "s", 2.0, False, ours, one),
    ]


def training_step(
    setting: Setting,
    model: SyncSAM,
    batch: ImageBatch,
    episode: TrainingEpisode,
    dtype: torch.dtype,
) -> Callable[[], None]:
    """Return a function that plays an episode, goes backward and steps Adam."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=1e-6, fused=True)
    loss = PromptLoss()

    def step() -> None:
        optimizer.zero_grad()
        with setting.autocast(dtype):
            total = joint_loss(model, loss, batch, episode.policy(0)).total
        total.backward()
        optimizer.step()

    return step


@torch.no_grad()
def _agreement(model: SyncSAM, plain: SyncSAM, batch: ImageBatch) -> Line:
    prompts = _ONE_BOX.policy(0).next_prompts(batch.targets, [])
    found, expected = (
        network.decode(network.encode(batch.images, batch.targets.sizes), prompts)
        for network in (model, plain)
    )
    difference = ((found - expected).norm() / expected.norm()).item()
    return Line("step: relative difference of logits", [difference], "", 1e-5)
