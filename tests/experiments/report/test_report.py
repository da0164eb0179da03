"""The report as a command: its page, its Markdown, and its errors."""

import html.parser
import math
import re

import pytest

from experiments.report import build as building
from experiments.report import command, figures
from experiments.report.build import build, build_of_run
from experiments.report.document import (
    Cell,
    Document,
    Figure,
    Section,
    Table,
    number,
    probability,
    spread,
)
from experiments.report.page import to_html, to_markdown
from experiments.report.paper_curves import read_curves
from tests.experiments.report.report_runs import write_run, write_tables

VOID = {"meta", "link", "br", "img"}


class Page(html.parser.HTMLParser):
    """Collects what a browser would load; checks that elements close in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.addresses, self.text = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.addresses += [
            attributes[name] for name in ("href", "src", "xlink:href") if name in attributes
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three seeds of two methods on one task, one with all its tables; a run on another task."""
    place = tmp_path_factory.mktemp("runs")
    long = {"eval_period": 5_000, "steps": 50_000}
    for seed in (0, 1, 2):
        returns = [float(10 * step * (seed + 1)) for step in range(11)]
        write_run(place / f"d{seed}", [returns], algo="td3", seeds=(seed,), **long)
        write_run(place / f"s{seed}", [[2 * value for value in returns]], seeds=(seed,), **long)
    write_tables(place / "s0")
    write_run(place / "hopper", [[1.0, 2]], env="Hopper-v5", algo="ds_sac")
    return place


@pytest.fixture(scope="module")
def written(runs, tmp_path_factory):
    """Runs the command once; returns its folder and the document that it wrote."""
    output = tmp_path_factory.mktemp("written") / "new"
    documents = []

    def record(places):
        documents.append(build(places))
        return documents[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "build", record)
        assert command.main([str(runs), f"--output={output}"]) == 0
    return output, documents[0]


@pytest.fixture(scope="module")
def place(written):
    return written[0]


@pytest.fixture(scope="module")
def document(written):
    return written[1]


@pytest.fixture
def no_pictures(monkeypatch):
    """Leaves out what takes most of the time, for tests of tables and notes."""
    for name in ("draw_curves", "draw_topology", "draw_profiles"):
        monkeypatch.setattr(figures, name, lambda *arguments: ["<svg/>"])


