"""The page in a real browser, opened from the disk with the network off."""

import csv
import io
import json
import shutil
import struct
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from fake import HOSTILE_CLASS, HOSTILE_LABEL, HOSTILE_LAYER, fake_atlas

from pure_cli.views.atlas.page import page as shell

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
WAIT = 8000  # ms


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"there is no browser: none of {', '.join(BROWSERS)} is on the path")
    with playwright.sync_playwright() as driver:
        one = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield one
        one.close()


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    folder = tmp_path_factory.mktemp("atlas")
    fake_atlas(folder)
    return folder


@pytest.fixture
def visit(browser, atlas):
    """A function that opens a view; whatever the page complains of fails the test."""
    contexts, complaints = [], []

    def visit(view="", folder=atlas, size=DESK, scheme="light", expected=()):
        context = browser.new_context(
            viewport=size,
            color_scheme=scheme,
            permissions=["clipboard-read", "clipboard-write"],
            reduced_motion="reduce",
        )
        context.set_default_timeout(WAIT)
        context.set_offline(True)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda message: (
                complaints.append(message.text)
                if message.type in ("error", "warning") and not any(word in message.text for word in expected)
                else None
            ),
        )
        page.on("dialog", lambda dialog: complaints.append(f"a dialog: {dialog.message}"))
        page.goto(f"{(folder / 'index.html').as_uri()}{view}")
        page.wait_for_selector(".rows tbody tr, .card, .problem, .empty")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not complaints


def shown(page):
    return page.locator(".count").inner_text()


def hash_of(page, wanted):
    """The hash, once it is the wanted one: it follows typing after a pause."""
    page.wait_for_function("wanted => decodeURIComponent(location.hash) === wanted", arg=wanted)


def addresses(page):
    return page.locator(".rows tbody th a").all_inner_texts()


def saved(page, button):
    with page.expect_download() as download:
        page.get_by_role("button", name=button).first.click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def test_opens_from_the_disk_offline_with_map_and_table(visit):
    page = visit()
    assert page.title() == "layer3 · resnet20 · pure atlas"
    assert shown(page) == "33 of 33 shown"
    assert page.evaluate(
        "() => { const c = document.querySelector('canvas'); const d = c.getContext('2d').getImageData(0, 0, c.width,"
        " c.height).data; return d.some(value => value > 0) }"
    )


def test_search_class_k_and_checks_filter_the_table_and_the_address_bar(visit):
    page = visit()
    page.keyboard.press("/")
    page.keyboard.type("layer3/3.")
    assert shown(page) == "5 of 33 shown"
    hash_of(page, "#layer3?q=layer3/3.")
    page.get_by_role("button", name="Reset").click()
    page.get_by_label("Virtual neurons of the neuron, k").select_option("1")
    assert shown(page) == "3 of 33 shown"
    page.get_by_label("only split").check()
    assert shown(page) == "0 of 33 shown"
    page.get_by_text("No virtual neuron is left by these filters.").wait_for()
    page.get_by_role("button", name="Reset").click()
    page.get_by_label("Top class", exact=True).select_option("ship")
    ships = page.locator(".rows tbody tr:not(.spacer)").all_inner_texts()
    assert ships
    assert all("ship" in text for text in ships)
    hash_of(page, "#layer3?class=ship")


def test_limits_leave_what_lies_within_them(visit):
    page = visit()
    page.get_by_role("button", name="Limits").click()
    page.get_by_label("p, most").fill("0.1")
    few = page.locator(".rows tbody tr").count()
    values = page.locator(".rows tbody tr").evaluate_all(
        "rows => rows.map(row => Number(row.cells[[...document.querySelectorAll('thead th')].findIndex(head =>"
        " head.innerText.trim() === 'p')].innerText.replace('−', '-')))"
    )
    assert 0 < few < 33
    assert max(values) <= 0.1
    hash_of(page, "#layer3?f=p<=0.1")
    page.reload()
    page.wait_for_selector(".rows tbody tr")
    assert page.locator(".rows tbody tr").count() == few


def test_every_column_sorts_both_ways_with_unknown_values_last(visit):
    page = visit()
    for head in page.locator(".rows thead th button").all():
        ways = set()
        for _ in range(2):
            head.click()
            ways.add(head.locator("xpath=..").get_attribute("aria-sort"))
        assert ways == {"ascending", "descending"}
    page.get_by_role("button", name="AUPRC").click()
    if "▴" in page.get_by_role("button", name="AUPRC").inner_text():
        page.get_by_role("button", name="AUPRC").click()
    scores = [text.strip() for text in page.locator(".rows tbody tr td:nth-child(4)").all_inner_texts()]
    known = [float(text) for text in scores if text != "–"]
    assert known == sorted(known, reverse=True)
    assert "–" not in scores[: len(known)]


