"""The releases that are kept here: which is the newest, its chart, and its code to be run from."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Kept:
    """One release as users had it."""

    version: str
    chart: Path
    wheel: Path

    def unpack(self, folder: Path) -> Path:
        """Unpack the wheel, which is pure Python, and return the folder for PYTHONPATH; what it depends on comes from this interpreter."""
        target = folder / f"backstay-{self.version}"
        with zipfile.ZipFile(self.wheel) as wheel:
            wheel.extractall(target)
        return target


def newest() -> Kept:
    """Return the release before this checkout."""
    folder = max((each for each in FOLDER.iterdir() if each.is_dir() and each.name[0].isdigit()), key=_number)
    (chart,), (wheel,) = folder.glob("*.tgz"), folder.glob("*.whl")
    return Kept(folder.name, chart, wheel)


def _number(folder: Path) -> tuple[int, ...]:
    return tuple(map(int, folder.name.split(".")))
