"""All differences at once."""

import numpy as np

from tests.reports import synthetic
from trivmap.observables import analyze
from trivmap.reports.agreements import agreements
from trivmap.reports.references import find_reference

ACTION = {"kind": "free", "m_sq": synthetic.MASS_SQUARED}


def test_a_right_chain_agrees_and_a_wrong_reference_does_not():
    results = analyze(synthetic.history((4, 4), proposals=3000))
    found = agreements(results, find_reference(ACTION, (4, 4)))
    assert found.keys() == {"chain − reweighted", "chain − reference"}
    assert all(each.p_value > 0.01 for each in found.values())
    compared = {name for name in results if name in find_reference(ACTION, (4, 4)).observables}
    assert found["chain − reference"].pulls == len(compared - {"schwinger_dyson"})
    wrong = agreements(results, find_reference({"kind": "free", "m_sq": 0.4}, (4, 4)))
    assert wrong["chain − reference"].p_value < 1e-4
    fewer = agreements(results, find_reference(ACTION, (4, 4)), without=["phi2"])
    assert fewer["chain − reference"].pulls == found["chain − reference"].pulls - 1


def test_probabilities_are_uniform_over_seeds():
    p_values = []
    for seed in range(24):
        results = analyze(synthetic.history((4,), proposals=1200, seed=seed))
        p_values.append(agreements(results, find_reference(ACTION, (4,)))["chain − reference"].p_value)
    # 24 uniform numbers: means of 1/2 with the error 0.059; none below 0.001 in 97 of 100 series.
    assert abs(np.mean(p_values) - 0.5) < 0.18
    assert min(p_values) > 0.001


def test_few_rejections_leave_uniform_probabilities():
    p_values = []
    for seed in range(24):
        results = analyze(synthetic.history((4,), proposals=2000, seed=seed, width=0.005))
        assert 0 < results.info["configurations"] - results.info["moves"] < 50
        p_values.append(agreements(results, None)["chain − reweighted"].p_value)
    # The error of unseen rejections is a bound, so the probabilities lean to 1.
    assert np.mean(p_values) > 0.5 - 0.18
    assert min(p_values) > 0.001