def test_the_page_is_one_file_that_needs_no_network(place):
    assert {path.name for path in place.iterdir()} == {"report.html", "report.md"}
    text = (place / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert len(set(page.ids)) == len(page.ids)
    # Only within the page; a namespace is no address.
    assert all(address[0] == "#" or address == "data:," for address in page.addresses)
    assert {address[1:] for address in page.addresses if address[0] == "#"} <= set(page.ids)
    assert "<script" not in text and "@import" not in text
    assert set(re.findall(r"url\((.)", text)) == {"#"}
    assert 'name="viewport"' in text and "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert "http-equiv" not in text


def test_pictures_have_the_colours_of_the_page_and_the_methods(place):
    text = (place / "report.html").read_text()
    assert "currentColor" in text and "#010203" not in text
    assert "#000000" not in text
    assert all(color in text.lower() for color in ("#d55e00", "#0072b2"))


def test_markdown_has_the_same_tables(place, document):
    text = (place / "report.md").read_text()
    for section in document.sections:
        assert f"## {section.title}" in text
        for block in section.blocks:
            assert block.caption in text
    for line in text.splitlines():
        if line.startswith("| "):
            assert line.endswith(" |")


def table(document, section, caption):
    (part,) = [each for each in document.sections if each.title == section]
    (found,) = [block for block in part.blocks if block.caption.startswith(caption)]
    return found


def test_results_by_hand(document):
    found = table(document, "Results", "Every")
    sparse = dict(zip(found.header, found.rows[1], strict=True))
    assert sparse["method"] == "DS-TD3"
    assert sparse["seeds"] == "3: 0, 1, 2"
    assert sparse["final"] == "400 ± 200"  # 200, 400, 600
    assert sparse["last 10"] == "220 ± 110"  # 20 * (1 + ... + 10) / 10 = 110, 220, 330
    assert sparse["LCA"] == "0.0440 ± 0.0220"  # 2200 / 50,000
    assert sparse["steps to dense"] == "30,000"  # 2 * 20 * step passes 200 at the sixth
    curve = read_curves()["1", "HalfCheetah", "ds_td3"]
    assert sparse["paper, same step"] == spread(*curve.at(50_000))


def test_cells_without_runs_are_not_yet_run(document):
    first = table(document, "The paper's tables", "Table 1")
    assert first.rows[0][2:] == [
        "11,153.48 ± 473.29",
        "10,583.84 ± 307.03",
        "11,459.88 ± 482.55",
        "11,415.23 ± 357.22",
    ]
    assert all(cell == Cell("not yet run", "missing") for cell in first.rows[1][2:])
    assert len(first.rows) == 10


def test_runs_of_the_papers_length_fill_its_cells(tmp_path, no_pictures):
    for seed in (0, 1):
        returns = [[float(seed)] * 200 + [10.0 + seed]]
        write_run(tmp_path / str(seed), returns, seeds=(seed,))
    document = build([tmp_path])
    rows = table(document, "The paper's tables", "Table 1").rows
    assert rows[1][0] == "HalfCheetah-v5"
    assert rows[1][4] == Cell("10.50 ± 0.71 (2)")
    assert rows[1][2].kind == "missing"
    areas = table(document, "The paper's tables", "Table 2").rows
    assert areas[1][4] == Cell("0.0001 ± 0.0001 (2)")  # 10 and 211 over a million
    figure = table(document, "The paper's tables", "Figure 2a").rows
    assert [row[4].kind for row in figure] == ["missing", "missing", "", "missing", "missing"]
    assert [row[2] for row in figure] == ["", "", "HalfCheetah-v5", "", ""]


def test_an_extended_run_counts_no_seed_twice(tmp_path, no_pictures):
    """A collected run of 1,000,000 steps, and its continuation to 2,000,000."""
    returns = [[1.0] * 201]
    for seed in (0, 1):
        write_run(tmp_path / "results" / str(seed), returns, seeds=(seed,))
        write_run(tmp_path / "runs" / str(seed), returns, seeds=(seed,), steps=2_000_000)
    document = build([tmp_path])
    assert table(document, "The paper's tables", "Table 1").rows[1][4] == Cell("1.00 ± 0.00 (2)")
    rows = table(document, "Over all tasks", "Normalised").rows
    assert [(row[2], row[3]) for row in rows] == [
        ("1,000,000", "2"),
        ("1,000,000 of 2,000,000", "2"),
    ]


def test_steps_to_dense_are_by_dense_training_of_the_same_preset(tmp_path, no_pictures):
    for preset, algo, final in (
        ("paper", "td3", 5),
        ("official", "td3", 20),
        ("official", "ds_td3", 9),
    ):
        write_run(tmp_path / f"{preset}-{algo}", [[0.0, final]], algo=algo, preset=preset)
    rows = table(build([tmp_path]), "Results", "Every").rows
    assert {row[1]: row[-1] for row in rows} == {
        "TD3": "–",
        "TD3 (official)": "–",
        "DS-TD3 (official)": "not reached",
    }


def test_claims_have_a_line_each(document):
    rows = table(document, "The paper's claims", "One").rows
    assert rows[0][0] == "HalfCheetah: DS-TD3 ends higher than TD3"
    assert rows[0][1] == Cell("not yet run", "missing")
    assert rows[1][1].text == "HalfCheetah-v5 at 50,000: not yet enough seeds"
    assert rows[1][1].kind == "open"


def test_over_all_tasks_by_hand(document):
    dense = read_curves()["1", "HalfCheetah", "td3"].at(50_000)[0]
    rows = table(document, "Over all tasks", "Normalised").rows
    assert rows[1][:4] == ["DS-TD3", "HalfCheetah-v5", "50,000", "3"]
    assert rows[1][6] == number(400 / dense, 3)
    (improvement,) = table(document, "Over all tasks", "Probability").rows
    # 200, 400, 600 against 100, 200, 300: 6 of 9 are greater and one is the same in two.
    assert improvement[0] == "DS-TD3 over TD3"
    assert improvement[3] == number(7.5 / 9, 2)


def test_costs_are_the_papers(document):
    rows = table(document, "Costs", "By method").rows
    assert rows[1][2:5] == ["214,784", "106,169", "50.57%"]
    assert all(row[3].text == "holds" for row in table(document, "Costs", "Section").rows)


def test_topology_and_time_of_a_run_directory(runs):
    document = build_of_run(runs / "s0")
    row = table(document, "Topology", "DS-TD3, HalfCheetah-v5: layers").rows[0]
    assert row == ["actor hidden_0", "0", "10", "10.00%", "90.00%", "1 of 4", "1 of 3"]
    row = table(document, "Time", "Time").rows[0]
    assert row[3:9] == ["5,000", "0.3 min", "250", "92.5%", "5.0%", "2.5%"]
    assert "The paper's claims" not in [section.title for section in document.sections]


def test_an_evaluation_that_a_kill_cut_short_is_not_drawn(tmp_path):
    directory = write_run(tmp_path / "run", [[0.0, 1]])
    write_tables(directory)
    path = directory / "topology.csv"
    lines = path.read_text().splitlines(keepends=True)
    other = [line.replace("hidden_0", "hidden_1") for line in lines[1:]]
    # The first layers of the last evaluation are there, its others are not.
    path.write_text("".join([*lines, *other[:3]]))
    assert "Topology" in [section.title for section in build([tmp_path]).sections]


@pytest.mark.parametrize(
    "name, text, said",
    [
        (
            "topology.csv",
            "seed,env_step\n0,5000\n",
            "topology.csv is damaged: 'network' is missing",
        ),
        ("topology.csv", "\xff\xfe", "topology.csv is damaged: 'utf-8' codec"),
        ("timings.csv", "seconds\n1\n", "timings.csv or starts.jsonl is damaged: 'env_step'"),
        ("starts.jsonl", "{}\n", "timings.csv or starts.jsonl is damaged: 'env_step' is missing"),
    ],
)
def test_other_damaged_tables_are_noted(tmp_path, no_pictures, name, text, said):
    directory = write_run(tmp_path / "run", [[0.0, 1]])
    write_tables(directory)
    (directory / name).write_bytes(text.encode("latin1"))
    (note,) = build([tmp_path]).notes
    assert said in note


def test_text_is_escaped():
    name = "<script>|&"
    section = Section(name, name, [Table(name, [name], [[name], [Cell(name)]]), Figure(name, [])])
    document = Document(name, name, [name], [section])
    page = to_html(document)
    assert "<script>" not in page
    assert page.count("&lt;script&gt;|&amp;") >= 8
    assert "| <script>\\|& |" in to_markdown(document)


def test_numbers_for_people():
    assert number(1234.5, 1) == "1,234.5"
    assert number(None) == number(math.nan) == "–"
    assert spread(1.0, math.nan) == "1"
    assert [probability(p) for p in (0.0004, 0.05, 1.0, math.nan)] == [
        "< .001",
        ".050",
        "1.000",
        "–",
    ]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["nowhere"], "nowhere is no directory"),
        (["."], "runs/a is not counted"),
        (["--watch=nowhere"], "nowhere is no directory"),
        (["--watch=runs"], "runs is a folder of run directories: name one of them, as runs/a"),
        (["--watch=.", "x"], "--watch takes one run directory, got x too"),
        (["--interval=0"], "interval must be at least 1"),
        (["--intervall=3"], "unknown flag --intervall"),
        (["--output=file"], "--output must be a directory, got the file file"),
    ],
)
def test_bad_input_is_one_line(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "config.json").write_text("{}")
    assert command.main(arguments) == 2
    assert said in (error := capsys.readouterr().err)
    assert error.startswith("error: ") and error.count("\n") == 1
    assert (tmp_path / "file").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"file", "runs"}


