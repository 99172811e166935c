"""Evaluation through the trainer: scores, reports, prompts that replay."""

import csv
import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from syncsam_lightning.data.mask_names import safe_name
from syncsam_lightning.errors import EvaluationError, PromptFileError, UnsupportedPromptError
from syncsam_lightning.evaluation.prompt_file import RecordedPrompts
from syncsam_lightning.evaluation.runner import evaluate_batch
from syncsam_lightning.interaction import get_protocol
from syncsam_lightning.training.callbacks.pictures import PredictionPictures
from syncsam_lightning.training.callbacks.predictions import PredictionWriter


@pytest.fixture
def tested(discs, task, trainer, tmp_path):
    torch.manual_seed(0)
    module, datamodule = task(), discs()
    run = trainer(tmp_path, callbacks=[PredictionPictures()])
    (means,) = run.test(module, datamodule, verbose=False)
    return module, datamodule, means, tmp_path / "test"


def test_every_mask_is_scored_once_per_protocol_and_means_agree(tested):
    *_, means, folder = tested
    rows = pq.read_table(folder / "scores.parquet").to_pylist()
    assert len(rows) == 3 * 2 * 3
    assert len({(r["protocol"], r["image_id"], r["mask_id"]) for r in rows}) == len(rows)
    box = [row["dice"] for row in rows if row["protocol"] == "box"]
    assert means["test/dice_box"] == pytest.approx(sum(box) / len(box), abs=1e-6)
    of_ct = [r["dice"] for r in rows if r["protocol"] == "5pts" and r["modality"] == "ct"]
    assert means["test/dice_5pts/ct"] == pytest.approx(sum(of_ct) / len(of_ct), abs=1e-6)
    with (folder / "scores.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(rows)


def test_filling_the_box_of_a_rectangle_is_perfect_and_stands_in_the_report(tested):
    *_, folder = tested
    rows = pq.read_table(folder / "scores.parquet").to_pylist()
    assert {r["fill_box_dice"] for r in rows if r["label"] == "bar"} == {1.0}
    report = (folder / "report.md").read_text()
    assert "| fill box" in report
    assert "1.000 ± 0.000" in next(line for line in report.splitlines() if "| bar" in line)


@pytest.mark.parametrize("kwargs", [{"limit_test_batches": 1}, {"fast_dev_run": True}])
def test_a_test_of_the_first_batch_alone_is_no_error(discs, task, trainer, tmp_path, kwargs):
    trainer(tmp_path, **kwargs).test(task(), discs(), verbose=False)
    rows = pq.read_table(tmp_path / "test" / "scores.parquet").to_pylist()
    assert len({row["image_id"] for row in rows}) == 2


def test_a_sampler_that_leaves_rows_out_is_an_error(discs, task, trainer, tmp_path, monkeypatch):
    datamodule = discs()
    monkeypatch.setattr(datamodule, "num_rows", lambda split: 4)
    with pytest.raises(EvaluationError, match="3 of 4 test images were scored"):
        trainer(tmp_path).test(task(), datamodule, verbose=False)


def test_prompts_are_written_in_an_order_of_their_own(tested):
    *_, folder = tested
    rows = pq.read_table(folder / "prompts.parquet").to_pylist()
    order = [
        (("box", "1pt", "5pts").index(r["protocol"]), r["image_id"], r["mask_id"], r["round"])
        for r in rows
    ]
    assert order == sorted(order)
    assert len(order) == 3 * 2 * (1 + 1 + 5)


def test_the_picture_has_a_row_for_every_mask_shown(tested):
    *_, folder = tested
    with Image.open(folder / "predictions.png") as picture:
        assert picture.width > 4 * 190
        assert picture.height > 3 * 3 * 150


def test_prompts_replay_bit_for_bit_and_give_the_same_scores(
    tested, discs, task, trainer, tmp_path
):
    module, datamodule, means, folder = tested
    recorded = RecordedPrompts(folder / "prompts.parquet")
    batch = next(iter(datamodule.test_dataloader()))
    module.eval()
    with torch.no_grad():
        features = module.network.encode(batch.images, batch.targets.sizes)
    for name in ("box", "1pt", "5pts"):
        protocol = get_protocol(name)
        played = evaluate_batch(module.network, features, batch, protocol).rounds
        again = recorded.rounds(batch, protocol, module.network.input_spec)
        for ours, theirs in zip(played, again, strict=True):
            for field in ("boxes", "points", "point_labels"):
                left, right = getattr(ours, field), getattr(theirs, field)
                assert (left is None) == (right is None)
                assert left is None or torch.equal(left, right), (name, field)
    replaying = task(replay_prompts=str(folder / "prompts.parquet"))
    replaying.network.load_state_dict(module.network.state_dict())
    (repeated,) = trainer(tmp_path / "again").test(replaying, discs(), verbose=False)
    assert repeated == means


def test_prompts_of_other_images_are_refused(tested, discs):
    module, *_, folder = tested
    datamodule = discs()
    datamodule.setup("fit")
    batch = next(iter(datamodule.val_dataloader()))
    recorded = RecordedPrompts(folder / "prompts.parquet")
    with pytest.raises(PromptFileError, match="has no prompts for mask 0 of image disc-11"):
        recorded.rounds(batch, get_protocol("box"), module.network.input_spec)
    with pytest.raises(PromptFileError, match="does not exist"):
        RecordedPrompts(folder / "nothing.parquet")


def test_predictions_are_written_at_the_original_size(discs, task, trainer, tmp_path):
    run = trainer(tmp_path, callbacks=[PredictionWriter(str(tmp_path / "out"))])
    run.predict(task(), discs())
    with (tmp_path / "out" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    for row in rows:
        with Image.open(tmp_path / "out" / row["file"]) as mask:
            assert mask.size == (64, 50)
            assert sum(value for value in mask.histogram()[1:]) == int(row["pixels"])


def test_the_longest_names_make_a_file_name_together(tmp_path):
    name = f"{safe_name('x' * 400)}--12345_{safe_name('ü' * 400)}.png"
    (tmp_path / name).touch()
    assert safe_name("x" * 400) != safe_name("x" * 401)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/abs", "a b", "x" * 400, "", "..", "a\0b"])
def test_names_stay_in_their_folder(name, tmp_path):
    path = (tmp_path / f"{safe_name(name)}.png").resolve()
    assert path.parent == tmp_path.resolve()
    assert len(path.name) < 200
    assert json.dumps(path.name)


def test_several_seeds_are_measured_in_one_go(discs, task, trainer, tmp_path):
    protocols = ["box", "1pt", "imis-5pts"]
    module = task(protocols=protocols, eval_seeds=[0, 1, 2])
    (means,) = trainer(tmp_path).test(module, discs(), verbose=False)
    table = pq.read_table(tmp_path / "test" / "scores.parquet")
    counts = {
        (r["protocol"], r["seed"]): r["seed_count"]
        for r in table.group_by(["protocol", "seed"]).aggregate([("seed", "count")]).to_pylist()
    }
    assert counts == {("box", 0): 6} | {(p, s): 6 for p in protocols[1:] for s in range(3)}
    prompts = pq.read_table(tmp_path / "test" / "prompts.parquet").to_pylist()
    assert len(prompts) == 6 * (1 + 3 * (1 + 5))
    rows = json.loads((tmp_path / "test" / "summary.json").read_text())["rows"]
    whole = {r["protocol"]: r for r in rows if (r["metric"], r["group"]) == ("dice", "all")}
    assert [whole[p]["seeds"] for p in protocols] == [1, 3, 3]
    assert whole["box"]["std_over_seeds"] is None
    assert whole["1pt"]["std_over_seeds"] >= 0
    for protocol in protocols:
        assert means[f"test/dice_{protocol}"] == pytest.approx(whole[protocol]["mean"], abs=1e-6)


def test_replayed_seeds_give_the_same_scores(discs, task, trainer, tmp_path):
    module = task(protocols=["sammed2d-5pts", "imis-1pt"], eval_seeds=[3, 4])
    trainer(tmp_path / "first").test(module, discs(), verbose=False)
    path = tmp_path / "first" / "test" / "prompts.parquet"
    other = task(
        protocols=["sammed2d-5pts", "imis-1pt"], eval_seeds=[3, 4], replay_prompts=str(path)
    )
    other.network.load_state_dict(module.network.state_dict())
    trainer(tmp_path / "again").test(other, discs(), verbose=False)
    for name in ("scores.parquet", "prompts.parquet"):
        first, again = (pq.read_table(tmp_path / f / "test" / name) for f in ("first", "again"))
        assert first.equals(again), name
    with pytest.raises(PromptFileError, match=r"with seed 5: record them .* same model.eval_seeds"):
        trainer(tmp_path / "other").test(
            task(protocols=["imis-1pt"], eval_seeds=[5], replay_prompts=str(path)),
            discs(),
            verbose=False,
        )


def test_scores_are_those_of_any_batch_size(discs, task, trainer, tmp_path):
    torch.manual_seed(0)
    module = task(protocols=["1pt", "5pts", "sammed2d-5pts", "imis-5pts"], eval_seeds=[0, 1])
    tables = []
    for batch_size in (1, 2, 3):
        folder = tmp_path / str(batch_size)
        trainer(folder).test(module, discs(eval_batch_size=batch_size), verbose=False)
        tables.append(
            [pq.read_table(folder / "test" / f"{name}.parquet") for name in ("scores", "prompts")]
        )
    for scores, prompts in tables[1:]:
        assert scores.equals(tables[0][0])
        assert prompts.equals(tables[0][1])


def test_surface_metrics_are_measured_when_asked_for(discs, task, trainer, tmp_path):
    module = task(protocols=["box"], surface_metrics=True, surface_tolerance=1.0)
    trainer(tmp_path).test(module, discs(), verbose=False)
    rows = pq.read_table(tmp_path / "test" / "scores.parquet").to_pylist()
    assert all(row["hd95"] >= 0 and 0 <= row["nsd"] <= 1 for row in rows)
    assert all((row["hd95"] == 0) <= (row["nsd"] == 1) for row in rows)


def test_a_model_of_boxes_is_measured_with_boxes_and_the_rest_is_listed(
    discs, task, trainer, tmp_path, caplog
):
    module = task()
    module.network.input_spec = replace(module.network.input_spec, prompts=frozenset({"boxes"}))
    trainer(tmp_path).test(module, discs(), verbose=False)
    assert "SyncSAM does not take the prompts of 1pt, 5pts" in caplog.text
    rows = pq.read_table(tmp_path / "test" / "scores.parquet").to_pylist()
    assert {row["protocol"] for row in rows} == {"box"}
    assert "not supported" in (tmp_path / "test" / "report.md").read_text()
    record = json.loads((tmp_path / "test" / "run.json").read_text())
    assert record["unsupported_protocols"] == ["1pt", "5pts"]
    only_points = task(protocols=["1pt", "5pts"])
    only_points.network.input_spec = module.network.input_spec
    with pytest.raises(UnsupportedPromptError, match="plays none of the protocols 1pt, 5pts"):
        trainer(tmp_path).test(only_points, discs(), verbose=False)


def test_pictures_and_predictions_of_a_class_wise_protocol_show_its_objects(
    discs, task, trainer, tmp_path
):
    run = trainer(tmp_path, callbacks=[PredictionPictures(), PredictionWriter(str(tmp_path / "p"))])
    module = task(protocols=["imis-box"], predict_protocol="imis-box")
    run.test(module, discs(), verbose=False)
    run.predict(module, discs())
    with (tmp_path / "p" / "predictions.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 6


def test_a_test_that_was_limited_says_how_much_it_left_out(discs, task, trainer, tmp_path):
    run = trainer(tmp_path, limit_test_batches=1)
    run.test(task(protocols=["box"]), discs(eval_batch_size=2), verbose=False)
    report = (tmp_path / "test" / "report.md").read_text()
    assert "**A part only:** the test was limited to some batches, and 1 of its images" in report
