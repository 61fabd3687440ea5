"""Several logs at once, line by line as they come."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from queue import SimpleQueue

from finetune_cli.cluster.logs import Source


def interleaved(sources: Sequence[Source], read: Callable[[Source], Iterable[str]]) -> Iterator[tuple[Source, str]]:
    """Yield the lines of all logs until each has ended; the first that cannot be read fails."""
    lines: SimpleQueue[tuple[Source, str | Exception | None]] = SimpleQueue()

    def collect(source: Source) -> None:
        try:
            for line in read(source):
                lines.put((source, line))
        except Exception as error:  # noqa: BLE001 - it is raised where lines are read
            lines.put((source, error))
        finally:
            lines.put((source, None))

    for source in sources:
        threading.Thread(target=collect, args=(source,), daemon=True).start()
    num_open = len(sources)
    while num_open:
        source, line = lines.get()
        if isinstance(line, Exception):
            raise line
        if line is None:
            num_open -= 1
        else:
            yield source, line
