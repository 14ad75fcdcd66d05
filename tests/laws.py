"""The laws of the house as plain functions: source in, violations out, each with what to do instead.

``tests/test_architecture.py`` applies them to the tree, and shows for each that a violation is caught.
"""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("omni_model", "monitoring", "db", "flows", "dashboards")
LEAVES = ("omni_model", "monitoring", "db")
MAY_IMPORT: Mapping[str, tuple[str, ...]] = {
    "omni_model": (),
    "monitoring": (),
    "db": (),
    "flows": ("omni_model", "monitoring", "db"),
    "dashboards": ("db", "monitoring"),
}
OUTSIDE = ("benchmarks", "tests", "scripts")
"""Folders of ours that no room may import."""

ONE_HOME = {
    "mlflow": "flows/registry.py",
    "evidently": "monitoring/reports.py",
    "opentelemetry": "flows/otel.py",
    "apprise": "monitoring/notify.py",
}
NOT_IN = {
    "omni_model": ("sqlalchemy", "alembic", "prefect", "pandas", "pydantic", "pydantic_settings", "fastapi", "typer"),
    "monitoring": ("sqlalchemy", "alembic", "prefect", "torch", "pydantic", "pydantic_settings", "fastapi", "typer"),
    "db": ("torch", "pandas", "prefect", "pydantic", "pydantic_settings", "fastapi", "typer"),
    "flows": (),
    "dashboards": ("torch",),
}
PICKLES = ("pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve")


@dataclass(frozen=True)
class Source:
    """One Python file: its path below the root, with forward slashes, and its text."""

    path: str
    text: str

    @property
    def room(self) -> str:
        return self.path.split("/")[0]

    @property
    def module(self) -> str:
        parts = self.path.removesuffix(".py").split("/")
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(ast.parse(self.text, self.path)))

    def at(self, node: ast.AST) -> str:
        """Where ``node`` stands, as an editor understands it."""
        return f"{self.path}:{getattr(node, 'lineno', 1)}"


