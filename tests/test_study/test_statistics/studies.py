"""Small made-up studies for the tests of the statistics."""

from mmattn.study import Scores


def random_parts(rng, seeds=4, groups=20, between=0.01, own=0.008, shared=0.006, mean=0.0):
    """Paired differences of a metric, and the same with a group of images left out."""
    images = shared * rng.standard_normal(groups) + own * rng.standard_normal((seeds, groups))
    pseudo = mean + between * rng.standard_normal((seeds, 1)) + images
    differences = pseudo.mean(1)
    return differences, (groups * differences[:, None] - pseudo) / (groups - 1)


def random_scores(rng, variants=('plain', 'se', 'cbam'), seeds=4, groups=20, images=400, effects=(0, 0, 0)):
    """Scores of two metrics."""
    values, jackknife = [], []
    for _ in range(2):
        of_metric = [random_parts(rng, seeds, groups, mean=0.4 + effect) for effect in effects]
        values.append([each[0] for each in of_metric])
        jackknife.append([each[1] for each in of_metric])
    return Scores(variants, tuple(range(seeds)), images, ('bbox/AP', 'bbox/AP50'), values, jackknife)
