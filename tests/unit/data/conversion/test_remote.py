"""A table made on an object store: nothing of it is seen before the one commit."""

from __future__ import annotations

import io
import time
from pathlib import Path

import lance
import numpy as np
import pytest
from lance.file import LanceFileSession
from PIL import Image

from syncsam_lightning.data.conversion import Target, WorkOptions, convert, is_prepared
from syncsam_lightning.data.conversion.source_state import SourceState, state_of
from syncsam_lightning.data.datamodule import PromptableDataModule
from syncsam_lightning.data.location import TableLocation
from syncsam_lightning.data.source_files import ImageFile
from syncsam_lightning.data.sources import open_source
from syncsam_lightning.data.table import Table
from syncsam_lightning.errors import ConversionError, TableError
from syncsam_lightning.records import DatasetCard, NamedMask, RawSample, Skipped

server = pytest.importorskip("moto.server", reason="needs moto, a stand-in for an object store")
boto3 = pytest.importorskip("boto3", reason="needs boto3")
KEY = "testing"


@pytest.fixture(scope="module")
def options():
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    address = f"http://{host}:{port}"
    client = boto3.client(
        "s3",
        endpoint_url=address,
        aws_access_key_id=KEY,
        aws_secret_access_key=KEY,
        region_name="us-east-1",
    )
    for bucket in ("tables", "others"):
        client.create_bucket(Bucket=bucket)
    yield {
        "aws_endpoint": address,
        "allow_http": "true",
        "aws_region": "us-east-1",
        "aws_access_key_id": KEY,
        "aws_secret_access_key": KEY,
    }
    running.stop()


class StopError(Exception):
    pass


def samples():
    mask = np.zeros((8, 9), bool)
    mask[2:4, 3:7] = True
    for number in range(6):
        image = np.random.default_rng(number).integers(0, 256, (8, 9), np.uint8)
        yield RawSample(str(number), image, [NamedMask("m", mask)], "ct", "s", str(number))
    yield Skipped("x.png", "is bad", "bad")


def make(table, options=None, moment=""):
    def stop(passed):
        if passed == moment:
            raise StopError

    work = WorkOptions(unit_size=2, progress=False, at=stop)
    return convert(
        samples(),
        table,
        image_size=8,
        split_of=lambda sample: "train",
        settings={},
        options=work,
        storage_options=options,
    )


