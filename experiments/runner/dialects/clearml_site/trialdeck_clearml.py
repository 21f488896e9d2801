"""What has to be mended in ClearML's package within a trial, where it works as an agent's, and without a server.

Each mend stands alone: where a version of the package is made otherwise, it is left out, said so, and the rest holds.
Standard library only, Python 3.7 or later.
"""

import json
import math
import os
import sys
from types import SimpleNamespace

_declared = {}  # {group: {name: {value, type, description}}}: what the package itself does not tell


def mend(clearml):
    """Called once, when the package has been imported."""
    if os.environ.get("CLEARML_OFFLINE_MODE") != "1" or "CLEARML_CACHE_DIR" not in os.environ:
        return  # the script wants a server
    version = getattr(clearml, "__version__", "")
    for each in (_numbers, _server, _models, _click, _hydra, _project):
        try:
            each(version)
        except Exception as error:
            what = f"{each.__doc__.strip()} Not so with clearml {version}: {error!r}"
            print(f"trialdeck: {what}", file=sys.stderr, flush=True)


def _numbers(version):
    """NaN and infinity are reported as such."""  # else as 0, the best of all losses
    from clearml.backend_interface.metrics.events import MetricsEventAdapter as Adapter

    convert = Adapter._convert_np_nan_inf
    Adapter.default_nan_value = Adapter.default_inf_value = None  # until the script sets one

    def converted(cls, value):
        if math.isfinite(value):
            return value
        own = cls.default_nan_value if math.isnan(value) else cls.default_inf_value
        return value if own is None else convert(value)

    Adapter._convert_np_nan_inf = classmethod(converted)


_ASKED = (
    "ClearML's package asked its server for {}, but a trial has none: it knows its own task only. Set "
    "CLEARML_OFFLINE_MODE=0 and your server's credentials in the experiment's environment where the script needs it."
)


class _NoAnswer:
    """False, as the None that it stands for; who looks into it is told why there is nothing."""

    def __init__(self, request):
        self._request = request

    def __bool__(self):
        return False

    def __getattr__(self, name):
        kind = type(self._request)
        raise AttributeError(_ASKED.format(f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}"))


def _server(version):
    """What asks the server fails with a sentence."""
    from clearml import Task
    from clearml.backend_api import Session
    from clearml.backend_interface.base import InterfaceBase

    send, talk, get = InterfaceBase._send.__func__, Session.send, Task.get_task.__func__
    wait = Task.wait_for_status

    def sent(cls, session, req, *args, **more):
        answer = send(cls, session, req, *args, **more)
        return _NoAnswer(req) if answer is None and cls._offline_mode else answer

    def talked(self, req, *args, **more):
        answer = talk(self, req, *args, **more)
        return _NoAnswer(req) if answer is None and self._offline_mode else answer

    def got(cls, task_id=None, *args, **more):
        if task_id and task_id != os.environ.get("CLEARML_TASK_ID") and cls.is_offline():
            raise ValueError(_ASKED.format(f"task {task_id}"))  # else it is an empty one
        return get(cls, task_id, *args, **more)

    def waited(self, *args, **more):
        if self.is_offline():
            raise ValueError(_ASKED.format("a task's state"))  # else it waits for ever
        return wait(self, *args, **more)

    InterfaceBase._send, Session.send, Task.get_task = classmethod(sent), talked, classmethod(got)
    Task.wait_for_status = waited


def _models(version):
    """OutputModel.update_weights keeps the file."""
    import clearml.model as module

    make = module.create_dummy_model

    def made(*args, **more):
        model = make(*args, **more)
        model.locked = False  # it asks whether it is published
        return model

    module.create_dummy_model = made


def _click(version):
    """Options of click that the trial does not name keep their own values."""  # else they are None
    try:
        from click.core import Command, Parameter
        from click.exceptions import MissingParameter
    except ImportError:
        return
    from clearml.binding.click_bind import PatchClick

    process, invoke = Parameter.process_value, Command.invoke

    def process_value(self, ctx, value):
        """Called by click for what the command line says, then by ClearML for what the task says: None or text."""
        if not ctx.resilient_parsing or self.name not in ctx.params:
            return process(self, ctx, value)
        if isinstance(value, str) and value.startswith("[") and (self.multiple or self.nargs != 1):
            value = json.loads(value)
        if value is not None:
            return process(self, ctx, value)
        own = ctx.params[self.name]
        if own is None and self.required:
            raise MissingParameter(ctx=ctx, param=self)
        name = f"{ctx.command.name}/{self.name}" if PatchClick._num_commands > 1 else self.name
        kind = {"integer": "int", "float": "float", "boolean": "bool"}.get(self.type.name, "str")
        _declare("Args", name, own, kind, getattr(self, "help", None))
        return own

    def invoked(self, ctx):
        for param in self.params:
            if not getattr(param, "expose_value", True):
                ctx.params.pop(param.name, None)  # ClearML adds them, and the function does not take them
        _write()
        return invoke(self, ctx)

    Parameter.process_value, Command.invoke = process_value, invoked


def _hydra(version):
    """What a configuration of hydra has is learnt."""
    from clearml.binding.hydra_bind import PatchHydra

    register = PatchHydra._register_omegaconf

    def registered(config, *args, **more):
        try:
            from omegaconf import OmegaConf

            _declare_all("", OmegaConf.to_container(config, resolve=False))
            _write()
        except Exception as error:
            print(f"trialdeck: hydra's configuration is not learnt: {error!r}", file=sys.stderr, flush=True)
        return register(config, *args, **more)

    PatchHydra._register_omegaconf = staticmethod(registered)


def _project(version):
    """Task.init finds a project."""  # 1.x fails without one, and so do the data sets of 2.x
    from clearml import Task

    named, found = Task.get_project_name, Task.get_project_object
    none = SimpleNamespace(default_output_destination=None)
    Task.get_project_name = lambda self: named(self) or "Trialdeck"
    Task.get_project_object = lambda self: found(self) or none


def _declare_all(prefix, values):
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            _declare_all(f"{name}.", value)
        elif "${" not in str(value):  # an interpolation is no value
            _declare("Hydra", name, None if value == "???" else value, type(value).__name__, None)


def _declare(group, name, value, kind, description):
    traits = {"value": _text(value), "type": kind, "description": description or ""}
    _declared.setdefault(group, {})[name] = traits


def _text(value):
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _write():
    """For the worker, which offers them to the search space."""
    path = os.path.join(os.environ["CLEARML_CACHE_DIR"], "declared.json")
    try:
        with open(f"{path}.{os.getpid()}", "w", encoding="utf-8") as file:
            json.dump(_declared, file)
        os.replace(file.name, path)
    except OSError:
        pass  # nothing of the script depends on it
