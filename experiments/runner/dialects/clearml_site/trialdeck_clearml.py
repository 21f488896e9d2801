"""Patches of ClearML's package in a trial, where it runs as it does under an agent, but without a server.

Each patch is independent: if it does not fit a version of the package, it is skipped with a message, and the others
apply. Standard library only, Python 3.7 or later.
"""

import argparse
import json
import math
import os
import sys
from types import SimpleNamespace

from trialdeck_connect import patch as connect

_declared = {}  # {group: {name: {value, type, description}}}: parameters that the package itself does not record


def patch(clearml):
    """Apply all patches. Called once, after the package has been imported."""
    if os.environ.get("CLEARML_OFFLINE_MODE") != "1" or "CLEARML_CACHE_DIR" not in os.environ:
        return  # the script wants a server
    version = getattr(clearml, "__version__", "")
    for each in (
        _numbers,
        _server,
        _results,
        _models,
        _design,
        _stored_model,
        _metadata,
        _properties,
        _argparse,
        _click,
        _fire,
        _hydra,
        _project,
        connect,
    ):
        try:
            each()
        except Exception as error:
            name = each.__name__.strip("_")
            print(
                f"trialdeck: could not patch clearml {version} ({name}): {error!r}",
                file=sys.stderr,
                flush=True,
            )


def _numbers():
    """Report NaN and infinity as such: the package reports 0, which would be the best loss."""
    from clearml.backend_interface.metrics.events import MetricsEventAdapter as Adapter

    convert = Adapter._convert_np_nan_inf
    Adapter.default_nan_value = Adapter.default_inf_value = None  # until the script sets one

    def converted(cls, value):
        if math.isfinite(value):
            return value
        own = cls.default_nan_value if math.isnan(value) else cls.default_inf_value
        return value if own is None else convert(value)

    Adapter._convert_np_nan_inf = classmethod(converted)


_UNAVAILABLE = (
    "The script requested {} from a ClearML server, but trials run offline and only have their own task. "
    "To use a server, set CLEARML_OFFLINE_MODE=0 and its credentials in the experiment's environment."
)


