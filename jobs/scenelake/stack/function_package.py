"""The Lambda function's package: the part of scenelake that ``register_drop`` imports, as a zip."""

import ast
import io
import zipfile
from pathlib import Path

ENTRY = "scenelake.ledger.register_drop"
_EPOCH = (1980, 1, 1, 0, 0, 0)


def function_package(package: Path | None = None) -> bytes:
    """The zip's bytes; the same sources give the same bytes. It holds no dependency: Lambda brings boto3.

    Args:
        package: folder of the scenelake package; the running one by default.
    """
    root = package or Path(__file__).resolve().parent.parent
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(_reachable(root)):
            info = zipfile.ZipInfo(path.relative_to(root.parent).as_posix(), _EPOCH)
            info.external_attr = 0o644 << 16
            archive.writestr(info, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _reachable(root: Path) -> set[Path]:
    found: set[Path] = set()
    waiting = [ENTRY]
    while waiting:
        module = waiting.pop()
        for path in _files_of(root, module):
            if path not in found:
                found.add(path)
                waiting += _imports(path)
    return found


def _files_of(root: Path, module: str) -> list[Path]:
    """The module's file and the ``__init__.py`` of each package above it."""
    parts = module.split(".")
    if parts[0] != root.name:
        return []
    files = [root.joinpath(*parts[1:depth], "__init__.py") for depth in range(1, len(parts) + 1)]
    files.append(root.joinpath(*parts[1:]).with_suffix(".py"))
    return [path for path in files if path.is_file()]


def _imports(path: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names
