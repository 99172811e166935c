from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from syncsam_lightning.errors import PromptFileError
from syncsam_lightning.prediction.prompt_list import (
    SCHEMA,
    ListedPrompt,
    group_objects,
    parse_box,
    parse_points,
    prompt_of_options,
    read_prompts,
)


def write(tmp_path: Path, content: object, name: str = "prompts.json") -> Path:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_json_is_read_entry_by_entry(tmp_path: Path):
    path = write(
        tmp_path,
        [
            {"image": "a.png", "label": "liver", "box": [1, 2, 30, 40.5]},
            {
                "image": "v.nii",
                "slice": 7,
                "object": 2,
                "points": [[3, 4], [5, 6]],
                "point_labels": [1, 0],
            },
        ],
    )
    first, second = read_prompts(path)
    assert (first.image, first.label, first.box, first.slice) == (
        "a.png",
        "liver",
        (1, 2, 30, 40.5),
        None,
    )
    assert first.where == f"{path}, entry 0"
    assert (second.label, second.object, second.slice) == ("object", 2, 7)
    assert second.arguments == {"box": None, "points": ((3, 4), (5, 6)), "labels": (1, 0)}


def test_points_without_labels_are_on_the_object(tmp_path: Path):
    (prompt,) = read_prompts(write(tmp_path, [{"image": "a.png", "points": [[3, 4], [5, 6]]}]))
    assert prompt.point_labels == (1, 1)


def test_csv_says_the_same_as_json(tmp_path: Path):
    table = (
        "image,label,slice,x0,y0,x1,y1,points\na.png,liver,,1,2,30,40.5,\nv.nii,,7,,,,,3 4; 5 6 0\n"
    )
    first, second = read_prompts(write(tmp_path, table, "prompts.csv"))
    assert (first.image, first.label, first.box, first.points) == (
        "a.png",
        "liver",
        (1, 2, 30, 40.5),
        (),
    )
    assert (second.label, second.slice, second.box) == ("object", 7, None)
    assert (second.points, second.point_labels) == (((3, 4), (5, 6)), (1, 0))
    assert second.where.endswith("prompts.csv, line 3")


def test_columns_may_come_in_any_order_and_with_a_byte_order_mark(tmp_path: Path):
    path = tmp_path / "p.csv"
    path.write_bytes("\ufeffx0,y0,x1,y1,image\n1,2,3,4,ä.png\n".encode())
    assert read_prompts(path)[0].image == "ä.png"


def test_whole_numbers_may_be_written_with_a_point(tmp_path: Path):
    table = "image,object,slice,points\nv.nii,2.0,5.0,1 2\n"
    listed = [{"image": "v.nii", "object": 2.0, "slice": 5.0, "points": [[1, 2]]}]
    for path in (write(tmp_path, table, "p.csv"), write(tmp_path, listed)):
        (prompt,) = read_prompts(path)
        assert (prompt.object, prompt.slice) == (2, 5)
        assert f"{prompt.object}, {prompt.slice}" == "2, 5"


def test_lines_without_values_are_passed_over_and_counted(tmp_path: Path):
    table = "image,points\n\na,1 2\n,\n\r\nb,3 4\n , \n"
    first, second = read_prompts(write(tmp_path, table, "p.csv"))
    assert (first.image, first.where[-6:]) == ("a", "line 3")
    assert (second.image, second.where[-6:]) == ("b", "line 6")


