"""The database models, their methods and their rules."""

from experiments.models.audit import AuditEntry
from experiments.models.dashboards.dashboard import Dashboard, Tile
from experiments.models.dashboards.share_link import ShareLink
from experiments.models.dashboards.tile_options import TileKind
from experiments.models.experiment.former_experiment import FormerExperiment
from experiments.models.experiment.model import Experiment
from experiments.models.notifications.channel import Channel, ChannelKind
from experiments.models.notifications.delivery import Delivery, DeliveryStatus
from experiments.models.notifications.occurrence import Ending, Kind, Occurrence
from experiments.models.notifications.rule import Frequency, Rule, Scope
from experiments.models.notifications.seen_cause import SeenCause
from experiments.models.trial.base import Source
from experiments.models.trial.comments import Comment
from experiments.models.trial.metric_value import MetricValue
from experiments.models.trial.model import Trial
from experiments.models.trial.outcome import Failure, Outcome
from experiments.models.trial.parameter import TrialParameter
from experiments.models.trial.pareto_front import FrontTrial
from experiments.models.trial.suggestion import Suggestion
from experiments.models.usage.limit import UsageLimit
from experiments.models.usage.slot_usage import SlotUsage
from experiments.models.workspace.baseline import Baseline

from .account.attempts import Attempts
from .account.dismissal import Dismissal
from .account.pin import Pin
from .account.second_factor import RecoveryCode, SecondFactor
from .account.session import UserSession
from .account.token import Token
from .account.user import SignInLink, User
from .compute.queue import Queue
from .compute.resources import Amount, Free
from .compute.utilization import Usage
from .compute.worker import Worker
from .event import ComputeEvent, Event
from .experiment.hypervolume import Hypervolume
from .experiment.importance import Importance
from .history_import import HistoryImport, ImportPiece, ImportState
from .idempotency import Answer
from .lease import Lease
from .python_check import PythonCheck
from .revision import Revision
from .schedule import Overlap, Schedule
from .settings import Invalid, Settings
from .status import ExperimentState, Forbidden, Overtaken, Refused, SwitchedOff, TrialState
from .trial.artifact import Artifact, Keeping
from .trial.log import LogPiece
from .trial.metric import Point
from .uploaded_results import WarmResults
from .workspace.project import Project
from .workspace.registered_model import Model
from .workspace.retention import FolderRemoval, Part, RetentionRule
from .workspace.saved_view import SavedView
from .workspace.workspace import Member, Role, Workspace

__all__ = [
    "Amount",
    "Answer",
    "Artifact",
    "Attempts",
    "AuditEntry",
    "Baseline",
    "Channel",
    "ChannelKind",
    "Comment",
    "ComputeEvent",
    "Dashboard",
    "Delivery",
    "DeliveryStatus",
    "Dismissal",
    "Ending",
    "Event",
    "Experiment",
    "ExperimentState",
    "Failure",
    "FolderRemoval",
    "Forbidden",
    "FormerExperiment",
    "Free",
    "Frequency",
    "FrontTrial",
    "HistoryImport",
    "Hypervolume",
    "ImportPiece",
    "ImportState",
    "Importance",
    "Invalid",
    "Lease",
    "Keeping",
    "Kind",
    "LogPiece",
    "Member",
    "MetricValue",
    "Model",
    "Occurrence",
    "Outcome",
    "Overlap",
    "Overtaken",
    "Part",
    "Pin",
    "Point",
    "Project",
    "PythonCheck",
    "Queue",
    "RecoveryCode",
    "Refused",
    "RetentionRule",
    "Revision",
    "Role",
    "SavedView",
    "Schedule",
    "SecondFactor",
    "SeenCause",
    "Rule",
    "Scope",
    "Settings",
    "ShareLink",
    "SignInLink",
    "SlotUsage",
    "Source",
    "Suggestion",
    "SwitchedOff",
    "Tile",
    "TileKind",
    "Token",
    "Trial",
    "TrialParameter",
    "TrialState",
    "Usage",
    "UsageLimit",
    "User",
    "UserSession",
    "WarmResults",
    "Worker",
    "Workspace",
]
