"""Probe of tools/doctor.py: does OpenCV import?"""

import cv2


def probe() -> dict:
    """Return the version of OpenCV."""
    return dict(version=cv2.__version__)
