"""One encoding serves all protocols and seeds; what a model can't take is left out by name."""

import pytest

from syncsam_lightning.errors import UnsupportedPromptError
from syncsam_lightning.evaluation.evaluator import Evaluator
from syncsam_lightning.interaction import PROTOCOLS, get_protocol
from syncsam_lightning.models import InputSpec


def evaluator(*names, **kwargs):
    return Evaluator([get_protocol(name) for name in names], **kwargs)


def test_images_are_encoded_once_for_all_protocols_and_seeds(make_batch, model):
    batch = make_batch()
    played = evaluator(*PROTOCOLS, seeds=(0, 1, 2)).evaluate(model, batch)
    assert model.num_encoded == len(batch.images)
    assert len(played) == sum(3 if p.is_random else 1 for p in PROTOCOLS.values())


def test_a_protocol_that_draws_nothing_is_played_once_as_seed_0(make_batch, model):
    played = evaluator("box", "1pt", seeds=(7, 8)).evaluate(model, make_batch())
    found = [(p.protocol.name, p.seed, {s.seed for s in p.scores}) for p in played]
    assert found == [("box", 0, {0}), ("1pt", 7, {7}), ("1pt", 8, {8})]


def test_seeds_give_other_clicks_and_the_same_seed_the_same(make_batch, model):
    first, second = evaluator("1pt", seeds=(0, 1)).evaluate(model, make_batch())
    (again,) = evaluator("1pt", seeds=(1,)).evaluate(model, make_batch())
    assert not first.rounds[0].points.equal(second.rounds[0].points)
    assert again.rounds[0].points.equal(second.rounds[0].points)
    assert again.scores == second.scores


def test_protocols_that_the_model_cannot_take_are_left_out_and_listed(make_batch, model):
    model.input_spec = InputSpec(64, frozenset({"boxes"}), 16)
    asked = evaluator("1pt", "box", "5pts")
    assert [p.protocol.name for p in asked.evaluate(model, make_batch())] == ["box"]
    assert [p.name for p in asked.unsupported(model)] == ["1pt", "5pts"]


def test_corrections_need_a_model_that_takes_its_own_answer(make_batch, model):
    model.input_spec = InputSpec(64, frozenset({"points"}), 16)
    asked = evaluator("1pt", "5pts")
    assert [p.name for p in asked.unsupported(model)] == ["5pts"]


def test_a_model_that_can_take_none_is_an_error(make_batch, model):
    model.input_spec = InputSpec(64, frozenset({"boxes"}), 16)
    with pytest.raises(
        UnsupportedPromptError,
        match="BoxFiller takes boxes as prompts, which plays none of the protocols 1pt, 5pts",
    ):
        evaluator("1pt", "5pts").evaluate(model, make_batch())


@pytest.mark.parametrize("seeds", [(), (1, 1)])
def test_seeds_must_be_different_and_there(seeds):
    with pytest.raises(ValueError, match="eval_seeds must be one or more different numbers"):
        evaluator("box", seeds=seeds)


def test_a_protocol_given_twice_is_refused():
    with pytest.raises(ValueError, match="protocols holds box twice: give each once"):
        evaluator("box", "1pt", "box")
