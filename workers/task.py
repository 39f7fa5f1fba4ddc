"""What a task is: a Python function whose signature is its schema.

    @task(timeout=30, max_attempts=3)
    def resize_image(image: File, width: int = 800) -> File: ...

Invariant: everything the service knows of a task is in `TaskSpec.describe()`, plain JSON.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, NotRequired, ParamSpec, TypeVar, get_args, get_type_hints, overload

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, with_config
from pydantic_core import to_jsonable_python
from typing_extensions import TypedDict

from workers.files import File
from workers.rate import starts_per_second

P = ParamSpec("P")
R = TypeVar("R")
PoolName = Literal["cpu", "io"]

COROUTINES_MAX = 100
"""How many items of an `async def` task run side by side in a worker."""

EXACT: tuple[type, ...] = (int, float, str)
"""What is JSON of one of these types is taken as a parameter of that type without further ado."""

_MARK = "__millpond_task__"
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class TaskDefinitionError(Exception):
    """A function that cannot be a task, or a task module that cannot be loaded; the message says why."""


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """What `@task(…)` was told."""

    name: str | None
    timeout: float | None
    max_attempts: int
    backoff: float
    no_retry_on: tuple[type[BaseException], ...]
    pool: PoolName
    max_concurrency: int | None
    rate_limit: str | None


@overload
def task(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def task(
    *,
    name: str | None = None,
    timeout: float | None = None,
    max_attempts: int = 1,
    backoff: float = 0.1,
    no_retry_on: Iterable[type[BaseException]] = (),
    pool: PoolName = "cpu",
    max_concurrency: int | None = None,
    rate_limit: str | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def task(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    timeout: float | None = None,
    max_attempts: int = 1,
    backoff: float = 0.1,
    no_retry_on: Iterable[type[BaseException]] = (),
    pool: PoolName = "cpu",
    max_concurrency: int | None = None,
    rate_limit: str | None = None,
) -> Any:
    """Make a function a task.  The function itself stays as it is and can be called directly.

    `timeout` is in seconds per item; `max_attempts` counts the first one.  Jobs may set both for themselves.
    Before its n-th further attempt an item waits at random, up to `backoff` times 2 to the n-1 seconds or a minute.
    Exceptions of the types in `no_retry_on` end an item at once.
    In the whole service at most `max_concurrency` of its items run at once, and they start no more often than
    `rate_limit` says, `"10/s"`, `"100/m"` or `"5000/h"`, further attempts included.
    """
    if timeout is not None and timeout <= 0:
        raise TaskDefinitionError(f"timeout={timeout!r}: give a number of seconds above 0, or None")
    if max_attempts < 1:
        raise TaskDefinitionError(f"max_attempts={max_attempts!r}: the first attempt counts, so at least 1")
    if pool not in get_args(PoolName):
        raise TaskDefinitionError(f"pool={pool!r}: there are {' and '.join(get_args(PoolName))}")
    if backoff < 0:
        raise TaskDefinitionError(f"backoff={backoff!r}: give a number of seconds, 0 or more")
    if max_concurrency is not None and (type(max_concurrency) is not int or max_concurrency < 1):
        raise TaskDefinitionError(
            f"max_concurrency={max_concurrency!r}: give a number of items, 1 or more, or None"
        )
    if rate_limit is not None:
        _check_rate(rate_limit)
    options = TaskOptions(
        name, timeout, max_attempts, backoff, tuple(no_retry_on), pool, max_concurrency, rate_limit
    )

    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        setattr(function, _MARK, options)
        return function

    return mark if function is None else mark(function)


def _check_rate(rate_limit: object) -> None:
    try:
        starts_per_second(str(rate_limit))
    except ValueError as error:
        raise TaskDefinitionError(f"rate_limit={rate_limit!r}: {error}, or None") from None


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task, ready to run: how an item becomes arguments, and an output JSON."""

    name: str
    function: Callable[..., Any]
    options: TaskOptions
    parameters: Mapping[str, inspect.Parameter]
    arguments: TypeAdapter[dict[str, Any]]
    """What `bind` makes of an item and the job's `params`; members left out take the function's own defaults."""
    output: TypeAdapter[Any]
    first: TypeAdapter[Any] | None
    """The first parameter alone, if it is all that a call needs."""
    many: TypeAdapter[list[Any]] | None
    """Many first parameters at once, if it is plain, and none of these may be an object."""
    exact: type | None
    """The type of these, if it is in `EXACT`."""
    plain: bool
    """Whether to validate arguments runs pydantic's own code alone, which neither fails a process nor takes long."""
    takes_whole_item: bool
    """One parameter that admits objects: the item is its value, whatever it is."""

    @classmethod
    def of(cls, function: Callable[..., Any]) -> "TaskSpec":
        """Read a function's signature.  TaskDefinitionError if an item could not become its arguments."""
        options: TaskOptions = getattr(function, _MARK)
        name = options.name or function.__name__
        parameters = inspect.signature(function).parameters
        for parameter in parameters.values():
            if parameter.kind not in _NAMED:
                raise TaskDefinitionError(
                    f"task {name!r}: parameter {str(parameter)!r} has no name to pass it by;"
                    " use plain named parameters"
                )
        fields: dict[str, Any] = {}
        try:
            hints = get_type_hints(function, include_extras=True)
            for key, parameter in parameters.items():
                hint = hints.get(key, Any)
                fields[key] = hint if parameter.default is inspect.Parameter.empty else NotRequired[hint]
            members = _typed_dict(name, fields)
            arguments = TypeAdapter[dict[str, Any]](members)
            output = _output_adapter(hints.get("return", Any))
        except Exception as error:
            raise TaskDefinitionError(
                f"task {name!r}: {error}\nEvery parameter needs a type that JSON can carry."
            ) from error
        alone = all(p.default is not inspect.Parameter.empty for p in list(parameters.values())[1:])
        hint = hints.get(next(iter(fields), ""), Any)
        first = TypeAdapter[Any](hint) if fields and alone else None
        objects = bool(fields) and _admits_objects(arguments, next(iter(fields)))
        whole = len(fields) == 1 and objects
        simple = first is not None and (whole or not objects) and _is_plain(first.core_schema)
        many = TypeAdapter(list[hint]) if simple else None  # type: ignore[valid-type]
        exact = next((kind for kind in EXACT if simple and hint is kind), None)
        return cls(
            name,
            function,
            options,
            parameters,
            arguments,
            output,
            first,
            many,
            exact,
            _has_plain_members(arguments),
            whole,
        )

    @property
    def is_coroutine(self) -> bool:
        """Whether its items may run side by side in one worker."""
        return inspect.iscoroutinefunction(self.function)

    @property
    def required(self) -> list[str]:
        """The parameters without a default, in order."""
        return [key for key, p in self.parameters.items() if p.default is inspect.Parameter.empty]

    @property
    def file_parameter(self) -> str | None:
        """The first parameter that takes a `File`: what an uploaded file becomes."""
        hints = get_type_hints(self.function)
        return next((key for key in self.parameters if _is_file(hints.get(key))), None)

    def describe(self) -> dict[str, Any]:
        """The task as `GET /v1/tasks/{name}` shows it, without links."""
        params_schema = self.arguments.json_schema()
        for key, schema in params_schema["properties"].items():
            if (default := self.parameters[key].default) is not inspect.Parameter.empty:
                schema["default"] = to_jsonable_python(default, fallback=repr)
        return {
            "name": self.name,
            "description": inspect.getdoc(self.function) or "",
            "pool": self.options.pool,
            "concurrency": COROUTINES_MAX if self.is_coroutine else 1,
            "file_parameter": self.file_parameter,
            "defaults": {
                "item_timeout_seconds": self.options.timeout,
                "max_attempts": self.options.max_attempts,
                "backoff_seconds": self.options.backoff,
            },
            "limits": self._limits(),
            "item_schema": self._item_schema(params_schema),
            "params_schema": params_schema | {"required": []},
            "output_schema": self.output.json_schema(mode="serialization"),
        }

    def _limits(self) -> dict[str, Any]:
        """What holds for all of its items in the service together."""
        rate = self.options.rate_limit
        return {
            "max_concurrency": self.options.max_concurrency,
            "rate_limit": rate,
            "starts_per_second": None if rate is None else starts_per_second(rate),
        }

    def _item_schema(self, params_schema: dict[str, Any]) -> dict[str, Any]:
        """Every form an item may take, as `bind` reads it; what it leaves out, the job's `params` may supply."""
        if not self.parameters:
            return {"enum": [None, {}], "title": self.name}
        properties: dict[str, Any] = params_schema["properties"]
        defs = {"$defs": params_schema["$defs"]} if "$defs" in params_schema else {}
        first = next(iter(properties.values()))
        if self.takes_whole_item:
            return {**first, **defs}
        keywords = {k: v for k, v in params_schema.items() if k not in ("$defs", "required", "title")}
        forms: list[dict[str, Any]] = [keywords, _without_objects(first)]
        if len(self.required) >= 2:
            positional = list(properties.values())
            forms.append({"type": "array", "prefixItems": positional, "maxItems": len(positional)})
        return {"title": self.name, "anyOf": forms, **defs}


