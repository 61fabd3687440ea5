"""`python -m tests.hub --host 0.0.0.0 --port 8080 --directory DIR [--users FILE]`: serve until told to stop."""

import argparse
import json
import logging
import socket
import sys
from pathlib import Path

from aiohttp import web

from tests.hub.accounts import DEFAULT_ACCOUNTS, read_accounts
from tests.hub.app import build_app
from tests.hub.context import Hub

_logger = logging.getLogger("tests.hub")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.hub", description="A Hugging Face Hub for tests.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one, named in the first line of output")
    parser.add_argument("--directory", type=Path, required=True, help="where repositories are kept")
    parser.add_argument("--users", type=Path, help="YAML or JSON file of users; default: demo and other")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
    _logger.setLevel(logging.INFO)
    accounts = DEFAULT_ACCOUNTS if arguments.users is None else read_accounts(arguments.users)
    app = build_app(Hub(arguments.directory, accounts=accounts))
    with socket.create_server((arguments.host, arguments.port)) as listening:
        _logger.info(json.dumps({"event": "listening", "port": listening.getsockname()[1]}))
        web.run_app(app, sock=listening, access_log=None, print=None, shutdown_timeout=5)


if __name__ == "__main__":
    main()
