"""What a release says of itself: its built metadata, and one version in all files."""

import re
import tomllib
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest
import yaml
from hatchling import build

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
VERSION = PROJECT["project"]["version"]
FENCED = re.compile(r"^```.*?^```$", flags=re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[([^]\[]*)\]\(([^)]*)\)")


@pytest.fixture(scope="module")
def metadata(tmp_path_factory) -> Message:
    """The core metadata of the wheel, made by the build's own hooks in this process."""
    folder = tmp_path_factory.mktemp("metadata")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        name = build.prepare_metadata_for_build_wheel(str(folder))
    return message_from_string((folder / name / "METADATA").read_text())


def test_no_link_of_the_description_needs_a_clone(metadata):
    text = FENCED.sub("", metadata.get_payload())
    assert metadata["Description-Content-Type"] == "text/markdown"
    links = [target for _, target in LINK.findall(text)]
    assert links and all(target.startswith("https://") for target in links)
    assert "](" not in LINK.sub("", text)


def test_description_is_the_readme_without_these_links(metadata):
    def plain(found: re.Match) -> str:
        if found[2].startswith("https://"):
            return found[0]
        return "" if found[0].startswith("!") else found[1]

    readme = (ROOT / "README.md").read_text()
    assert FENCED.findall(metadata.get_payload()) == FENCED.findall(readme)
    assert FENCED.sub("", metadata.get_payload()).strip() == LINK.sub(plain, FENCED.sub("", readme)).strip()


def test_images_of_a_clone_are_left_out():
    (rule,) = PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]
    text = "![a map](docs/map.svg)[page](docs/a.md#b), [site](https://a.b/c) ![badge](https://a.b/d.svg) f[0](x)"
    left = re.sub(rule["pattern"], rule["replacement"], text)
    assert left == "page, [site](https://a.b/c) ![badge](https://a.b/d.svg) f0"
    code = "\n".join(FENCED.findall((ROOT / "README.md").read_text()))
    assert re.sub(rule["pattern"], rule["replacement"], code) == code


def test_metadata_is_complete(metadata):
    assert metadata["Name"] == "trivmap"
    assert metadata["Version"] == VERSION
    assert metadata["Requires-Python"] == PROJECT["project"]["requires-python"]
    assert metadata["License-Expression"] == "Apache-2.0" and metadata.get_all("License-File") == ["LICENSE"]
    assert set(metadata.get_all("Provides-Extra")) == {"runs", "studies", "reports", "programs", "tensorboard", "all"}
    assert len(metadata["Summary"]) < 512


def test_no_public_address_is_invented(metadata):
    urls = PROJECT["project"].get("urls", {})
    assert (metadata.get_all("Project-URL") or []) == [f"{name}, {url}" for name, url in urls.items()]
    assert metadata["Home-page"] is None


def test_version_is_the_same_everywhere():
    assert f"\nversion: {VERSION}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE).group(1) == VERSION
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*/*.md")]
    named = {name for page in pages for name in re.findall(r"trivmap-(\d+\.\d+\.\d+)", page.read_text())}
    assert named == {VERSION}


def test_the_build_group_installs_what_a_build_needs():
    assert PROJECT["dependency-groups"]["build"] == PROJECT["build-system"]["requires"]


def test_references_of_the_citation_are_read_as_written():
    """YAML reads 034515 without quotes as an octal number."""
    references = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]
    assert {r["doi"].rpartition(".")[2]: r["start"] for r in references if "PhysRevD" in r["doi"]} == {
        "034515": "034515",
        "094507": "094507",
    }
    assert all(r["authors"] and r["year"] and r["identifiers"][0]["value"].startswith("arXiv:") for r in references)


def test_an_image_is_built_from_what_its_context_holds():
    rules = [(ROOT / name).read_text().splitlines()[1:] for name in (".dockerignore", ".containerignore")]
    assert rules[0] == rules[1]
    sent = {rule[1:] for rule in rules[0] if rule.startswith("!")}
    lines = (ROOT / "Containerfile").read_text().splitlines()
    copied = {name for line in lines if re.match(r"COPY (?!--from)", line) for name in line.split()[1:-1]}
    assert copied == sent and all((ROOT / name).exists() for name in sent)
    assert 'ENTRYPOINT ["trivmap"]' in lines and "USER 1000" in lines


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_names_its_actions_by_commit_and_targets_that_exist(path):
    text = path.read_text()
    jobs = yaml.safe_load(text)["jobs"].values()
    used = [line for line in text.splitlines() if "uses:" in line]
    assert used and all(re.fullmatch(r" +- uses: [\w/-]+@[0-9a-f]{40} # v[\d.]+", line) for line in used)
    assert all("timeout-minutes" in job and "permissions" in job for job in jobs)
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert set(re.findall(r"run: make (\w+)", text)) <= set(targets)


def test_the_tests_run_on_every_python_that_the_makefile_knows():
    (matrix,) = [w for w in WORKFLOWS if w.name == "tests.yml"]
    versions = yaml.safe_load(matrix.read_text())["jobs"]["test"]["strategy"]["matrix"]["python"]
    makefile = (ROOT / "Makefile").read_text()
    oldest, newest = (
        int(re.search(rf"^{name} := 3, (\d+)$", makefile, re.MULTILINE)[1]) for name in ("OLDEST", "NEWEST")
    )
    assert versions == [f"3.{minor}" for minor in range(oldest, newest + 1)]
