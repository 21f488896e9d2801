"""Shapes of requests and responses, used for documentation and for validating requests."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from .serialization import RequestBody

RoleWord = Literal["viewer", "operator", "owner"]
StateWord = Literal[
    "draft", "pending", "running", "paused", "stopping", "stopped", "completed", "failed", "published"
]
Visibility = Literal["workspace", "private"]


Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    """One page of a list; `next` is the cursor of the next page."""

    items: list[Item]
    next: str | None


# --- users, workspaces, projects ---------------------------------------------------------------------------------


class MyToken(BaseModel):
    """The token in use. `workspace` null: all workspaces of its user. `expires_at` null: no expiry."""

    name: str
    role: RoleWord
    workspace: str | None
    expires_at: str | None


class Me(BaseModel):
    """The caller, and the version of Trialdeck. `token` is null for a session."""

    user: str
    token: MyToken | None
    version: str


class Workspace(BaseModel):
    """A team's workspace. `role` is yours there, limited by the token in use."""

    slug: str
    name: str
    role: RoleWord
    has_automl: bool


class Project(BaseModel):
    """A folder of experiments. `destination` is where artifacts of its trials are stored, unless an experiment sets
    another one; blank: the workspace's."""

    id: int
    name: str
    description: str
    destination: str


class NewProject(RequestBody):
    """A project to create."""

    name: str = Field(max_length=100)
    description: str = Field("", max_length=10_000)
    destination: str = Field("", max_length=1000)


class ProjectChanges(RequestBody):
    """Fields to change; omitted fields keep their values."""

    name: str | None = Field(None, max_length=100)
    description: str | None = Field(None, max_length=10_000)
    destination: str | None = Field(None, max_length=1000)


class Result(RequestBody):
    """One set of parameter values and its objective value."""

    params: dict[str, Any]
    value: float = Field(allow_inf_nan=False)


class NewResults(RequestBody):
    """1 to 10,000 external results; `name` describes their source."""

    name: str = Field(max_length=200)
    rows: list[Result]


class Results(BaseModel):
    """Uploaded results. Use `id`, such as `file:abcd2345`, as the setting `warm_start`."""

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


class ObjectiveBest(BaseModel):
    """The best value of one objective so far, and its trial."""

    metric: str
    direction: Literal["maximize", "minimize"]
    number: int
    value: float


class Front(BaseModel):
    """The Pareto front of an experiment with several objectives: the number of trials on it, and the best value of each
    objective. The filter `front:yes` lists its trials."""

    size: int
    best: list[ObjectiveBest]


class Summary(BaseModel):
    """An experiment as shown in lists. `url` is its page; `revision` the number of its current settings; `proposed`
    the trials that count toward max trials; `elapsed_s` its run time, pauses excluded; `version` increases with every
    change."""

    id: str
    url: str
    workspace: str
    project: str
    name: str
    description: str
    tags: list[str]
    properties: dict[str, str]
    visibility: Visibility
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
    best: Best | None = Field(description="Null without a result, and with several objectives: see `front`.")
    front: Front | None = Field(description="Null unless the experiment has several objectives.")
    version: int


class ToResume(BaseModel):
    """What a resume would do."""

    interrupted: int = Field(
        description="Trials that were stopped with the experiment; a resume retries them."
    )
    failed: int = Field(description="Failed trials that `rerun_failed` reruns.")
    needs_budget: bool = Field(description="Nothing is left to do without a larger budget or `rerun_failed`.")
    spent: str = Field(
        description="What ends the search at once unless it is enlarged: `max trials reached`, `max duration reached`, "
        "`goal reached`; or `search space exhausted`, after which only trials are retried or rerun; blank: nothing."
    )


class SettingWarning(BaseModel):
    """A valid setting that is likely to give wrong results. `field` is its name in `settings`."""

    field: str
    message: str


class Experiment(Summary):
    """An experiment with its settings. Values in `environment` that look like secrets are hidden from viewers."""

    settings: dict[str, Any]
    warnings: list[SettingWarning] = Field(
        description="Settings that are valid, but likely to give wrong results, such as a pattern that cuts numbers."
    )
    to_resume: ToResume | None = Field(
        description="What a resume would do; null if a resume is not possible."
    )


class ActionResult(BaseModel):
    """The experiment after an action. `changed` is false if the experiment already was in that state."""

    changed: bool
    experiment: Experiment


class NewExperiment(RequestBody):
    """An experiment to create. `settings` are those of the page Create experiment: at least `command` and
    `space_document`. With `start` the experiment is also enqueued; if that fails, nothing is created."""

    name: str
    settings: dict[str, Any]
    id: str | None = Field(
        None,
        pattern="^[a-z0-9]{8}$",
        description="The experiment's ID, if the client chooses it: 8 lowercase letters and digits that no experiment "
        "has had.",
    )
    description: str = ""
    project: str | None = Field(None, description="Name of an existing project; default: Default.")
    tags: list[str] = []
    visibility: Visibility = "workspace"
    properties: dict[str, str] = {}
    queue: str | None = Field(None, description="Queue to run in; default: `default`.")
    start: bool = False


class Changes(RequestBody):
    """Fields to change; omitted fields keep their values. `settings` contains only the changed settings, each with its
    complete new value."""

    name: str | None = None
    description: str | None = None
    tags: list[str] | None = None
    visibility: Visibility | None = None
    project: str | None = None
    properties: dict[str, str] | None = None
    queue: str | None = None
    settings: dict[str, Any] | None = None
    revision: int | None = Field(
        None, description="The revision you read. The request is refused (409) if there is a newer one."
    )
    note: str | None = Field(
        None, max_length=200, description="Reason for the change, shown with the revision."
    )
    stop_surplus: bool = Field(
        False,
        description="If the new concurrency is below the number of running trials, stop the newest ones now. "
        "Otherwise they finish.",
    )
    apply_to_running: bool = Field(
        False,
        description="Apply the new early stopping to running trials too. Otherwise they keep that of their own "
        "revision.",
    )


class Difference(BaseModel):
    """The change of one setting: `from` the old value, `to` the new one."""

    model_config = ConfigDict(populate_by_name=True)

    from_: Any = Field(alias="from")
    to: Any


class Estimate(BaseModel):
    """Seconds from now, as [minimum, maximum]; null if unknown, and `unknown` gives the reason."""

    end_s: list[float] | None
    compute_s: list[float] | None
    latest_s: float | None
    unknown: str


class ChangePreview(BaseModel):
    """The effects of a change. `estimate` is null for an experiment that is not active."""

    differences: dict[str, Difference]
    consequences: list[str]
    estimate: Estimate | None
    warnings: list[SettingWarning] = Field(description="Warnings about the settings after the change.")


class Enqueue(RequestBody):
    """The queue; by default the experiment's own, or `default`."""

    queue: str | None = None


class Resume(RequestBody):
    """A larger budget, if nothing else is left to do; null removes a limit. `rerun_failed`: rerun the failed trials
    whose values never succeeded. Trials that were stopped with the experiment are retried in any case."""

    queue: str | None = None
    rerun_failed: bool = False
    max_trials: int | None = None
    max_duration_s: float | None = None
    goal: float | None = None


class Clone(RequestBody):
    """Differences from the source experiment."""

    name: str | None = None
    project: str | None = None
    description: str | None = None
    settings: dict[str, Any] | None = None
    queue: str | None = None
    start: bool = False
