"""What must stay true of the tree as a whole: floors, sizes, the mirrored tests, a cheap import, a complete wheel."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from graphlib import TopologicalSorter
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "trivmap"
MODULES = sorted(PACKAGE.rglob("*.py"))

FLOORS = [
    {
        "_types",
        "ahead",
        "arguments",
        "devices",
        "errors",
        "estimate",
        "extras",
        "fourier",
        "lattice",
        "notebook",
        "processes",
        "progress",
        "spaces",
        "streams",
        "support",
        "tracing",
        "trust",
        "tuning",
    },
    {"actions", "networks"},
    {"bijections"},
    {"bases", "flows"},
    {"objectives", "optimizers", "diagnostics"},
    {"samplers", "observables"},
    {"training", "simulation"},
    {"cards"},
    {"store"},
    {"runs"},
    {"studies"},
    {"reports", "cli"},
    {"loading"},
    {"running"},
    {"__init__", "__main__"},
]
FLOOR = {name: number for number, names in enumerate(FLOORS, start=1) for name in names}
GROUND, NUMERIC, TOP = 1, 7, len(FLOORS)
SIDEWAYS = {("arguments", "lattice"), ("flows", "bases"), ("cli", "reports"), ("__main__", "__init__")}
OUTSIDE_THE_NUMERICS = {"click", "h5py", "jinja2", "matplotlib", "orbax", "pydantic", "rich", "yaml"}
SLOW_TO_IMPORT = {"click", "h5py", "jinja2", "matplotlib", "orbax", "pyerrors", "rich", "xarray"}
LONGEST_FILE = 300


def module_name(path: Path) -> str:
    """`trivmap.bijections.chain` for a file, `trivmap.bijections` for a package's `__init__.py`."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {module_name(path): path for path in MODULES}


def imported_names(path: Path) -> set[str]:
    """Every module that a file imports, wherever in the file, under its full name; of a package, what is taken from it.

    Only names that are modules of this package are resolved below the module named: the rest stay as written.
    """
    found = set()
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                below = f"{source}.{alias.name}"
                found.add(below if below in NAMES or not source.startswith("trivmap") else source)
    return found


def storey(name: str) -> str:
    """The part of the package a module belongs to: `bijections` for `trivmap.bijections.chain`."""
    return name.split(".")[1] if "." in name else "__init__"


IMPORTS = {module_name(path): imported_names(path) for path in MODULES}
OWN_IMPORTS = {name: {other for other in found if other.split(".")[0] == "trivmap"} for name, found in IMPORTS.items()}