def test_deep_link_back_forward_and_reload_lead_to_the_same_view(visit):
    page = visit("#layer3/3.2?images=whole")
    page.wait_for_selector(".part")
    assert page.locator(".part.current").get_attribute("data-part") == "1"
    assert page.get_by_role("button", name="whole images").get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="Next neuron").or_(page.get_by_role("link", name="Next neuron")).click()
    page.wait_for_selector("h1:has-text('Neuron 4')")
    page.go_back()
    page.wait_for_selector("h1:has-text('Neuron 3')")
    assert page.locator(".part.current").get_attribute("data-part") == "1"
    page.go_forward()
    page.wait_for_selector("h1:has-text('Neuron 4')")
    page.reload()
    page.wait_for_selector("h1:has-text('Neuron 4')")
    assert page.evaluate("location.hash") == "#layer3/4?images=whole"


def test_keys_move_open_switch_and_close(visit):
    page = visit()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("j")
    assert page.locator(".rows [aria-current=true] a").inner_text() == "0.2"
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('Neuron 0')")
    page.keyboard.press("n")
    page.wait_for_selector("h1:has-text('Neuron 1')")
    page.keyboard.press("p")
    page.wait_for_selector("h1:has-text('Neuron 0')")
    page.keyboard.press("m")
    page.wait_for_selector(".tile .box")
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys").wait_for()
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    page.keyboard.press("Escape")
    page.wait_for_selector(".pane", state="detached")
    hash_of(page, "#layer3?images=whole")


def test_map_opens_by_click_and_by_arrows_and_zooms(visit):
    page = visit()
    canvas = page.get_by_role("application")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    first = page.locator(".tip").inner_text()
    page.keyboard.press("ArrowUp")
    assert page.locator(".tip").inner_text() != first
    page.keyboard.press("Enter")
    page.wait_for_selector(".pane h1")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Zoom in").click()
    page.mouse.move(*(canvas.bounding_box()[key] + 200 for key in ("x", "y")))
    page.mouse.wheel(0, -400)
    page.get_by_role("button", name="The whole map").click()
    page.get_by_label("Colour", exact=True).select_option("polysemanticity")
    page.get_by_label("Map", exact=True).select_option("circuits")
    hash_of(page, "#layer3?map=circuits&color=polysemanticity")


def test_tiles_expand_and_enlarge_with_path_class_and_score(visit):
    page = visit("#layer3/2")
    page.wait_for_selector(".tile")
    few = page.locator(".part .gallery").first.locator(".tile").count()
    page.get_by_role("button", name="all 30 images").click()
    assert few < page.locator(".part .gallery").first.locator(".tile").count() == 30
    tile = page.locator(".tile").nth(3)
    path = tile.get_attribute("title").split(" · ")[0]
    tile.click()
    dialog = page.get_by_role("dialog")
    assert path in dialog.inner_text()
    assert "25 %–75 % across" in dialog.inner_text()
    page.keyboard.press("ArrowRight")
    assert dialog.get_attribute("aria-label").endswith("5 of 30")


def test_two_neurons_side_by_side_by_address_and_by_picking(visit):
    page = visit("#layer3/3")
    page.wait_for_selector(".part")
    page.keyboard.press("c")
    page.get_by_label("Address, label or class").fill("1.2")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelectorAll('.pane h1').length === 2")
    hash_of(page, "#layer3/3+layer3/1.2")
    page.get_by_role("button", name="Close neuron layer3/3").click()
    hash_of(page, "#layer3/1.2")
    page.get_by_role("button", name="Compare with").click()
    page.get_by_role("button", name="Pick on the map or in the table").click()
    page.locator(".rows tbody tr", has=page.get_by_role("link", name="layer3/0.2", exact=True)).click()
    hash_of(page, "#layer3/1.2+layer3/0.2")


def test_links_lead_to_nearest_units_and_to_lower_layers_that_the_atlas_has(visit):
    page = visit("#layer4#top/3")
    page.wait_for_selector(".part")
    page.locator(".near a").first.click()
    page.wait_for_function("() => !location.hash.includes('/3')")
    page.go_back()
    page.wait_for_selector("h1:has-text('Neuron 3')")
    page.locator(".channel[href]").first.click()
    page.wait_for_function("() => location.hash.startsWith('#layer3/')")
    page.go_back()
    page.wait_for_selector(".chart a")
    page.locator(".chart a").first.click()
    page.wait_for_function("() => location.hash.startsWith('#layer3/')")


