"""Evaluate results files of any origin on COCO annotations, with the jackknife over images."""

from mmattn.study.evaluation.detections import Detections
from mmattn.study.evaluation.engines import ENGINES, Engine, engine_class, slow_engine_note
from mmattn.study.evaluation.evaluate import Evaluation, EvaluationSettings, evaluate_run, evaluate_runs
from mmattn.study.evaluation.ground_truth import GroundTruth, read_ground_truth
from mmattn.study.evaluation.identify import AUTO, CATEGORY_READINGS
from mmattn.study.evaluation.image_differences import ImageDifference, most_different_images
from mmattn.study.evaluation.metrics import IOU_TYPES, MAIN, SUMMARY
from mmattn.study.evaluation.mistakes import MISTAKES, Mistakes, count_mistakes
from mmattn.study.evaluation.refused import EvaluationRefused
from mmattn.study.evaluation.results_file import read_detections
from mmattn.study.evaluation.study_scores import RunResults, StudyEvaluation, evaluate_study

__all__ = [
    'AUTO',
    'CATEGORY_READINGS',
    'ENGINES',
    'IOU_TYPES',
    'MAIN',
    'MISTAKES',
    'SUMMARY',
    'Detections',
    'Engine',
    'Evaluation',
    'EvaluationRefused',
    'EvaluationSettings',
    'GroundTruth',
    'ImageDifference',
    'Mistakes',
    'RunResults',
    'StudyEvaluation',
    'count_mistakes',
    'engine_class',
    'evaluate_run',
    'evaluate_runs',
    'evaluate_study',
    'most_different_images',
    'read_detections',
    'read_ground_truth',
    'slow_engine_note',
]
