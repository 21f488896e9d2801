"""Sign-in by an OpenID provider: mozilla-django-oidc carries the code, the state and the nonce; who may enter is
decided here. Read only where TRIALDECK_OIDC_ISSUER is set."""

from __future__ import annotations

import logging

import jwt
import requests
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import SuspiciousOperation, ValidationError
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from mozilla_django_oidc.auth import OIDCAuthenticationBackend
from mozilla_django_oidc.utils import import_from_settings
from mozilla_django_oidc.views import OIDCAuthenticationCallbackView, OIDCAuthenticationRequestView

from console.auth.provider import TIMEOUT_S, Provider
from experiments.models import User

logger = logging.getLogger(__name__)

UNBELIEVED = (SuspiciousOperation, jwt.PyJWTError, ValueError, KeyError, TypeError, AttributeError)


class Stranger(Exception):
    """Who comes from the provider does not get in. The text says why, and what to do."""


class Settings:
    """What the library asks for, from `settings.OPENID`."""

    @staticmethod
    def get_settings(attr: str, *default: object) -> object:
        provider: Provider = settings.OPENID
        known = {
            "OIDC_AUTHENTICATION_CALLBACK_URL": "openid-back",
            "OIDC_RP_SCOPES": provider.scopes,
            "OIDC_TIMEOUT": TIMEOUT_S,
            "OIDC_USE_PKCE": True,
        }
        return known[attr] if attr in known else import_from_settings(attr, *default)


# --- who it is ---------------------------------------------------------------------------------------------------


class ByProvider(Settings, OIDCAuthenticationBackend):
    """The account of whom the provider vouches for: the one bound to this issuer and subject; at the first time one
    with the same verified e-mail address (or username), which is bound now; else a new one, where anybody may come."""

    def __init__(self) -> None:
        """Made for every page of a session: asks nobody anything."""
        self.UserModel = User

    def authenticate(self, request: HttpRequest, *, nonce: str, code_verifier: str) -> User | None:
        """Of a code that came back. Raises `Stranger`, requests' errors, and one of UNBELIEVED."""
        provider: Provider = settings.OPENID
        told = provider.told()
        self.OIDC_OP_TOKEN_ENDPOINT = told["token_endpoint"]
        self.OIDC_OP_USER_ENDPOINT = told.get("userinfo_endpoint")
        self.OIDC_OP_JWKS_ENDPOINT = told.get("jwks_uri")
        self.OIDC_RP_CLIENT_ID = provider.client_id
        self.OIDC_RP_CLIENT_SECRET = provider.client_secret
        self.OIDC_RP_SIGN_ALGO = provider.algorithm
        self.OIDC_RP_IDP_SIGN_KEY = None
        self.issuer = told["issuer"]
        return super().authenticate(request, nonce=nonce, code_verifier=code_verifier)

    def get_token(self, payload: dict) -> dict:
        """The secret goes as the provider wants it; without a word about it, in the header (RFC 8414)."""
        ways = settings.OPENID.told().get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        auth = None
        if "client_secret_post" not in ways:
            auth = (payload["client_id"], payload.pop("client_secret"))
        answer = requests.post(self.OIDC_OP_TOKEN_ENDPOINT, data=payload, auth=auth, timeout=TIMEOUT_S)
        self.raise_token_response_error(answer)
        return answer.json()

    def _verify_jws(self, payload: str, key: object) -> dict:
        """The library leaves out whom the token is for, and who says so."""
        return jwt.decode(
            payload,
            key,
            algorithms=[self.OIDC_RP_SIGN_ALGO],
            audience=self.OIDC_RP_CLIENT_ID,
            issuer=self.issuer,
            leeway=60,
            options={"require": ["exp", "iat", "aud", "iss", "sub"]},
        )

    def get_or_create_user(self, access_token: str, id_token: str, payload: dict) -> User:
        told = self.get_userinfo(access_token, id_token, payload) if self.OIDC_OP_USER_ENDPOINT else {}
        if told.get("sub", payload["sub"]) != payload["sub"]:
            raise ValueError("the userinfo names another subject")
        claims = {**payload, **told, "sub": payload["sub"]}
        try:
            user = _account(claims, f"{self.issuer} {claims['sub']}")
        except IntegrityError:  # twice at the same moment: the other one has made it
            user = _account(claims, f"{self.issuer} {claims['sub']}")
        if not user.is_active:
            raise Stranger(f"The account {user} is disabled. Ask an administrator to enable the account.")
        return user

    def get_user(self, user_id: int) -> User | None:
        """Whose account is switched off is out at once."""
        return ModelBackend.get_user(self, user_id)

    user_can_authenticate = ModelBackend.user_can_authenticate


