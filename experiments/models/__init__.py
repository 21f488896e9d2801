"""Floor 2: rows, their verbs and their rules."""

from .answer import Answer
from .artifact import Artifact, Keeping
from .event import ComputeEvent, Event
from .experiment import Experiment
from .lease import Lease
from .log import LogPiece
from .metric import Point
from .needs import Amount, Free
from .people import Member, Role, SignInLink, User, Workspace
from .project import Project
from .queue import Queue
from .registry import Model
from .revision import Revision
from .settings import Invalid, Settings
from .status import ExperimentState, Forbidden, Overtaken, Refused, SwitchedOff, TrialState
from .token import Token
from .trial import Failure, Outcome, Source, Suggestion, Trial, TrialParameter
from .usage import Usage
from .warm_results import WarmResults
from .worker import Worker

__all__ = [
    "Amount",
    "Answer",
    "Artifact",
    "ComputeEvent",
    "Event",
    "Experiment",
    "ExperimentState",
    "Failure",
    "Forbidden",
    "Free",
    "Invalid",
    "Lease",
    "Keeping",
    "LogPiece",
    "Member",
    "Model",
    "Outcome",
    "Overtaken",
    "Point",
    "Project",
    "Queue",
    "Refused",
    "Revision",
    "Role",
    "Settings",
    "SignInLink",
    "Source",
    "Suggestion",
    "SwitchedOff",
    "Token",
    "Trial",
    "TrialParameter",
    "TrialState",
    "Usage",
    "User",
    "WarmResults",
    "Worker",
    "Workspace",
]
