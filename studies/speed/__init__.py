"""Time of a recommendation: DeftRec beside other generative methods, on one machine in one process."""

from studies.speed.study import SpeedRow, SpeedTable, measure_speed

__all__ = ["SpeedRow", "SpeedTable", "measure_speed"]