def test_help(capsys):
    assert command.main(["--help"]) == 0
    said = capsys.readouterr().out
    assert "--watch" in said and "report.html" in said


def test_watch_updates_the_report_until_the_end(tmp_path, no_pictures, monkeypatch, capsys):
    whole = [[0.0, 5, 7]]
    run = write_run(tmp_path / "run", [whole[0][:1]], steps=10_000)
    grown = write_run(tmp_path / "grown", whole)
    lines = (grown / "evaluations.csv").read_text().splitlines(keepends=True)
    (run / "evaluations.csv").unlink()
    pages = []
    # What the run has written by each look: nothing, a head, and then an evaluation each.
    written = iter(["", lines[0], "".join(lines[:2]), "".join(lines[:3]), "".join(lines)])

    def sleep(seconds):
        assert seconds == 3
        page = run / "report.html"
        pages.append(page.read_text() if page.exists() else None)
        if (text := next(written, None)) is not None:
            (run / "evaluations.csv").write_text(text)

    monkeypatch.setattr(command.time, "sleep", sleep)
    assert command.main([f"--watch={run}", "--interval=3"]) == 0
    assert pages[:3] == [None] * 3
    assert "step 0 of 10,000" in pages[3]
    assert "step 5,000 of 10,000" in pages[4]
    assert "step 10,000 of 10,000" in pages[5]
    assert [('http-equiv="refresh" content="3"' in page) for page in pages[3:6]] == [
        True,
        True,
        False,
    ]
    assert "waiting for the first evaluation" in capsys.readouterr().out
    assert sorted(path.name for path in run.iterdir() if "report" in path.name) == [
        "report.html",
        "report.md",
    ]
