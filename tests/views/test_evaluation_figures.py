"""The figures of an evaluation: what they show, and that nothing odd in the values breaks them."""

import warnings
from itertools import combinations

import numpy as np
import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from pure_cli.stages.evaluation.causal import COLUMNS, METRIC, SHARES
from pure_cli.views.evaluation import agreement_bars, correlation_bars, overview, planted_bars, separation_bars
from pure_cli.views.style import FAINT_INK, save

NAMES = ["pure", "activation-max", "cifar_resnet.py:resnet32:layer3"]
MANY = [*NAMES, "activation-mean", "clip:ViT-L-14/laion2b_s32b_b82k", "dinov2", "_own.py:a$b$c:d", "timm:" + "x" * 60]


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def distances(names):
    return [
        {"features": name, "intra": [5.8 - i / 10, 0.02], "inter": [6.2 + i / 10, 0.02]} for i, name in enumerate(names)
    ]


def correlations(names):
    return [
        {"features": name, "r": [0.4 - i / 10, 0.01], "published": None if i else 0.38} for i, name in enumerate(names)
    ]


def agreements(names, ks=(2, 3, 4)):
    return [{"features": name, "k": k, "ari": [0.1 * k, 0.01], "nmi": [0.5, None]} for name in names for k in ks]


def bars(figure) -> np.ndarray:
    """Values of all bars, upright or lying."""
    containers = [c for c in figure.axes[0].containers if hasattr(c, "orientation")]
    return np.array([v for c in containers for v in c.datavalues])


def written(figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]


def lies_on_page(figure) -> bool:
    """Whether everything that is drawn is on the page, give or take a hundredth of an inch."""
    figure.draw_without_rendering()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    return min(drawn.x0, drawn.y0) > -0.01 and drawn.x1 < width + 0.01 and drawn.y1 < height + 0.01


def digits(text) -> Bbox:
    """Where the digits of a label are, in pixels; its own extent has room for letters that go below the line."""
    point = text.axes.transData.transform(text.xy) + np.array(text.xyann) * text.figure.dpi / 72
    size = np.array([Text.get_window_extent(text).width, 0.7 * text.get_fontsize() * text.figure.dpi / 72])
    return Bbox([point - size / 2, point + size / 2])


# ---------------------------------------------------------------------------------------------------- bars


def test_separation_bars_show_intra_and_inter_and_say_where_the_axis_begins():
    figure = separation_bars(distances(NAMES), (6.08, 0.01), "clip", 2)
    assert bars(figure) == pytest.approx([5.8, 5.7, 5.6, 6.2, 6.3, 6.4])
    begin = figure.axes[0].get_ylim()[0]
    assert 0 < begin < 5.6
    assert f"axis begins at {begin:g}" in figure.axes[0].get_ylabel()
    assert {"5.80", "6.20", "random, 6.08"} <= set(written(figure))
    assert "judged by clip, k = 2" in written(figure)


def test_axis_that_is_cut_begins_at_one_of_its_ticks():
    for intra, inter in ((5.85, 6.4), (4.98, 7.18), (0.912, 0.934), (101.0, 104.0)):
        figure = separation_bars([{"features": "pure", "intra": [intra, 0], "inter": [inter, 0]}], None, "clip", 2)
        axes = figure.axes[0]
        assert axes.get_yticks()[0] == pytest.approx(axes.get_ylim()[0])
        assert 0 < axes.get_ylim()[0] < intra


@pytest.mark.parametrize(("intra", "inter"), [(1.0, 6.0), (5.0, 5.0), (0.0, 0.0)])
def test_axis_begins_at_zero_where_differences_show_or_there_are_none(intra, inter):
    figure = separation_bars([{"features": "pure", "intra": [intra, 0], "inter": [inter, 0]}], None, "clip", 2)
    assert figure.axes[0].get_ylim()[0] == 0
    assert "begins" not in figure.axes[0].get_ylabel()


def test_bars_stand_where_names_have_room_and_lie_where_they_have_not():
    assert separation_bars(distances(["dinov2", "pure", "activation-mean"]), None, "clip", 2).axes[0].get_ylabel()
    lying = separation_bars(distances(MANY), None, "clip", 2)
    assert lying.axes[0].get_xlabel()
    assert lying.axes[0].yaxis.get_inverted()  # the first on top


