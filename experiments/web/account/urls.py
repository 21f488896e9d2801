"""URLs of sign-in, the account, and its tokens."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from experiments.web.table_files import file_paths

from . import passwords, profile, second_step, security, sign_in, tokens

W = "w/<slug:workspace_slug>/"

urlpatterns = [
    path("sign-in/", passwords.SignIn.as_view(), name="sign-in"),
    path("sign-in/code/", second_step.code, name="sign-in-code"),
    path("sign-out/", LogoutView.as_view(), name="sign-out"),
    path("enter/<str:token>/", sign_in.enter, name="enter"),
    path("account/", profile.show, name="account"),
    path("account/security/", security.show, name="security"),
    path("account/security/two-factor/", security.second_factor, name="second-factor"),
    path("account/security/two-factor/off/", security.turn_off, name="second-factor-off"),
    path("account/security/recovery-codes/", security.recovery_codes, name="recovery-codes"),
    path("account/sessions/<uuid:session_id>/end/", security.end_session, name="session-end"),
    path("account/password/", profile.ChangePassword.as_view(), name="account-password"),
    path("account/tokens/", tokens.index, name="tokens"),
    *file_paths("account/tokens", tokens.file, name="tokens"),
    path("account/tokens/<int:pk>/revoke/", tokens.revoke, name="token-revoke"),
    *file_paths(W + "settings/tokens", tokens.file_of_workspace, name="workspace-tokens"),
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
