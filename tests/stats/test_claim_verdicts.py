"""Words on claims: a table of intervals, mirrored directions, admission, Holm."""

import numpy as np
import pytest

from cem_bench.stats.claim_verdicts import (
    EXCEEDS,
    NEGLIGIBLE,
    NOT_JUDGED,
    OPPOSITE,
    PRESENT,
    UNKNOWN,
    Evidence,
    claim_p,
    claim_verdict,
    holm,
    restores,
)

INTERVALS = [  # low, high against a margin of 1: word if "greater" was expected, word if "equal" was
    (1.1, 3.0, EXCEEDS, EXCEEDS),
    (0.2, 3.0, PRESENT, PRESENT),
    (0.2, 0.9, NEGLIGIBLE, NEGLIGIBLE),
    (-0.5, 0.9, NEGLIGIBLE, NEGLIGIBLE),
    (-0.5, 1.5, UNKNOWN, UNKNOWN),
    (-1.5, 0.9, UNKNOWN, UNKNOWN),
    (-1.5, -0.2, OPPOSITE, PRESENT),
    (-3.0, -1.1, OPPOSITE, EXCEEDS),
    (1.0, 2.0, PRESENT, PRESENT),
    (-1.0, 1.0, UNKNOWN, UNKNOWN),
]


@pytest.mark.parametrize(("low", "high", "greater", "equal"), INTERVALS)
def test_every_place_of_an_interval_has_its_word(low, high, greater, equal):
    assert claim_verdict(Evidence(low, high), "greater", 1.0).word == greater
    assert claim_verdict(Evidence(low, high), "equal", 1.0).word == equal
    assert claim_verdict(Evidence(-high, -low), "less", 1.0).word == greater
    assert claim_verdict(Evidence(-high, -low), "equal", 1.0).word == equal


def test_a_threshold_is_an_interval_less_the_threshold_and_no_margin():
    assert claim_verdict(Evidence(8.0 - 30, 12.0 - 30), "less", 0.0).word == EXCEEDS
    assert claim_verdict(Evidence(32.0 - 30, 40.0 - 30), "less", 0.0).word == OPPOSITE
    assert claim_verdict(Evidence(28.0 - 30, 40.0 - 30), "less", 0.0).word == UNKNOWN


def test_sign_flips_can_take_a_word_back_but_not_an_equivalence():
    assert claim_verdict(Evidence(1.1, 3.0, p=0.06), "greater", 1.0).word == UNKNOWN
    assert claim_verdict(Evidence(0.1, 3.0, p=0.06), "greater", 1.0).why.startswith("sign flips")
    assert claim_verdict(Evidence(1.1, 3.0, p=0.04), "greater", 1.0).word == EXCEEDS
    assert claim_verdict(Evidence(-0.1, 0.2, p=0.9), "greater", 1.0).word == NEGLIGIBLE


@pytest.mark.parametrize("ends", [(-np.inf, np.inf), (np.nan, np.nan), (0.5, np.inf)])
def test_too_few_images_are_unknown(ends):
    assert claim_verdict(Evidence(*ends), "greater", 0.1).word == UNKNOWN


@pytest.mark.parametrize(("trainings", "word"), [(1, NOT_JUDGED), (2, NOT_JUDGED), (3, EXCEEDS)])
def test_a_claim_about_training_needs_three(trainings, word):
    evidence = Evidence(2.0, 3.0, 0.001, trainings)
    assert claim_verdict(evidence, "greater", 1.0, about_training=True).word == word
    assert claim_verdict(evidence, "greater", 1.0).word == EXCEEDS
    assert "one training's number" in claim_verdict(Evidence(2.0, 3.0), "greater", 1.0, about_training=True).why


def test_a_network_below_its_input_has_no_verdict():
    found = claim_verdict(Evidence(2.0, 3.0, 0.001, 3, restores=False), "greater", 1.0, about_training=True)
    assert (found.word, found.why) == (NOT_JUDGED, "a network restores worse than its input")


@pytest.mark.parametrize(
    ("better", "images", "expected"),
    [(17, 17, True), (16, 17, True), (15, 17, False), (32, 34, True), (31, 34, False), (8, 8, True), (7, 8, False)],
)
def test_admission_is_sixteen_of_seventeen(better, images, expected):
    gains = np.where(np.arange(images) < better, 0.5, -0.1)
    assert restores(gains, np.arange(images)) is expected
    assert restores(np.repeat(gains, 2), np.repeat(np.arange(images), 2)) is expected


def test_admission_needs_images_and_a_gain_above_nothing():
    assert not restores([], [])
    assert not restores(np.zeros(17), np.arange(17))
    with pytest.raises(ValueError, match="NaN"):
        restores([np.nan], [0])


@pytest.mark.parametrize(("expected", "margin"), [("more", 1.0), ("greater", -1.0), ("equal", 0.0), ("less", np.nan)])
def test_what_cannot_be_judged_is_refused(expected, margin):
    with pytest.raises(ValueError, match="expected"):
        claim_verdict(Evidence(0.0, 1.0), expected, margin)


def test_p_stands_beside_directions_only_and_takes_images_as_its_sample():
    values = np.repeat(np.arange(1.0, 9.0), 5)
    images = np.repeat(np.arange(8), 5)
    assert claim_p(values, images, "greater") == claim_p(-values, images, "less") == 2 / 2**8
    assert np.isnan(claim_p(values, images, "equal"))


def test_holm_is_the_closed_test_of_bonferroni():
    """Adjusted p of a hypothesis: the largest, over all families that hold it, of size times smallest p."""
    p = np.random.default_rng(0).uniform(0, 0.2, 6)
    families = [[i for i in range(6) if code >> i & 1] for code in range(1, 64)]
    expected = [min(1, max(len(f) * p[f].min() for f in families if i in f)) for i in range(6)]
    np.testing.assert_allclose(holm(p), expected)


def test_holm_leaves_equivalences_out_of_the_family():
    np.testing.assert_allclose(holm([0.01, np.nan, 0.04]), [0.02, np.nan, 0.04])
    assert holm([]).size == 0 and holm([0.6, 0.9]).tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match=r"0\.\.1"):
        holm([1.2])
