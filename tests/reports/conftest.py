import pytest

from tests.reports import synthetic


@pytest.fixture(scope="session")
def chains():
    return synthetic.history((4, 4), proposals=3000)


@pytest.fixture(scope="session")
def measured_run(tmp_path_factory, chains):
    """A complete run on a 4 x 4 lattice; tests only read it."""
    run = synthetic.trained_run(tmp_path_factory.mktemp("reports") / "run", (4, 4))
    synthetic.add_samples(run, chains)
    synthetic.add_measurements(run, chains, (4, 4))
    return run
