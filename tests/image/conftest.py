"""The images, made or taken from the cache, and taken apart once for all tests of a session."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from image import debian
from tests.cluster import images
from tests.image.unpacked import Unpacked, unpack


def _unpacked(file: Path) -> Iterator[list[Unpacked]]:
    with tempfile.TemporaryDirectory(prefix="backstay-image-") as folder:
        yield unpack(file, Path(folder))


def _needs_debian() -> None:
    try:
        debian.check_machine()
    except debian.WrongMachine as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def operator_image() -> Iterator[Unpacked]:
    """The operator's image of this checkout."""
    _needs_debian()
    for (image,) in _unpacked(images.operator_image()):
        yield image


@pytest.fixture(scope="session")
def shop_image() -> Iterator[Unpacked]:
    """The image of the example's five programs."""
    _needs_debian()
    for (image,) in _unpacked(images.shop_image()):
        yield image


@pytest.fixture(scope="session")
def busybox_images() -> Iterator[dict[str, Unpacked]]:
    """The images of busybox and of the pause container, by their only tag."""
    _needs_debian()
    for unpacked in _unpacked(images.busybox_image()):
        yield {image.tags[0]: image for image in unpacked}
