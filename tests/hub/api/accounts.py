"""Who am I, may I, and is this card well formed."""

from typing import Any

from aiohttp import web

from tests.hub.accounts import Caller
from tests.hub.card import check_card
from tests.hub.context import caller, json_object, readable_repository, writable_repository
from tests.hub.errors import bad_request, login_required
from tests.hub.rights import check_download

routes = web.RouteTableDef()


@routes.get("/api/whoami-v2")
async def whoami(request: web.Request) -> web.Response:
    found = caller(request)
    if found is None:
        raise login_required()
    user = found.user
    return web.json_response(
        {
            "type": "user",
            "id": user.name,
            "name": user.name,
            "fullname": user.fullname or user.name,
            "email": f"{user.name}@example.com",
            "emailVerified": True,
            "isPro": False,
            "canPay": False,
            "orgs": [
                {"type": "org", "id": org.name, "name": org.name, "fullname": org.name, "roleInOrg": org.role}
                for org in user.organizations
            ],
            "auth": {"type": "access_token", "accessToken": _access_token(found)},
        }
    )


def _access_token(found: Caller) -> dict[str, Any]:
    token = found.token
    shown: dict[str, Any] = {"displayName": token.value, "role": token.role, "createdAt": "2026-01-01T00:00:00.000Z"}
    if token.role == "fineGrained":
        scoped = [
            {
                "entity": {"_id": scope.name, "type": scope.type, "name": scope.name},
                "permissions": list(scope.permissions),
            }
            for scope in token.scopes
        ]
        shown["fineGrained"] = {"canReadGatedRepos": True, "global": [], "scoped": scoped}
    return shown


@routes.get("/api/{kinds:models|datasets}/{owner}/{name}/auth-check")
async def auth_check(request: web.Request) -> web.Response:
    check_download(readable_repository(request), caller(request))
    return web.Response(text="OK")


@routes.get("/api/{kinds:models|datasets}/{owner}/{name}/auth-check/write")
async def auth_check_write(request: web.Request) -> web.Response:
    writable_repository(request)
    return web.Response(text="OK")


@routes.post("/api/validate-yaml")
async def validate_yaml(request: web.Request) -> web.Response:
    body = await json_object(request)
    if not isinstance(body.get("content"), str):
        raise bad_request('"content" must be a string')
    verdict = check_card(body["content"], kind="dataset" if body.get("repoType") == "dataset" else "model")
    shown = {
        "errors": [{"message": message} for message in verdict.errors],
        "warnings": [{"message": message} for message in verdict.warnings],
    }
    return web.json_response(shown, status=400 if verdict.errors else 200)
