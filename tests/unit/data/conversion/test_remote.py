"""A table made on an object store: nothing of it is seen before the one commit."""

from __future__ import annotations

from pathlib import Path

import lance
import numpy as np
import pytest

from syncsam_lightning.data.conversion import Target, WorkOptions, convert, is_prepared
from syncsam_lightning.errors import TableError
from syncsam_lightning.records import NamedMask, RawSample, Skipped

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
    client.create_bucket(Bucket="tables")
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
