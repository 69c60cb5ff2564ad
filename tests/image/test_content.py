"""What is in the operator's image, and what is not."""

import ast
import email
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from image import base, config, elf, rootfs, wheels
from tests.image.unpacked import Unpacked

pytestmark = pytest.mark.timeout(900)  # the first one may have to make the image


def _files(image: Unpacked, pattern: str = "*") -> Iterator[Path]:
    return (path for path in image.root.rglob(pattern) if path.is_file() and not path.is_symlink())


def _packages(image: Unpacked) -> dict[str, email.message.Message]:
    """What is installed from Python's index, as each package describes itself, by its normalised name."""
    described = [email.message_from_string(file.read_text()) for file in (image.root / wheels.FOLDER).glob("*.dist-info/METADATA")]
    return {_normal(package["Name"]): package for package in described}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# ------------------------------------------------------------------------------------------------------------------- size


def test_the_image_stays_below_250_megabytes_uncompressed(operator_image: Unpacked) -> None:
    assert sum(entry.size for entry in operator_image.entries) < 250_000_000


def test_no_image_is_made_that_is_larger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rootfs, "LARGEST", 1000)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "file").write_bytes(b"x" * 1001)
    with pytest.raises(rootfs.TooLarge, match=r"wheels\.py"):
        rootfs.finish(tmp_path)


def test_nothing_is_in_the_image_twice_but_time_zones_and_what_is_short(operator_image: Unpacked) -> None:
    seen: dict[bytes, Path] = {}
    for path in _files(operator_image):
        if path.stat().st_size > 100_000:
            assert path.read_bytes() not in seen, f"{path} is {seen[path.read_bytes()]} once more"
            seen[path.read_bytes()] = path


# ----------------------------------------------------------------------------------------------------------------- rights


def test_the_only_programs_are_python_its_loader_and_our_commands(operator_image: Unpacked) -> None:
    programs = {
        entry.name
        for entry in operator_image.entries
        if entry.isreg()
        and entry.mode & 0o111
        and not re.search(r"\.so(\.[\d.]+)?$", entry.name)
        and _is_program(operator_image, entry.name)
    }
    assert programs == {"usr/bin/python3.11", "usr/local/bin/backstay", "usr/local/bin/kubectl-backstay"}


def _is_program(image: Unpacked, name: str) -> bool:
    """Some packages mark modules as executable; without the shebang of a program that is there they are none."""
    first = (image.root / name).read_bytes()[:100]
    return first.startswith(b"\x7fELF") or (first.startswith(b"#!/") and (image.root / first[3:].split()[0].decode()).exists())


@pytest.mark.parametrize("program", ["sh", "bash", "dash", "busybox", "apt-get", "dpkg", "pip", "pip3", "su", "mount", "openssl", "perl"])
def test_there_is_no_shell_no_package_manager_and_no_tool_for_intruders(operator_image: Unpacked, program: str) -> None:
    assert [str(path) for path in operator_image.root.rglob(program) if path.is_file() and os.access(path, os.X_OK)] == []


def test_pip_and_its_kin_are_not_among_the_packages(operator_image: Unpacked) -> None:
    assert not _packages(operator_image).keys() & {"pip", "setuptools", "wheel", *wheels.BUILD_TOOLS}


def test_all_of_it_belongs_to_root_and_nobody_else_may_write_but_to_tmp(operator_image: Unpacked) -> None:
    assert {(entry.uid, entry.gid) for entry in operator_image.entries} == {(0, 0)}
    assert {entry.name: oct(entry.mode) for entry in operator_image.entries if not entry.issym() and entry.mode & 0o022} == {
        "tmp": "0o1777"
    }


def test_nothing_gives_more_rights_than_its_caller_has(operator_image: Unpacked) -> None:
    assert [entry.name for entry in operator_image.entries if entry.mode & (stat.S_ISUID | stat.S_ISGID)] == []
    assert [entry.name for entry in operator_image.entries if "SCHILY.xattr.security.capability" in entry.pax_headers] == []


def test_there_are_files_folders_and_links_and_nothing_else(operator_image: Unpacked) -> None:
    assert [entry.name for entry in operator_image.entries if not (entry.isreg() or entry.isdir() or entry.issym())] == []


def test_every_link_leads_to_something_in_the_image(operator_image: Unpacked) -> None:
    broken = []
    for entry in operator_image.entries:
        if entry.issym():
            start = operator_image.root if entry.linkname.startswith("/") else (operator_image.root / entry.name).parent
            if not (start / entry.linkname.lstrip("/")).exists():
                broken.append(f"{entry.name} → {entry.linkname}")
    assert broken == []


def test_nothing_of_the_machine_that_made_it_is_in_the_image(operator_image: Unpacked) -> None:
    secret = re.compile(r"TOKEN|SECRET|PASSWORD|CREDENTIAL|API_?KEY")
    told = [str(config.SOURCE), *(value for name, value in os.environ.items() if secret.search(name.upper()) and len(value) > 8)]
    found = [(path, number) for path in _files(operator_image) for number, text in enumerate(told) if text.encode() in path.read_bytes()]
    assert found == []