def sources(folders: Iterable[str] = ROOMS, root: Path = ROOT) -> list[Source]:
    """Every Python file below ``folders``."""
    found = (path for folder in folders for path in sorted((root / folder).rglob("*.py")))
    return [Source(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")) for path in found]


def imported(source: Source) -> Iterator[tuple[ast.AST, str]]:
    """Each import in the file, those inside functions and ``import_module("…")`` too: the node and the dotted name.

    ``from a import b`` gives ``a.b``, which may be a module or a name in one.
    """
    for node in source.nodes:
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and _callee(node).split(".")[-1] in ("import_module", "__import__"):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield node, first.value


def imports_of_other_rooms(source: Source) -> list[str]:
    """Imports point only as the table of rooms says."""
    allowed = {source.room, *MAY_IMPORT[source.room]}
    may = ", ".join(MAY_IMPORT[source.room]) or "no other room"
    return [
        f"{source.at(node)}: {source.room} imports {name}, but may import {may}. Pass the value in as an argument from "
        "flows, or move the code to the room that may see both."
        for node, name in imported(source)
        if name.split(".")[0] in {*ROOMS, *OUTSIDE} - allowed
    ]


def imports_of_strangers(source: Source) -> list[str]:
    """A library with one home is imported there alone; a room keeps out what it must not depend on."""
    found = []
    for node, name in imported(source):
        library = name.split(".")[0]
        home = ONE_HOME.get(library, source.path)
        if home != source.path:
            found.append(
                f"{source.at(node)}: {library} is imported outside {home}. Add the verb you need to that file."
            )
        if library in NOT_IN[source.room]:
            found.append(
                f"{source.at(node)}: {source.room} must not depend on {library}. "
                "Take plain values (numbers, arrays, dataclasses) and let a driver do the rest."
            )
    return found


def reads_of_the_environment(source: Source) -> list[str]:
    """Leaves take configuration as arguments."""
    if source.room not in LEAVES:
        return []
    names = {"environ", "environb", "getenv", "putenv", "BaseSettings", "load_dotenv"}
    seen: list[tuple[ast.AST, str]] = [
        (node, node.attr) for node in source.nodes if isinstance(node, ast.Attribute) and node.attr in names
    ]
    seen += [(node, name.split(".")[-1]) for node, name in imported(source) if name.split(".")[-1] in names]
    return [
        f"{source.at(node)}: {name} in a leaf. Add a field to a config dataclass and let flows/settings.py fill it."
        for node, name in seen
    ]


def commits(source: Source) -> list[str]:
    """Only the write session commits."""
    if source.path == "db/engine.py":
        return []
    return [
        f"{source.at(node)}: a commit outside db/engine.py. Use `with database.write() as session:` instead."
        for node in source.nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "commit"
    ]


def names_of_other_rooms(source: Source) -> list[str]:
    """No file or folder in a room is named like another room."""
    parts = source.path.removesuffix(".py").split("/")[1:]
    return [
        f"{source.path}: {part!r} is the name of a room. Name the file after what it does for {source.room}."
        for part in parts
        if part in ROOMS
    ]


def pickles(source: Source) -> list[str]:
    """Nothing that can run code when it is read."""
    mend = "Store safetensors, npz without objects, or JSON."
    found = [
        f"{source.at(node)}: {name} can run code when it loads. {mend}"
        for node, name in imported(source)
        if name.split(".")[0] in PICKLES or name in ("torch.load", "torch.save")
    ]
    for node in source.nodes:
        if not isinstance(node, ast.Call):
            continue
        if _callee(node) in ("torch.load", "torch.save"):
            found.append(f"{source.at(node)}: {_callee(node)} pickles. {mend}")
        for keyword in node.keywords:
            allowed = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
            if keyword.arg == "allow_pickle" and not allowed:
                found.append(f"{source.at(node)}: allow_pickle other than False. {mend}")
    return found


def cycles(files: Sequence[Source]) -> list[str]:
    """Groups of files that import each other, imports inside functions counted, those for types alone not."""
    modules = {source.module: source for source in files}
    graph = {name: _edges(source, modules) for name, source in modules.items()}
    return [
        f"{' -> '.join(loop)}: these files import each other. Move what both need to a third file."
        for loop in _loops(graph)
    ]


def config_modules(files: Iterable[Source]) -> list[str]:
    """Modules that define a ``…Config`` or ``Settings`` class."""
    return sorted(
        source.module
        for source in files
        if any(
            isinstance(node, ast.ClassDef) and (node.name.endswith("Config") or node.name == "Settings")
            for node in source.nodes
        )
    )


def brought_in(modules: Sequence[str], banned: Sequence[str], root: Path = ROOT) -> list[str]:
    """What importing each of ``modules`` in a fresh interpreter loads of ``banned``."""
    script = (
        "import importlib, sys\n"
        "modules, banned = sys.argv[1].split(), sys.argv[2].split()\n"
        "for module in modules:\n"
        "    importlib.import_module(module)\n"
        "    for name in [b for b in banned if b in sys.modules]:\n"
        "        banned.remove(name)\n"
        "        print(f'{module}: importing it loads {name}. Import {name} where it is used.')\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", script, " ".join(modules), " ".join(banned)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else [done.stderr]


def machine_paths(path: str, text: str, places: Iterable[str]) -> list[str]:
    """Lines that name a folder of somebody's machine."""
    return [
        f"{path}:{number}: {place} exists on one machine only. Use a path relative to the repository or the home."
        for number, line in enumerate(text.splitlines(), 1)
        for place in places
        if place in line
    ]


def clashes(providers: Mapping[str, Sequence[str]], names: Iterable[str] = ROOMS, own: str = "omniloop") -> list[str]:
    """Installed distributions that ship a top-level package with one of our names."""
    return [
        f"{other} installs a top-level package {name!r}, which hides ours. Drop that dependency, or rename the room."
        for name in names
        for other in providers.get(name, ())
        if other != own
    ]


def _callee(node: ast.Call) -> str:
    """``a.b.c`` of the call ``a.b.c(…)``; empty where the callee is an expression."""
    return ast.unparse(node.func) if isinstance(node.func, ast.Name | ast.Attribute) else ""


def _edges(source: Source, modules: Mapping[str, Source]) -> set[str]:
    """The modules of ours that the file imports when it runs."""
    for_types = {
        id(inner)
        for node in source.nodes
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    edges = set()
    for node, name in imported(source):
        target = name if name in modules else name.rpartition(".")[0]
        if id(node) not in for_types and target in modules and target != source.module:
            edges.add(target)
    return edges


def _loops(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """One shortest loop through each file that lies on one, every set of files once."""
    found: dict[frozenset[str], list[str]] = {}
    for start in sorted(graph):
        paths, seen = [[start]], {start}
        while paths:
            path = paths.pop(0)
            if start in graph[path[-1]]:
                found.setdefault(frozenset(path), [*path, start])
                break
            for target in sorted(graph[path[-1]] - seen):
                seen.add(target)
                paths.append([*path, target])
    return list(found.values())
