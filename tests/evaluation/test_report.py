import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from evidence import KINDS, people, with_copies
from synthmill.evaluation.evaluate import evaluate
from synthmill.evaluation.files import report_files
from synthmill.evaluation.html import to_html
from synthmill.evaluation.report import Report, from_json
from synthmill.evaluation.tables import Tables
from synthmill.evaluation.words import number, worst_columns

FOLDER = Path(__file__).parents[1] / "golden" / "report"
GOLDEN, IMAGES = FOLDER / "report.json", FOLDER / "pictures.json"


@pytest.fixture(scope="module")
def report():
    train = people(900, 1)
    leaky = with_copies(people(900, 5), train, 0.1)
    tables = Tables(train, people(300, 2), people(800, 3), leaky, KINDS)
    secret = {
        "dataset": "people <b>@1",
        "model": "people@3",
        "model_digest": "ab" * 32,
        "contains_training_rows": False,
    }
    return evaluate(tables, target="outcome", profile="standard", sample_rows=500, provenance=secret)


@pytest.fixture(scope="module")
def files(report):
    return report_files(report)


def test_there_is_a_file_for_every_reader(files):
    assert set(files) == {"report.json", "report.html", "junit.xml", "summary.md"}


def test_json_is_canonical_and_reads_back(report, files):
    again = from_json(files["report.json"])
    assert again == report
    assert again.to_json() == files["report.json"]
    plain = json.loads(files["report.json"])
    assert plain["format"] == "synthmill.report/1"
    assert report.digest == again.digest


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.links, self.open, self.text = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "xlink:href", "action")]
        if tag not in ("meta", "br", "line", "rect", "circle", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def page(files):
    found = Page()
    found.feed(files["report.html"].decode())
    return found


def test_the_page_is_one_file_without_scripts_or_links(page, files):
    assert len(files["report.html"]) < 500_000
    assert "script" not in page.tags
    assert page.links == []
    assert "url(" not in files["report.html"].decode()
    assert "@import" not in files["report.html"].decode()
    assert page.open == []
    assert page.tags.count("svg") > 8


def test_the_order_is_that_of_a_decision(page):
    text = " ".join(page.text)
    text = text[text.index("Synthetic data quality report") :]
    order = [
        "Failed",
        "Utility",
        "Fidelity",
        "Privacy",
        "Provenance",
        "What needs attention",
        "What to do.",
        "Augmentation lift",
        "Columns that differ most",
        "Pairs of columns",
        "Threat model",
        "What was not tested",
        "Nearest neighbours",
        "How to reproduce",
    ]
    place = 0
    for item in order:
        found = text.find(item, place)
        assert found >= 0, f"{item} does not come after what stands before it"
        place = found


def test_names_are_escaped(files):
    assert b"people <b>@1" not in files["report.html"]
    assert b"people &lt;b&gt;@1" in files["report.html"]


def test_no_cell_of_a_training_row_is_in_the_report(files):
    """Pay is continuous, so a value that occurs once would give its row away; bin edges are rounded."""
    train = people(900, 1)
    cells = {f"{v:.2f}" for v in train["pay"].to_pylist() if v is not None} | set(train["code"].to_pylist())
    for name in ("report.html", "report.json", "summary.md", "junit.xml"):
        words = set(re.findall(r"[A-Z]\d{3}-\d{6}|\d+\.\d{2}(?!\d)", files[name].decode()))
        assert not {w for w in words & cells if float(w.split("-")[0].lstrip("P")) > 100}, name


def test_junit_counts_failures_and_skips(report, files):
    suite = ET.fromstring(files["junit.xml"]).find("testsuite")
    failed = [g for g in report.gates if g.status == "fail" and g.severity == "error"]
    assert failed
    assert int(suite.get("failures")) == len(failed) == len(suite.findall("testcase/failure"))
    assert int(suite.get("tests")) == len(report.gates)
    assert int(suite.get("skipped")) == len(suite.findall("testcase/skipped")) > 0
    assert suite.find("properties/property[@name='verdict']").get("value") == "fail"


def test_the_summary_names_the_verdict_and_what_failed(report, files):
    text = files["summary.md"].decode()
    assert text.startswith("### Synthetic data: failed")
    assert "privacy.exact_copy_excess" in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert re.sub(r"\\\|", "", line).count("|") in (5, 6)


def test_what_failed_is_explained_in_plain_words_with_its_worst_columns(report, page, files):
    text = " ".join(page.text)
    assert "Are training rows repeated word for word?" in text
    classifier = report.metrics["fidelity.c2st_auc"]
    failed = classifier.model_copy(
        update={"direction": "target", "per_column": {"b": 0.2, "a": 0.3, "c": 0.0}}
    )
    assert worst_columns(failed, "abc") == ["a (0.3)", "b (0.2)"]
    rates = classifier.model_copy(update={"direction": "maximize", "per_column": {"x|y": 0.9, "z": 1.0}})
    assert worst_columns(rates, "xyz") == ["x and y (0.9)"]


def test_columns_with_a_bar_in_their_names_keep_it(report):
    names = ["a|b", "c", "d"]
    gap = report.metrics["tabular.pair_gap"].model_copy(
        update={"per_column": {"a|b|c": 0.4, "a|b|d": 0.3, "c|d": 0.2}}
    )
    assert worst_columns(gap, names) == ["a|b and c (0.4)", "a|b and d (0.3)", "c and d (0.2)"]
    single = report.metrics["tabular.marginal_gap"].model_copy(update={"per_column": {"a|b": 0.4}})
    assert worst_columns(single, names) == ["a|b (0.4)"]
    inputs = {**report.inputs, "columns": dict.fromkeys(names, "numeric")}
    page = to_html(
        report.model_copy(update={"inputs": inputs, "metrics": {**report.metrics, "tabular.pair_gap": gap}})
    )
    assert "a|b and c" in page
    assert "a and b|c" not in page


@pytest.mark.parametrize("path", [GOLDEN, IMAGES], ids=lambda path: path.stem)
def test_a_report_of_any_past_format_is_read_for_ever(path):
    old = from_json(path.read_bytes())
    assert old.format == "synthmill.report/1"
    assert old.verdict == "pass"
    files = report_files(old)
    assert b"passed" in files["report.html"]
    stated, again = json.loads(path.read_bytes()), json.loads(old.to_json())
    assert {key: again[key] for key in stated} == stated


def test_a_report_of_images_says_so_and_shows_them():
    old = from_json(IMAGES.read_bytes())
    assert set(old.images) == {"samples"}
    html = report_files(old)["report.html"].decode()
    assert "<title>digits@1: passed</title>" in html
    assert "400 synthetic images" in html
    assert "8x8 gray" in html
    assert "10 classes" in html
    assert html.count(old.images["samples"]) == 1
    for metric in ("image.fd", "image.label_fidelity", "privacy.pixel_copy_pvalue"):
        assert old.metrics[metric].value is not None
    unnamed = old.model_copy(update={"provenance": {}})
    assert "<title>Synthetic images: passed</title>" in report_files(unnamed)["report.html"].decode()


def test_a_report_of_a_table_without_a_name_is_called_one():
    unnamed = from_json(GOLDEN.read_bytes()).model_copy(update={"provenance": {}})
    assert "<title>Synthetic table: passed</title>" in report_files(unnamed)["report.html"].decode()


def test_a_newer_format_is_refused_by_name():
    newer = json.loads(GOLDEN.read_bytes()) | {"format": "synthmill.report/2"}
    with pytest.raises(ValueError, match=r"synthmill\.report/1"):
        Report.model_validate(newer)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0"),
        (-0.00001, "-1e-05"),
        (0.02134, "0.0213"),
        (12.34, "12.3"),
        (1234.5, "1,234"),
        (1.0, "1"),
    ],
)
def test_numbers_are_put_into_words(value, text):
    assert number(value) == text
