"""Each hostile file is refused with its message, in no time and little memory."""

import ctypes
import gc
import re
import time
from pathlib import Path

import pytest

from syncsam_lightning.data.codec import CorruptPixelsError
from syncsam_lightning.errors import SyncSAMError
from tests.security.attack import Attack, RefusedError, payload
from tests.security.attacks import ATTACKS, page

PAGE = Path(__file__).parents[2] / "docs" / "security_tests.md"
MEGABYTES = 200


TRIED = [
    pytest.param(attack, marks=pytest.mark.promise(attack.promise), id=attack.name)
    for attack in ATTACKS
]


def peak():
    """Return the most memory that this process has had since it was asked to begin anew, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def begin_peak_anew():
    """Forget the peak of earlier tests, under which that of a later one could hide.

    Memory that they left free within the process goes back, since who takes it adds nothing.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("attack", TRIED)
def test_it_is_refused_with_its_message(attack: Attack, tmp_path):
    before, begin = begin_peak_anew(), time.process_time()
    with pytest.raises((SyncSAMError, CorruptPixelsError, RefusedError)) as refusal:
        attack.run(tmp_path)
    assert attack.message in str(refusal.value)
    assert not (tmp_path / "executed").exists()
    assert time.process_time() - begin < 10
    assert peak() - before < MEGABYTES


def test_the_payload_would_run_where_it_is_unpickled(tmp_path):
    import pickle

    pickle.loads(pickle.dumps(payload(tmp_path)))
    assert (tmp_path / "executed").exists()


def test_a_peak_of_memory_is_seen_after_a_higher_one():
    parts = [bytearray(16 << 20) for _ in range(20)]  # small enough for the heap, which keeps them
    del parts
    before = begin_peak_anew()
    bytearray(MEGABYTES << 20)
    assert peak() - before >= MEGABYTES - 1


def test_every_attack_of_the_page_is_run_by_a_test_of_its_name():
    told = re.findall(r"^\| (.+?) \| … ", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(told) == sorted(str(attack.id) for attack in TRIED)


def test_at_least_twenty_are_tried_and_the_page_tells_them():
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) >= 20
    assert PAGE.read_text(encoding="utf-8") == page(), "write it anew: python -m tests.security"