@pytest.mark.parametrize("name", ["pip.conf", ".netrc", ".pypirc", ".git", ".env", "*.key", "id_*", ".dockerconfigjson", "sources.list*"])
def test_no_file_for_credentials_is_in_the_image(operator_image: Unpacked, name: str) -> None:
    assert list(operator_image.root.rglob(name)) == []


# ----------------------------------------------------------------------------------------------------------------- Python


def test_the_packages_are_those_of_the_lock_file_and_backstay(operator_image: Unpacked) -> None:
    lock = (config.SOURCE / "requirements.lock").read_text()
    pinned = dict(re.findall(r"^([\w.-]+)==([^\s;]+) (?!; sys_platform == 'win32')", lock, re.MULTILINE))
    packages = _packages(operator_image)
    backstay = packages.pop("backstay")
    assert {name: package["Version"] for name, package in packages.items()} == {_normal(name): version for name, version in pinned.items()}
    assert backstay["Version"] == config.operator().labels["org.opencontainers.image.version"]


def test_backstay_is_whole(operator_image: Unpacked) -> None:
    ours = config.SOURCE / "operator" / "backstay"
    installed = operator_image.root / wheels.FOLDER / "backstay"
    wanted = {path.relative_to(ours) for path in ours.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {path.relative_to(installed) for path in installed.rglob("*") if path.is_file() and path.suffix != ".pyc"} == wanted
    assert [path for path in wanted if (ours / path).read_bytes() != (installed / path).read_bytes()] == []


def test_every_module_is_compiled_and_its_bytecode_is_believed_whatever_the_dates_are(operator_image: Unpacked) -> None:
    unchecked = 1  # PEP 552: the second four bytes
    wrong = []
    for source in _files(operator_image, "*.py"):
        compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-311.pyc"
        if not compiled.exists() or int.from_bytes(compiled.read_bytes()[4:8], "little") != unchecked:
            wrong.append(str(source.relative_to(operator_image.root)))
    assert wrong == []


def test_bytecode_names_its_source_as_it_is_in_the_image(operator_image: Unpacked) -> None:
    compiled = operator_image.root / wheels.FOLDER / "backstay" / "__pycache__" / "errors.cpython-311.pyc"
    assert f"/{wheels.FOLDER}/backstay/errors.py".encode() in compiled.read_bytes()


@pytest.mark.parametrize("dropped", ["kubernetes.aio", "cel_expr_python.ext.ext_proto"])
def test_what_was_left_out_is_imported_by_nothing(operator_image: Unpacked, dropped: str) -> None:
    package, name = dropped.rsplit(".", 1)
    users = []
    for source in _files(operator_image, "*.py"):
        text = source.read_text(errors="replace")
        if name in text and package.split(".")[0] in text and dropped in _imported(text):
            users.append(source)
    assert users == []


def _imported(source: str) -> set[str]:
    """Return every module that a source imports, and each name it takes out of one."""
    nodes = list(ast.walk(ast.parse(source)))
    named = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    taken = {f"{node.module}.{alias.name}" for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    return named | taken | {name.rpartition(".")[0] for name in taken}


def test_compiled_code_carries_nothing_for_debuggers(operator_image: Unpacked, tmp_path: Path) -> None:
    libraries = list((operator_image.root / wheels.FOLDER).rglob("*.so"))
    assert len(libraries) > 20
    for library in libraries:
        copy = tmp_path / "library.so"
        copy.write_bytes(library.read_bytes())
        assert elf.strip(copy) == 0, library


# ----------------------------------------------------------------------------------------------------------------- Debian


def test_scanners_for_known_weaknesses_see_which_packages_of_debian_are_in_it(operator_image: Unpacked) -> None:
    folder = operator_image.root / "var/lib/dpkg/status.d"
    described = {file.name: yaml.safe_load(file.read_text().split("\nDescription")[0]) for file in folder.iterdir()}
    assert described.keys() == set(base.PACKAGES)
    assert {name: status["Package"] for name, status in described.items()} == {name: name for name in described}
    assert all(status["Version"] for status in described.values())


@pytest.mark.parametrize("package", base.PACKAGES)
def test_the_licence_of_each_package_of_debian_is_in_the_image(operator_image: Unpacked, package: str) -> None:
    assert "icense" in (operator_image.root / "usr/share/doc" / package / "copyright").read_text()


def test_our_licence_and_those_of_the_packages_are_in_the_image(operator_image: Unpacked) -> None:
    ours = operator_image.root / wheels.FOLDER / f"backstay-{_packages(operator_image)['backstay']['Version']}.dist-info"
    assert (ours / "licenses" / "LICENSE").read_bytes() == (config.SOURCE / "LICENSE").read_bytes()
    licences = re.compile(r"(?i)licen[cs]e|copying|notice")
    silent = []
    for described in (operator_image.root / wheels.FOLDER).glob("*.dist-info"):
        package = email.message_from_string((described / "METADATA").read_text())
        told = (
            package["License"]
            or package["License-Expression"]
            or any("License ::" in str(line) for line in package.get_all("Classifier", []))
        )
        if not told and not any(licences.search(path.name) for path in described.rglob("*")):
            silent.append(described.name)
    assert silent == []
