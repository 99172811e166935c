"""Each hostile file is refused with its message, in no time and little memory."""

import resource
import time
from pathlib import Path

import pytest

from syncsam_lightning.data.codec import CorruptPixelsError
from syncsam_lightning.errors import SyncSAMError
from tests.security.attacks import ATTACKS, Attack, RefusedError, page

PAGE = Path(__file__).parents[2] / "docs" / "security_tests.md"
MEGABYTES = 200


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_it_is_refused_with_its_message(attack: Attack, tmp_path):
    before, begin = peak(), time.process_time()
    with pytest.raises((SyncSAMError, CorruptPixelsError, RefusedError)) as refusal:
        attack.run(tmp_path)
    assert attack.message in str(refusal.value)
    assert not (tmp_path / "executed").exists()
    assert time.process_time() - begin < 10
    assert peak() - before < MEGABYTES


def test_the_payload_would_run_where_it_is_unpickled(tmp_path):
    import pickle

    from tests.security.attacks import payload

    pickle.loads(pickle.dumps(payload(tmp_path)))
    assert (tmp_path / "executed").exists()


def test_at_least_twenty_are_tried_and_the_page_tells_them():
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) >= 20
    assert PAGE.read_text(encoding="utf-8") == page(), "write it anew: python -m tests.security"
