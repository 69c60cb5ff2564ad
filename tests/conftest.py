"""What all tests share: the real control plane as a plugin, and assertions of shared modules that say what they found."""

import pytest

pytest_plugins = ["tests.support.control_plane_fixture"]

pytest.register_assert_rewrite("tests.support", "tests.scenarios")
