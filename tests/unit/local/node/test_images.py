"""What stands for an image."""

import os
from pathlib import Path

import pytest

from backstay.local.node.images import ImageError, ImageMap

MAP = """
"shop/*": {path: tools, command: [python3, shop.py]}
"shop/pay:3": {command: [./pay], args: [--fast], env: {DEBUG: 1}, workingDir: /app}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "tools").mkdir()
    (tmp_path / "images.yaml").write_text(MAP)
    return tmp_path / "images.yaml"


def test_a_pattern_matches_and_an_exact_name_goes_before_it(file: Path) -> None:
    images = ImageMap(file)
    assert images.resolve("shop/stock:1", has_command=False).command == ("python3", "shop.py")
    assert images.resolve("shop/stock:1", has_command=False).path == file.parent / "tools"
    exact = images.resolve("shop/pay:3", has_command=False)
    assert (exact.command, exact.args, exact.env, exact.working_dir, exact.path) == (("./pay",), ("--fast",), {"DEBUG": "1"}, "/app", None)


def test_any_image_will_do_for_a_container_with_a_command() -> None:
    assert ImageMap().resolve("whatever:1", has_command=True).command == ()


@pytest.mark.parametrize(
    ("name", "reason", "told"),
    [
        ("other:1", "ErrImagePull", "give the container a command, or add it to"),
        ("gone/x:1", "ErrImagePull", "this node treats it as missing"),
        ("Not An Image", "InvalidImageName", "invalid reference format"),
        ("", "InvalidImageName", "invalid reference format"),
        ("UPPER/x", "ErrImagePull", "give the container a command"),
        ("x:", "InvalidImageName", "invalid reference format"),
    ],
)
def test_an_image_that_cannot_be_used_says_why(file: Path, name: str, reason: str, told: str) -> None:
    with pytest.raises(ImageError, match=told) as caught:
        ImageMap(file, missing=["gone/*"]).resolve(name, has_command=False)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "name", ["busybox", "busybox:1.36", "docker.io/library/busybox:1.36", "localhost:5000/a/b_c/d-e@sha256:" + "0" * 64, "shop/stock:1"]
)
def test_image_names_of_all_shapes_are_understood(name: str) -> None:
    ImageMap().resolve(name, has_command=True)


def test_a_missing_image_is_missing_for_a_container_with_a_command_as_well() -> None:
    with pytest.raises(ImageError):
        ImageMap(missing=["gone/*"]).resolve("gone/x", has_command=True)


def test_a_map_that_changes_is_read_again_and_a_broken_one_changes_nothing(file: Path) -> None:
    images = ImageMap(file)
    file.write_text('"new/*": {command: [run]}\n')
    os.utime(file, ns=(1, 1))
    assert images.resolve("new/x", has_command=False).command == ("run",)
    file.write_text("no map at all")
    os.utime(file, ns=(2, 2))
    assert images.resolve("new/x", has_command=False).command == ("run",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- a\n", "expected a mapping from image patterns to entries, found list"),
        ("{", "neither YAML nor JSON"),
        ('"x": {cmd: [a]}', "\"x\": unknown field 'cmd'; an entry has the fields args, command, env, path, workingDir"),
        ('"x": {command: run it}', "\"x\".command: expected a list of words, found 'run it'"),
        ('"x": {path: nowhere}', '"x".path: .*/nowhere is no folder'),
        ('"x": run', '"x": found str'),
    ],
)
def test_a_file_that_is_no_map_is_refused_with_the_place(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "images.yaml").write_text(text)
    with pytest.raises(ValueError, match=told):
        ImageMap(tmp_path / "images.yaml")