class _Unavailable:
    """Stands in for None and is false, but raises an error with the reason on any other use."""

    def __init__(self, request):
        self._request = request

    def __bool__(self):
        return False

    def __getattr__(self, name):
        kind = type(self._request)
        raise AttributeError(_UNAVAILABLE.format(f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}"))


def _server():
    """Make requests to the server fail with a clear message."""
    from clearml import Task
    from clearml.backend_api import Session
    from clearml.backend_interface.base import InterfaceBase

    send, talk, get = InterfaceBase._send.__func__, Session.send, Task.get_task.__func__
    wait = Task.wait_for_status

    def sent(cls, session, req, *args, **more):
        answer = send(cls, session, req, *args, **more)
        return _Unavailable(req) if answer is None and cls._offline_mode else answer

    def talked(self, req, *args, **more):
        answer = talk(self, req, *args, **more)
        return _Unavailable(req) if answer is None and self._offline_mode else answer

    def got(cls, task_id=None, *args, **more):
        if task_id and task_id != os.environ.get("CLEARML_TASK_ID") and cls.is_offline():
            raise ValueError(_UNAVAILABLE.format(f"task {task_id}"))  # the package would return an empty task
        return get(cls, task_id, *args, **more)

    def waited(self, *args, **more):
        if self.is_offline():
            raise ValueError(_UNAVAILABLE.format("a task's state"))  # the package would wait forever
        return wait(self, *args, **more)

    InterfaceBase._send, Session.send, Task.get_task = classmethod(sent), talked, classmethod(got)
    Task.wait_for_status = waited


_RESULTS = {
    "get_all_reported_scalars": "reported scalars",
    "get_last_scalar_metrics": "reported scalars",
    "get_reported_scalars": "reported scalars",
    "get_reported_single_value": "reported single values",
    "get_reported_single_values": "reported single values",
    "get_reported_plots": "reported plots",
    "get_reported_console_output": "the task's log",
    "get_num_enqueued_tasks": "the length of a queue",
}


def _results():
    """Make reading back from the server fail with a sentence: else it returns nothing, or names the server's version.
    Archiving has no effect."""
    from clearml import Task

    def refused(what):
        def ask(*args, **more):
            raise ValueError(_UNAVAILABLE.format(what))

        return ask

    for name, what in _RESULTS.items():
        if hasattr(Task, name):
            setattr(Task, name, refused(what))
    Task.set_archived = lambda self, archive=True: None


def _models():
    """Make OutputModel.update_weights keep the file, and publishing have no effect."""
    import clearml.model as module

    make = module.create_dummy_model

    def made(*args, **more):
        model = make(*args, **more)
        model.locked = False  # the package asks the server whether the model is published
        model.system_tags = model.system_tags or []  # update_weights_package reads and changes them
        model.edit = vars(model).update
        model.publish = lambda *args, **more: None
        return model

    module.create_dummy_model = made


def _design():
    """Make OutputModel.update_design keep the text."""
    from clearml.backend_interface.model import Model

    edit = Model._edit

    def edited(self, design=None, *args, **more):
        # The text is what the package would send to a server.
        is_text = design is not None and self._offline_mode
        return edit(self, self._wrap_design(design) if is_text else design, *args, **more)

    Model._edit = edited


def _stored_model():
    """Store a model's labels and design even after its weights have been stored."""
    from clearml import OutputModel

    label, design = OutputModel.update_labels, OutputModel.update_design

    def noted(model, **facts):
        for entry in getattr(model._task, "_offline_output_models", None) or ():
            if entry.get("id") == model.id:
                entry["init"].update(facts)

    def update_labels(self, labels):
        done = label(self, labels)
        noted(self, label_enumeration=labels)
        return done

    def update_design(self, config_text=None, config_dict=None):
        done = design(self, config_text=config_text, config_dict=config_dict)
        noted(self, config_text=config_text or json.dumps(config_dict, indent=2, default=str))
        return done

    OutputModel.update_labels, OutputModel.update_design = update_labels, update_design


def _metadata():
    """Keep a model's metadata while the script runs."""
    from clearml import Task
    from clearml.model import BaseModel

    put = BaseModel.set_metadata

    def set_metadata(self, key, value, v_type=None):
        data = self._get_force_base_model().data if hasattr(self, "_get_force_base_model") else None
        if data is None or not Task.is_offline():
            return put(self, key, value, v_type)
        entry = {"key": str(key), "value": str(value), "type": str(v_type)}
        data.metadata = dict(getattr(data, "metadata", None) or {}, **{str(key): entry})
        return True

    BaseModel.set_metadata = set_metadata


def _properties():
    """Make Task.get_user_properties return what the script has set."""
    from clearml import Task

    get = Task.get_user_properties

    def properties(self, value_only=False):
        if not self.is_offline():
            return get(self, value_only)
        items = (getattr(self.data, "hyperparams", None) or {}).get("properties") or {}
        return {name: item.value if value_only else item.to_dict() for name, item in items.items()}

    Task.get_user_properties = properties


def _argparse():
    """Apply the trial's values to argparse flags, and record the flags as declared parameters."""
    # The package itself ignores flags of subparsers, counts, and --x/--no-x.
    import clearml.backend_interface.task.args as module
    from clearml.binding.args import PatchArgumentParser as Original

    copy = module._Arguments.copy_to_parser

    def parsed(parser, args=None, namespace=None):
        # Ignore unknown arguments when the package parses on its own: the script may use them.
        return Original._original_parse_known_args(parser, args=args, namespace=namespace)[0]

    def copied(self, parser, *args, **more):
        names = {action.dest for action in parser._actions}
        if "hydra_help" in names or {"completion", "interactive", "separator", "trace"} <= names:
            return None  # Hydra's and Fire's own parsers
        before = [(action, action.const, action.default) for action in _flags(parser)]
        done = copy(self, parser, *args, **more)
        parameters, meant = self._task.get_parameters(), {}
        for action, const, _ in before:
            text = parameters.get(f"Args/{action.dest}")
            if text is not None and self._exclude_parser_args.get(action.dest, True):
                meant.setdefault(action.dest, []).extend(_flag(action, str(text).strip(), const))
        for action, const, default in before:
            if action.dest in meant:
                # The package changes the constant, so that the task would override the command line.
                action.const, action.default = const, (meant[action.dest] or [default])[0]
            elif default is not argparse.SUPPRESS and action in parser._actions:
                _declare("Args", action.dest, default, type(default).__name__, action.help)
        _write()
        return done

    module._Arguments.copy_to_parser, module.call_original_argparser = copied, parsed


def _flags(parser):
    """Return the actions without a value, of the parser and its subparsers."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _flags(below)
        elif action.nargs == 0:
            yield action


def _flag(action, text, const):
    """[what this text means for it], or []."""
    if isinstance(action, argparse._CountAction):
        return [int(text)] if text.isdigit() else []
    is_boolean = isinstance(const, bool) or type(action).__name__ == "BooleanOptionalAction"
    if is_boolean and text.lower() in ("true", "false", "1", "0"):
        return [text.lower() in ("true", "1")]
    return [const] if text == str(const) else []


def _click():
    """Keep the defaults of click options that the trial does not set: the package sets them to None."""
    try:
        from click.core import Command, Parameter
        from click.exceptions import MissingParameter
    except ImportError:
        return
    from clearml.binding.click_bind import PatchClick

    process, invoke = Parameter.process_value, Command.invoke

    def process_value(self, ctx, value):
        """Called by click with the command line's value, then by ClearML with the task's: None or text."""
        if not ctx.resilient_parsing or self.name not in ctx.params:
            return process(self, ctx, value)
        if isinstance(value, str) and value.startswith("[") and (self.multiple or self.nargs != 1):
            value = _listed(value)
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
                ctx.params.pop(param.name, None)  # ClearML adds them, but the function does not accept them
        _write()
        return invoke(self, ctx)

    Parameter.process_value, Command.invoke = process_value, invoked


def _listed(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


def _fire():
    """Make Fire read its arguments from the command line."""
    # The package removes these, and passes only arguments that it has recorded itself.
    try:
        from fire import core
    except ImportError:
        return
    for cell in core._Fire.__closure__ or ():
        if getattr(cell.cell_contents, "__module__", "") == core.__name__:
            core._Fire = cell.cell_contents


def _hydra():
    """Record the values of a hydra configuration as declared parameters."""
    from clearml.binding.hydra_bind import PatchHydra

    register = PatchHydra._register_omegaconf

    def registered(config, *args, **more):
        try:
            from omegaconf import OmegaConf

            _declare_all("", OmegaConf.to_container(config, resolve=False))
            _write()
        except Exception as error:
            print(f"trialdeck: could not read Hydra's configuration: {error!r}", file=sys.stderr, flush=True)
        return register(config, *args, **more)

    PatchHydra._register_omegaconf = staticmethod(registered)


def _project():
    """Give Task.init a project: 1.x fails without it, and so do the datasets of 2.x."""
    from clearml import Task

    get_name, get_project = Task.get_project_name, Task.get_project_object
    none = SimpleNamespace(default_output_destination=None)
    Task.get_project_name = lambda self: get_name(self) or "Trialdeck"
    Task.get_project_object = lambda self: get_project(self) or none


def _declare_all(prefix, values):
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            _declare_all(f"{name}.", value)
        elif "${" not in str(value):  # an interpolation is not a value
            _declare("Hydra", name, None if value == "???" else value, type(value).__name__, None)


def _declare(group, name, value, kind, description):
    kind = "" if kind == "NoneType" else kind
    traits = {"value": _text(value), "type": kind, "description": str(description or "")}
    _declared.setdefault(group, {})[name] = traits


def _text(value):
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _write():
    """Write the declared parameters, which Trialdeck suggests for the search space."""
    if not _declared:
        return
    path = os.path.join(os.environ["CLEARML_CACHE_DIR"], "declared.json")
    try:
        with open(f"{path}.{os.getpid()}", "w", encoding="utf-8") as file:
            json.dump(_declared, file)
        os.replace(file.name, path)
    except OSError:
        pass  # the script does not depend on it
