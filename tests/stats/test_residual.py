"""Joined claims of two levels: valid at the border of what they claim, however the levels depend on each other."""

from __future__ import annotations

import numpy as np
import pytest

from cem_bench.stats.residual import AUDIT_RISK, Evidence, audit_size, escape, rest_limit

LOOKS, REST_LOOKS = (3, 6, 12, 24, 48), (2, 3, 5, 8, 12)


def evidence(cheap: np.ndarray, rest: np.ndarray) -> Evidence:
    real = cheap[:, : rest.shape[1]] + rest
    return Evidence(dict(enumerate(cheap)), dict(enumerate(real)), LOOKS, REST_LOOKS)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_claims_err_at_most_as_often_as_they_say(share: float):
    """The real mean lies at tol itself; the cheap level's part of it and the rest's part add to it."""
    rng, many, tol = np.random.default_rng(0), 2000, 0.01
    common = rng.normal(size=(many, 48))
    cheap = share * tol + 0.01 * common
    rest = (1 - share) * tol + 0.001 * (common[:, :8] + rng.normal(size=(many, 8)))
    p = evidence(cheap, rest).joined(tol).p
    for name in ("effect", "none"):
        assert (getattr(p, name) <= 0.05).mean() <= 0.05 + 3 * (0.05 / many) ** 0.5


def test_what_is_clear_is_claimed():
    rng = np.random.default_rng(1)
    cheap = 0.1 + 0.05 * rng.normal(size=(50, 48))
    rest = 1e-4 * rng.normal(size=(50, 3))
    joined = evidence(cheap, rest).joined(0.01)
    assert (joined.p.effect < 0.01).all()
    assert (joined.p.none == 1).all()
    near = evidence(1e-4 * rng.normal(size=(50, 12)), 1e-5 * rng.normal(size=(50, 3))).joined(0.01)
    assert (near.p.none < 0.01).all()
    unseen = evidence(cheap, np.empty((50, 0))).joined(0.01)
    assert (unseen.p.effect == 1).all()


def test_a_limit_of_the_rest_is_too_low_as_rarely_as_it_says():
    rng = np.random.default_rng(2)
    limits = np.array([rest_limit(0.5 + rng.normal(size=8), (2, 3, 5, 8)) for _ in range(1500)])
    assert (limits < 0.5).mean() <= AUDIT_RISK
    assert rest_limit(np.array([1.0]), (2, 3)) == np.inf


def test_an_audit_lets_at_most_its_share_pass():
    size = audit_size(0.01)
    shares = np.linspace(0, 1, 2001)
    assert (shares * (1 - shares * (1 - AUDIT_RISK)) ** size).max() == pytest.approx(escape(size), rel=1e-3)
    assert escape(size) <= 0.01 < escape(size - 1)
