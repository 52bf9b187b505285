"""What `import trivmap` gives."""

import subprocess
import sys

import pytest

import trivmap


@pytest.mark.parametrize("name", trivmap.__all__)
def test_every_name_is_there(name):
    assert getattr(trivmap, name) is not None and name in dir(trivmap)


def test_what_is_not_there():
    with pytest.raises(AttributeError, match="module 'trivmap' has no attribute 'nonsense'"):
        trivmap.nonsense  # noqa: B018


def test_parts_are_imported_when_they_are_asked_for():
    program = (
        "import sys, trivmap\n"
        "before = {name for name in sys.modules if name.startswith('trivmap.')}\n"
        "assert 'trivmap.training' not in before and 'trivmap.runs' not in before and 'jax' not in sys.modules\n"
        "trivmap.training.fit, trivmap.draw, trivmap.run\n"
        "assert 'trivmap.training' in sys.modules and 'trivmap.runs.finish' in sys.modules\n"
        "print(trivmap.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == trivmap.__version__
