"""An OpenID provider that speaks real HTTP: one person, RS256 or HS256, PKCE, codes that work once."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT, SECRET = "trialdeck", "a-secret-that-only-these-two-know-0123456789"


class OpenIDProvider:
    """`person`: the claims of who is signed in there; `spoils`: what the next ID token says instead (`alg` too);
    `info`: what userinfo says instead."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.person: dict = {}
        self.spoils: dict = {}
        self.info: dict = {}
        self.algorithm = "RS256"
        self.ways = ["client_secret_basic"]
        self.codes: dict[str, dict] = {}
        self.tokens: dict[str, dict] = {}
        self.requests: list[str] = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.answer(self, urlsplit(self.path).path, parse_qs(urlsplit(self.path).query))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                provider.answer(self, self.path, parse_qs(body))

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}/realm"
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler, path: str, query: dict[str, list[str]]) -> None:
        self.requests.append(path)
        parameters = {name: values[0] for name, values in query.items()}
        do = {
            "/realm/.well-known/openid-configuration": self._discovery,
            "/realm/authorize": self._authorize,
            "/realm/token": self._token,
            "/realm/keys": self._keys,
            "/realm/me": self._me,
        }[path]
        status, body = do(parameters, handler.headers)
        handler.send_response(status)
        if status == 302:
            handler.send_header("Location", body)
            body = {}
        text = json.dumps(body).encode()
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)

    def _discovery(self, parameters: dict, headers: dict) -> tuple[int, dict]:
        return 200, {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "userinfo_endpoint": f"{self.issuer}/me",
            "token_endpoint_auth_methods_supported": self.ways,
        }

    def _authorize(self, parameters: dict, headers: dict) -> tuple[int, str]:
        assert parameters["client_id"] == CLIENT and parameters["response_type"] == "code"
        assert "openid" in parameters["scope"].split() and parameters["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(8)
        self.codes[code] = parameters
        return 302, parameters["redirect_uri"] + "?" + urlencode({"code": code, "state": parameters["state"]})

    def _token(self, parameters: dict, headers: dict) -> tuple[int, dict]:
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        by_header = headers.get("Authorization") == f"Basic {basic}" and "client_secret" not in parameters
        by_body = parameters.get("client_secret") == SECRET and parameters["client_id"] == CLIENT
        if not (by_header if self.ways == ["client_secret_basic"] else by_body):
            return 401, {"error": "invalid_client"}
        grant = self.codes.pop(parameters["code"], None)
        proof = hashlib.sha256(parameters["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(proof).rstrip(b"=").decode()
        if (
            grant is None
            or challenge != grant["code_challenge"]
            or parameters["redirect_uri"] != grant["redirect_uri"]
        ):
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": grant["nonce"]}
        claims |= {"sub": self.person["sub"], **self.spoils}
        algorithm = claims.pop("alg", self.algorithm)
        key = {"R": self.key, "H": SECRET, "n": None}[algorithm[0]]
        token = secrets.token_urlsafe(8)
        self.tokens[token] = {**self.person, **self.info}
        signed = jwt.encode(claims, key, algorithm=algorithm, headers={"kid": "one"})
        return 200, {"access_token": token, "token_type": "Bearer", "id_token": signed}

    def _keys(self, parameters: dict, headers: dict) -> tuple[int, dict]:
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return 200, {"keys": [{**key, "kid": "one", "alg": "RS256", "use": "sig"}]}

    def _me(self, parameters: dict, headers: dict) -> tuple[int, dict]:
        person = self.tokens.get(headers.get("Authorization", "").removeprefix("Bearer "))
        return (200, person) if person else (401, {})
