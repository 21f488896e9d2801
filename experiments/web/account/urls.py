"""Addresses of signing in, the account, and its tokens."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from . import passwords, profile, sign_in, tokens

W = "w/<slug:workspace_slug>/"

urlpatterns = [
    path("sign-in/", passwords.SignIn.as_view(), name="sign-in"),
    path("sign-out/", LogoutView.as_view(), name="sign-out"),
    path("enter/<str:token>/", sign_in.enter, name="enter"),
    path("account/", profile.show, name="account"),
    path("account/password/", profile.ChangePassword.as_view(), name="account-password"),
    path("account/tokens/", tokens.index, name="tokens"),
    path("account/tokens/<int:pk>/revoke/", tokens.revoke, name="token-revoke"),
    path(W + "settings/tokens/<int:pk>/revoke/", tokens.revoke_in, name="workspace-token-revoke"),
    path("account/sign-out-elsewhere/", profile.sign_out_elsewhere, name="sign-out-elsewhere"),
    path("password-reset/", passwords.Reset.as_view(), name="password-reset"),
    path("password-reset/sent/", passwords.ResetSent.as_view(), name="password-reset-sent"),
    path(
        "password-reset/<str:uidb64>/<str:token>/",
        passwords.ResetConfirm.as_view(),
        name="password-reset-confirm",
    ),
]
