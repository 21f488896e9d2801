"""Add a model that no trial has written: from a path, a URL, or an uploaded file."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.datastructures import MultiValueDict
from django.views.decorators.http import require_http_methods

from experiments.models import Invalid, Model, Project, User, Workspace
from experiments.models.fields import new_public_id
from experiments.models.workspace.registered_model import LOCAL
from experiments.permissions import require
from experiments.runner.destination import DestinationError, Store, StoreError, parse
from experiments.web.ui.form_fields import field_of
from experiments.web.ui.requests import SignedInRequest

from .index import get_workspace

logger = logging.getLogger(__name__)

MAX_UPLOAD_BYTES = 4 << 30
URL_SCHEMES = ("http", "https")


class AddForm(forms.Form):
    """A description, and either a URL or a file."""

    name = forms.CharField(max_length=200, error_messages={"required": "Enter a name for the model."})
    project = forms.ModelChoiceField(Project.objects.none(), empty_label=None)
    framework = forms.CharField(max_length=64, required=False, help_text="For example PyTorch")
    address = forms.CharField(
        label="Path or URL",
        max_length=1500,
        required=False,
        help_text="/mnt/models/net.pt, https://…, s3://bucket/net.pt, gs://…, azure://…: read by workers.",
    )
    file = forms.FileField(label="Upload a file", required=False, allow_empty_file=True)
    description = forms.CharField(
        required=False,
        max_length=100_000,
        widget=forms.Textarea(attrs={"rows": 3, "class": "is-prose"}),
    )

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        files: MultiValueDict[str, UploadedFile[Any]] | None = None,
        *,
        workspace: Workspace,
    ) -> None:
        super().__init__(data, files, label_suffix="")
        projects = workspace.projects.all()
        field_of(self, "project", forms.ModelChoiceField).queryset = projects
        self.fields["project"].initial = projects.filter(name="Default").first()

    def clean_address(self) -> str:
        address: str = self.cleaned_data["address"].strip()
        if address:
            check_address(address)
        return LOCAL + address if address.startswith("/") else address

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        address, file = cleaned.get("address"), cleaned.get("file")
        if "address" not in self.errors and bool(address) == bool(file):
            self.add_error("address", "Enter a path or URL, or select a file to upload, not both.")
        if file and file.size > MAX_UPLOAD_BYTES:
            self.add_error("file", f"The file has {file.size:,} bytes; the maximum is {MAX_UPLOAD_BYTES:,}.")
        return cleaned


def check_address(address: str) -> None:
    """Raise ValidationError unless this is the URL of a file."""
    folder, _, name = address.rpartition("/")
    try:
        is_url = urlsplit(address).scheme in URL_SCHEMES
        if is_url and not urlsplit(address).hostname:
            raise DestinationError("The URL has no host.")
        if is_url and "@" in urlsplit(address).netloc:
            raise DestinationError(
                "Remove the user name and password: all members of the workspace could read them, and workers fetch "
                "URLs without credentials. Upload the file, or put it into a bucket."
            )
        if not is_url and not address.startswith(("/", "s3://", "gs://", "azure://")):
            raise DestinationError(
                "Enter an absolute path or a URL, such as /mnt/models/net.pt or s3://bucket/net.pt."
            )
        if not is_url:
            parse(folder or "/")
    except ValueError as error:
        reason = str(error) if isinstance(error, DestinationError) else "This is not a URL."
        raise forms.ValidationError(reason) from None
    if not name or name in (".", ".."):
        raise forms.ValidationError("Enter the path or URL of a file, not of a folder.")


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def add(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """Ask for a model, and add it."""
    workspace = get_workspace(request, workspace_slug)
    workspace.require_automl()
    require(request.user, "register", workspace)
    is_post = request.method == "POST"
    form = AddForm(*((request.POST, request.FILES) if is_post else ()), workspace=workspace)
    if is_post and form.is_valid():
        model = _added(form, by=request.user)
        if model is not None:
            messages.success(request, f"Model {model} added.")
            return redirect("model", workspace.slug, model.public_id)
    context = {
        "workspace": workspace,
        "nav": "models",
        "form": form,
        "form_action": request.path,
        "back": reverse("models", args=[workspace.slug]),
        "destination": _destination(workspace, None),
    }
    return render(request, "models/add.html", context, status=422 if form.errors else 200)


def _added(form: AddForm, *, by: User) -> Model | None:
    """Return the new model; or None, with errors added to the form and the file deleted."""
    values = dict(form.cleaned_data)
    project, file, address = values.pop("project"), values.pop("file"), values.pop("address")
    public_id = new_public_id()
    try:
        with ExitStack() as undo:
            if file:
                address = _store(file, project, public_id, undo)
            model = Model.register(project, by=by, address=address, public_id=public_id, **values)
            undo.pop_all()
        return model
    except (StoreError, DestinationError, OSError) as error:
        form.add_error("file", f"The file cannot be stored: {getattr(error, 'strerror', None) or error}")
    except Invalid as invalid:
        for field, sentences in invalid.errors.items():
            form.add_error(field if field in form.fields else None, sentences)
    return None


def _store(file: UploadedFile[Any], project: Project, public_id: str, undo: ExitStack) -> str:
    """Store an upload at the output destination, else in the data folder; return its address. A callback that deletes
    it is added to `undo`."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", PurePosixPath(file.name or "").name).lstrip(".")[:200] or "model"
    destination = _destination(project.workspace, project)
    if destination:
        store, key = Store(destination), f"models/{public_id}/{name}"
        file.seek(0)
        store.put(file.file, key)  # type: ignore[arg-type]  # an open binary file
        undo.callback(_delete, store, key)
        return store.address(key)
    folder: Path = settings.DATA / "models" / public_id
    undo.callback(shutil.rmtree, folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as target:
        for chunk in file.chunks():
            target.write(chunk)
    return str(folder / name)


def _delete(store: Store, key: str) -> None:
    try:
        store.delete(key)
    except StoreError as error:
        logger.warning("%s of a model that was not added could not be deleted: %s", key, error)


def _destination(workspace: Workspace, project: Project | None) -> str:
    chosen = (project.destination if project else "") or workspace.destination
    return chosen or os.environ.get("TRIALDECK_DESTINATION", "")
