"""Sign-in with OpenID Connect. mozilla-django-oidc handles code, state and nonce; this module maps them to accounts.
Imported only if TRIALDECK_OIDC_ISSUER is set."""

from __future__ import annotations

import logging
from typing import Any

import jwt
import requests
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import SuspiciousOperation, ValidationError
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import never_cache
from mozilla_django_oidc.auth import OIDCAuthenticationBackend
from mozilla_django_oidc.utils import import_from_settings
from mozilla_django_oidc.views import OIDCAuthenticationCallbackView, OIDCAuthenticationRequestView

from console.auth import groups
from console.auth.provider import TIMEOUT_S, Provider
from experiments.models import User

logger = logging.getLogger(__name__)

Claims = dict[str, Any]

INVALID_RESPONSE = (SuspiciousOperation, jwt.PyJWTError, ValueError, KeyError, TypeError, AttributeError)


class SignInRefused(Exception):
    """The provider authenticated the user, but sign-in is refused. `str()` is a message for users: why, and what to
    do."""


def configured_provider() -> Provider:
    """Return the provider. This module is imported only when there is one."""
    provider = settings.OPENID
    if provider is None:
        raise RuntimeError("TRIALDECK_OIDC_ISSUER is not set.")
    return provider


class ProviderSettings:
    """The settings of the library, taken from `settings.OPENID`."""

    @staticmethod
    def get_settings(attr: str, *default: object) -> object:
        values = {
            "OIDC_AUTHENTICATION_CALLBACK_URL": "openid-back",
            "OIDC_RP_SCOPES": configured_provider().scopes,
            "OIDC_TIMEOUT": TIMEOUT_S,
            "OIDC_USE_PKCE": True,
        }
        return values[attr] if attr in values else import_from_settings(attr, *default)


# --- authentication ----------------------------------------------------------------------------------------------


