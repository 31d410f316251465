"""The plugin manager: built-ins from an explicit list, others by entry point, only when the configuration names them."""

from __future__ import annotations

import importlib
import importlib.metadata
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import pluggy

from stagelight_plugins import hookspecs
from stagelight_plugins.errors import BrokenPlugin, CoreBlocked, PluginError, UnknownPlugin

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

GROUP: Final = "stagelight"
"""The entry-point group of plugins."""

BUILT_IN: Final = (
    "stagelight_plugins.workflow_live",
    "stagelight_plugins.diagram",
    "stagelight_plugins.engine",
    "stagelight_plugins.alerting",
)
"""Modules of the plugins that come with Stagelight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginInfo:
    """One plugin, as `stagelight plugins` lists it."""

    name: str
    kind: str
    """`core`, `built-in` or `third-party`."""
    loaded: bool = False
    version: str = ""
    distribution: str = ""
    hooks: tuple[str, ...] = ()
    problem: str = ""
    """Why it is not loaded although it should be."""
    blocked: bool = False
    """Whether the configuration says that it must not be loaded."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-compatible data."""
        return asdict(self)


class Plugins:
    """The loaded plugins and their hooks.

    Args:
        core: Plugins of the collector itself: name and object.
        load: Names of third-party plugins to load; the others are listed but never imported.
        block: Names of plugins, built-in ones too, that must not be loaded.
        strict: Whether a plugin that cannot be used is raised; else it is left out, and `infos` says why.

    Raises:
        UnknownPlugin: A name in `load` is not installed.
        BrokenPlugin: A plugin does not import, or misspells a hook.
    """

    def __init__(
        self,
        core: Sequence[tuple[str, object]] = (),
        *,
        load: Iterable[str] = (),
        block: Iterable[str] = (),
        strict: bool = True,
    ) -> None:
        self._strict = strict
        self._manager = pluggy.PluginManager("stagelight")
        self._manager.add_hookspecs(hookspecs.Hooks)
        self._infos: dict[str, PluginInfo] = {}
        self._blocked = frozenset(block)
        self._installed: dict[str, importlib.metadata.EntryPoint] = {}
        self._rivals: dict[str, set[str]] = {}
        for entry in importlib.metadata.entry_points(group=GROUP):
            self._installed.setdefault(entry.name, entry)
            self._rivals.setdefault(entry.name, set()).add(_info(entry.name, "", entry).distribution)
        for name, plugin in core:
            with self._leaving_out(_info(name, "core")):
                self._register(name, plugin, _info(name, "core"))
        for module in BUILT_IN:
            name = module.rpartition(".")[2]
            with self._leaving_out(_info(name, "built-in")):
                self._import(name, module)
        for name in load:
            with self._leaving_out(_info(name, "third-party", self._installed.get(name))):
                self._load(name)

    def call(self, hook: str, **arguments: Any) -> list[tuple[str, Any]]:
        """Call a hook plugin by plugin, in order of loading; return each plugin's name and answer.

        Raises:
            BrokenPlugin: An implementation raised; it is named, so that one bad plugin is not everybody's riddle.
        """
        answers: list[tuple[str, Any]] = []
        for name, function in self.implementations(hook):
            with self._leaving_out(self._infos[name]):
                try:
                    answers.append((name, function(**arguments)))
                except PluginError:
                    raise
                except (Exception, SystemExit) as error:
                    raise BrokenPlugin(name, f"{hook} raised {type(error).__name__}: {error}") from error
        return answers

    def implementations(self, hook: str) -> list[tuple[str, Callable[..., Any]]]:
        """Return who implements a hook, in order of loading; each takes the hook's arguments by name."""
        found = getattr(self._manager.hook, hook).get_hookimpls()
        return [(implementation.plugin_name, _narrowed(implementation)) for implementation in found]

    def infos(self) -> list[PluginInfo]:
        """Return all plugins: those that the configuration loads or blocks, then the others that are installed."""
        idle = [_info(name, "third-party", entry) for name, entry in sorted(self._installed.items())]
        found = [*self._infos.values(), *(info for info in idle if info.name not in self._infos)]
        return [replace(info, blocked=info.name in self._blocked) for info in found]

    @contextmanager
    def _leaving_out(self, info: PluginInfo) -> Generator[None]:
        try:
            yield
        except PluginError as error:
            if self._strict:
                raise
            self._infos[info.name] = replace(info, loaded=False, problem=str(error))

    def _load(self, name: str) -> None:
        entry = self._installed.get(name)
        if entry is None:
            raise UnknownPlugin(name, sorted(self._installed))
        if name in self._blocked:
            return  # not even imported
        if len(self._rivals[name]) > 1:
            rivals = " and ".join(sorted(self._rivals[name]))
            raise BrokenPlugin(name, f"{rivals} both provide it, so uninstall one of them")
        try:
            plugin = entry.load()
        except (Exception, SystemExit) as error:
            raise BrokenPlugin(name, f"{type(error).__name__}: {error}") from error
        self._register(name, plugin, _info(name, "third-party", entry))

    def _import(self, name: str, module: str) -> None:
        if name in self._blocked:
            self._infos[name] = _info(name, "built-in")
        else:
            self._register(name, importlib.import_module(module), _info(name, "built-in"))

    def _register(self, name: str, plugin: object, info: PluginInfo) -> None:
        if name in self._blocked:
            if info.kind == "core":
                raise CoreBlocked(name)
            return
        try:
            self._manager.register(plugin, name)
            self._manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            if self._manager.get_plugin(name) is plugin:
                self._manager.unregister(plugin, name)
            raise BrokenPlugin(name, str(error)) from error
        callers = self._manager.get_hookcallers(plugin) or []
        hooks = tuple(sorted(caller.name for caller in callers))
        self._infos[name] = replace(info, loaded=True, hooks=hooks)


def _narrowed(implementation: pluggy.HookImpl) -> Callable[..., Any]:
    """Return a call that takes all of the hook's arguments and passes on those that the plugin named."""

    def call(**arguments: Any) -> Any:
        return implementation.function(**{key: arguments[key] for key in implementation.argnames})

    return call


def _info(name: str, kind: str, entry: importlib.metadata.EntryPoint | None = None) -> PluginInfo:
    dist = entry.dist if entry is not None else None
    if dist is None:
        return PluginInfo(name=name, kind=kind)
    return PluginInfo(name=name, kind=kind, distribution=dist.name, version=dist.version)
