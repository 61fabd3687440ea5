"""Everything inside the trainer image: prepare, train and publish. Knows nothing of Kubernetes."""

import os
import signal

if os.getpid() == 1:
    # A container's first process gets no signal that it does not listen for: one that came while a role was loaded was
    # lost, and its pod went on until it was killed. With the first process all others of the container end.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