class OpenIDBackend(ProviderSettings, OIDCAuthenticationBackend):
    """Finds the user's account: the one linked to this issuer and subject; else one with the same verified email
    address (or username), which is then linked; else a new one, if unknown users are admitted."""

    def __init__(self) -> None:
        """Called for every request of a session, so it makes no request to the provider."""
        self.UserModel = User

    def authenticate(self, request: HttpRequest, *, nonce: str, code_verifier: str) -> User | None:
        """Authenticate an authorization code. Raise SignInRefused, requests' errors, or one of INVALID_RESPONSE."""
        provider = configured_provider()
        metadata = provider.metadata()
        self.OIDC_OP_TOKEN_ENDPOINT = metadata["token_endpoint"]
        self.OIDC_OP_USER_ENDPOINT = metadata.get("userinfo_endpoint")
        self.OIDC_OP_JWKS_ENDPOINT = metadata.get("jwks_uri")
        self.OIDC_RP_CLIENT_ID = provider.client_id
        self.OIDC_RP_CLIENT_SECRET = provider.client_secret
        self.OIDC_RP_SIGN_ALGO = provider.algorithm
        self.OIDC_RP_IDP_SIGN_KEY = None
        self.issuer = metadata["issuer"]
        return super().authenticate(request, nonce=nonce, code_verifier=code_verifier)

    def get_token(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Send the client secret by a method that the provider supports; the default is the header (RFC 8414)."""
        metadata = configured_provider().metadata()
        methods = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        auth = None
        if "client_secret_post" not in methods:
            auth = (payload["client_id"], payload.pop("client_secret"))
        response = requests.post(self.OIDC_OP_TOKEN_ENDPOINT, data=payload, auth=auth, timeout=TIMEOUT_S)
        self.raise_token_response_error(response)
        return response.json()

    def _verify_jws(self, payload: str, key: Any) -> dict[str, Any]:
        """Also check audience and issuer, because the library does not."""
        return jwt.decode(
            payload,
            key,
            algorithms=[self.OIDC_RP_SIGN_ALGO],
            audience=self.OIDC_RP_CLIENT_ID,
            issuer=self.issuer,
            leeway=60,
            options={"require": ["exp", "iat", "aud", "iss", "sub"]},
        )

    def get_or_create_user(self, access_token: str, id_token: str, payload: dict[str, Any]) -> User:
        userinfo = self.get_userinfo(access_token, id_token, payload) if self.OIDC_OP_USER_ENDPOINT else {}
        if userinfo.get("sub", payload["sub"]) != payload["sub"]:
            raise ValueError("the userinfo has another subject than the ID token")
        claims = {**payload, **userinfo, "sub": payload["sub"]}
        try:
            user = _account(claims, f"{self.issuer} {claims['sub']}")
        except IntegrityError:  # a concurrent sign-in has just created the account
            user = _account(claims, f"{self.issuer} {claims['sub']}")
        if not user.is_active:
            raise SignInRefused(f"The account {user} is disabled. Ask an administrator to enable it.")
        groups.apply(configured_provider(), user, claims)
        return user

    def get_user(self, user_id: int) -> User | None:
        """Return None for a disabled account, which ends its sessions immediately."""
        return ModelBackend.get_user(self, user_id)

    user_can_authenticate = ModelBackend.user_can_authenticate


def _account(claims: Claims, identity: str) -> User:
    with transaction.atomic():
        if linked := User.objects.filter(openid=identity).first():
            return linked
        user = _existing(claims) or _new(claims)
        if user.openid and user.openid != identity:
            raise SignInRefused(
                f"The account {user} is linked to another person at {configured_provider().name}. "
                "Ask an administrator to unlink it."
            )
        user.openid = identity
        user.save()
        return user


def _existing(claims: Claims) -> User | None:
    """Return the existing account of a user who signs in for the first time."""
    if configured_provider().knows_by == "username":
        return User.objects.filter(username=_username(claims)).first()
    email = _email(claims)
    matches = [
        user for user in User.objects.filter(email__iexact=email) if user.email.casefold() == email.casefold()
    ]
    if len(matches) > 1:
        raise SignInRefused(f"Several accounts have the email address {email}. Contact an administrator.")
    return matches[0] if matches else None


def _new(claims: Claims) -> User:
    name = _username(claims)
    provider = configured_provider()
    if not provider.admits_anybody:
        identifier = name if provider.knows_by == "username" else _email(claims)
        raise SignInRefused(f"There is no account for {identifier}. Ask an administrator for one.")
    if User.objects.filter(username=name).exists():
        raise SignInRefused(f"The username {name} belongs to another account. Contact an administrator.")
    email = claims.get("email", "") if _is_verified(claims) else ""
    user = User(username=name, email=email, first_name=_short(claims, "given_name"))
    user.last_name = _short(claims, "family_name")
    user.set_unusable_password()
    return user


def _is_verified(claims: Claims) -> bool:
    return claims.get("email_verified") in (True, "true")


def _email(claims: Claims) -> str:
    email = claims.get("email")
    if not email or not _is_verified(claims):
        raise SignInRefused(
            f"{configured_provider().name} sent no verified email address, which is required. "
            "Verify your address there, or ask an administrator for a one-time link."
        )
    return str(email)


def _username(claims: Claims) -> str:
    name = User.normalize_username(str(claims.get("preferred_username") or claims.get("email") or ""))
    try:
        User._meta.get_field("username").run_validators(name)
    except ValidationError:
        raise SignInRefused(
            f"{configured_provider().name} sent the username {name[:64]!r}, which is invalid. Usernames have at most "
            "150 letters, digits and @ . + - _. Contact an administrator."
        ) from None
    return name


def _short(claims: Claims, name: str) -> str:
    return str(claims.get(name) or "")[:150]


# --- views -------------------------------------------------------------------------------------------------------


class SignInErrors(View):
    """Show errors of the sign-in as a message on the sign-in page."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        provider = configured_provider()
        try:
            return super().dispatch(request, *args, **kwargs)
        except SignInRefused as refusal:
            message = str(refusal)
        except requests.RequestException as error:
            logger.warning("OpenID provider %s: %s", provider.issuer, error)
            message = f"{provider.name} is not available. Try again in a minute, or sign in another way."
        except INVALID_RESPONSE as error:
            logger.warning("OpenID provider %s: %s: %s", provider.issuer, type(error).__name__, error)
            message = f"{provider.name} sent an invalid response. Try again; if it persists, contact an administrator."
        messages.error(request, message)
        return redirect("sign-in")


@method_decorator(never_cache, name="dispatch")
class OpenIDSignIn(SignInErrors, ProviderSettings, OIDCAuthenticationRequestView):
    """Redirect to the provider."""

    def __init__(self, **initkwargs: Any) -> None:
        super(OIDCAuthenticationRequestView, self).__init__(**initkwargs)

    def get(self, request: HttpRequest) -> HttpResponse:
        provider = configured_provider()
        self.OIDC_OP_AUTH_ENDPOINT = provider.metadata()["authorization_endpoint"]
        self.OIDC_RP_CLIENT_ID = provider.client_id
        return super().get(request)


@method_decorator(never_cache, name="dispatch")
class OpenIDCallback(SignInErrors, ProviderSettings, OIDCAuthenticationCallbackView):
    """The return from the provider with a code: valid once, and only in the browser that started the sign-in."""

    def get(self, request: HttpRequest) -> HttpResponse:
        if request.GET.get("state") not in request.session.get("oidc_states", {}):
            raise SignInRefused(
                "This sign-in was not started in this browser, or was already used. Start again."
            )
        if error := request.GET.get("error_description") or request.GET.get("error"):
            raise SignInRefused(f"{configured_provider().name} refused the sign-in: {error[:200]}")
        return super().get(request)

    def login_failure(self) -> HttpResponse:
        raise SuspiciousOperation("the callback has no code")


urlpatterns = [
    path("sign-in/openid/", OpenIDSignIn.as_view(), name="openid"),
    path("sign-in/openid/back/", OpenIDCallback.as_view(), name="openid-back"),
]
