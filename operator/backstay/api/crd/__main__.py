"""`python -m backstay.api.crd [--check] DIR…`: write the CRDs, or tell where a file is not what the models say."""

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

from backstay.api.crd.definitions import definitions, file_name, to_yaml


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the files below each DIR. Returns 1 where --check finds a difference."""
    parser = argparse.ArgumentParser(
        prog="python -m backstay.api.crd", description="Write the CRDs of Backstay, or check the files that are there."
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="where the files go")
    parser.add_argument("--check", action="store_true", help="write nothing; print the differences and exit with 1 where there are any")
    options = parser.parse_args(arguments)
    texts = {file_name(plural): to_yaml(manifest) for plural, manifest in definitions().items()}
    if options.check:
        return _check(options.folders, texts)
    for folder in options.folders:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    return 0


def _check(folders: Sequence[Path], texts: dict[str, str]) -> int:
    differences = [line for folder in folders for name, text in texts.items() for line in _difference(folder / name, text)]
    sys.stdout.writelines(differences)
    if differences:
        sys.stderr.write("the CRDs are not what the models say; run make crds\n")
    return 1 if differences else 0


def _difference(path: Path, wanted: str) -> list[str]:
    found = path.read_text(encoding="utf-8") if path.exists() else ""
    return list(difflib.unified_diff(found.splitlines(keepends=True), wanted.splitlines(keepends=True), str(path), f"{path} (generated)"))


if __name__ == "__main__":
    sys.exit(main())