def test_hostile_names_stay_text(visit):
    page = visit(f"#{HOSTILE_LAYER}/0")
    page.wait_for_selector(".part")
    assert HOSTILE_LABEL in page.inner_text(".rows")
    assert HOSTILE_LABEL in page.inner_text(".pane")
    assert "a\"b'c\\n<b>.png" in page.locator(".tile").first.get_attribute("title")
    assert page.locator("img, #app script").count() == 0
    page.get_by_label("Top class", exact=True).select_option(HOSTILE_CLASS)
    assert "of 33" in shown(page)
    page.wait_for_function("() => location.hash.includes('class=%3Cimg')")
    page.reload()
    page.wait_for_selector(".rows tbody tr")
    assert page.get_by_label("Top class", exact=True).input_value() == HOSTILE_CLASS
    page.goto(page.url.split("#")[0] + "#audit/%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
    page.wait_for_selector(".card h1")
    assert HOSTILE_CLASS in page.inner_text(".card h1")


def test_the_table_is_saved_as_filtered_and_sorted_and_no_cell_is_a_formula(visit):
    page = visit("#layer3?sort=-lift&q=layer3")
    name, content = saved(page, "Table as CSV")
    text = content.decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert name == "layer3.csv"
    assert text.count("\r\n") == 34
    lifts = [float(row["lift"]) for row in rows]
    assert lifts == sorted(lifts, reverse=True)
    assert {row["label"] for row in rows} >= {"'=1+1", HOSTILE_LABEL}
    assert rows[0]["address"].startswith("layer3/")


def test_map_and_neuron_are_saved_as_svg_and_png_that_need_nothing_else(visit):
    page = visit("#layer3/3")
    page.wait_for_selector(".part")
    for menu, name in ((".map", "layer3-map"), (".pane", "layer3-3")):
        page.locator(f"{menu} summary", has_text="Export").click()
        file, svg = _menu(page, menu, "SVG")
        assert file == f"{name}.svg"
        root = ET.fromstring(svg)
        text = " ".join(root.itertext())
        assert "resnet20" in text
        assert "pure 1.4.0" in text
        images = [
            value
            for node in root.iter()
            for key, value in node.attrib.items()
            if key.endswith("href") and "image" in node.tag
        ]
        assert all(value.startswith("data:image/") for value in images)
        assert len(images) > 10 or menu == ".map"
        page.locator(f"{menu} details.menu").evaluate("node => node.open = true")
        file, png = _menu(page, menu, "PNG")
        assert file == f"{name}.png"
        assert png[:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">I", png[16:20])[0] > 600


def _menu(page, menu, kind):
    with page.expect_download() as download:
        page.locator(f"{menu} .items button", has_text=f"as {kind}").click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def test_links_commands_and_citation_are_copied(visit):
    page = visit("#layer3/3?images=whole")
    page.wait_for_selector(".part")
    page.get_by_role("button", name="Copy a link to layer3/3.2").click()
    page.wait_for_selector(".done")
    assert page.evaluate("navigator.clipboard.readText()").endswith("index.html#layer3/3.2?images=whole")
    page.get_by_role("button", name="Copy the command").first.click()
    assert page.evaluate("navigator.clipboard.readText()") == "pure render --neurons layer3/3"
    page.get_by_role("button", name="About this atlas").click()
    page.get_by_role("dialog").get_by_role("button", name="BibTeX").click()
    assert page.evaluate("navigator.clipboard.readText()").startswith("@software{pure")


def test_what_is_not_there_is_told_with_the_nearest(visit):
    page = visit("#layr3/3")
    assert "nothing called “layr3”" in page.inner_text(".problem")
    page.locator(".problem a").first.click()
    page.wait_for_selector(".rows")
    hash_of(page, "#layer3")
    page = visit("#layer3/99")
    page.wait_for_selector(".pane .problem")
    assert "no neuron layer3/99" in page.inner_text(".pane .problem")
    assert page.locator(".pane .problem a").first.inner_text() == "layer3/11"
    page = visit("#audit/shop")
    assert page.locator(".problem a").first.inner_text() == "ship"


def test_a_file_that_is_missing_or_damaged_is_named_in_a_sentence(visit, tmp_path):
    fake_atlas(tmp_path, neurons=4)
    (tmp_path / "data/layer3/n/000001.js").unlink()
    (tmp_path / "data/layer3/n/000002.js").write_text("pureAtlas('something else', 1)")
    page = visit("#layer3/1", tmp_path, expected=("ERR_FILE_NOT_FOUND",))
    for neuron in (1, 2):
        page.wait_for_selector(f".pane[aria-label='Neuron layer3/{neuron}'] .problem")
        told = page.inner_text(".pane .problem")
        assert f"data/layer3/n/00000{neuron}.js is missing or damaged" in told
        assert "pure atlas" in told
        page.keyboard.press("n")
    page.wait_for_selector("h1:has-text('Neuron 3')")


def test_the_card_of_a_class_shows_drivers_and_prints_on_one_page(visit):
    page = visit("#audit/ship")
    page.wait_for_selector(".card")
    first, together = page.locator(".drivers").all()
    assert "91.0 % → 72.0 %" in first.inner_text()
    assert together.locator("tbody tr").inner_text().split("\t") == ["2", "41.3 %", "90.0 %", "91.2 %", "89.9 %"]
    assert len(page.pdf(format="A4").split(b"/Type /Page\n")) <= 2
    first.locator("a").first.click()
    hash_of(page, "#layer3/0.1")


def test_dark_is_kept_and_paper_is_white(visit):
    page = visit("#layer3/3", scheme="dark")
    page.wait_for_selector(".part")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(20, 23, 26)"
    page.get_by_role("button", name="Light colours").click()
    page.reload()
    page.wait_for_selector(".part")
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    page.get_by_role("button", name="Dark colours").click()
    page.emulate_media(media="print")
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    page.locator(".rows").wait_for(state="hidden")
    assert page.locator(".pane").evaluate("node => getComputedStyle(node).columnCount") == "2"


def test_a_phone_shows_the_neuron_alone_and_the_way_back(visit):
    page = visit("#layer3", size=PHONE)
    page.locator(".rows tbody a").first.click()
    page.wait_for_selector(".pane h1")
    page.locator(".rows").wait_for(state="hidden")
    page.get_by_role("button", name="layer3", exact=True).click()
    page.locator(".rows").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_few_neurons_stay_in_memory(visit):
    page = visit("#layer3/0")
    page.evaluate(
        "window.kept = 0; const make = URL.createObjectURL, drop = URL.revokeObjectURL;"
        "URL.createObjectURL = blob => (window.kept++, make(blob));"
        "URL.revokeObjectURL = url => (window.kept--, drop(url))"
    )
    for neuron in range(1, 12):
        page.keyboard.press("n")
        page.wait_for_selector(f"h1:has-text('Neuron {neuron}')")
    assert page.evaluate("window.kept") <= 14


def serious(page):
    """What axe holds for serious or critical, and where."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    return [
        (page.url.split("#")[-1], one["id"], [node["html"] for node in one["nodes"]][:3])
        for one in axe.run(page).response["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing_serious(visit, scheme, size):
    page = visit("#layer3?f=p<0.5", size=size, scheme=scheme)
    views = {"#layer3?f=p<0.5": ".limits", "#layer3/3+layer3/1": ".pane + .pane .part", "#audit/ship": ".drivers"}
    for view, loaded in views.items():
        page.evaluate("hash => { location.hash = hash }", view)
        page.wait_for_selector(loaded)
        assert not serious(page)


def test_axe_finds_nothing_serious_in_a_neuron_and_its_dialogs(visit):
    page = visit("#layer3/3")
    page.wait_for_selector(".part")
    page.locator(".pane summary", has_text="Export").click()
    assert not serious(page)
    for opened in (
        lambda: page.locator(".tile").first.click(),
        lambda: page.get_by_role("button", name="About this atlas").click(),
        lambda: page.keyboard.press("c"),
    ):
        opened()
        page.wait_for_selector("dialog[open]")
        assert not serious(page)
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog", state="detached")


def test_a_page_inside_a_notebook_needs_no_files(browser, atlas, tmp_path):
    def content(path):
        text = (atlas / path).read_text()
        key, value = json.loads(f"[{text.strip().removeprefix('pureAtlas(').removesuffix(')')}]")
        return key, value

    site = fake_atlas(tmp_path, neurons=1)
    chunks = dict(content(f"data/layer3/{name}.js") for name in ("layer", "icons-0", "n/000003"))
    html = shell({**site, "start": "layer3/3.2"}, chunks)
    context = browser.new_context(viewport=DESK)
    page = context.new_page()
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.set_content("<iframe width=1200 height=700></iframe>")
    page.evaluate("html => { document.querySelector('iframe').srcdoc = html }", html)
    frame = page.frame_locator("iframe")
    frame.locator(".part.current").wait_for(timeout=WAIT)
    assert frame.locator("h1").inner_text().startswith("Neuron 3")
    frame.locator(".strip a").first.click()
    frame.locator('.part.current[data-part="0"]').wait_for(timeout=WAIT)
    context.close()
    assert not complaints
