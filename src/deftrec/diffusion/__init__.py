"""Noise schedule, denoiser, sampler and training objective."""

from deftrec.diffusion.base import Head, Sampling
from deftrec.diffusion.head import DiffusionHead
from deftrec.diffusion.objective import Denoised, NextItems, Objective
from deftrec.diffusion.sampler import DDIMSampler, DDPMSampler, Sample, Sampler
from deftrec.diffusion.schedule import CosineSchedule, LinearSchedule, NoiseSchedule

__all__ = [
    "CosineSchedule",
    "DDIMSampler",
    "DDPMSampler",
    "Denoised",
    "DiffusionHead",
    "Head",
    "LinearSchedule",
    "NextItems",
    "NoiseSchedule",
    "Objective",
    "Sample",
    "Sampler",
    "Sampling",
]
