"""How fast DeftRec answers beside other ways to generate a recommendation, on one machine in one run."""

from studies.speed.machine import Rates, measure_rates
from studies.speed.study import SpeedRow, SpeedTable, measure_speed

__all__ = ["Rates", "SpeedRow", "SpeedTable", "measure_rates", "measure_speed"]
