"""How images are made: the same bytes of the same inputs, nothing half-made, and words that help when something is missing."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from image import archive, bytecode, config, debian, elf, rootfs, wheels
from tests.cluster import images
from tests.image.unpacked import Unpacked

EPOCH = 1_000_000_000


def _tree(root: Path, names: list[str]) -> Path:
    (root / "etc").mkdir(parents=True)
    for name in names:
        (root / "etc" / name).write_text(name)
    (root / "link").symlink_to("etc/a")
    (root / "tmp").mkdir()
    return root


def _archive(root: Path, target: Path, **settings: str) -> Path:
    images = [archive.Image(["docker.io/library/a:1", "docker.io/library/b:1"], root, archive.Config(**settings))]
    archive.write(target, images, architecture="amd64", epoch=EPOCH)
    return target


# ------------------------------------------------------------------------------------------------------------------ bytes


def test_the_same_files_make_the_same_image_whenever_and_in_whatever_order_they_were_made(tmp_path: Path) -> None:
    one, other = _tree(tmp_path / "one", ["a", "b"]), _tree(tmp_path / "other", ["b", "a"])
    (other / "etc/a").chmod(0o600)
    os.utime(other / "etc/b", (0, 0))
    for root in (one, other):
        rootfs.finish(root, EPOCH)
    assert _archive(one, tmp_path / "one.tar").read_bytes() == _archive(other, tmp_path / "other.tar").read_bytes()


def test_another_byte_or_another_setting_makes_another_image(tmp_path: Path) -> None:
    root = _tree(tmp_path / "root", ["a"])
    first = _archive(root, tmp_path / "first.tar").read_bytes()
    assert _archive(root, tmp_path / "second.tar", user="1:1").read_bytes() != first
    (root / "etc/a").write_text("b")
    assert _archive(root, tmp_path / "third.tar").read_bytes() != first


def test_an_image_says_how_it_is_run_and_what_its_layer_is(tmp_path: Path) -> None:
    file = _archive(_tree(tmp_path / "root", ["a"]), tmp_path / "image.tar", user="7:7")
    with tarfile.open(file) as content:
        (entry,) = json.load(content.extractfile("manifest.json"))
        described = json.load(content.extractfile(entry["Config"]))
    assert entry["RepoTags"] == ["docker.io/library/a:1", "docker.io/library/b:1"]
    assert described["config"] == {"User": "7:7", "WorkingDir": "/"}
    assert described["rootfs"]["diff_ids"] == [f"sha256:{entry['Layers'][0].removesuffix('.tar')}"]
    assert described["created"] == "2001-09-09T01:46:40Z"


def test_a_root_that_several_images_share_is_in_the_file_once(tmp_path: Path) -> None:
    root = _tree(tmp_path / "root", ["a"])
    both = [archive.Image(["a:1"], root, archive.Config(user="1")), archive.Image(["b:1"], root, archive.Config(user="2"))]
    archive.write(tmp_path / "both.tar", both, architecture="amd64", epoch=EPOCH)
    with tarfile.open(tmp_path / "both.tar") as content:
        assert len([name for name in content.getnames() if name.endswith(".tar")]) == 1


@pytest.mark.timeout(900)
def test_compiling_again_elsewhere_gives_the_same_bytecode(operator_image: Unpacked, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(operator_image.root / "usr", again / "usr", symlinks=True, copy_function=os.link)
    folder = f"{wheels.FOLDER}/backstay"
    before = {path.relative_to(again): path.read_bytes() for path in (again / folder).rglob("*.pyc")}
    for path in before:
        (again / path).unlink()
    bytecode.compile_all(again, folder)
    assert {path.relative_to(again): path.read_bytes() for path in (again / folder).rglob("*.pyc")} == before
    assert len(before) > 100


# -------------------------------------------------------------------------------------------------------------- libraries


def test_a_library_that_was_cut_short_still_works(tmp_path: Path) -> None:
    found = importlib.util.find_spec("yaml._yaml")
    assert found is not None
    assert found.origin is not None
    library = tmp_path / Path(found.origin).name
    shutil.copy(found.origin, library)
    before = library.stat().st_size
    assert elf.strip(library) == before - library.stat().st_size > 0
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import _yaml; print(_yaml.__file__, _yaml.get_version_string())"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith(f"{library} ")


@pytest.mark.parametrize("content", [b"", b"GROUP ( libc.so.6 )", b"\x7fELF\x01\x01" + bytes(60)], ids=["empty", "script", "32-bits"])
def test_what_is_no_library_of_64_bits_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file.so"
    file.write_bytes(content)
    assert elf.strip(file) == 0
    assert file.read_bytes() == content


# ------------------------------------------------------------------------------------------------------------------ cache


@pytest.fixture
def own_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of a few small files, and a cache of its own."""
    source = tmp_path / "source"
    for name in {*images._PACKING, "image/debian.py", "operator/code.py"}:
        file = source / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    monkeypatch.setattr(config, "SOURCE", source)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return source


def test_an_image_is_made_once_and_anew_after_a_change(own_source: Path) -> None:
    made: list[Path] = []

    def make(target: Path, root: Path) -> None:
        made.append(target)
        target.write_text("image")

    first = images._image("a", ["operator"], make)
    assert images._image("a", ["operator"], make) == first
    assert len(made) == 1
    (own_source / "operator/code.py").write_text("changed")
    second = images._image("a", ["operator"], make)
    assert second != first
    (own_source / "operator/__pycache__").mkdir()
    (own_source / "operator/__pycache__/code.pyc").write_text("bytecode")
    assert images._image("a", ["operator"], make) == second