def test_a_value_that_is_missing_is_a_dash_and_no_bar_of_zero():
    rows = [*distances(NAMES), {"features": "x", "intra": None, "inter": [6.3, None]}]
    figure = separation_bars(rows, (None, None), "clip", 2)
    assert written(figure).count("–") == 1
    assert figure.axes[0].get_xlim()[0] > 0


def test_correlation_bars_show_the_published_value_beside():
    figure = correlation_bars(correlations(["pure", "b", "c"]), "clip")
    assert bars(figure) == pytest.approx([0.4, 0.3, 0.2])
    (published,) = [line for line in figure.axes[0].lines if line.get_marker() == "D"]
    at, value = np.array(published.get_data())
    assert value[0] == 0.38
    assert np.isnan(value[1:]).all()
    own = figure.axes[0].patches[0]
    assert own.get_x() + own.get_width() < at[0] < 0.5


def test_negative_correlations_hang_below_zero():
    figure = correlation_bars([{"features": "pure", "r": [-0.2, 0.05]}, {"features": "b", "r": [0.4, 0.01]}], "clip")
    assert bars(figure) == pytest.approx([-0.2, 0.4])
    assert figure.axes[0].get_ylim()[0] < -0.25
    assert "−0.20" in written(figure)


# ------------------------------------------------------------------------------------------------ agreement


def test_agreement_has_a_line_for_each_kind_of_features_and_one_for_chance():
    figure = agreement_bars(agreements(NAMES), "ari")
    lines = [container.lines[0] for container in figure.axes[0].containers]
    assert [line.get_ydata().tolist() for line in lines] == [pytest.approx([0.2, 0.3, 0.4])] * 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*NAMES, "chance"]
    (chance,) = figure.axes[0].collections[-1:]
    assert chance.get_paths()[0].vertices[:, 1] == pytest.approx(0)


def test_agreement_has_a_panel_for_each_measure():
    figure = agreement_bars(agreements(NAMES), ["ari", "nmi"])
    assert [axes.get_ylabel() for axes in figure.axes] == ["ARI with labels", "NMI with labels"]


def test_chance_is_a_band_over_what_the_kinds_of_features_give():
    rows = agreements(["a", "b"], [2])
    rows[0]["ari by chance"], rows[1]["ari by chance"] = [0.05, 0.01], [0.07, 0.01]
    (band,) = agreement_bars(rows, "ari").axes[0].collections[-1:]
    assert {round(y, 9) for y in band.get_paths()[0].vertices[:, 1]} == {0.05, 0.07}


@pytest.mark.parametrize("ks", [[2], [2, 3]])
def test_controls_that_the_legend_names_are_seen_within_the_axes_for_a_single_k_too(ks):
    rows = [{**row, "purity": [0.9, 0.01]} for row in agreements(NAMES, ks)]
    for row in rows:
        row |= {"ari untrained": [-0.2, 0.01], "purity untrained": [0.3, 0.01], "purity shuffled": [0.25, 0.01]}
    figure = agreement_bars(rows, ["ari", "purity"])
    named = [text.get_text() for text in figure.legends[0].get_texts() if "highest" in text.get_text()]
    assert named == ["untrained, the highest", "shuffled, the highest"]
    figure.draw_without_rendering()
    for axes, expected in zip(figure.axes, ([-0.2], [0.3, 0.25]), strict=True):
        drawn = [line for line in axes.lines if line.get_color() == FAINT_INK]
        assert [line.get_ydata()[0] for line in drawn] == expected
        for line in drawn:
            assert len(set(line.get_xdata())) > 1  # has a length
            assert axes.get_ylim()[0] < line.get_ydata()[0] < axes.get_ylim()[1]


def test_a_control_with_a_single_value_among_several_k_has_a_marker():
    rows = agreements(["a"], [2, 3])
    rows[0]["ari untrained"] = [0.1, 0.01]
    (line,) = [one for one in agreement_bars(rows, "ari").axes[0].lines if one.get_color() == FAINT_INK]
    assert line.get_marker() == "_"


# ------------------------------------------------------------------------------------------------- overview


