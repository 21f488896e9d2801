"""The database models, their methods and their rules."""

from experiments.models.audit import AuditEntry
from experiments.models.baseline import Baseline
from experiments.models.dashboards.dashboard import Dashboard, Tile, TileKind
from experiments.models.dashboards.share_link import ShareLink
from experiments.models.experiment.former import FormerExperiment
from experiments.models.experiment.model import Experiment
from experiments.models.notifications.channel import Channel, ChannelKind
from experiments.models.notifications.delivery import Delivery, DeliveryStatus
from experiments.models.notifications.occurrence import Kind, Occurrence
from experiments.models.notifications.rule import Frequency, Rule, Scope
from experiments.models.trial.annotations import Comment
from experiments.models.trial.base import Source
from experiments.models.trial.front import FrontTrial
from experiments.models.trial.metric_value import MetricValue
from experiments.models.trial.model import Trial
from experiments.models.trial.outcome import Failure, Outcome
from experiments.models.trial.parameter import TrialParameter
from experiments.models.trial.suggestion import Suggestion
from experiments.models.usage.limit import UsageLimit
from experiments.models.usage.slot_usage import SlotUsage

from .artifact import Artifact, Keeping
from .attempts import Attempts
from .event import ComputeEvent, Event
from .history_import import HistoryImport, ImportPiece, ImportState
from .hypervolume import Hypervolume
from .idempotency import Answer
from .importance import Importance
from .lease import Lease
from .log import LogPiece
from .metric import Point
from .project import Project
from .python_check import PythonCheck
from .queue import Queue
from .registered_model import Model
from .resources import Amount, Free
from .retention import FolderRemoval, Part, RetentionRule
from .revision import Revision
from .saved_view import SavedView
from .second_factor import RecoveryCode, SecondFactor
from .session import UserSession
from .settings import Invalid, Settings
from .status import ExperimentState, Forbidden, Overtaken, Refused, SwitchedOff, TrialState
from .token import Token
from .uploaded_results import WarmResults
from .user import SignInLink, User
from .utilization import Usage
from .worker import Worker
from .workspace import Member, Role, Workspace

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
    "Overtaken",
    "Part",
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
    "SecondFactor",
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
