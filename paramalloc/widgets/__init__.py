"""What notebooks show: progress and the explorer.

- `live`: progress of a corpus that is prepared, and of a training with its loss curve
- `explorer`: sliders for a request, and the allocation that it gets
- `controls`: those sliders and menus
"""

from .explorer import Explorer
from .live import LiveStages, LiveTraining

__all__ = ["Explorer", "LiveStages", "LiveTraining"]
