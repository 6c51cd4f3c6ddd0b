"""The figures of an evaluation: what they show, and that nothing odd in the values breaks them."""

import warnings

import numpy as np
import pytest

from pure_cli.views.evaluation import agreement_bars, correlation_bars, overview, separation_bars
from pure_cli.views.style import save

NAMES = ["pure", "activation-max", "cifar_resnet.py:resnet32:layer3"]


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def heights(figure) -> list[float]:
    return [bar.get_height() for bar in figure.axes[0].patches]


def test_separation_bars_show_intra_and_inter_and_say_where_the_axis_begins(tmp_path):
    rows = [
        {"features": name, "intra": [5.8 - i / 10, 0.02], "inter": [6.2 + i / 10, 0.02]} for i, name in enumerate(NAMES)
    ]
    figure = separation_bars(rows, (6.08, 0.01), "clip", 2)
    assert sorted(heights(figure)) == pytest.approx(sorted([5.8, 5.7, 5.6, 6.2, 6.3, 6.4]))
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert "axis begins" in figure.axes[0].get_ylabel()
    assert {"5.80", "6.20"} <= set(texts)
    for ending in ("png", "pdf", "svg"):
        save(figure, tmp_path / f"bars.{ending}")
        assert (tmp_path / f"bars.{ending}").stat().st_size > 1000


def test_correlation_bars_show_the_published_value_beside(tmp_path):
    rows = [{"features": name, "r": [0.4, 0.01], "published": 0.38 if name == "pure" else None} for name in NAMES]
    figure = correlation_bars(rows, "clip")
    assert heights(figure) == pytest.approx([0.4] * 3)
    (published,) = [line for line in figure.axes[0].lines if line.get_marker() == "D"]
    assert published.get_ydata() == pytest.approx([0.38])
    save(figure, tmp_path / "r.png")


def test_agreement_has_a_line_for_each_kind_of_features(tmp_path):
    rows = [{"features": name, "k": k, "ari": [0.1 * k, 0.01]} for name in NAMES for k in (2, 3, 4)]
    figure = agreement_bars(rows, "ari")
    assert len(figure.axes[0].containers) == len(NAMES)
    save(figure, tmp_path / "ari.png")


def test_overview_names_the_extreme_neurons(tmp_path):
    generator = np.random.default_rng(0)
    overall, gap = generator.normal(6, 0.1, 64), generator.normal(0.4, 0.1, 64)
    overall[7], gap[7] = 9, 3
    figure = overview(np.arange(64), overall, gap, "clip", "pure", labelled=3)
    named = [text.get_text() for text in figure.axes[0].texts]
    assert "7" in named
    assert len(named) == 3
    save(figure, tmp_path / "overview.png")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_or_unknown_values_still_give_a_figure(tmp_path, count):
    nothing = [
        {"features": name, "k": 2, "intra": [None, None], "inter": None, "r": None, "ari": None} for name in NAMES
    ]
    for figure in (
        separation_bars(nothing[:count], (None, None), "clip", 2),
        correlation_bars(nothing[:count], "clip"),
        agreement_bars(nothing[:count], "ari"),
        overview(np.arange(count), np.full(count, 6.0), np.full(count, np.nan if count == 2 else 1.0), "clip", "pure"),
    ):
        save(figure, tmp_path / "figure.png")
