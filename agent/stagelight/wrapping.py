"""Wrapping: a decorated function of any kind, with its signature, docstring and nature kept."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Protocol, TypeVar, cast

from opentelemetry import context as otel_context

from stagelight.guard import guard, say_once

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping

    from stagelight.scope import Scope

P = ParamSpec("P")
R = TypeVar("R")


_DESCRIPTORS: Final = (staticmethod, classmethod, property, functools.cached_property)


OPENER: Final = "__stagelight_opener__"
"""Where a wrapped function keeps what opens its scopes."""
BY_PATTERN: Final = "__stagelight_by_pattern__"
"""Set where a pattern has wrapped it."""


class Opener(Protocol):
    """What opens a scope for a call."""

    is_muted: bool
    """Whether it opens nothing, because something else speaks for the function."""

    def open(self, arguments: tuple[object, ...], keywords: Mapping[str, object]) -> Scope:
        """Open a scope and make it current. Never raises."""
        ...


def wrap(function: Callable[P, R], opener: Opener) -> Callable[P, R]:
    """Return the function with a scope around every call, or around the life of the generator that it returns.

    A class is returned as it is, with a word about its methods.
    """
    inner = cast("Any", function)
    if isinstance(inner, type):
        name = f"{inner.__module__}.{inner.__qualname__}"
        text = "%s is a class, and its calls are not recorded: decorate its methods"
        say_once(f"class {name}", text, name)
        return function
    if isinstance(inner, _DESCRIPTORS):
        return cast("Callable[P, R]", _described(inner, opener))
    if not callable(inner):
        say_once(f"no function {type(inner)}", "%s is no function, and is not recorded", type(inner).__name__)
        return function
    for layer in layers(inner):
        if BY_PATTERN in layer:  # as innermost, in a script: the decorator, which comes later, says it better
            layer[OPENER].is_muted = True
    if inspect.iscoroutinefunction(inner):
        wrapper = _coroutine(inner, opener)
    elif inspect.isasyncgenfunction(inner):
        wrapper = _async_generator(inner, opener)
    elif inspect.isgeneratorfunction(inner):
        wrapper = _generator(inner, opener)
    else:
        wrapper = _plain(inner, opener)
    functools.update_wrapper(wrapper, inner)
    wrapper.__dict__[OPENER] = opener
    wrapper.__dict__.pop(BY_PATTERN, None)
    return cast("Callable[P, R]", wrapper)


def _described(descriptor: Any, opener: Opener) -> Any:
    """Return a descriptor of the same kind around the wrapped function."""
    inner = innermost(descriptor)
    if inner is None:  # a property that can only be set
        return descriptor
    wrapped = wrap(inner, opener)
    return descriptor.getter(wrapped) if isinstance(descriptor, property) else type(descriptor)(wrapped)


def layers(function: Any) -> Iterator[dict[str, Any]]:
    """Return the attributes of a function and of all that it wraps, from the outside in."""
    while function is not None:
        yield getattr(function, "__dict__", {})
        function = getattr(function, "__wrapped__", None)


def innermost(function: Any) -> Any:
    """Return the function that a `staticmethod`, `classmethod` or property is around; anything else as it is."""
    if isinstance(function, (staticmethod, classmethod)):
        return cast("Any", function).__func__
    if isinstance(function, property):
        return function.fget
    return function.func if isinstance(function, functools.cached_property) else function


def _plain(function: Callable[..., Any], opener: Opener) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        scope = opener.open(args, kwargs)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            scope.leave()
            scope.end(error, args, kwargs)
            raise
        scope.leave()
        scope.end(None, args, kwargs)
        return result

    return wrapper


def _coroutine(function: Callable[..., Any], opener: Opener) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        scope = opener.open(args, kwargs)
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            scope.leave()
            scope.end(error, args, kwargs)
            raise
        scope.leave()
        scope.end(None, args, kwargs)
        return result

    return wrapper


class _Inside:
    """The scope's context, entered only while the generator's own code runs, never while its consumer's does."""

    __slots__ = ("_context", "_scope")

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._context = otel_context.get_current()
        scope.leave()

    def __enter__(self) -> None:
        with guard("generator"):
            self._scope.enter(self._context)

    def __exit__(self, *_: object) -> None:
        with guard("generator"):
            # What the generator attached and left attached is its own; it is taken up again when it goes on.
            self._context = otel_context.get_current()
            self._scope.leave()


def _generator(function: Callable[..., Any], opener: Opener) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        scope = opener.open(args, kwargs)
        inside = _Inside(scope)
        try:
            with inside:
                generator = function(*args, **kwargs)
            result: Any = yield from cast("Generator[Any, Any, Any]", _Forwarded(generator, inside))
        except BaseException as error:
            scope.end(error, args, kwargs)
            raise
        scope.end(None, args, kwargs)
        return result

    return wrapper


class _Forwarded:
    """A generator whose every step runs inside; `yield from` forwards send, throw and close to it."""

    __slots__ = ("_generator", "_inside")

    def __init__(self, generator: Generator[Any, Any, Any], inside: _Inside) -> None:
        self._generator = generator
        self._inside = inside

    def __iter__(self) -> _Forwarded:
        return self

    def __next__(self) -> Any:
        with self._inside:
            return next(self._generator)

    def send(self, value: Any) -> Any:
        with self._inside:
            return self._generator.send(value)

    def throw(self, *error: Any) -> Any:
        with self._inside:
            return self._generator.throw(*error)

    def close(self) -> None:
        with self._inside:
            self._generator.close()


def _async_generator(function: Callable[..., Any], opener: Opener) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        scope = opener.open(args, kwargs)
        inside = _Inside(scope)
        try:
            with inside:
                generator: AsyncGenerator[Any, Any] = function(*args, **kwargs)
            advance = generator.asend(None)
            while True:
                try:
                    with inside:
                        value = await advance
                except StopAsyncIteration:
                    break
                try:
                    received = yield value
                except GeneratorExit:
                    with inside:
                        await generator.aclose()
                    raise
                except BaseException as error:  # forwarded, whatever it is
                    advance = generator.athrow(error)
                else:
                    advance = generator.asend(received)
        except BaseException as error:
            scope.end(error, args, kwargs)
            raise
        scope.end(None, args, kwargs)

    return wrapper
