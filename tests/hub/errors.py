"""Refusals, worded and coded as the Hub does.

`huggingface_hub.utils.hf_raise_for_status` picks its exception class from `X-Error-Code` first, the status second.
"""

from aiohttp import web

INVALID_CREDENTIALS = "Invalid credentials in Authorization header"
ANONYMOUS = "Invalid username or password."


class HubError(Exception):
    """A refusal: HTTP status, message, and the code that the client turns into an exception class."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = headers or {}

    def response(self) -> web.Response:
        headers = {"X-Error-Message": self.message.replace("\n", " "), **self.headers}
        if self.code is not None:
            headers["X-Error-Code"] = self.code
        return web.json_response({"error": self.message}, status=self.status, headers=headers)


def bad_request(message: str) -> HubError:
    return HubError(400, message)


def invalid_token() -> HubError:
    return HubError(401, INVALID_CREDENTIALS)


def login_required() -> HubError:
    """Refuse an anonymous request; given for private and missing repositories alike.

    From a bare 401 the client makes RepositoryNotFoundError only if the endpoint is https, so the code is sent too.
    """
    return HubError(401, ANONYMOUS, code="RepoNotFound", headers={"WWW-Authenticate": "Bearer"})


def forbidden(message: str) -> HubError:
    return HubError(403, message)


def gated(repo_id: str, *, status: int = 403) -> HubError:
    message = f"Access to model {repo_id} is restricted and you are not in the authorized list."
    return HubError(status, message, code="GatedRepo")


def repository_not_found() -> HubError:
    return HubError(404, "Repository not found", code="RepoNotFound")


def revision_not_found(revision: str) -> HubError:
    return HubError(404, f"Invalid rev id: {revision}", code="RevisionNotFound")


def entry_not_found(message: str = "Entry not found", *, commit: str | None = None) -> HubError:
    headers = {} if commit is None else {"X-Repo-Commit": commit}
    return HubError(404, message, code="EntryNotFound", headers=headers)


def not_found() -> HubError:
    return HubError(404, "Sorry, we can't find the page you are looking for.")


def conflict(message: str) -> HubError:
    return HubError(409, message)


def stale_parent() -> HubError:
    return HubError(412, "A commit has happened since. Please refresh and try again.")
