"""What all tests share: the real control plane as a plugin, assertions of shared modules that say what they found, and hypothesis' profiles."""

import os

import pytest
from hypothesis import settings

pytest_plugins = ["tests.support.control_plane_fixture"]

pytest.register_assert_rewrite("tests.support", "tests.scenarios")

settings.register_profile("explore", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
"""In CI the same examples every time: a change is judged by what it changed. Everywhere else new ones, so that bugs are found."""
settings.load_profile("ci" if os.environ.get("CI") else "explore")
