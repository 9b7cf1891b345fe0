"""Compare variants of a training over seeds and images: does a change help, and how sure is that?"""

from mmattn.study.scores import Scores

__all__ = ['Scores']