def _account(claims: dict, identity: str) -> User:
    with transaction.atomic():
        if bound := User.objects.filter(openid=identity).first():
            return bound
        user = _known(claims) or _new(claims)
        if user.openid and user.openid != identity:
            raise Stranger(
                f"The account {user} is bound to another person at {settings.OPENID.name}. "
                "Ask an administrator to unbind the account."
            )
        user.openid = identity
        user.save()
        return user


def _known(claims: dict) -> User | None:
    """The account that was here before."""
    if settings.OPENID.knows_by == "username":
        return User.objects.filter(username=_username(claims)).first()
    email = _email(claims)
    found = [
        user for user in User.objects.filter(email__iexact=email) if user.email.casefold() == email.casefold()
    ]
    if len(found) > 1:
        raise Stranger(f"More than one account here has the address {email}. Tell an administrator.")
    return found[0] if found else None


def _new(claims: dict) -> User:
    name = _username(claims)
    if not settings.OPENID.admits_anybody:
        whom = name if settings.OPENID.knows_by == "username" else _email(claims)
        raise Stranger(f"No account for {whom}. Ask an administrator to create one.")
    if User.objects.filter(username=name).exists():
        raise Stranger(f"The username {name} belongs to another account here. Tell an administrator.")
    email = claims.get("email", "") if _is_verified(claims) else ""
    user = User(username=name, email=email, first_name=_short(claims, "given_name"))
    user.last_name = _short(claims, "family_name")
    user.set_unusable_password()
    return user


def _is_verified(claims: dict) -> bool:
    return claims.get("email_verified") in (True, "true")


def _email(claims: dict) -> str:
    email = claims.get("email")
    if not email or not _is_verified(claims):
        raise Stranger(
            f"{settings.OPENID.name} provided no verified email address, which is required to sign in. "
            "Verify your address there, or ask an administrator for a one-time link."
        )
    return str(email)


def _username(claims: dict) -> str:
    name = User.normalize_username(str(claims.get("preferred_username") or claims.get("email") or ""))
    try:
        User._meta.get_field("username").run_validators(name)
    except ValidationError:
        raise Stranger(
            f"{settings.OPENID.name} names you {name[:64]!r}, which cannot be a username: letters, digits and "
            "@ . + - _ only, at most 150. Tell an administrator."
        ) from None
    return name


def _short(claims: dict, name: str) -> str:
    return str(claims.get(name) or "")[:150]


# --- there and back ----------------------------------------------------------------------------------------------


class Sentences:
    """Whatever goes wrong between here and the provider is one sentence on the sign-in page."""

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        name = settings.OPENID.name
        try:
            return super().dispatch(request, *args, **kwargs)
        except Stranger as stranger:
            said = str(stranger)
        except requests.RequestException as error:
            logger.warning("The OpenID provider %s: %s", settings.OPENID.issuer, error)
            said = f"{name} is not responding correctly. Try again in a minute, or sign in another way."
        except UNBELIEVED as error:
            logger.warning(
                "The OpenID provider %s: %s: %s", settings.OPENID.issuer, type(error).__name__, error
            )
            said = f"The response of {name} could not be verified. Try again, or tell an administrator."
        messages.error(request, said)
        return redirect("sign-in")


@method_decorator(never_cache, name="dispatch")
class Begin(Sentences, Settings, OIDCAuthenticationRequestView):
    """To the provider."""

    def __init__(self, **named: object) -> None:
        super(OIDCAuthenticationRequestView, self).__init__(**named)

    def get(self, request: HttpRequest) -> HttpResponse:
        self.OIDC_OP_AUTH_ENDPOINT = settings.OPENID.told()["authorization_endpoint"]
        self.OIDC_RP_CLIENT_ID = settings.OPENID.client_id
        return super().get(request)


@method_decorator(never_cache, name="dispatch")
class Back(Sentences, Settings, OIDCAuthenticationCallbackView):
    """And back, with a code: once, in the browser that left."""

    def get(self, request: HttpRequest) -> HttpResponse:
        if request.GET.get("state") not in request.session.get("oidc_states", {}):
            raise Stranger(
                "This sign-in did not begin in this browser, or was already completed. Sign in again."
            )
        if said := request.GET.get("error_description") or request.GET.get("error"):
            raise Stranger(f"{settings.OPENID.name} did not sign you in: {said[:200]}")
        return super().get(request)

    def login_failure(self) -> HttpResponse:
        raise SuspiciousOperation("it came back without a code")


urlpatterns = [
    path("sign-in/openid/", Begin.as_view(), name="openid"),
    path("sign-in/openid/back/", Back.as_view(), name="openid-back"),
]
