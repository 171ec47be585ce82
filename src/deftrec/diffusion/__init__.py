"""Schedule, denoiser, objective, sampler."""

from deftrec.diffusion.base import Head, ItemScorer, Sampling
from deftrec.diffusion.head import DiffusionHead
from deftrec.diffusion.heads import HEADS
from deftrec.diffusion.objective import Denoised, NextItems, Objective
from deftrec.diffusion.sampler import DDIMSampler, DDPMSampler, DPMSampler, MeanSampler, Sample, Sampler
from deftrec.diffusion.schedule import CosineSchedule, LinearSchedule, NoiseSchedule

__all__ = [
    "HEADS",
    "CosineSchedule",
    "DDIMSampler",
    "DDPMSampler",
    "DPMSampler",
    "Denoised",
    "DiffusionHead",
    "Head",
    "ItemScorer",
    "LinearSchedule",
    "MeanSampler",
    "NextItems",
    "NoiseSchedule",
    "Objective",
    "Sample",
    "Sampler",
    "Sampling",
]