def run(*command: str) -> str:
    """What a command run in the repository prints; a failure shows what it said."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def files_of_the_repository(*options: str) -> list[Path]:
    """What git tracks, and with `--others` what it would, ignored files apart."""
    names = run("git", "ls-files", "-z", "--cached", "--exclude-standard", *options).split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("name", NAMES)
def test_module_imports_only_from_lower_floors(name):
    own = storey(name)
    assert own in FLOOR, f"{name} stands on no floor: give {own} a place in FLOORS"
    for imported in OWN_IMPORTS[name]:
        other = storey(imported)
        assert imported in NAMES, f"{name} imports {imported}, which does not exist"
        allowed = (
            other == own
            or FLOOR[other] < FLOOR[own]
            or FLOOR[other] == FLOOR[own] == GROUND
            or (own, other) in SIDEWAYS
        )
        assert allowed, f"{name} (floor {FLOOR[own]}) imports {imported} (floor {FLOOR[other]})"


def test_imports_have_no_circle():
    # A package's face gathers what stands behind it: an import of the package's own face is the circle to avoid.
    list(TopologicalSorter(OWN_IMPORTS).static_order())


@pytest.mark.parametrize("name", [name for name in NAMES if FLOOR.get(storey(name), TOP) <= NUMERIC])
def test_numeric_floors_know_no_cards_files_or_terminals(name):
    assert not {found.split(".")[0] for found in IMPORTS[name]} & OUTSIDE_THE_NUMERICS


@pytest.mark.parametrize("name", NAMES)
def test_only_public_interfaces_of_other_packages_are_used(name):
    """No `jax._src` and its like, neither imported nor reached as an attribute of an imported package."""
    foreign = {found for found in IMPORTS[name] if not found.startswith("trivmap")} - {"__future__"}
    private = {found for found in foreign if any(part.startswith("_") for part in found.split("."))}
    tree = ast.parse(NAMES[name].read_text())
    bound = {
        alias.asname or alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.fullmatch(r"_[a-z]\w*", node.attr):
            root = node.value
            while isinstance(root, ast.Attribute):
                root = root.value
            if isinstance(root, ast.Name) and root.id in bound:
                private.add(f"{root.id}: {node.attr}")
    assert not private - {"os._exit"}  # documented, in spite of its name


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_file_is_short(path):
    assert len(path.read_text().splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("package", sorted({path.parent for path in MODULES} - {PACKAGE}), ids=module_name)
def test_package_has_its_tests(package):
    mirror = ROOT / "tests" / package.relative_to(PACKAGE)
    assert list(mirror.glob("test_*.py")), f"{mirror.relative_to(ROOT)} has no test"


def test_import_leaves_slow_packages_alone():
    code = "import sys, trivmap; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = run(sys.executable, "-c", code).split()
    assert "trivmap" in loaded
    assert not set(loaded) & SLOW_TO_IMPORT


def test_wheel_is_complete(tmp_path):
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path))
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
        (entry_points,) = (archive.read(name).decode() for name in packed if name.endswith("entry_points.txt"))
    files = files_of_the_repository("--others", PACKAGE.as_posix())
    source = {path.relative_to(PACKAGE.parent).as_posix() for path in files}
    assert "trivmap/cards/presets/quickstart.yaml" in source
    assert any(name.startswith("trivmap/reports/templates/") for name in source)
    assert "trivmap/py.typed" in source
    assert {name for name in packed if ".dist-info/" not in name} == source
    assert "trivmap = trivmap.__main__:main" in entry_points


# Put together here, so that this file does not hold what it looks for.
ADDRESSES = [
    *(".".join(host) for host in [("pypi", "org"), ("files", "pythonhosted", "org"), ("registry", "npmjs", "org")]),
    *(".".join(host) for host in [("deb", "debian", "org"), ("registry", "yarnpkg", "com")]),
]
PLACES = "|".join(["ro" + "ot", "wo" + "rk", "ho" + "me", "Us" + "ers"])
MACHINE_PATH = re.compile(rf"(?<![\w.~}})*-])/(?:{PLACES})/")


def test_no_file_names_a_registry_or_a_path_of_one_machine():
    named = []
    for path in files_of_the_repository():
        text = path.read_bytes().decode("utf-8", errors="replace")
        found = [address for address in ADDRESSES if address in text] + MACHINE_PATH.findall(text)
        if found:
            named.append(f"{path.relative_to(ROOT)}: {', '.join(found)}")
    assert not named


@pytest.mark.parametrize("lock", sorted(ROOT.glob("requirements*.lock")), ids=lambda path: path.name)
def test_lock_holds_names_versions_and_hashes_only(lock):
    requirement = re.compile(r"[a-z0-9-]+==[\w.!+]+( ; [\w<>=!' .()]+)? \\")
    digest = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
    lines = lock.read_text().splitlines()
    assert not [line for line in lines if not (requirement.fullmatch(line) or digest.fullmatch(line))]


def test_locks_agree_and_satisfy_what_the_project_declares():
    pinned: dict[str, str] = {}
    for lock in ROOT.glob("requirements*.lock"):
        for name, version in re.findall(r"^([a-z0-9-]+)==([\w.!+]+)", lock.read_text(), flags=re.MULTILINE):
            assert pinned.setdefault(name, version) == version, f"{lock.name} pins another version of {name}"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    groups = [project["project"]["dependencies"], *extras.values(), *project["dependency-groups"].values()]
    for requirement in map(Requirement, chain.from_iterable(groups)):
        if requirement.name == "trivmap":
            assert requirement.extras <= extras.keys()
            continue
        assert requirement.specifier.contains(pinned[requirement.name]), f"{requirement} but {pinned[requirement.name]}"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_no_function_within_a_function_is_filter_jitted(path):
    """equinox keeps such a function and its programs for the life of the process: one more with every call."""
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    within = [node for outer in functions for node in ast.walk(outer) if node is not outer]
    decorated = [each for node in within if isinstance(node, ast.FunctionDef) for each in node.decorator_list]
    called = [node.func for node in within if isinstance(node, ast.Call)]
    assert not [each for each in (*decorated, *called) if ast.unparse(each) == "eqx.filter_jit"]


# In pieces, so that this file does not find itself.
BRITISH = re.compile(
    "|".join(
        f"{stem}{rest}"
        for stem, rest in (
            ("optimi", "s(?!ti)"), ("trivial", "is"), ("magnet", "is"), ("normal", "is"), ("symmetr", "is"),
            ("initial", "is"), ("linear", "is(?!t)"), ("minim", "is"), ("general", "is"), ("neigh", "bour"),
            ("col", "our"), ("cent", "red?\\b"), ("behavi", "our"), ("fav", "our"), ("analy", "sed?\\b"),
            ("random", "is"), ("recogn", "is"), ("summar", "is"), ("factor", "is"),
        )
    ),
    re.IGNORECASE,
)  # fmt: skip
FIRST_NAMES = {PACKAGE / "cards" / "first_names.py", ROOT / "tests" / "cards" / "test_first_names.py"}
"""They quote names of cards from before the spelling was settled."""


def test_american_spelling():
    folders = ("src", "tests", "docs", "experiments")
    paths = [*ROOT.glob("*.*"), *chain.from_iterable((ROOT / folder).rglob("*.*") for folder in folders)]
    suffixes = {".py", ".md", ".yaml", ".html", ".css", ".toml", ".cff"}
    read = {path for path in paths if path.suffix in suffixes and not {".venv", "_build"} & {*path.parts}}
    assert len(read) > 400
    for path in read - FIRST_NAMES:
        found = BRITISH.search(f"{path.name}\n{path.read_text()}")
        assert not found, f"{path}: {found}"
