"""Reads a folder of event files with TensorBoard's own reader, and prints its scalars as JSON."""

import json
import sys

try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError as error:
    print(json.dumps({"absent": str(error)}))
    sys.exit()

reader = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
reader.Reload()
print(json.dumps({
    tag: [[event.step, event.value, event.wall_time] for event in reader.Scalars(tag)]
    for tag in reader.Tags()["scalars"]
}))
