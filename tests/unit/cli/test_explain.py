from __future__ import annotations

import pytest

from syncsam_lightning.cli.explain import Choices, UsageError, class_options, explain
from syncsam_lightning.cli.given import GivenSettings
from syncsam_lightning.errors import UnknownPluginError


class Trainer:
    pass


class Plugin:
    def __init__(self, root: str | None = None, *, batch_size: int = 8, fold: int = 0) -> None:
        pass


class Child(Plugin):
    def __init__(self, extra: int = 1, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]


CHOICES = Choices(
    groups={"trainer": Trainer},
    keys=["config", "trainer.max_epochs", "trainer.max_steps", "model.episode.iterations"],
    classes={"data": {"Plugin": Plugin, "Child": Child}, "model.network": {"SyncSAM": object}},
    broken_plugins=["Acme: No module named 'acme'"],
)


def sentence(message: str, *args: str) -> str:
    return str(explain(message, GivenSettings(["fit", *args]), CHOICES))


def test_a_wrong_argument_names_the_class_and_the_nearest_right_one():
    text = sentence("Option 'foldd' is not accepted", "--data", "Plugin", "--data.foldd", "3")
    assert text == "data.foldd: Plugin has no argument 'foldd'; did you mean fold?"


def test_a_wrong_argument_in_a_config_is_traced_to_its_class():
    config = '{"data": {"class_path": "Child", "init_args": {"batchsize": 3}}}'
    text = sentence("Option 'batchsize' is not accepted", "--config", config)
    assert text == "data.batchsize: Child has no argument 'batchsize'; did you mean batch_size?"


def test_a_wrong_argument_like_no_other_lists_them_all():
    text = sentence("Option 'zzz' is not accepted", "--data=Plugin", "--data.zzz=3")
    assert text == "data.zzz: Plugin has no argument 'zzz'; it has root, batch_size, fold"


def test_an_argument_that_another_given_class_accepts_is_not_blamed():
    config = '{"data": {"class_path": "Plugin", "init_args": {"fold": 1}}}'
    text = sentence("Option 'fold' is not accepted", "--config", config, "--x.fold", "2")
    assert text == "no class of this run has an argument 'fold'"


def test_a_class_is_found_by_import_path_too():
    args = ("--data", "argparse.ArgumentParser", "--data.foldd", "3")
    assert sentence("Option 'foldd' is not accepted", *args).startswith(
        "data.foldd: ArgumentParser has no argument 'foldd'"
    )


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "unrecognized arguments: --trainer.max_epoch 3",
            "trainer.max_epoch: Trainer has no option 'max_epoch'; "
            "did you mean max_epochs or max_steps?",
        ),
        (
            "Subcommand 'fit' does not accept option 'model.episode.iteration'",
            "model.episode.iteration: 'model.episode' has no option 'iteration'; "
            "did you mean iterations?",
        ),
        (
            "Subcommand 'fit' does not accept option 'modle'",
            "modle: the command has no option 'modle'; did you mean model?",
        ),
    ],
)
def test_a_wrong_key_names_its_owner_and_the_nearest_right_ones(message: str, expected: str):
    assert sentence(message) == expected


def test_a_stray_word_is_named():
    assert sentence("unrecognized arguments: demo.yaml") == (
        "don't know what to do with 'demo.yaml'; options start with --"
    )


def test_an_unknown_datamodule_lists_the_known_and_the_broken_ones():
    message = 'Parser key "data":\n  - Expected a dot import path string: Nope'
    error = explain(message, GivenSettings(["fit"]), CHOICES)
    assert isinstance(error, UnknownPluginError)
    assert str(error) == (
        "unknown datamodule 'Nope'; known: Child, Plugin; "
        "failed to import: Acme: No module named 'acme'"
    )


def test_a_datamodule_that_cannot_be_imported_says_why():
    message = (
        "Parser key \"data\":\n  - Problem with given class_path 'a.B':\n      No module named 'a'"
    )
    assert "unknown datamodule 'a.B'" in sentence(message)
    assert sentence(message).endswith("(No module named 'a')")


def test_an_unknown_network_lists_the_known_ones():
    message = 'Parser key "model.network":\n  - Expected a dot import path string: Syn'
    assert sentence(message) == "unknown class 'Syn' for model.network; known: SyncSAM"