def test_overview_names_the_extreme_neurons():
    generator = np.random.default_rng(0)
    overall, gap = generator.normal(6, 0.1, 64), generator.normal(0.4, 0.1, 64)
    overall[7], gap[7] = 9, 3
    figure = overview(np.arange(100, 164), overall, gap, "clip", "pure", label=3)
    named = [text.get_text() for text in figure.axes[0].texts]
    assert "107" in named
    assert len(named) == 3
    assert figure.get_size_inches() == pytest.approx((3.4, 3.2))
    assert sum(p.get_height() for p in figure.axes[1].patches) == 64  # every neuron is in both histograms
    assert sum(p.get_width() for p in figure.axes[2].patches) == 64


@pytest.mark.parametrize("spread", [1.0, 0.02, 0.0])
def test_names_of_neurons_lie_on_no_other_name_and_on_no_neuron(spread):
    generator = np.random.default_rng(1)
    overall, gap = generator.normal(6, spread, 200), generator.normal(0.4, spread, 200)
    overall[:2] = 3, 9
    figure = overview(np.arange(1000, 1200), overall, gap, "clip", "pure", label=12)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    boxes = [digits(text) for text in axes.texts]
    assert len(boxes) >= 2
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    for x, y in axes.transData.transform(np.stack([overall, gap], axis=1)):
        assert not any(box.x0 < x < box.x1 and box.y0 < y < box.y1 for box in boxes)


# --------------------------------------------------------------------------------------------- all of them


def figures(names):
    numbers = np.arange(len(names))
    yield separation_bars(distances(names), (6.08, 0.01), MANY[4], 2)
    yield correlation_bars(correlations(names), MANY[4])
    yield agreement_bars(agreements(names), ["ari", "nmi"])
    yield overview(numbers, 6 + numbers / 10, 0.1 * numbers, MANY[4], names[-1])


@pytest.mark.parametrize("names", [MANY[:1], NAMES, MANY, ["x" * 80] * 2], ids=["one", "three", "many", "long"])
def test_figures_are_a_column_wide_and_all_their_text_is_on_the_page_and_can_be_read(names):
    for figure in figures(names):
        assert figure.get_figwidth() == pytest.approx(3.4)
        assert lies_on_page(figure)
        texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
        assert all(7 <= text.get_fontsize() <= 8 for text in texts)
        assert {FontProperties(family=t.get_fontfamily()).get_name() for t in texts} == {"DejaVu Sans"}


def test_names_are_shown_as_they_are():
    for figure in figures(["_own.py:f", "a$b$c"]):
        figure.draw_without_rendering()
    assert "_own.py:f" in written(agreement_bars(agreements(["_own.py:f", "b"])))
    assert r"a\$b\$c" in written(agreement_bars(agreements(["a$b$c"])))  # matplotlib's way to write dollars


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_the_same_figure_gives_the_same_bytes(tmp_path, ending):
    for i in range(2):
        for j, figure in enumerate(figures(NAMES)):
            save(figure, tmp_path / f"{i}-{j}.{ending}")
    for j in range(4):
        first, second = ((tmp_path / f"{i}-{j}.{ending}").read_bytes() for i in range(2))
        assert first == second
        assert len(first) > 1000


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_or_unknown_values_still_give_a_figure(tmp_path, count):
    nothing = [
        {"features": name, "k": 2, "intra": [None, None], "inter": None, "r": None, "ari": None} for name in NAMES
    ]
    for figure in (
        separation_bars(nothing[:count], (None, None), "clip", 2),
        correlation_bars(nothing[:count], "clip"),
        agreement_bars(nothing[:count], "ari"),
        overview(np.arange(count), np.full(count, 6.0), np.full(count, np.nan), "clip", "pure"),
    ):
        assert "no values" in written(figure)
        save(figure, tmp_path / "figure.png")
    for value in (0.0, 6.0):
        save(overview(np.arange(count), np.full(count, value), np.full(count, value), "clip"), tmp_path / "figure.png")


def error_ends(figure) -> list[tuple[float, float]]:
    """Where every error bar ends, in the order in which they were drawn."""
    drawn = [c for c in figure.axes[0].containers if hasattr(c, "has_yerr")]
    segments = [(int(c.has_yerr), s) for c in drawn for s in c.lines[2][0].get_segments() if len(s)]
    return [(float(s[:, along].min()), float(s[:, along].max())) for along, s in segments]


