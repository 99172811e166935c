"""A result says what it is the result of."""

import hashlib
import json

import pytest
import torch

from syncsam_lightning.models import weights_checksum


@pytest.fixture
def record(tmp_path):
    def read(folder=tmp_path):
        return json.loads((folder / "test" / "run.json").read_text())

    return read


def test_model_data_and_settings_are_named(discs, task, trainer, tmp_path, record):
    module, datamodule = task(protocols=["1pt", "imis-box"], eval_seeds=[4, 2]), discs()
    trainer(tmp_path).test(module, datamodule, verbose=False)
    found = record()
    assert found["model"] == "syncsam_lightning.models.syncsam.model.SyncSAM"
    assert found["frozen_sha256"] == module.checksum
    assert found["checkpoint"] is None
    assert found["seeds"] == [4, 2]
    names = [(p["name"], p["version"], p["box_rule"]) for p in found["protocols"]]
    assert names == [("1pt", 2, "tight"), ("imis-box", 2, "last_pixel")]
    (table,) = found["data"]["tables"]
    assert table["place"] == str(tmp_path / "discs.lance")
    assert table["version"] == datamodule.table.opened.version
    assert table["settings"]["plugin"] == "Discs"
    assert found["data"]["test_images"] == 3
    assert found["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    assert found["surface_tolerance"] is None


@pytest.mark.promise("Numbers: every result names the seeds that it came from")
def test_the_seeds_stand_in_the_record_and_in_the_report(
    discs, task, trainer, tmp_path, record, monkeypatch
):
    monkeypatch.setenv("PL_GLOBAL_SEED", "17")
    module = task(protocols=["1pt"], eval_seeds=[4, 2], seed=5)
    trainer(tmp_path).test(module, discs(seed=6, split_seed=8), verbose=False)
    found = record()
    assert (found["global_seed"], found["seeds"]) == (17, [4, 2])
    assert found["training_seed"] == {"model": 5, "data": 6, "split": 8}
    report = (tmp_path / "test" / "report.md").read_text()
    assert "Seeds of the simulated clicks: 2, 4." in report


def test_weights_are_named_by_what_they_are(discs, task, trainer, tmp_path, record):
    module, datamodule = task(protocols=["box"]), discs()
    trainer(tmp_path).test(module, datamodule, verbose=False)
    first = record()["weights_sha256"]
    assert first == weights_checksum(module.network)
    with torch.no_grad():
        next(p for p in module.network.parameters() if p.requires_grad).add_(1)
    trainer(tmp_path).test(module, datamodule, verbose=False)
    assert record()["weights_sha256"] != first


def test_a_checkpoint_and_replayed_prompts_are_named_by_their_hashes(
    discs, task, trainer, tmp_path, record
):
    run = trainer(tmp_path / "fit", max_steps=1, limit_val_batches=0)
    run.fit(task(), discs())
    path = tmp_path / "x.ckpt"
    run.save_checkpoint(path)
    trainer(tmp_path).test(task(protocols=["1pt"]), discs(), ckpt_path=path, verbose=False)
    assert record()["checkpoint"] == {
        "path": str(path),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    prompts = tmp_path / "test" / "prompts.parquet"
    replaying = task(protocols=["1pt"], replay_prompts=str(prompts))
    trainer(tmp_path / "again").test(replaying, discs(), verbose=False)
    replayed = record(tmp_path / "again")["replayed_prompts"]
    assert replayed == {
        "path": str(prompts),
        "sha256": hashlib.sha256(prompts.read_bytes()).hexdigest(),
    }
