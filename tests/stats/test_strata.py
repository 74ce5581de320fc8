import numpy as np
import pytest

from cem_bench.stats.strata import donor_features, strata_of_patches


def pool(count, seed=0):
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 256, (count, 1, 1, 3))
    texture = rng.integers(-60, 60, (count, 8, 8, 1)) * rng.random((count, 1, 1, 1))
    return np.clip(base + texture, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("count", "strata"), [(1000, 25), (1203, 25), (60, 7), (50, 25)])
def test_every_stratum_holds_its_share(count, strata):
    sizes = np.bincount(strata_of_patches(pool(count), strata), minlength=strata)
    assert len(sizes) == strata
    assert sizes.max() - sizes.min() <= 1


def test_strata_explain_most_of_colour_and_contrast():
    patches = pool(1000)
    features, labels = donor_features(patches), strata_of_patches(patches)
    within = np.mean([features[labels == stratum].var(0) for stratum in range(25)], axis=0)
    assert np.all(within[:3] < 0.3 * features.var(0)[:3])


def test_same_seed_same_strata_and_neighbours_are_alike():
    patches = pool(300)
    labels = strata_of_patches(patches, 10, pool_seed=3)
    np.testing.assert_array_equal(labels, strata_of_patches(patches, 10, pool_seed=3))
    centres = np.stack([donor_features(patches)[labels == stratum].mean(0) for stratum in range(10)])
    shuffled = [centres[np.random.default_rng(seed).permutation(10)] for seed in range(50)]
    lengths = [np.sqrt((np.diff(path, axis=0) ** 2).sum(1)).sum() for path in (centres, *shuffled)]
    assert lengths[0] < min(lengths[1:])
    assert lengths[0] < 0.75 * np.median(lengths[1:])
    assert centres[0, :3].mean() == centres[:, :3].mean(1).min()


def test_a_pool_smaller_than_the_strata_says_so():
    with pytest.raises(ValueError, match=r"49 donors cannot fill 25 strata.*at most 24"):
        strata_of_patches(pool(49), 25)
