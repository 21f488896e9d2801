"""What requests and answers look like, for the documentation and for what is checked on the way in."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, Field

from experiments.models import Role
from experiments.models.status import EXPERIMENT_STATES

from .wire import Told

RoleWord = Literal[tuple(Role.values)]
StateWord = Literal[tuple(EXPERIMENT_STATES)]
Visible = Literal["workspace", "private"]


Item = TypeVar("Item")


class Listed(BaseModel, Generic[Item]):
    """One page of a list; `next` is the cursor of the next one."""

    items: list[Item]
    next: str | None


# --- who and where ---------------------------------------------------------------------------------------------


class MyToken(BaseModel):
    """The token in use. `workspace` null: all workspaces of its person. `expires_at` null: it does not expire."""

    name: str
    role: RoleWord
    workspace: str | None
    expires_at: str | None


class Me(BaseModel):
    """Who asks, and which Trialdeck answers. `token` is null for a session."""

    user: str
    token: MyToken | None
    version: str


class Workspace(BaseModel):
    """A team's room. `role` is what you may be in it, with this token."""

    slug: str
    name: str
    role: RoleWord
    has_automl: bool


class Project(BaseModel):
    """A folder of experiments."""

    id: int
    name: str
    description: str


class NewProject(Told):
    """A project to be made."""

    name: str = Field(max_length=100)
    description: str = Field("", max_length=10_000)
