"""`python -m finetune_operator`: settings, then kopf until a signal or a failure ends it."""

import asyncio
import logging
import os
import sys

import kopf

from finetune_operator.handlers import build_kopf_settings, build_registry
from finetune_operator.settings import Settings, SettingsError, read_settings
from finetune_operator.shell.log import configure_logging
from finetune_operator.shell.runtime import Runtime

logger = logging.getLogger(__name__)
BAD_SETTINGS = 2


async def run(settings: Settings) -> int:
    """Run the operator; return the exit code."""
    stop_flag = asyncio.Event()
    runtime = Runtime(settings, stop_flag=stop_flag)
    logger.info("starting", extra={"namespaces": settings.watch_namespaces or "all", "image": settings.trainer_image})
    try:
        await kopf.operator(
            registry=build_registry(runtime),
            settings=build_kopf_settings(),
            namespaces=settings.watch_namespaces,
            clusterwide=not settings.watch_namespaces,
            standalone=True,
            stop_flag=stop_flag,
        )
    except Exception as error:  # noqa: BLE001 - whatever it is, it ends the process, with a word and an exit code
        runtime.failure = repr(error.__cause__ or error)
    finally:
        await runtime.stop()  # kopf's clean-up does so too, but not where the start was cut short
    if runtime.failure:
        logger.error("ended", extra={"error": runtime.failure})
        return 1
    return 0


def main() -> None:
    """Read the settings and run."""
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(BAD_SETTINGS)
    configure_logging(settings.log_format, settings.log_level)
    sys.exit(asyncio.run(run(settings)))


if __name__ == "__main__":
    main()
