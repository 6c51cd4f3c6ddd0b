"""How quick the page is with 2,048 neurons: python tests/views/atlas/timing.py [NEURONS]."""

import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

from fake import fake_atlas
from playwright.sync_api import Page, sync_playwright

# Time until the frame after next, when what an action changes has been painted.
PAINTED = "requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)))"
TYPE = f"""text => new Promise(done => {{
    const field = document.getElementById("search"), start = performance.now();
    field.value = text;
    field.dispatchEvent(new Event("input", {{ bubbles: true }}));
    {PAINTED};
}})"""
SORT = f"""at => new Promise(done => {{
    const start = performance.now();
    document.querySelectorAll(".rows thead button")[at].click();
    {PAINTED};
}})"""
TYPED = ("d", "dog", "layer3/1", "")
ROUNDS = 6


def told(what: str, times: list[float]) -> None:
    print(f"{what:<34} median {median(times):5.0f} ms, slowest {max(times):5.0f} ms")


def measured(page: Page, index: Path) -> None:
    paints, tables = [], []
    for _ in range(ROUNDS):
        page.goto("about:blank")
        page.goto(index.as_uri())
        page.wait_for_selector(".rows tbody tr")
        tables.append(page.evaluate("performance.now()"))
        page.wait_for_function("() => performance.getEntriesByName('first-contentful-paint').length")
        paints.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
    told("first paint", paints)
    told("table and map", tables)
    told("filter, until painted", [page.evaluate(TYPE, text) for _ in range(ROUNDS) for text in TYPED])
    told("sort, until painted", [page.evaluate(SORT, at) for _ in range(ROUNDS) for at in (1, 2, 4)])


def main(neurons: int = 2048) -> None:
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        site = fake_atlas(Path(name), neurons, references=100, files=4)
        layer = site["layers"][0]
        print(f"{layer['neurons']:,} neurons, {layer['virtual']:,} virtual neurons")
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        measured(browser.new_page(viewport={"width": 1280, "height": 800}), Path(name) / "index.html")
        browser.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
