"""The Dockerfile makes the image that tests run: the same script, the same inputs, the same configuration."""

from pathlib import Path

import pytest

from image import config
from tests.image.dockerfile import Copy, stages

DOCKERFILE = config.SOURCE / "Dockerfile"


def test_the_image_of_the_dockerfile_is_run_as_the_one_of_the_tests() -> None:
    assert stages(DOCKERFILE)[-1].config == config.operator()


def test_it_starts_from_nothing_and_copies_what_the_script_made() -> None:
    last = stages(DOCKERFILE)[-1]
    assert last.base == "scratch"
    assert last.copies == (Copy(("/root-of-image",), "/", stage="root"),)


def test_the_script_is_given_what_the_image_depends_on_and_docker_sees_nothing_else() -> None:
    copied = {source for copy in stages(DOCKERFILE)[0].copies for source in copy.sources}
    lines = [line for line in (config.SOURCE / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert copied == set(config.INPUTS)
    assert lines == ["*", *(f"!{name}" for name in config.INPUTS), "**/__pycache__", "**/*.pyc"]


def test_both_parts_are_made_and_backstay_comes_last() -> None:
    parts = [line.split() for line in DOCKERFILE.read_text().splitlines() if "image.rootfs" in line]
    assert parts == [["RUN", "python3", "-m", "image.rootfs", "/root-of-image", "--part", part] for part in ("dependencies", "backstay")]


def test_it_is_made_on_the_debian_whose_packages_are_in_it() -> None:
    assert stages(DOCKERFILE)[0].base == "debian:12"


def test_an_instruction_that_these_tests_cannot_judge_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text("FROM scratch\nONBUILD COPY . .\n")
    with pytest.raises(ValueError, match="ONBUILD"):
        stages(file)


def test_what_is_written_over_several_lines_is_read_as_one(tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text('FROM debian:12 AS one\nFROM scratch\nENV A="b c" \\\n    # why\n    D=e\nCOPY --from=one /x /y\n')
    last = stages(file)[-1]
    assert last.config.environment == {"A": "b c", "D": "e"}
    assert last.copies == (Copy(("/x",), "/y", stage="one"),)
