"""The page in a real browser: generate, condition, chart, download, keyboard, dark and light, no network but
the server."""

import csv
import io
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from http_app import Running, running
from processes import until
from synthmill.config import StorageConfig
from synthmill.serving.auth import KeyFile, create_key
from synthmill.serving.quota import Quota

CHROMIUM = Path("/usr/bin/chromium")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="no Chromium at /usr/bin/chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=["light", "dark"])
def page(browser: Any, local_server: Running, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page, loaded; fails on script errors and on any request to another server."""
    page = browser.new_page(color_scheme=request.param, viewport={"width": 1280, "height": 900})
    faults: list[str] = []
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    page.on(
        "console",
        lambda message: (
            faults.append(message.text)
            if message.type == "error" and "status of 422" not in message.text
            else None
        ),
    )
    page.on(
        "request",
        lambda sent: (
            faults.append(sent.url) if not sent.url.startswith((local_server.url, "data:", "blob:")) else None
        ),
    )
    page.goto(local_server.url)
    page.locator("#status", has_text=" rows from ").wait_for()
    yield page
    page.close()
    assert faults == []


def generate(page: Any) -> None:
    page.click("#go")
    page.locator("#status", has_text=" rows from ").wait_for()


def test_rows_and_charts_appear(page: Any):
    page.fill("#count", "200")
    generate(page)
    assert page.locator("#table tbody tr").count() == 100
    assert "200 rows shown" in page.text_content("#table caption")
    names = page.locator("#charts strong").all_text_contents()
    assert {"age", "plan", "spend", "joined", "churned"} <= set(names)
    assert "customer" not in names
    label = page.locator("#charts figure", has_text="plan").locator("svg").get_attribute("aria-label")
    assert "basic" in label
    assert "training" in label
    assert "overlap" in page.locator("#charts figure", has_text="plan").locator("figcaption").text_content()
    assert page.locator("#charts figure:not(:has(.bar-training))").count() == 0
    assert page.locator("#charts .bar-generated").count() > 20
    overlaps = [
        int(text.split()[1].rstrip("%").split(".")[0])
        for text in page.locator("figcaption span").all_text_contents()
    ]
    assert f"{min(overlaps)}%" in page.locator("#figures div", has_text="Least overlap").text_content()
    page.get_by_label("Order").select_option("worst")
    assert (
        page.locator("#charts strong").first.text_content()
        in page.locator("#figures div", has_text="Least overlap").text_content()
    )


def test_times_of_day_and_durations_are_charted(page: Any):
    edges = [hour * 3_600_000 for hour in (0, 12, 24)]
    told = page.evaluate(
        """async (edges) => {
          const { chart } = await import("/page/charts.js");
          const summary = { edges, shares: [0.5, 0.5], temporal: true, clock: true, missing: 0 };
          const of = (values) => chart("x", values, summary);
          const label = of(["08:00:00"]).figure.querySelector("svg").getAttribute("aria-label");
          return [of(["08:00:00", "11:59:59.999", "12:00:00", "23:59:59"]).overlap, of(["2:00:00", "0 days 23:00:00"]).overlap,
                  of(["1:00", "1 day, 2:00:00"]).overlap, of(["-1 day, 23:00:00", "0:01:00"]).overlap, label];
        }""",
        edges,
    )
    assert told == [1, 1, 1, 0.5, "x. from 00:00 to 24:00. The two distributions overlap by 50%."]


def test_a_program_is_told_how_to_ask_for_the_same(page: Any):
    page.click("#add")
    page.get_by_label("Column of condition 1").select_option("plan")
    page.get_by_label("Value of condition 1").fill("pro")
    page.fill("#count", "20")
    page.fill("#seed", "7")
    page.locator("#code-part summary").click()
    shell, program = page.text_content("#curl"), page.text_content("#python")
    told = subprocess.run(
        ["sh", "-c", shell.replace("-o rows.csv", "-s")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    rows: dict[str, Any] = {}
    exec(program, rows)
    assert len(rows["rows"]) == 20
    assert set(rows["rows"]["plan"]) == {"pro"}
    assert [row["age"] for row in csv.DictReader(io.StringIO(told))] == [
        str(age) for age in rows["rows"]["age"]
    ]


def test_a_long_download_can_be_stopped(page: Any, local_server: Running):
    page.fill("#count", "9000000")
    page.click("#download")
    page.get_by_role("button", name="Stop").click()
    page.locator("#status", has_text="Stopped.").wait_for()
    until(lambda: local_server.service.queue.streams == 0, seconds=20, what="the end of the work")


def test_conditions_hold_and_mistakes_are_announced(page: Any):
    page.click("#add")
    page.get_by_label("Column of condition 1").select_option("plan")
    page.get_by_label("Value of condition 1").fill("team")
    generate(page)
    cells = page.locator("#table tbody tr td:nth-child(3)").all_text_contents()
    assert set(cells) == {"team"}
    assert page.text_content("#charts-title") == "Columns, against all training rows"
    assert "conditions shift it" in page.text_content("#figures")
    page.get_by_label("Value of condition 1").fill("gold")
    page.click("#go")
    page.wait_for_selector("#error:not([hidden])")
    assert "no generated row has that value of 'plan'" in page.text_content("#error")
    assert page.locator("#error").get_attribute("role") == "alert"


def test_a_download_has_all_rows(page: Any):
    page.fill("#count", "3000")
    page.fill("#seed", "7")
    with page.expect_download() as started:
        page.click("#download")
    rows = list(csv.DictReader(io.StringIO(Path(started.value.path()).read_text())))
    assert len(rows) == 3000
    assert started.value.suggested_filename == "customers-2-synthetic.csv"


def test_the_keyboard_alone_is_enough(page: Any):
    tab_to(page, "go")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.keyboard.press("Enter")
    page.locator("#status", has_text=" rows from ").wait_for()
    assert page.evaluate("document.activeElement.id") == "go", "the work took the focus away"


def test_the_keyboard_keeps_its_place_while_work_runs(page: Any):
    held: list[Any] = []
    page.route("**/rows", lambda route: held.append(route))
    tab_to(page, "go")
    page.keyboard.press("Enter")
    page.locator("#stop").wait_for()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "go"
    assert page.locator("#go").get_attribute("aria-disabled") == "true"
    tab_to(page, "go")
    assert len(held) == 1, "one action at a time"
    held[0].continue_()
    page.locator("#status", has_text=" rows from ").wait_for()
    assert page.locator("#go").get_attribute("aria-disabled") == "false"


def test_another_model_ends_the_work_that_runs(page: Any):
    held: list[Any] = []
    page.route("**/rows", lambda route: route.continue_() if held else held.append(route))
    page.click("#go")
    page.locator("#stop").wait_for()
    page.locator("#model").dispatch_event("change")
    page.locator("#status", has_text=" rows from ").wait_for()
    assert page.locator("#stop").is_hidden()
    assert page.locator("#error").is_hidden()
    assert page.locator("#go").get_attribute("aria-disabled") == "false"


def test_a_model_that_can_not_be_loaded_is_not_the_one_that_generates(browser: Any, local_server: Running):
    page = browser.new_page()
    page.goto(local_server.url)
    page.locator("#status", has_text=" rows from customers@2").wait_for()
    page.route(
        "**/v1/models/other",
        lambda route: route.fulfill(status=503, json={"error": {"message": "the store is away"}}),
        times=1,
    )
    page.select_option("#model", "other")
    page.locator("#error", has_text="the store is away").wait_for()
    assert page.text_content("#about") == page.text_content("#curl") == ""
    page.click("#add")
    assert page.locator("#clauses li").count() == 0
    page.click("#go")
    page.locator("#status", has_text=" rows from other@1").wait_for()
    assert page.locator("#error").is_hidden()
    page.close()


def test_a_seed_that_a_script_can_not_hold_is_refused(page: Any):
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    page.fill("#seed", "9007199254740993")
    assert page.text_content("#curl") == "The seed is not valid."
    page.click("#go")
    assert page.evaluate("document.activeElement.id") == "seed"
    page.locator("#model").dispatch_event("change")
    page.locator("#status", has_text="Correct what is marked.").wait_for()
    assert sent == []
    page.fill("#seed", "9007199254740991")
    generate(page)
    assert '"seed":9007199254740991' in page.text_content("#curl")


def test_a_server_of_few_rows_is_asked_for_no_more(browser: Any, model_store: Path):
    with running(
        store=str(model_store), models="customers", insecure_local=True, limits={"max_rows": 500}
    ) as server:
        page = browser.new_page()
        page.goto(server.url)
        page.locator("#status", has_text="500 rows from ").wait_for()
        page.close()


def test_a_key_that_may_not_generate_can_be_left(browser: Any, model_store: Path, tmp_path: Path):
    file = KeyFile(str(tmp_path), "keys.json", StorageConfig())
    token, _ = create_key(
        file,
        name="prometheus",
        scopes=("metrics",),
        models=None,
        days=None,
        quota=Quota(),
        now=datetime.now(UTC),
    )
    with running(store=str(model_store), models="customers", keys=file.uri) as server:
        page = browser.new_page()
        page.goto(server.url)
        page.fill("#key", token)
        page.get_by_role("button", name="Sign in").click()
        page.locator("#error", has_text="no scope 'generate'").wait_for()
        page.get_by_role("button", name="Sign out").click()
        page.locator("#key").wait_for()
        page.close()


def tab_to(page: Any, name: str) -> None:
    page.focus("#model")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == name:
            return
    raise AssertionError(f"#{name} can't be reached by Tab")


def test_a_screen_reader_finds_names_for_everything(page: Any):
    generate(page)
    page.click("#add")
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('input, select, button, svg:not([aria-hidden="true"]), img')]
        .filter((e) => e.offsetParent !== null || e.tagName === 'svg')
        .filter((e) => !(e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim() || e.alt))
        .map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert unnamed == []
    assert page.locator("#status").get_attribute("aria-live") == "polite"
    assert page.locator("th:not([scope])").count() == 0
    assert page.evaluate("document.documentElement.lang") == "en"


def test_text_stands_out_from_its_ground(page: Any):
    generate(page)
    ratios = page.evaluate(
        """() => {
        const parse = (text) => text.match(/[0-9.]+/g).slice(0, 3).map(Number);
        const linear = (v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
        const light = (text) => { const [r, g, b] = parse(text).map(linear); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const ground = (e) => {
          const colour = e ? getComputedStyle(e).backgroundColor : 'rgb(255, 255, 255)';
          return colour.endsWith(', 0)') || colour === 'transparent' ? ground(e.parentElement) : colour;
        };
        return ['h2', '#about', '#status', 'small', 'td', 'th', '#go', '#download', 'a', 'figcaption span', 'caption'].map((selector) => {
          const e = document.querySelector(selector);
          const a = light(getComputedStyle(e).color), b = light(ground(e));
          return [selector, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
        });
      }"""
    )
    assert [pair for pair in ratios if pair[1] < 4.5] == []


def test_nothing_overflows_on_a_phone(browser: Any, local_server: Running):
    page = browser.new_page(viewport={"width": 360, "height": 740})
    page.goto(local_server.url)
    page.locator("#status", has_text=" rows from ").wait_for()
    generate(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.close()


def test_the_api_page_lists_every_operation(browser: Any, local_server: Running):
    page = browser.new_page()
    page.goto(f"{local_server.url}/docs")
    page.wait_for_selector(".operation")
    titles = page.locator(".operation h2").all_text_contents()
    assert "POST /v1/models/{name}/rows" in titles
    assert page.get_by_text("Same seed, model version and conditions").count() == 1
    assert page.get_by_role("row", name="429 Queue full or quota used up; see Retry-After").count() == 1
    page.close()