def test_what_is_missing_comes_with_the_ways_to_give_it():
    text = sentence("the following arguments are required: fit.model.network, fit.data")
    assert text.startswith("nothing says which network and data to use: add --config FILE (packa")
    assert text.endswith(
        "--model.network CLASS (known: SyncSAM) and --data CLASS (known: Child, Plugin)"
    )


def test_a_value_of_the_wrong_type_names_key_type_and_value():
    message = "Parser key \"data.batch_size\":\n  Expected a <class 'int'>. Got value: x"
    assert sentence(message) == "data.batch_size: expected an int, got x"


def test_any_other_message_becomes_one_line():
    error = explain("a\n   b\n", GivenSettings(["fit"]), CHOICES)
    assert isinstance(error, UsageError)
    assert str(error) == "a b"


def test_arguments_that_a_class_passes_on_count_as_its_own():
    assert class_options(Child) == ["extra", "root", "batch_size", "fold"]


def test_a_problem_inside_a_chosen_class_is_told_by_its_full_key():
    message = (
        'Parser key "data":\n  Does not validate against any of the Union subtypes\n  Errors:\n'
        "    - Problem with given class_path 'some.Plugin':\n        Parser key \"batch_size\":\n"
        "          Expected a <class 'int'>. Got value: x\n    - Expected a <class 'NoneType'>\n"
        "  Given value: x"
    )
    assert sentence(message) == "data.batch_size: expected an int, got x"


def test_a_wrong_argument_inside_a_union_is_told_by_its_full_key():
    message = (
        'Parser key "model.network":\n  Errors:\n'
        "    - Problem with given class_path 'argparse.ArgumentParser':\n"
        "        Option 'progg' is not accepted\n    - Expected a <class 'NoneType'>"
    )
    assert sentence(message) == (
        "model.network.progg: ArgumentParser has no argument 'progg'; did you mean prog?"
    )


@pytest.mark.parametrize(
    ("message", "found"),
    [("Unexpected config: just text", "the text 'just text'"), ("Unexpected config:", "nothing")],
)
def test_a_config_without_keys_is_told(message: str, found: str):
    error = explain(message, GivenSettings([]), Choices())
    assert f"but one holds {found}: look at each --config" in str(error)


NESTED = """Parser key "data":
  Does not validate against any of the Union subtypes
  Subtypes: [<class 'a.StreamingDataModule'>, <class 'NoneType'>]
  Errors:
    - Problem with given class_path 'a.MNI152':
        Parser key "{key}":
          Does not validate against any of the Union subtypes
          Subtypes: [<class 'a.{cls}'>, <class 'NoneType'>]
          Errors:
            - Problem with given class_path 'syncsam_lightning.data.{module}.{cls}':
                {problem}
            - Expected a <class 'NoneType'>
          Given value type: <class 'jsonargparse._util.NestedArg'>
          Given value: NestedArg(key='x', val='y')
    - Expected a <class 'NoneType'>
  Given value type: <class 'jsonargparse._util.NestedArg'>
  Given value: NestedArg(key='filter.x', val='y')"""

WEIGHTS = """Parser key "weights":
                  Does not validate against any of the Union subtypes
                  Subtypes: [typing.Literal['balanced'], collections.abc.Mapping[str, float]]
                  Errors:
                    - Expected a typing.Literal['balanced']
                    - Expected a <class 'collections.abc.Mapping'>
                  Given value type: <class 'str'>
                  Given value: equal"""

BY = """Parser key "by":
                  Expected a typing.Literal['modality', 'source']. Got value: label"""


@pytest.mark.parametrize(
    ("key", "cls", "problem", "said"),
    [
        (
            "filter",
            "RowFilter",
            "Option 'modalty' is not accepted",
            "data.filter.modalty: RowFilter has no argument 'modalty'; did you mean modality",
        ),
        (
            "sampling",
            "Sampling",
            WEIGHTS,
            "data.sampling.weights: expected a Literal['balanced'] or a collections.abc.Mapping, "
            "got equal",
        ),
        (
            "sampling",
            "Sampling",
            BY,
            "data.sampling.by: expected a Literal['modality', 'source'], got label",
        ),
    ],
)
def test_a_value_deep_inside_is_named(key: str, cls: str, problem: str, said: str):
    module = {"RowFilter": "filter", "Sampling": "sampling"}[cls]
    message = NESTED.format(key=key, cls=cls, module=module, problem=problem)
    assert str(explain(message, GivenSettings([]), Choices())).startswith(said)
