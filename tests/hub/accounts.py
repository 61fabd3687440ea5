"""Users, their tokens and what a token may do. The values here are test values and open to everyone."""

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

from tests.hub.errors import invalid_token

Role = Literal["read", "write", "fineGrained"]
MemberRole = Literal["read", "contributor", "write", "admin"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Scope(_Frozen):
    """What a fine-grained token may do on one user, organisation, model or dataset."""

    type: Literal["user", "org", "model", "dataset"]
    name: str
    permissions: tuple[Literal["repo.content.read", "repo.write"], ...]

    def covers(self, kind: str, repo_id: str) -> bool:
        if self.type in {"user", "org"}:
            return self.name == repo_id.partition("/")[0]
        return (self.type, self.name) == (kind, repo_id)


class Token(_Frozen):
    value: str
    role: Role
    scopes: tuple[Scope, ...] = ()

    def may_read(self, kind: str, repo_id: str) -> bool:
        if self.role != "fineGrained":
            return True
        return self._grants("repo.content.read", kind, repo_id) or self.may_write(kind, repo_id)

    def may_write(self, kind: str, repo_id: str) -> bool:
        return self.role == "write" or (self.role == "fineGrained" and self._grants("repo.write", kind, repo_id))

    def _grants(self, permission: str, kind: str, repo_id: str) -> bool:
        return any(permission in scope.permissions and scope.covers(kind, repo_id) for scope in self.scopes)


class Membership(_Frozen):
    name: str
    role: MemberRole = "write"


class User(_Frozen):
    name: str
    fullname: str = ""
    organizations: tuple[Membership, ...] = ()
    tokens: tuple[Token, ...] = ()

    def is_in(self, namespace: str) -> bool:
        return namespace == self.name or any(member.name == namespace for member in self.organizations)

    def may_write_in(self, namespace: str) -> bool:
        """Whether the account itself, whatever its token, may write to repositories of this namespace."""
        return namespace == self.name or any(
            member.name == namespace and member.role in {"write", "admin"} for member in self.organizations
        )

    def may_create_in(self, namespace: str) -> bool:
        return namespace == self.name or any(
            member.name == namespace and member.role != "read" for member in self.organizations
        )


class Caller(_Frozen):
    """Who sent a request, and with which of their tokens."""

    user: User
    token: Token


class Accounts(_Frozen):
    users: tuple[User, ...]

    def caller(self, authorization: str | None) -> Caller | None:
        """Return who sends this `Authorization` header, None when there is none; 401 for a token nobody has."""
        if authorization is None:
            return None
        scheme, _, value = authorization.partition(" ")
        for user in self.users:
            for token in user.tokens:
                if scheme.lower() == "bearer" and token.value == value:
                    return Caller(user=user, token=token)
        raise invalid_token()


DEFAULT_ACCOUNTS = Accounts(
    users=(
        User(
            name="demo",
            fullname="Demo User",
            # The last two own what examples/quickstart.yaml reads on the public Hub.
            organizations=tuple(Membership(name=name) for name in ("acme", "sentence-transformers", "philschmid")),
            tokens=(
                Token(value="hf_demo_write", role="write"),
                Token(value="hf_demo_read", role="read"),
                Token(
                    value="hf_demo_acme",
                    role="fineGrained",
                    scopes=(Scope(type="org", name="acme", permissions=("repo.content.read", "repo.write")),),
                ),
            ),
        ),
        User(
            name="other",
            fullname="Other User",
            tokens=(Token(value="hf_other_write", role="write"), Token(value="hf_other_read", role="read")),
        ),
    )
)


def read_accounts(path: Path) -> Accounts:
    """Read accounts from a YAML or JSON file.

    Its shape: `users: [{name, organizations: [{name, role}], tokens: [{value, role, scopes}]}]`.
    """
    return Accounts.model_validate(yaml.safe_load(path.read_text()))
