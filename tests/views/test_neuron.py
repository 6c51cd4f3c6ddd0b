"""The figure of a neuron: what is on it, that odd neurons get one too, and that the files are what they say."""

import os
import subprocess
import sys
import warnings
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.contour import ContourSet
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from PIL import Image

from pure_cli.errors import PureError, PureFailure
from pure_cli.views import neuron as view
from pure_cli.views.neuron import NEVER_FIRES, PALETTE, NeuronPicture, Row, draw
from pure_cli.views.style import save

pytestmark = pytest.mark.filterwarnings("error")


def clusters(sizes, spread=0.3, seed=0, size=8):
    """Well separated clusters on a circle, each image of one colour that tells its index."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    angle = 2 * np.pi * labels / max(len(sizes), 1)
    points = 3 * np.stack([np.cos(angle), np.sin(angle)], axis=1) + generator.normal(size=(len(labels), 2)) * spread
    order = generator.permutation(len(labels))
    return picture(points[order], labels[order], size=size)


def picture(points, labels, size=8, **changes):
    points, labels = np.asarray(points, dtype=float).reshape(-1, 2), np.asarray(labels, dtype=int)
    images = [np.full((size, size, 3), i % 256, dtype=np.uint8) for i in range(len(labels))]
    rows = [Row("all", f"{len(labels)} images", images[:8])]
    for label in sorted(set(labels[labels >= 0].tolist())):
        members = np.flatnonzero(labels == label)
        rows.append(Row(f"201.{label + 1}", f"{len(members)} images", [images[i] for i in members[:8]], label))
    given = {"title": "layer4 · neuron 201", "subtitle": "ResNet50 · pure features · k = 2", "thumbnails": images}
    return NeuronPicture(**{**given, "points": points, "labels": labels, "rows": rows, **changes})


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def shown_images(figure):
    """Extent (left, right, bottom, top) in inches and array of each image, as drawn."""
    return [(a.get_extent(), a.get_array()) for a in figure.axes[0].get_children() if isinstance(a, AxesImage)]


def thumbnails(figure):
    """The frames of the thumbnails on the map."""
    patches = figure.axes[0].patches
    return [p for p in patches if isinstance(p, Rectangle) and not p.get_fill()]


def contours(figure):
    return [c for c in figure.axes[0].collections if isinstance(c, ContourSet)]


ONE_PLACE = np.zeros((30, 2))
LINE = np.stack([np.arange(12), np.arange(12)], axis=1)
PICTURES = {
    "two": lambda: clusters([53, 47]),
    "three": lambda: clusters([50, 30, 20]),
    "five": lambda: clusters([40, 20, 20, 12, 8]),
    "ten": lambda: clusters([10] * 10),
    "more than there are colours": lambda: clusters([3] * 12),
    "one point": lambda: picture([[3, 4]], [0]),
    "one point left out": lambda: picture([[3, 4]], [-1]),
    "two points": lambda: picture([[0, 0], [1, 1]], [0, 1]),
    "five points": lambda: clusters([3, 2]),
    "one cluster": lambda: clusters([60]),
    "cluster of one": lambda: clusters([30, 1]),
    "one place": lambda: picture(ONE_PLACE, np.arange(30) % 2),
    "line": lambda: picture(LINE, np.arange(12) // 6),
    "upright line": lambda: picture(LINE * [0, 1], np.arange(12) // 6),
    "no virtual neuron": lambda: picture(np.random.default_rng(0).normal(size=(40, 2)), np.full(40, -1)),
    "some left out": lambda: picture(np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 3 - 1),
    "far outlier": lambda: picture(
        np.concatenate([np.random.default_rng(0).normal(size=(30, 2)), [[1e4, 0]]]), [0] * 31
    ),
    "huge coordinates": lambda: picture(np.random.default_rng(0).normal(size=(30, 2)) * 1e12, np.arange(30) % 2),
    "tiny coordinates": lambda: picture(np.random.default_rng(0).normal(size=(30, 2)) * 1e-12, np.arange(30) % 2),
    "never fires": lambda: picture([], [], rows=[Row("all", "0 images")]),
    "no rows": lambda: picture([], [], rows=[]),
    "points without rows": lambda: picture(LINE, np.arange(12) // 6, rows=[]),
    "a row without images": lambda: picture(LINE, [0] * 12, rows=[Row("all", "12 images"), Row("201.1", "", [], 0)]),
    "no thumbnails": lambda: picture(LINE, np.arange(12) // 6, thumbnails=[None] * 12),
    "odd words": lambda: picture(LINE, [0] * 12, title="$x_1$ 層 " * 30, subtitle="/a/long/path" * 30),
}


@cache
def drawn(name):
    return draw(PICTURES[name]())


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_gives_a_figure_in_silence(name, tmp_path, capfd):
    figure = drawn(name)
    save(figure, tmp_path / "neuron.png")
    width, height = figure.get_size_inches()
    with Image.open(tmp_path / "neuron.png") as written:
        assert written.size[0] == 1400
        assert written.size[1] == pytest.approx(height * 200, abs=1)
    assert width == 7.0
    assert 0.4 <= height <= 10.0
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", PICTURES)
def test_everything_lies_on_the_page_and_thumbnails_do_not_touch(name):
    figure = drawn(name)
    width, height = figure.get_size_inches()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter that the font lacks, when the test measures it
        renderer = FigureCanvasAgg(figure).get_renderer()
        boxes = [text.get_window_extent(renderer) for text in figure.axes[0].texts]
    boxes += [patch.get_window_extent() for patch in figure.axes[0].patches]
    for box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width * figure.dpi and box.y1 <= height * figure.dpi
    for contour in contours(figure):
        for path in contour.get_paths():
            assert (path.vertices >= 0).all() and (path.vertices <= [width, height]).all()
    frames = [np.array(frame.get_xy()) for frame in thumbnails(figure)]
    for i, one in enumerate(frames):
        assert all(np.abs(one - other).max() > view.THUMBNAIL for other in frames[:i])


def test_each_virtual_neuron_has_one_contour_and_its_name_in_its_colour():
    figure = draw(clusters([40, 30, 30]))
    lines = [c for c in contours(figure) if not c.filled]
    assert [to_hex(c.get_edgecolor()[0]).upper() for c in lines] == list(PALETTE[:3])
    words = texts(figure)
    for name in ("201.1", "201.2", "201.3"):
        assert words.count(name) == 2  # on the map and beside the row
    assert words.count("all") == 1
    assert "layer4 · neuron 201" in words and "40 images" in words


def test_contour_surrounds_most_references_of_its_virtual_neuron_and_none_of_a_far_one():
    given = clusters([60, 40])
    figure = draw(given)
    positions = np.asarray(figure.axes[0].collections[-1].get_offsets())
    for label, contour in enumerate(c for c in contours(figure) if not c.filled):
        path = contour.get_paths()[0]
        inside = path.contains_points(positions)
        assert inside[given.labels == label].mean() > 0.9
        assert not inside[given.labels != label].any()


def test_map_keeps_the_order_of_the_points_on_both_axes():
    given = clusters([60, 40])
    positions = np.asarray(draw(given).axes[0].collections[-1].get_offsets())
    for axis in (0, 1):
        np.testing.assert_array_equal(np.argsort(positions[:, axis]), np.argsort(given.points[:, axis]))


def test_thumbnails_are_framed_in_the_colour_of_their_virtual_neuron():
    figure = draw(clusters([50, 50], spread=1.0))
    colors = [to_hex(frame.get_edgecolor()).upper() for frame in thumbnails(figure)]
    assert set(colors) == set(PALETTE[:2])
    assert all(1 < colors.count(color) <= 12 for color in PALETTE[:2])


def test_reference_without_a_thumbnail_stays_a_dot():
    assert not thumbnails(draw(PICTURES["no thumbnails"]()))


def test_rows_show_up_to_eight_images_in_square_cells_of_one_size_each():
    rows = [
        Row("all", "9 images", [np.full((5, 5, 3), i, np.uint8) for i in range(9)]),
        Row("201.1", "2 images", [np.zeros((5, 5, 3), np.uint8)] * 2, 0),
    ]
    extents = [extent for extent, _ in shown_images(draw(picture([], [], rows=rows)))]
    assert len(extents) == 8 + 2
    for of_row in (extents[:8], extents[8:]):
        sides = {(round(right - left, 6), round(top - bottom, 6)) for left, right, bottom, top in of_row}
        assert len(sides) == 1 and len(set(*sides)) == 1
    assert len({round(bottom, 6) for _, _, bottom, _ in extents}) == 2


def test_image_that_is_not_square_keeps_its_shape_and_lies_in_the_middle_of_its_cell():
    rows = [Row("all", "", [np.zeros((10, 20, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)])]
    (wide, _), (square, _) = shown_images(draw(picture([], [], rows=rows)))
    assert (wide[1] - wide[0]) / (wide[3] - wide[2]) == pytest.approx(2)
    assert wide[1] - wide[0] == pytest.approx(square[1] - square[0])
    assert wide[2] + wide[3] == pytest.approx(square[2] + square[3])


def test_small_images_keep_the_edges_of_their_pixels(tmp_path):
    board = np.zeros((4, 4, 3), np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 255
    figure = draw(picture([], [], rows=[Row("all", "", [board])]))
    ((left, right, bottom, top), _) = shown_images(figure)[0]
    save(figure, tmp_path / "board.png")
    with Image.open(tmp_path / "board.png") as written:
        page = np.asarray(written.convert("L"))
    height = figure.get_size_inches()[1]
    part = page[round((height - top) * 200) : round((height - bottom) * 200), round(left * 200) : round(right * 200)]
    grey = ((part > 20) & (part < 235)).mean()
    assert grey < 0.15  # bilinear or bicubic smoothing would leave more than half of it grey
    centers = (np.arange(4) + 0.5) * len(part) / 4
    np.testing.assert_allclose(part[np.ix_(centers.astype(int), centers.astype(int))], board[..., 0], atol=5)


def test_a_neuron_that_never_fires_says_so_on_a_low_figure():
    figure = draw(PICTURES["never fires"]())
    assert NEVER_FIRES in texts(figure)
    assert figure.get_size_inches()[1] < 0.6


def test_the_whole_image_lies_below_what_the_neuron_saw_of_it_and_lower_channels_right_of_both():
    seen, whole = (np.full((8, 8, 3), shade, np.uint8) for shade in (10, 20))
    lower = view.Channel("14 · 12 %", [np.full((8, 8, 3), 30, np.uint8)] * 9)
    row = Row("201.1", "2 images", [seen] * 2, 0, [whole] * 2, "more from layer3:", [lower] * 4)
    figure = draw(picture(LINE, [0] * 12, thumbnails=[None] * 12, rows=[Row("all", "12 images", [seen]), row]))
    extents = {shade: [e for e, image in shown_images(figure) if image[0, 0, 0] == shade] for shade in (10, 20, 30)}
    for above, below in zip(extents[10][1:], extents[20], strict=True):
        assert above[:2] == below[:2] and above[2] > below[3]
    assert len(extents[30]) == 3 * 6
    assert min(left for left, *_ in extents[30]) > max(right for _, right, *_ in extents[10] + extents[20])
    assert texts(figure).count("14 · 12 %") == 3 and "more from layer3:" in texts(figure)


def test_regions_are_as_sure_as_the_split():
    fills, lines = [], []
    for silhouette in (0.6, 0.3, 0.1):
        given = clusters([30, 20])
        filled, line = contours(draw(NeuronPicture(**{**vars(given), "silhouette": silhouette})))[:2]
        fills.append(filled.get_alpha())
        lines.append(line.get_linestyle()[0][1])
    assert fills == sorted(fills, reverse=True) and len(set(fills)) == 3
    assert lines[0] is None and len({str(one) for one in lines}) == 3


def test_what_is_said_is_broken_between_words():
    sentence = "k-means silhouette 0.22: hardly a split, said with more words than a line of the figure has room for."
    said = texts(draw(picture(LINE, [0] * 12, sentences=[sentence])))
    lines = [line for line in said if line and line in sentence]
    assert len(lines) > 1 and " ".join(lines) == sentence


def test_height_grows_with_the_rows():
    heights = [draw(clusters([8] * k)).get_size_inches()[1] for k in (1, 2, 5, 10)]
    assert heights == sorted(heights) and heights[-1] > 2 * heights[0]


def test_long_words_are_shortened_in_the_middle():
    words = texts(draw(PICTURES["odd words"]()))
    assert words[0].startswith("$x_1$") and "…" in words[0]
    assert words[1].startswith("/a/long") and words[1].endswith("path")


def test_unequal_numbers_of_points_and_labels_are_refused():
    with pytest.raises(ValueError, match=r"\(n, 2\)"):
        NeuronPicture("", "", np.zeros((3, 2)), np.zeros(2, int), [None] * 3)


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from test_neuron import PICTURES, draw, save
figure = draw(PICTURES["three"]())
for path in sys.argv[2:]:
    save(figure, path)
"""


