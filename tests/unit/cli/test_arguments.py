from __future__ import annotations

from syncsam_lightning.cli.arguments import config_values, option_values


def test_a_value_may_follow_its_option_or_an_equals_sign():
    assert option_values(["fit", "--a", "1", "--a=2"], "--a") == ["1", "2"]


def test_an_equals_sign_in_the_value_is_kept():
    assert option_values(["--root=/x=y"], "--root") == ["/x=y"]


def test_an_option_without_a_value_has_none():
    assert option_values(["fit", "--a"], "--a") == []


def test_an_option_that_only_begins_alike_is_another_option():
    assert option_values(["--data.root", "x", "--database=1"], "--data") == []


def test_configs_are_found_under_both_spellings_in_order():
    assert config_values(["fit", "-c", "a", "--config=b", "--config", "c"]) == ["a", "b", "c"]
