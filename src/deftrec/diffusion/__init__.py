"""Schedule, denoiser, objective, sampler."""

from deftrec.diffusion.head import DiffusionHead, Sampling
from deftrec.diffusion.objective import Denoised, NextItems, Objective
from deftrec.diffusion.sampler import DDIMSampler, DDPMSampler, MeanSampler, Sample, Sampler
from deftrec.diffusion.schedule import CosineSchedule, LinearSchedule, NoiseSchedule

__all__ = [
    "CosineSchedule",
    "DDIMSampler",
    "DDPMSampler",
    "Denoised",
    "DiffusionHead",
    "LinearSchedule",
    "MeanSampler",
    "NextItems",
    "NoiseSchedule",
    "Objective",
    "Sample",
    "Sampler",
    "Sampling",
]
