"""The Rerun package, which is an extra of ours: a download of 170 MB that only those pay for who look."""

import importlib.util
import sys

from scenelake.contracts.errors import ConfigurationError

RERUN = "rerun-sdk==0.41.0"
"""As the extra ``view`` of the distribution pins it: Rerun's API and files change with every minor version."""
HOW_TO_INSTALL = f"{sys.executable} -m pip install '{RERUN}'"


def is_installed() -> bool:
    return importlib.util.find_spec("rerun") is not None


def require_rerun() -> None:
    """Raises ConfigurationError, saying how to install it, where the package is not there."""
    if not is_installed():
        raise ConfigurationError(f"a Rerun recording needs the package rerun-sdk: {HOW_TO_INSTALL}")
