"""Noise schedule, denoiser, sampler and training objective."""

from deftrec.diffusion.head import DiffusionHead, Head, Sampling
from deftrec.diffusion.objective import NextItems, Objective
from deftrec.diffusion.sampler import DDIMSampler, DDPMSampler, Sample

__all__ = ["DDIMSampler", "DDPMSampler", "DiffusionHead", "Head", "NextItems", "Objective", "Sample", "Sampling"]
