"""What notebooks show: progress and the explorer."""

from .explorer import Explorer
from .live import LiveStages, LiveTraining

__all__ = ["Explorer", "LiveStages", "LiveTraining"]
