"""Calls that self-hosted Hubs may lack; switched off, they answer as if they had never been written."""

import re

from tests.hub.errors import bad_request

_REPOSITORY = r"/api/(?:models|datasets)/[^/]+/[^/]+"

OPTIONAL = {
    "whoami": re.compile(r"/api/whoami-v2"),
    "settings": re.compile(rf"{_REPOSITORY}/settings"),
    "validateYaml": re.compile(r"/api/validate-yaml"),
    "authCheck": re.compile(rf"{_REPOSITORY}/auth-check(?:/write)?"),
    "tags": re.compile(rf"{_REPOSITORY}/tag/.+"),
    "branches": re.compile(rf"{_REPOSITORY}/branch/.+"),
    "refs": re.compile(rf"{_REPOSITORY}/refs"),
    "commits": re.compile(rf"{_REPOSITORY}/commits/.+"),
    "create": re.compile(r"/api/repos/create"),
}


class Features:
    """Which optional calls this Hub offers; all of them unless told otherwise."""

    def __init__(self) -> None:
        self._off: set[str] = set()

    def switch(self, wanted: dict[str, bool]) -> None:
        if unknown := wanted.keys() - OPTIONAL.keys():
            raise bad_request(f"Unknown features {sorted(unknown)}; there are {sorted(OPTIONAL)}")
        self._off -= {name for name, is_on in wanted.items() if is_on}
        self._off |= {name for name, is_on in wanted.items() if not is_on}

    def reset(self) -> None:
        self._off.clear()

    def state(self) -> dict[str, bool]:
        return {name: name not in self._off for name in OPTIONAL}

    def lacks(self, path: str) -> bool:
        return any(OPTIONAL[name].fullmatch(path) for name in self._off)