@pytest.mark.slow
def test_it_appears_whole_and_equals_a_local_one(
    options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    address = "s3://tables/some/t.lance"
    target = Target(address, options)
    for moment in ("rows:1", "before commit"):
        with pytest.raises(StopError):
            make(address, options, moment)
        assert not is_prepared(target)
    report = make(address, options)
    assert (report.images.total(), report.num_skipped) == (6, 1)
    assert is_prepared(target)
    make(tmp_path / "local.lance")
    remote = lance.dataset(address, storage_options=options)
    assert remote.to_table() == lance.dataset(str(tmp_path / "local.lance")).to_table()
    assert [path.name for path in (tmp_path / "tables").iterdir()] == ["t.skipped.jsonl"]
    with pytest.raises(FileExistsError, match=r"s3://tables/some/t.lance is there already"):
        make(address, options)


@pytest.mark.slow
def test_a_store_that_does_not_answer_is_no_missing_table(options):
    gone = options | {"aws_endpoint": "http://127.0.0.1:9", "client_max_retries": "0"}
    with pytest.raises(TableError, match=r"s3://tables/some/t.lance cannot be looked up"):
        Target("s3://tables/some/t.lance", gone).exists()


def readable(table, options=None):
    found = Table(table, options)
    return [record.id for record in found.read(range(len(found)))]


ALL = [str(number) for number in range(6)]


@pytest.mark.promise("Resume: unfinished work of one place is never taken for that of another")
@pytest.mark.parametrize("first", ["s3://tables/t.lance", "tables/t.lance"])
def test_work_that_was_begun_elsewhere_is_not_gone_on_with(
    options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
):
    monkeypatch.chdir(tmp_path)
    first_options = options if "://" in first else None
    second = f"s3://others/{'of_s3' if first_options else 'of_disk'}/t.lance"
    with pytest.raises(StopError):
        make(first, first_options, "rows:1")
    assert make(second, options).images.total() == 6
    assert readable(second, options) == ALL
    assert Target(first, first_options).work.exists()
    assert make(first, first_options).images.total() == 6
    assert readable(first, first_options) == ALL
    report = {"t.skipped.jsonl"}
    left = {path.name for path in (tmp_path / "tables").iterdir()}
    assert left == report | ({"t.lance"} if first_options is None else set())


def test_stores_and_accounts_with_one_bucket_are_told_apart(monkeypatch: pytest.MonkeyPatch):
    for variable in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        monkeypatch.delenv(variable, raising=False)
    address = "s3://tables/t.lance"
    places = [
        Target(address),
        Target(address, {"aws_endpoint": "http://one"}),
        Target(address, {"aws_endpoint": "http://two"}),
        Target("az://tables/t.lance"),
        Target("az://tables/t.lance", {"azure_storage_account_name": "one"}),
        Target("s3://others/t.lance"),
        Target("tables/t.lance"),
    ]
    assert len({place.work for place in places}) == len(places)
    assert len({place.lock for place in places}) == len(places)
    assert len({str(place.address) for place in places}) == len(places)
    secret = Target(address, {"aws_secret_access_key": "secret", "timeout": "5s"})
    assert (secret.work, secret.address) == (places[0].work, places[0].address)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://one")
    assert Target(address).work == places[1].work


def test_rows_that_somebody_removed_from_the_store_are_made_again(
    options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.chdir(tmp_path)
    address = "s3://tables/cleaned/t.lance"
    with pytest.raises(StopError):
        make(address, options, "rows:1")
    data = LanceFileSession(f"{address}/data", options)
    data.delete_file(sorted(data.list())[0])
    make(address, options)
    assert readable(address, options) == ALL
    assert "the rows of 1 finished units are no longer in s3://tables/cleaned" in caplog.text


def test_a_table_that_lacks_rows_is_not_committed(tmp_path: Path):
    table = tmp_path / "t.lance"

    def clean_up(passed):
        if passed == "before commit":
            next(table.with_name("t.lance.partial").glob("*/table/data/*")).unlink()

    def convert_again(at):
        return convert(
            samples(), table, image_size=8, split_of=lambda sample: "train", settings={},
            options=WorkOptions(unit_size=2, progress=False, at=at),
        )  # fmt: skip

    with pytest.raises(ConversionError, match=r"1 of the 3 files that were written .* no longer"):
        convert_again(clean_up)
    assert not table.exists()
    assert convert_again(lambda moment: None).images.total() == 6
    assert readable(table) == ALL


def test_a_release_on_a_store_takes_the_options_of_the_datamodule(
    options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for variable in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    client = boto3.client(
        "s3",
        endpoint_url=options["aws_endpoint"],
        aws_access_key_id=KEY,
        aws_secret_access_key=KEY,
        region_name="us-east-1",
    )
    content = io.BytesIO()
    Image.fromarray(np.arange(72, dtype=np.uint8).reshape(8, 9)).save(content, "PNG")
    client.put_object(Bucket="others", Key="small/a.png", Body=content.getvalue())

    class Small(PromptableDataModule):
        card = DatasetCard("Small", "", "", modalities=("ct",))
        reads_archives = True

        def records(self, root):
            source = open_source(root, self.source_options)
            for entry in source.entries():
                mask = NamedMask("all", np.ones((8, 9), bool))
                yield RawSample(entry.name, ImageFile(source, entry), [mask], "ct", "s", "case")

    def made(table: str) -> Small:
        datamodule = Small("s3://others/small", table, storage_options=options)
        assert datamodule.prepare(WorkOptions(progress=False)).images.total() == 1
        assert datamodule.prepare(WorkOptions(progress=False)) is None
        return datamodule

    assert made("local.lance").table.settings["source_files"]["files"] == 1
    made("s3://tables/small.lance")
    client.put_object(Bucket="others", Key="small/b.png", Body=content.getvalue())
    with pytest.raises(TableError, match=r"small, which has changed since: 1 files"):
        made("local.lance")


def test_options_of_a_table_are_no_options_of_a_release_in_a_store_of_another_kind():
    class Small(PromptableDataModule):
        card = DatasetCard("Small", "", "", modalities=("ct",))
        reads_archives = True

        def records(self, root):
            yield from ()

    options = {"aws_region": "here"}
    for table, taken in {
        "t.lance": options,
        "s3://b/t.lance": options,
        "gs://b/t.lance": None,
    }.items():
        assert Small("s3://b/release", table, storage_options=options).source_options == taken


def test_requests_of_a_conversion_are_repeated_as_those_of_reading_are():
    for options in (None, {"timeout": "9s"}):
        given = Target("s3://tables/t.lance", options).options()
        assert given == TableLocation("s3://tables/t.lance", options or {}).open_options()
    assert Target("tables/t.lance", {"timeout": "9s"}).options() is None


def test_a_release_on_a_store_is_looked_at_by_names_sizes_and_times(
    options, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", options["aws_endpoint"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    client = boto3.client("s3", region_name="us-east-1")

    def put(name: str, content: bytes) -> tuple[SourceState, SourceState]:
        client.put_object(Bucket="others", Key=f"release/{name}", Body=content)
        states = state_of("s3://others/release"), state_of("s3://others/release/a.zip")
        assert None not in states
        return states

    put("a.z01", b"part")
    put("a.zip", b"part")
    put("a.zarr/0", b"not a part")
    folder, archive = put("masks/deep/1.png", b"one")
    assert (folder.files, archive.files) == (4, 2)
    changed, same = put("masks/deep/1.png", b"three")
    assert (changed == folder, same == archive) == (False, True)
    assert put("a.z01", b"longer")[1] != archive
    before = put("a.z01", b"first")[1]
    time.sleep(1.1)  # the store tells seconds
    again = state_of("s3://others/release/a.zip")
    written_anew = put("a.z01", b"other")[1]
    assert (again == before, written_anew == before) == (True, False)
    assert written_anew.is_as_large_as(before.settings())
