import io
import subprocess
import sys
import zipfile
from pathlib import Path

from scenelake.stack.function_package import function_package

_PROBE = """
import sys
class Closed:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"pyarrow", "numpy", "pydantic", "yaml", "pandas", "psutil", "airflow"}:
            raise ImportError(f"the function's package must not need {name}")
sys.meta_path.insert(0, Closed())
import scenelake.ledger.register_drop as module
print(module.__file__)
"""


def test_the_package_is_reproducible_and_small() -> None:
    first = function_package()
    assert first == function_package()
    assert len(first) < 100_000
    names = zipfile.ZipFile(io.BytesIO(first)).namelist()
    assert "scenelake/ledger/register_drop.py" in names
    assert not [n for n in names if n.startswith(("scenelake/stack", "scenelake/decode"))]


def test_the_handler_imports_from_the_package_with_boto3_alone(tmp_path: Path) -> None:
    package = tmp_path / "package.zip"
    package.write_bytes(function_package())
    site = Path(__import__("boto3").__file__).parent.parent
    code = f"import sys; sys.path[:0] = [{str(package)!r}]; sys.path.append({str(site)!r})\n{_PROBE}"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert str(package) in done.stdout