def test_a_value_may_hold_a_line_break_in_quotes(tmp_path: Path):
    table = 'image,label,points\na,"left\nkidney",1 2\nb,x\u2028y,1 2\nc,,x\n'
    with pytest.raises(PromptFileError, match="line 5: points: 'x' is not a number"):
        read_prompts(write(tmp_path, table, "p.csv"))
    prompts = read_prompts(write(tmp_path, table.replace("c,,x\n", ""), "p.csv"))
    assert [prompt.label for prompt in prompts] == ["left\nkidney", "x\u2028y"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "is not JSON"),
        ("[" * 100_000, "is not JSON: maximum recursion depth"),  # this and the next two: fuzzing
        ('[{"image": "a", "object": %s}]' % ("1" * 5000), "is not JSON: Exceeds the limit"),
        (
            '[{"image": "a", "box": [1, 2, 3, %s]}]' % ("9" * 400),
            "entry 0: a coordinate has too many digits",
        ),
        ({"image": "a"}, "is not of type 'array'"),
        (5, "is not of type 'array'"),
        ([], r"prompts\.json: there is no prompt in it"),
        ([{"box": [1, 2, 3, 4]}], "entry 0: 'image' is a required property"),
        ([{"image": "a"}], "entry 0: there is neither a box nor points"),
        (
            [{"image": "a", "box": [1, 2, 3, 4]}, {"image": "a", "box": [1, 2, "x", 4]}],
            r"entry 1: box\[2\]: 'x' is not of type 'number'",
        ),
        ([{"image": "a", "box": [1, 2, 3]}], r"entry 0: box: \[1, 2, 3\] is too short"),
        (
            [{"image": "a", "bx": [1, 2, 3, 4], "box": [1, 2, 3, 4]}],
            "'bx' was unexpected.*known keys are image",
        ),
        (
            [{"image": "a", "points": [[1, 2]], "point_labels": [2]}],
            r"point_labels\[0\]: 2 is not one of \[0, 1\]",
        ),
        (
            [{"image": "a", "points": [[1, 2]], "point_labels": [1, 0]}],
            "entry 0: 1 points, but 2 point_labels",
        ),
        (
            [{"image": "a", "box": [1, 2, 3, 4], "slice": -1}],
            "slice: -1 is less than the minimum of 0",
        ),
        (
            [{"image": "a", "box": [1, 2, 3, 4], "slice": 1.5}],
            "slice: 1.5 is not of type 'integer'",
        ),
        (
            [{"image": "a", "box": [1, 2, 3, 4], "label": ""}],
            "entry 0: label: '' is blank; name the object, or leave label out",
        ),
        (
            [{"image": "a", "box": [1, 2, 3, 4], "label": " \t"}],
            r"entry 0: label: ' \\t' is blank; name the object, or leave label out",
        ),
        (
            '[{"image": "a", "box": [1, 2, 3, 4], "label": "a\\ud800"}]',
            r"entry 0: label: 'a\\ud800' is no text",
        ),
    ],
)
def test_what_is_wrong_in_json_is_told_with_its_place(
    tmp_path: Path, content: object, message: str
):
    with pytest.raises(PromptFileError, match=message):
        read_prompts(write(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no column image"),
        ("image,x\na,1\n", "unknown column 'x'; known are image, label"),
        ("label,x0,y0,x1,y1\na,1,2,3,4\n", "no column image"),
        ("image;x0;y0;x1;y1\na;1;2;3;4\n", "line 1: .*semicolons.* separate them by commas"),
        ("image\tpoints\na\t1 2\n", "line 1: .*tabs.* separate them by commas"),
        ("image,points,points\na,1 2,3 4\n", "two columns are called 'points'"),
        ("image,x0,y0,x1,y1\n\n\na,1,b,3,4\n", "line 4: y0: 'b' is not a number"),
        ("image,points\n\na,\n", "line 3: there is neither a box nor points"),
        ("image,slice,points\na,inf,1 2\n", "slice: 'inf' is not a whole number"),
        ("image,x0,y0,x1,y1\na,1,2,3\n", "line 2 has more or fewer values"),
        ("image,x0,y0,x1,y1\na,1,2,3,4,5\n", "line 2 has more or fewer values"),
        ("image,x0,y0,x1,y1\na,1,2,3,4\nb,1,b,3,4\n", "line 3: y0: 'b' is not a number"),
        ("image,x0,y0,x1,y1\na,1,2,,4\n", "a box needs x0, y0, x1 and y1"),
        ("image,slice,points\na,1.5,1 2\n", "slice: '1.5' is not a whole number"),
        ("image,points\na,1\n", "'1' is no point; write x y label"),
        ("image,points\na,1 2 5\n", "'1 2 5' is no point"),
        ("image,points\na,\n", "line 2: there is neither a box nor points"),
        ("image,points\n", "there is no prompt in it"),
    ],
)
def test_what_is_wrong_in_csv_is_told_with_its_line(tmp_path: Path, content: str, message: str):
    with pytest.raises(PromptFileError, match=message):
        read_prompts(write(tmp_path, content, "prompts.csv"))


def test_a_file_of_another_kind_is_refused(tmp_path: Path):
    with pytest.raises(PromptFileError, match=r"\.json or \.csv"):
        read_prompts(write(tmp_path, "x", "prompts.txt"))


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(PromptFileError, match=r"none\.json cannot be read"):
        read_prompts(tmp_path / "none.json")


def test_bytes_that_are_no_text_are_told(tmp_path: Path):
    (tmp_path / "p.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PromptFileError, match="UTF-8"):
        read_prompts(tmp_path / "p.json")


def test_the_schema_is_one():
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("text", ["1,2,3,4", "1 2 3 4", " 1, 2, 3, 4 "])
def test_a_box_of_the_command_line(text: str):
    assert parse_box(text, "--box") == (1, 2, 3, 4)


@pytest.mark.parametrize("label", ["", "  "])
def test_a_blank_label_of_the_command_line_is_refused(label: str):
    with pytest.raises(PromptFileError, match=f"--label: '{label}' is blank; name the object"):
        prompt_of_options("1,2,3,4", None, label, None)


def test_a_label_of_the_command_line_that_is_no_text_is_refused():
    with pytest.raises(PromptFileError, match=r"--label: 'a\\udcff' is no text"):
        prompt_of_options("1,2,3,4", None, "a\udcff", None)


def test_points_of_the_command_line():
    assert parse_points("1,2; 3 4 0", "--points") == [[1, 2, 1], [3, 4, 0]]


def test_prompts_of_one_label_and_number_are_about_one_object():
    prompts = [
        ListedPrompt(label="cyst", slice=1),
        ListedPrompt(label="cyst", slice=5),
        ListedPrompt(label="cyst", object=2, slice=1),
        ListedPrompt(label="liver", slice=1),
    ]
    grouped = group_objects(prompts)
    assert {key: [p.slice for p in group] for key, group in grouped.items()} == {
        ("cyst", 1): [1, 5],
        ("cyst", 2): [1],
        ("liver", 1): [1],
    }
