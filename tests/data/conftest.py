"""Class folders of handwritten digits, which the other sources are made from."""

import shutil

import pytest
from made_sources import MAKERS, NEED_PYARROW, Made


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Made:
    """63 digits of 32 × 32 pixels in ten class folders; do not change them."""
    from pure_cli.demo.images import write_digits

    folder = tmp_path_factory.mktemp("digits")
    write_digits(folder / "all", split="held-out")
    files = sorted((folder / "all").rglob("*.png"))
    for file in files[::8]:
        target = folder / "images" / f"digit {file.parent.name}" / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    found = Made(folder / "images")
    assert len(found.names) == 10
    return found


@pytest.fixture(scope="session", params=list(MAKERS))
def other(request, made, tmp_path_factory):
    """``--data`` of the same images in another form, and the name of the form."""
    if request.param in NEED_PYARROW:
        pytest.importorskip("pyarrow", reason="pyarrow, the extra 'parquet', is not installed")
    return MAKERS[request.param](made, tmp_path_factory.mktemp(request.param) / "data"), request.param
