"""The images at work: as their user, on a read-only root file system, with nothing but an empty /tmp."""

import json

import pytest

from image import config, wheels
from tests.image.unpacked import Unpacked, can_run

pytestmark = [
    pytest.mark.timeout(900),  # the first one may have to make the image
    pytest.mark.skipif(not can_run(), reason="only root may mount a root file system read-only and become another user"),
]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--help"], "Usage: backstay"),
        (["operator", "--help"], "--health-port"),
        (["version"], f"backstay {config.operator().labels['org.opencontainers.image.version']}"),
    ],
    ids=["help", "operator-help", "version"],
)
def test_the_command_works(operator_image: Unpacked, arguments: list[str], told: str) -> None:
    result = operator_image.start(arguments)
    assert (result.returncode, result.stderr) == (0, "")
    assert told in result.stdout


def test_the_operator_starts_and_says_that_there_is_no_cluster(operator_image: Unpacked) -> None:
    result = operator_image.start(operator_image.settings["Cmd"])
    assert result.returncode != 0
    assert "no API server is configured" in result.stdout + result.stderr


def test_kubectl_finds_its_plugin(operator_image: Unpacked) -> None:
    assert operator_image.run(["kubectl-backstay", "version"]).returncode == 0


def _python(image: Unpacked, program: str) -> str:
    result = image.run(["python3", "-c", program])
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.strip()


def test_it_runs_as_a_user_with_a_name_and_no_rights(operator_image: Unpacked) -> None:
    assert (
        _python(operator_image, "import os, pwd; print(os.getuid(), os.getgid(), pwd.getpwuid(os.getuid()).pw_name)")
        == "65532 65532 backstay"
    )


def test_it_finds_a_place_to_write_to_and_nothing_else_is_writable(operator_image: Unpacked) -> None:
    program = """
import os, tempfile
tempfile.TemporaryFile().close()
print(tempfile.gettempdir(), os.getcwd(), os.path.expanduser("~"), [folder for folder in os.listdir("/") if os.access("/" + folder, os.W_OK)])
"""
    assert _python(operator_image, program) == "/tmp / /tmp ['tmp']"


def test_every_module_can_be_imported_and_finds_its_libraries(operator_image: Unpacked) -> None:
    program = f"""
import importlib, json, pathlib, warnings
warnings.simplefilter("ignore")
found, failed = 0, {{}}
for folder in ("/{wheels.FOLDER}", "/usr/lib/python3.11/lib-dynload"):
    places = pathlib.Path(folder)
    names = {{".".join(path.relative_to(places).with_suffix("").parts).split(".cpython")[0].split(".abi3")[0] for path in places.rglob("*.so")}}
    names |= {{path.name.removesuffix(".py") for path in places.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}}
    names |= {{".".join(path.relative_to(places).with_suffix("").parts) for path in places.glob("backstay/**/*.py") if path.stem[0] != "_"}}
    for name in sorted(names):
        found += 1
        try:
            importlib.import_module(name)
        except Exception as error:
            failed[name] = repr(error)
print(json.dumps([found, failed]))
"""
    found, failed = json.loads(_python(operator_image, program))
    assert failed == {}
    assert found > 300


def test_the_client_for_kubernetes_is_whole_though_its_models_are_bytecode_alone(operator_image: Unpacked) -> None:
    program = "from kubernetes import client; print(client.CoreV1Api.__name__, client.V1Pod(metadata={}).to_dict()['kind'])"
    assert _python(operator_image, program) == "CoreV1Api None"


def test_it_trusts_the_authorities_that_debian_trusts(operator_image: Unpacked) -> None:
    assert int(_python(operator_image, "import ssl; print(len(ssl.create_default_context().get_ca_certs()))")) > 100


def test_it_knows_time_zones_of_debian_and_its_own_is_utc(operator_image: Unpacked) -> None:
    program = """
import datetime, os, time, zoneinfo
noon = datetime.datetime(2026, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo("Europe/Paris"))
print(noon.utcoffset(), time.tzname[0], os.path.exists(zoneinfo.TZPATH[0] + "/Europe/Paris"))
"""
    assert _python(operator_image, program) == "2:00:00 UTC True"


def test_names_of_hosts_and_types_of_files_are_looked_up_in_its_own_files(operator_image: Unpacked) -> None:
    program = "import mimetypes, socket; print(mimetypes.guess_type('a.woff2')[0], socket.getservbyname('https'), socket.gethostbyname('127.0.0.1'))"
    assert _python(operator_image, program) == "font/woff2 443 127.0.0.1"
    assert "hosts: files dns" in (operator_image.root / "etc/nsswitch.conf").read_text()


def test_text_is_utf_8(operator_image: Unpacked) -> None:
    assert _python(operator_image, "import locale, sys; print(locale.getpreferredencoding(), sys.stdout.encoding, '→')") == "utf-8 utf-8 →"


def test_no_source_is_compiled_at_the_start(operator_image: Unpacked) -> None:
    program = """
import builtins, sys
compiled = []
sys.addaudithook(lambda event, args: compiled.append(str(args[1])) if event == "compile" and str(args[1]).endswith(".py") else None)
import backstay.handlers.app, backstay.cli.main
print(compiled)
"""
    assert _python(operator_image, program) == "[]"


def test_the_shop_takes_orders_as_the_same_user(shop_image: Unpacked) -> None:
    result = shop_image.start(["--help"])
    assert (result.returncode, result.stderr) == (0, "")
    assert "reserve" in result.stdout
    assert '"mug"' in shop_image.start(["init", "--db", "/tmp/shop.db"]).stdout
    assert shop_image.settings["User"] == "65532:65532"


@pytest.mark.parametrize("command", ["sleep 0", "cat /etc/passwd", "env", "seq 1 3", "expr 1 + 1", "test -d /tmp", "head -c 1 /etc/group"])
def test_busybox_has_what_scripts_need(busybox_images: dict[str, Unpacked], command: str) -> None:
    busybox = busybox_images["docker.io/library/busybox:1.36"]
    result = busybox.run(["sh", "-c", command])
    assert (result.returncode, result.stderr) == (0, "")


def test_busybox_reckons_checksums_and_writes_to_tmp(busybox_images: dict[str, Unpacked]) -> None:
    busybox = busybox_images["docker.io/library/busybox:1.36"]
    script = "dd if=/dev/zero of=/tmp/zeros bs=1k count=4 2>/dev/null && sha256sum /tmp/zeros | head -c 8 && which wget nc tail"
    assert busybox.run(["sh", "-c", script]).stdout == "ad7facb2/usr/bin/wget\n/usr/bin/nc\n/usr/bin/tail\n"
