"""What requests and answers look like, for the documentation and for what is checked on the way in."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from experiments.models import Role
from experiments.models.status import EXPERIMENT_STATES

from .serialization import Told

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
    """A folder of experiments. `destination` is where the artifacts of its trials go, unless an experiment names
    another; empty: the workspace's."""

    id: int
    name: str
    description: str
    destination: str


class NewProject(Told):
    """A project to be made."""

    name: str = Field(max_length=100)
    description: str = Field("", max_length=10_000)
    destination: str = Field("", max_length=1000)


class ProjectChanges(Told):
    """What shall be different; what is left out stays."""

    name: str | None = Field(None, max_length=100)
    description: str | None = Field(None, max_length=10_000)
    destination: str | None = Field(None, max_length=1000)


class Result(Told):
    """What one set of values came to."""

    params: dict[str, Any]
    value: float = Field(allow_inf_nan=False)


class NewResults(Told):
    """1 to 10,000 results of elsewhere; `name` says where they come from."""

    name: str = Field(max_length=200)
    rows: list[Result]


class Results(BaseModel):
    """What the setting `warm_start` calls them: `file:abcd2345`."""

    id: str
    count: int


# --- experiments -----------------------------------------------------------------------------------------------


class Counts(BaseModel):
    """Trials per state."""

    waiting: int
    running: int
    stopping: int
    succeeded: int
    stopped: int
    early_stopped: int
    failed: int


class Best(BaseModel):
    """The best trial so far."""

    number: int
    value: float


class Summary(BaseModel):
    """An experiment as lists show it. `url` is its page; `revision` the number of its settings; `proposed` what
    max trials counts; `elapsed_s` the time it ran, pauses excluded; `version` rises with every change."""

    id: str
    url: str
    workspace: str
    project: str
    name: str
    description: str
    tags: list[str]
    properties: dict[str, str]
    visibility: Visible
    creator: str
    parent: str | None
    state: StateWord
    reason: str
    queue: str | None
    created_at: str
    updated_at: str
    started_at: str | None
    ended_at: str | None
    elapsed_s: float
    revision: int
    counts: Counts
    proposed: int
    best: Best | None
    version: int


class Experiment(Summary):
    """An experiment, with its settings. What looks like a secret in `environment` is hidden from viewers."""

    settings: dict[str, Any]


class Acted(BaseModel):
    """`changed` is false where it was so already: nothing was done."""

    changed: bool
    experiment: Experiment


class NewExperiment(Told):
    """An experiment to be made. `settings` are those of the page Create experiment: at least `command` and
    `space_document`. With `start` it is enqueued at once, all or nothing."""

    name: str
    settings: dict[str, Any]
    description: str = ""
    project: str | None = Field(None, description="The name of a project that is there; else Default.")
    tags: list[str] = []
    visibility: Visible = "workspace"
    properties: dict[str, str] = {}
    queue: str | None = Field(None, description="Where it will run; else `default`.")
    start: bool = False


class Changes(Told):
    """What shall be different; what is left out stays. `settings` holds the changed ones only, each as a whole."""

    name: str | None = None
    description: str | None = None
    tags: list[str] | None = None
    visibility: Visible | None = None
    project: str | None = None
    properties: dict[str, str] | None = None
    queue: str | None = None
    settings: dict[str, Any] | None = None
    revision: int | None = Field(
        None, description="The revision that was read: refused (409) if there is a later one."
    )
    note: str | None = Field(None, max_length=200, description="The reason: it stands beside the revision.")
    stop_surplus: bool = Field(False, description="If fewer may run than run now, the newest end.")


class Difference(BaseModel):
    """One setting; `from` before, `to` after."""

    model_config = ConfigDict(populate_by_name=True)

    from_: Any = Field(alias="from")
    to: Any


class Estimate(BaseModel):
    """Seconds from now, as [at least, at most]; null where nobody can say, and `unknown` says why."""

    end_s: list[float] | None
    compute_s: list[float] | None
    latest_s: float | None
    unknown: str


class Foreseen(BaseModel):
    """What a change would do. `estimate` is null for what is not under way."""

    differences: dict[str, Difference]
    consequences: list[str]
    estimate: Estimate | None


class Enqueue(Told):
    """By default its own queue, else `default`."""

    queue: str | None = None


class Resume(Told):
    """A spent budget must be enlarged. null lifts a limit."""

    queue: str | None = None
    rerun_failed: bool = False
    max_trials: int | None = None
    max_duration_s: float | None = None
    goal: float | None = None


class Clone(Told):
    """What shall differ from the source."""

    name: str | None = None
    project: str | None = None
    description: str | None = None
    settings: dict[str, Any] | None = None
    queue: str | None = None
    start: bool = False