@pytest.mark.parametrize("names", [["pure@a", "b"], [f"pure-sqrt-l2@layer3.{i}.relu1" for i in range(12)]])
def test_intervals_of_planted_units_are_drawn_where_the_table_has_them(names):
    rows = [
        {"features": name}
        | dict(zip(("ARI, 2", "ARI, 2 low", "ARI, 2 high"), (0.889, 0.578, 1.0), strict=True))
        | dict(zip(("ARI, 3", "ARI, 3 low", "ARI, 3 high"), (0.4, -0.1, 0.45), strict=True))
        for name in names
    ]
    figure = planted_bars(rows, "unions")
    assert bars(figure) == pytest.approx([0.889] * len(names) + [0.4] * len(names))
    assert bool(figure.axes[0].get_ylabel()) == (len(names) == 2)  # upright
    ends = np.array(error_ends(figure))
    assert ends == pytest.approx(np.array([[0.578, 1.0]] * len(names) + [[-0.1, 0.45]] * len(names)))


@pytest.mark.parametrize(("interval", "promised"), [((None, None), False), ((0.1, 0.9), True)])
def test_a_figure_of_planted_units_promises_what_it_shows(interval, promised):
    low, high = interval
    ends = {"ARI, 2 low": low, "ARI, 2 high": high, "ARI, 3 low": None, "ARI, 3 high": None}
    rows = [{"features": "a", "ARI, 2": 0.5, "ARI, 3": None, **ends}]
    figure = planted_bars(rows, "unions")
    assert any("95 % intervals" in text for text in written(figure)) == promised
    assert error_ends(figure) == ([pytest.approx((0.1, 0.9))] if promised else [])
    assert "2 meanings" in written(figure) and "3 meanings" not in written(figure)


def test_errors_of_distances_and_correlations_are_those_of_the_table():
    figure = separation_bars(distances(["dinov2", "pure"]), None, "clip", 2)
    assert np.array(error_ends(figure)) == pytest.approx(
        np.array([[5.78, 5.82], [5.68, 5.72], [6.18, 6.22], [6.28, 6.32]])
    )
    figure = correlation_bars(correlations(["pure", "b"]), "clip")
    assert np.array(error_ends(figure)) == pytest.approx(np.array([[0.39, 0.41], [0.29, 0.31]]))


def test_points_of_agreement_are_those_of_the_table():
    figure = agreement_bars(agreements(["pure", "b"]), ("ari", "nmi"))
    for axes, values in zip(figure.axes, ([0.2, 0.3, 0.4], [0.5] * 3), strict=True):
        for container in [c for c in axes.containers if len(c) == 3]:
            assert container.lines[0].get_ydata() == pytest.approx(values)
    assert np.array(error_ends(figure)) == pytest.approx(np.array([[0.19, 0.21], [0.29, 0.31], [0.39, 0.41]] * 2))


def test_dots_of_the_overview_are_the_neurons():
    figure = overview(np.arange(3), np.array([1.0, 2.0, 3.0]), np.array([0.1, -0.2, np.nan]), "clip")
    (dots,) = [line for axes in figure.axes for line in axes.lines if line.get_marker() == "o"]
    assert pytest.approx(np.array([[1.0, 0.1], [2.0, -0.2]])) == np.array(dots.get_data()).T


@pytest.mark.parametrize("names", [NAMES[:1], MANY])
def test_figures_of_what_is_cut_out_say_in_words_what_is_lost_and_all_of_it_is_on_the_page(names):
    columns = {name: [0.5, 0.1] for name in COLUMNS}
    columns |= {f"{name} {share:g}": [share / 2, 0.1] for name in COLUMNS for share in SHARES}
    rows = [{"features": name, "k": k, **columns} for name in names for k in (2, 3)]
    for ending, figure in METRIC.figures([{"rows": rows}], lambda _: None):
        words = " ".join(" ".join(written(figure)).split())
        for part in ("own − siblings", "1 for all of it", "positive relevance", "standard errors"):
            assert part in words, ending
        assert lies_on_page(figure)
