"""What travels to a cluster with a job: the code of segsearch, the user's own modules, and the job file.

The parcel is the working folder of the job on every node and stands first on Python's path there, so that the three packages
are found before anything of the same name that an image may hold.
"""

import io
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from search_spaces.foreign import OWN

JOB = "job.yaml"
_UNUSED = shutil.ignore_patterns("__pycache__", "*.pyc", ".*", "venv")


@contextmanager
def make_parcel(modules: Mapping[str, Path], job_file: Path | None = None) -> Iterator[Path]:
    """A folder with everything that a driver and its workers import.

    Args:
        modules: The user's own modules by name: a file or the folder of a package.
        job_file: The job.
    """
    here = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory(prefix="segsearch-parcel-") as parent:
        folder = Path(parent)
        for package in OWN:
            shutil.copytree(here / package, folder / package, ignore=_UNUSED)
        for place in modules.values():
            if place.is_dir():
                shutil.copytree(place, folder / place.name, ignore=_UNUSED)
            else:
                shutil.copy(place, folder)
        if job_file is not None:
            shutil.copy(job_file, folder / JOB)
        yield folder


def pack(folder: Path) -> bytes:
    """A folder as a zip archive; equal content gives equal bytes, so that a cluster that has them needs no second copy."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(
                file.relative_to(folder).as_posix()
            )  # of 1980, whenever the file was written
            target.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED, 1)
    return archive.getvalue()
