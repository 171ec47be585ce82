"""What a recipe or a run costs, before anything is trained: parameters, memory, work; from its configuration alone."""

from deftrec.doctor.examination import Examination, examine
from deftrec.doctor.skeleton import Subject, subject_of

__all__ = ["Examination", "Subject", "examine", "subject_of"]