def _without_objects(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema's forms that are not objects: an object stands for keyword arguments."""
    if "anyOf" not in schema:
        return schema
    return schema | {"anyOf": [form for form in schema["anyOf"] if form.get("type") != "object"]}


def _is_file(hint: object) -> bool:
    return hint is File or File in get_args(hint)


def _typed_dict(name: str, fields: dict[str, Any]) -> Any:
    members = TypedDict(name, fields)  # type: ignore[misc]  # the functional form, with data
    return with_config(ConfigDict(extra="forbid"))(members)


def _output_adapter(hint: Any) -> TypeAdapter[Any]:
    """The adapter that writes outputs; NaN stands out in what it writes, so that it can be refused."""
    try:
        return TypeAdapter(hint, config=ConfigDict(ser_json_inf_nan="constants"))
    except PydanticUserError:  # a model or dataclass, which brings its own configuration
        return TypeAdapter(hint)


_PLAIN = frozenset({"any", "none", "bool", "int", "float", "str", "list", "dict", "nullable", "union"})


def _has_plain_members(arguments: TypeAdapter[dict[str, Any]]) -> bool:
    schema: Mapping[str, Any] = arguments.core_schema
    return "fields" in schema and all(_is_plain(member["schema"]) for member in schema["fields"].values())


def _is_plain(schema: object) -> bool:
    if isinstance(schema, Mapping):
        return schema.get("type", "any") in _PLAIN and all(map(_is_plain, schema.values()))
    return all(map(_is_plain, schema)) if isinstance(schema, list) else not callable(schema)


def _admits_objects(arguments: TypeAdapter[dict[str, Any]], key: str) -> bool:
    """Whether the parameter's schema lets a JSON object through (a `File` is a reference, not an object)."""
    schema = arguments.json_schema()
    return _schema_admits_objects(schema["properties"][key], schema.get("$defs", {}))


def _schema_admits_objects(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> bool:
    if schema.get("format") == "millpond-file":
        return False
    if "$ref" in schema:
        return _schema_admits_objects(defs[schema["$ref"].rsplit("/", 1)[1]], defs)
    if branches := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        return any(_schema_admits_objects(branch, defs) for branch in branches)
    if "enum" in schema or "const" in schema:
        return False
    return bool(schema.get("type", "object") == "object")


def discover(modules: Iterable[str]) -> dict[str, TaskSpec]:
    """Every task of the named modules; of a package, those of its direct submodules too.

    A package's submodule is left out if the package's `__all__` does not name it.
    TaskDefinitionError with the traceback's text if a module cannot be imported, or two tasks share a name.
    """
    specs: dict[str, TaskSpec] = {}
    for name in modules:
        before = len(specs)
        for module in _with_submodules(_load(name)):
            for function in vars(module).values():
                if not inspect.isfunction(function) or function.__module__ != module.__name__:
                    continue
                if not hasattr(function, _MARK):
                    continue
                spec = TaskSpec.of(function)
                other = specs.setdefault(spec.name, spec)
                if other.function is not spec.function:
                    places = f"{other.function.__module__} and {module.__name__}"
                    raise TaskDefinitionError(f"two tasks are called {spec.name!r}: in {places}")
        if len(specs) == before:
            raise TaskDefinitionError(f"task module {name!r} has no task of its own: no function with @task")
    return specs


def _load(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise TaskDefinitionError(f"task module {name!r} cannot be imported") from error


def _with_submodules(module: ModuleType) -> list[ModuleType]:
    if not hasattr(module, "__path__"):
        return [module]
    listed = getattr(module, "__all__", None)
    names = [info.name for info in pkgutil.iter_modules(module.__path__)]
    return [module, *(_load(f"{module.__name__}.{n}") for n in names if listed is None or n in listed)]
