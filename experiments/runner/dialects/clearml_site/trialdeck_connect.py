"""Keep the values that a script connects to its ClearML task, unless the experiment overrides them.

Under an agent, the package reads every connected value back from the task, even values that the script itself wrote: a
later write, or a second parser, dict or file of the same name, would get the values of the first. Standard library
only, Python 3.7 or later.
"""

import json
import os

GENERAL = "General"  # the group and the configuration without a name


def patch():
    """Patch the package so that connected values remain the script's own unless the experiment overrides them."""
    with open(os.path.join(os.environ["CLEARML_CACHE_DIR"], "overrides.json"), encoding="utf-8") as file:
        overrides = json.load(file)
    groups = {group: frozenset(names) for group, names in overrides["hyperparams"].items()}
    _parameters(groups)
    _configuration(frozenset(overrides["configuration"]))
    _arguments(groups.get("Args", frozenset()))


def _parameters(groups):
    import clearml.task as module
    from clearml import Task

    connect, connect_parameters = Task._connect_dictionary, Task._connect_task_parameters

    def connected(self, dictionary, name=None, ignore_remote_overrides=False):
        names = groups.get(name or GENERAL)
        if not names or ignore_remote_overrides or not _is_remote(self):
            return connect(self, dictionary, name, True)
        values = _Overridden(self, name, names)
        nested = values.applied(dictionary)
        return module.ProxyDictPostWrite(self, lambda task, written: values.restore(written), **nested)

    def connected_parameters(self, parameters, name=None, ignore_remote_overrides=False):
        names = groups.get(name or GENERAL, ())
        if ignore_remote_overrides or not _is_remote(self):
            return connect_parameters(self, parameters, name, True)
        prefix = f"{name}/" if name else ""
        stored = {
            key[len(prefix) :]: value
            for key, value in self.get_parameters(cast=True).items()
            if key.startswith(prefix)
        }
        parameter_values = parameters.to_dict()  # the package refuses unknown names
        overridden = {key: value for key, value in stored.items() if key in names and key in parameter_values}
        parameters.update_from_dict(_as_declared(self, parameters, overridden, name))
        own = {key: value for key, value in parameters.to_dict().items() if key not in names}
        self._arguments.copy_from_dict(own, prefix=name)
        return parameters

    Task._connect_dictionary, Task._connect_task_parameters = connected, connected_parameters


def _as_declared(task, parameters, overridden, name):
    """Return the overridden values, cast to the types of the script's own values or to its declared types.

    A task that has run before has the types of its values; an experiment's overrides have none.
    """
    from clearml.utilities.proxy_object import cast_basic_type

    own = {
        key: value for key, value in parameters.to_dict().items() if key in overridden and value is not None
    }
    values = {**overridden, **task._arguments.copy_to_dict(own, prefix=name)}
    declared = {trait.name: trait.type for trait in type(parameters).__attrs_attrs__ if trait.type}
    for key, value in values.items():
        if key in declared and isinstance(value, str):
            values[key] = cast_basic_type(value, getattr(declared[key], "__name__", ""))
    return values


class _Overridden:
    """The overridden values of a connected dict: `names` are paths such as `net/depth` in the group `group`."""

    def __init__(self, task, group, names):
        self._task, self._group, self._names = task, group, names
        self._values = {}  # overridden values by path, cast to the type that the script's value had first
        self._own = {}  # values of the task that are not overridden

    def applied(self, dictionary):
        """Return the dict with the overridden values, changed in place as ClearML does."""
        import clearml.task as module

        flat = module.flatten_dictionary(dictionary)
        self._cast(flat)
        self._record({path: value for path, value in flat.items() if path not in self._names})
        return module.nested_from_flat_dictionary(dictionary, {**flat, **self._values})

    def restore(self, written):
        """Called after a write: set overridden values again, in place, and write the others to the task."""
        own = {}
        self._restore(written, "", own)
        self._record(own)

    def _restore(self, values, before, own):
        for key in list(values):
            path, value = f"{before}{key}", values[key]
            if path in self._values:
                dict.__setitem__(values, key, self._values[path])
            elif isinstance(value, dict) and value:
                self._restore(value, f"{path}/", own)
            elif path in self._names:
                self._cast({path: value})
                dict.__setitem__(values, key, self._values.get(path, value))
            else:
                own[path] = value

    def _cast(self, flat):
        stored = {path: value for path, value in flat.items() if path in self._names}
        if stored:
            self._values.update(self._task._arguments.copy_to_dict(stored, prefix=self._group))

    def _record(self, own):
        changed = {
            path: value
            for path, value in own.items()
            if path not in self._own or self._own[path] is not value
        }
        self._own.update(changed)
        if changed:
            self._task._arguments.copy_from_dict(changed, prefix=self._group)


def _configuration(names):
    from clearml import Task

    connect, connect_labels = Task.connect_configuration, Task.connect_label_enumeration

    def connected(self, configuration, name=None, description=None, ignore_remote_overrides=False):
        if not _is_remote(self):
            return connect(self, configuration, name, description, ignore_remote_overrides)
        is_readable = isinstance(configuration, (dict, list)) or os.path.isfile(str(configuration))
        if (name or GENERAL) not in names and is_readable:
            return connect(self, configuration, name, description, True)
        result = connect(self, configuration, name, description, ignore_remote_overrides)
        return _kept(result) if isinstance(configuration, dict) and isinstance(result, dict) else result

    def connected_labels(self, enumeration, ignore_remote_overrides=False):
        return connect_labels(self, enumeration, True)  # an experiment overrides no labels

    Task.connect_configuration, Task.connect_label_enumeration = connected, connected_labels


class _FixedKeys(dict):
    """An overridden configuration: existing keys cannot be changed, as under an agent, but a script may add keys."""

    def __init__(self, values):
        super().__init__(values)
        self._names = frozenset(values)

    def __setitem__(self, key, value):
        if key not in self._names:
            super().__setitem__(key, value)

    def __reduce__(self):
        return dict, (), None, None, iter(self.items())


def _kept(values):
    return _FixedKeys(
        {key: _kept(value) if isinstance(value, dict) else value for key, value in values.items()}
    )


def _arguments(names):
    from clearml.backend_interface.task.args import _Arguments

    copy = _Arguments.copy_to_parser

    def copied(self, parser, *args, **more):
        get = self._task.get_parameters

        def overridden(*args, **more):
            values = get(*args, **more)
            return {
                key: value for key, value in values.items() if not key.startswith("Args/") or key[5:] in names
            }

        self._task.get_parameters = overridden  # only for this task, while it is read
        try:
            return copy(self, parser, *args, **more)
        finally:
            del self._task.get_parameters

    _Arguments.copy_to_parser = copied


def _is_remote(task):
    from clearml.config import running_remotely

    return running_remotely() and (task.is_main_task() or task._is_remote_main_task())