def test_same_picture_gives_the_same_bytes_in_another_process(tmp_path):
    files = [f"neuron{ending}" for ending in (".png", ".pdf", ".svg")]
    for name in files:
        save(draw(PICTURES["three"]()), tmp_path / name)
    other = [str(tmp_path / f"other-{name}") for name in files]
    environment = {**os.environ, "PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "1"}
    command = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), *other]
    subprocess.run(command, check=True, env=environment, cwd=Path(__file__).parents[2])
    for name in files:
        assert (tmp_path / name).read_bytes() == (tmp_path / f"other-{name}").read_bytes(), name


def test_files_are_of_the_kind_their_ending_says(tmp_path):
    figure = draw(clusters([3, 2]))
    for ending, start in ((".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml"), (".PDF", b"%PDF")):
        save(figure, str(tmp_path / f"neuron{ending}"))
        assert (tmp_path / f"neuron{ending}").read_bytes().startswith(start)
    pdf = (tmp_path / "neuron.pdf").read_bytes()
    assert b"/Type3" not in pdf and b"CreationDate" not in pdf


def test_other_endings_are_refused_with_those_that_can_be_had(tmp_path):
    with pytest.raises(PureError, match=r"\.png, \.pdf, \.svg"):
        save(draw(PICTURES["never fires"]()), tmp_path / "neuron.bmp")


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    target = tmp_path / "neuron.png"
    target.write_bytes(b"old")
    figure = draw(PICTURES["never fires"]())

    def broken(self, other):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(PureFailure, match="disk full"):
        save(figure, target)
    assert [path.name for path in tmp_path.iterdir()] == ["neuron.png"]
    assert target.read_bytes() == b"old"


def test_the_users_matplotlib_settings_change_nothing_and_stay(tmp_path):
    save(draw(clusters([3, 2])), tmp_path / "plain.png")
    with matplotlib.rc_context(
        {"font.size": 30, "font.family": "monospace", "savefig.bbox": "tight", "axes.grid": True}
    ):
        save(draw(clusters([3, 2])), tmp_path / "own.png")
        assert matplotlib.rcParams["font.size"] == 30
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "own.png").read_bytes()


def test_no_window_system_is_asked_for():
    code = "import sys, pure_cli.views.neuron; sys.exit('matplotlib.pyplot' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
