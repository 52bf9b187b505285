"""What can be checked without running anything: links, names, options, figures that come from files."""

import importlib.util
import inspect
import re

import pytest

from experiments import fill
from experiments.benchmarks.__main__ import COMMANDS
from tests.docs.pages import PAGES, ROOT, blocks, code, commands, prose, rows
from trivmap.cards.presets import preset_names
from trivmap.cli.main import cli

OTHERS = [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]


def slug(heading):
    """The anchor that a forge gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page):
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", prose(page), flags=re.MULTILINE)}


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda page: page.name)
def test_internal_links_resolve(page):
    links = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    for link in links:
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_says_what_it_is(page):
    assert {block.language for block in blocks(page)} <= {"sh", "python", "yaml", "text"}
    assert all(block.text.startswith("# file: ") for block in blocks(page) if block.language == "yaml")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page):
    spans = [*code(prose(page)), *commands(page)]
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    for span in spans:
        if made := re.match(r"make (\w+)", span):
            assert made[1] in targets, span
        if called := re.match(r"trivmap ([a-z][a-z-]*)", span):
            assert called[1] in cli.commands, span
            known = {option for parameter in cli.commands[called[1]].params for option in parameter.opts}
            assert set(re.findall(r"(?<!\S)--[a-z-]+", span)) <= known | {"--help"}, span
    known = {option for command in cli.commands.values() for parameter in command.params for option in parameter.opts}
    assert {span.split()[0] for span in spans if span.startswith("--")} <= known | {"--help"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_exist(page):
    named = [span for span in code(prose(page)) if re.match(r"(src|tests|docs|experiments)/", span)]
    assert not [name for name in named if not (ROOT / name).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_experiments_named_exist(page):
    spans = [*code(prose(page)), *commands(page)]
    for name, first in re.findall(r"python -m (experiments[\w.]*)(?: (\w+))?", "\n".join(spans)):
        assert importlib.util.find_spec(name), name
        assert name != "experiments.benchmarks" or first in COMMANDS, first


def test_every_preset_is_described_and_none_is_invented():
    page = ROOT / "docs" / "reference" / "presets.md"
    described = set(re.findall(r"^### (\S+)$", page.read_text(), flags=re.MULTILINE))
    assert described == set(preset_names())
    stems = "|".join(sorted({name.split("-")[0] for name in preset_names() if "-" in name}))
    for other in PAGES:
        spans = {part for span in code(other.read_text()) for part in re.findall(rf"\b(?:{stems})-[\w-]*L\d+", span)}
        assert spans <= set(preset_names())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_figures_are_those_of_the_files(page):
    text = page.read_text()
    named = re.findall(r"<!-- begin ([\w-]+) -->", text)
    assert named == re.findall(r"<!-- end ([\w-]+) -->", text) and set(named) <= set(fill.BLOCKS)
    assert fill.filled(text) == text, "run python -m experiments.fill"


def test_every_kind_of_figures_is_on_a_page():
    assert {name for page in PAGES for name in re.findall(r"<!-- begin ([\w-]+) -->", page.read_text())} == set(
        fill.BLOCKS
    )


def test_thresholds_are_those_of_the_library():
    from trivmap.diagnostics import certificate
    from trivmap.diagnostics.convergence import LIMIT as LARGEST_R_HAT
    from trivmap.diagnostics.integration_error import CANDIDATES, LIMIT
    from trivmap.diagnostics.mirror import SMALLEST_OVERLAP
    from trivmap.diagnostics.tails import LARGEST_SKEWNESS, SMOOTHED_AVERAGES
    from trivmap.observables import binning, correlator_fits, trust
    from trivmap.runs import probe
    from trivmap.training.evaluation import FEWEST_PROPOSALS

    text = " ".join((ROOT / "docs" / "reference" / "conventions.md").read_text().split())
    p_value = "1e-4"
    assert float(p_value) == correlator_fits._LEAST_P_VALUE
    for said in (
        f"moved fewer than {trust.LEAST_MOVES} times",
        f"more than 1/{trust.LEAST_MOVES} of all configurations",
        f"fewer than {trust.LEAST_INDEPENDENT} independent configurations",
        f"its own tau_int leaves fewer than {trust.LEAST_OF_ITS_OWN}.",
        f"or its own tau_int fewer than {trust.LEAST_OF_ITS_OWN_CURVED},",
        f"if there are fewer than {trust.LEAST_OF_CURVED} effective samples",
        f"is above {trust.LARGEST_SKEWNESS_OF_CURVED},",
        f"fewer than {trust.LEAST_EFFECTIVE_SAMPLES} effective samples",
        f"p-value of one of the two fits is below {p_value}",
        f"more than 1 in {1 / trust.INVALID_SHARE:.0f} of the log-weights",
        f"split R-hat above {LARGEST_R_HAT} of any scalar",
        f"more than {trust.MOST_ERRORS:g} of its errors from its exact value",
        f"more than {trust.MOST_ERRORS:g} errors of the difference",
        f"fewer than {trust.LEAST_SIGN_CHANGES} times",
        f"is below {SMALLEST_OVERLAP}",
        f"C(1) is not {correlator_fits.LEAST_CORRELATION:g} of its errors above zero",
        f"always if k is above {SMOOTHED_AVERAGES}",
        f"refused above s = {LARGEST_SKEWNESS}",
        f"fewer than {trust.LEAST_OF_CURVED} independent configurations",
        f"{probe._FEWEST} to {probe._MOST}",
        f"about {binning._BINS} in all",
        f"at least {FEWEST_PROPOSALS} fresh proposals",
        f"|mean| < {LIMIT} and spread < {LIMIT}",
        f"The first n of {', '.join(map(str, CANDIDATES))} with",
        f"on {inspect.signature(certificate).parameters['configurations'].default} fresh configurations",
    ):
        assert said in text, said


def test_documented_observables_are_those_measured():
    from trivmap.observables import CATALOG
    from trivmap.observables.catalog import OF_SAMPLERS

    page = ROOT / "docs" / "reference" / "conventions.md"
    documented = {
        name
        for row in rows(page)
        if row.heading in ("Observables", "Correlation lengths")
        for name in code(row.cells[0])
    }
    of_samplers = {each.name for each in OF_SAMPLERS} - {"log_z"}
    assert documented == {name for name, each in CATALOG.items() if not each.hidden} - of_samplers


def test_the_floors_are_those_that_are_checked():
    from tests.test_project import FLOORS

    table = [row for row in rows(ROOT / "docs" / "explanation" / "architecture.md") if row.heading == "Floors"]
    documented = {int(row.cells[0]): set(code(row.cells[1])) for row in table}
    assert documented == {number: names for number, names in enumerate(FLOORS, 1) if "__init__" not in names}


def test_the_picture_names_parts_that_exist():
    picture = (ROOT / "docs" / "explanation" / "field-to-number.svg").read_text()
    labels = re.findall(r'font-style="italic">([^<]+)<', picture)
    named = {part for label in labels for part in label.split(", ")}
    assert len(named) > 5 and all((ROOT / "src" / "trivmap" / part).is_dir() for part in named)