def test_an_image_of_files_that_changed_meanwhile_is_thrown_away_and_made_again(own_source: Path) -> None:
    code = own_source / "operator/code.py"

    def make(target: Path, root: Path) -> None:
        target.write_text(code.read_text())
        if code.read_text() != "saved":
            code.write_text("saved")

    assert images._image("a", ["operator"], make).read_text() == "saved"


def test_files_that_never_rest_are_an_error_and_leave_nothing(own_source: Path, tmp_path: Path) -> None:
    code = own_source / "operator/code.py"

    def make(target: Path, root: Path) -> None:
        target.write_text("half of both")
        code.write_text(code.read_text() + "x")

    with pytest.raises(images.SourcesRestless, match="changed while"):
        images._image("a", ["operator"], make)
    assert list((tmp_path / "cache").rglob("a-*")) == []


def test_of_each_kind_the_last_few_are_kept_and_what_somebody_may_be_reading(own_source: Path) -> None:
    def made(kind: str, text: str) -> Path:
        (own_source / "operator/code.py").write_text(text)
        return images._image(kind, ["operator"], lambda target, root: target.write_text(text) and None)

    other = made("b", "other kind")
    files = [made("a", f"version {number}") for number in range(6)]
    assert all(file.exists() for file in files)
    for age, file in enumerate([*reversed(files), other]):
        os.utime(file, (EPOCH - age, EPOCH - age))
    files.append(made("a", "version 6"))
    assert [file.exists() for file in [*files, other]] == [False, False, False, False, True, True, True, True]


def test_the_command_says_where_the_images_are_and_how_large(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "busybox.tar"
    file.write_bytes(bytes(1_500_000))
    monkeypatch.setitem(images.MAKERS, "busybox", lambda: file)
    images.main(["busybox"])
    assert capsys.readouterr().out == f"{file}  1.5 MB\n"


def test_the_command_refuses_an_image_that_is_none_and_names_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        images.main(["operater"])
    assert "operater; there are operator, shop, busybox and all" in capsys.readouterr().err


# ----------------------------------------------------------------------------------------------------------- what is wanting


def test_on_another_system_the_way_out_is_the_dockerfile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    release = tmp_path / "os-release"
    release.write_text('PRETTY_NAME="Ubuntu 24.04.2 LTS"\nID=ubuntu\nVERSION_ID="24.04"\n')
    monkeypatch.setattr(debian, "OS_RELEASE", release)
    with pytest.raises(debian.PackagesMissing, match=r"Debian 12, and this is Ubuntu 24.04.2 LTS; .*docker build"):
        debian.fetch(["base-files"], tmp_path / "packages", lambda line: None)


def test_packages_of_debian_that_cannot_be_had_are_told_with_what_apt_said_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _needs_apt()
    nowhere = tmp_path / "apt.conf"
    nowhere.write_text(f'Dir::Etc::sourcelist "{tmp_path}/none";\nDir::Etc::sourceparts "{tmp_path}/none.d";\n')
    monkeypatch.setenv("APT_CONFIG", str(nowhere))
    said: list[str] = []
    with pytest.raises(debian.PackagesMissing, match=r"(?s)Unable to locate package no-such-package.*`apt-get update` must work"):
        debian.fetch(["no-such-package"], tmp_path / "packages", said.append)
    assert "reading newer ones" in said[-1]


def _needs_apt() -> None:
    try:
        debian.check_machine()
    except debian.WrongMachine as error:
        pytest.skip(str(error))


def test_without_apt_the_message_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(debian.PackagesMissing, match="no dpkg on the PATH"):
        debian.architecture()


def test_packages_of_python_that_cannot_be_had_are_told_with_what_pip_said_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    with pytest.raises(wheels.CannotInstall, match=r"(?s)pip ended with code 1: .*must be reachable"):
        wheels.install_build_tools(tmp_path / "tools", lambda line: None)


def test_a_build_tool_that_the_lock_file_does_not_pin_is_named() -> None:
    with pytest.raises(wheels.CannotInstall, match="pins no hatchling; renew it with `make lock`"):
        wheels.pinned("pluggy==1.0 \\\n    --hash=sha256:00\n", ["pluggy", "hatchling"])


def test_only_the_named_pins_are_taken_out_of_a_lock_file() -> None:
    lock = "a==1 \\\n    --hash=sha256:00 \\\n    --hash=sha256:01\nb==2 ; python_version < '4' \\\n    --hash=sha256:02\nc==3 \\\n    --hash=sha256:03\n"
    assert wheels.pinned(lock, ["c", "a"]) == "c==3 \\\n    --hash=sha256:03\na==1 \\\n    --hash=sha256:00 \\\n    --hash=sha256:01\n"


def test_a_rule_that_leaves_out_what_is_not_there_any_more_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "kubernetes").mkdir()
    with pytest.raises(wheels.CannotInstall, match="names kubernetes/aio, and no package has that any more"):
        wheels._drop(tmp_path, "kubernetes/aio")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["{here}"], "is there already; name a new folder"),
        (["{here}", "--part", "backstay"], "has no dependencies; make them first, with --part dependencies"),
    ],
    ids=["whole", "backstay"],
)
def test_the_script_says_what_to_do_about_a_folder_that_it_cannot_use(arguments: list[str], told: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "image.rootfs", *(word.format(here=tmp_path) for word in arguments)]
    result = subprocess.run(command, cwd=config.SOURCE, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert told in result.stderr
