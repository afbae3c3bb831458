"""How one candidate is trained, scored, saved and exported, by one process, anywhere."""

import os

__version__ = "0.1.0"

# Before torch is imported: OpenMP threads that wait for each other spin briefly, then sleep. A training step of small_unet on
# two threads of a 2-core machine took, with libgomp's default, this value, and no spinning at all (OMP_WAIT_POLICY=PASSIVE):
# 47-59, 57-60 and 87-91 ms alone; 216, 151 and 193 ms beside two busy processes.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# Before onnxruntime is imported: from 1.32 on it keeps an id of the machine in ~/.cache and sends Microsoft what it does.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
