"""From the scores of a study to its answer: differences with intervals over new seeds and new images."""

from mmattn.study.statistics.analysis_of_variance import ObuchowskiRockette, obuchowski_rockette
from mmattn.study.statistics.comparison import Comparison, Summary, compare, summarize
from mmattn.study.statistics.corrections import holm
from mmattn.study.statistics.jackknife import jackknife_covariance
from mmattn.study.statistics.paired import PairedDifference, paired_difference
from mmattn.study.statistics.planning import detectable, images_needed, power, seeds_needed
from mmattn.study.statistics.verdict import Verdict

__all__ = [
    'Comparison',
    'ObuchowskiRockette',
    'PairedDifference',
    'Summary',
    'Verdict',
    'compare',
    'detectable',
    'holm',
    'images_needed',
    'jackknife_covariance',
    'obuchowski_rockette',
    'paired_difference',
    'power',
    'seeds_needed',
    'summarize',
]
