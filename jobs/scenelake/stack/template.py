"""A CloudFormation template as plain values: the short intrinsic forms, and their resolution."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from scenelake.contracts.errors import ConfigurationError

_SUBSTITUTION = re.compile(r"\$\{([^}!]+)\}")


class _Loader(yaml.SafeLoader):
    """SafeLoader that also reads ``!Ref``, ``!Sub`` and ``!GetAtt``."""


def _construct(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> dict[str, Any]:
    if not isinstance(node, yaml.ScalarNode):
        raise ConfigurationError(f"line {node.start_mark.line + 1}: !{tag} is only read in its scalar form")
    value = loader.construct_scalar(node)
    if tag == "Ref":
        return {"Ref": value}
    if tag == "GetAtt":
        return {"Fn::GetAtt": value.split(".", 1)}
    if tag == "Sub":
        return {"Fn::Sub": value}
    raise ConfigurationError(f"line {node.start_mark.line + 1}: !{tag} is not supported by the laptop stack")


_Loader.add_multi_constructor("!", _construct)


def load_template(path: Path) -> dict[str, Any]:
    """The template with intrinsic functions in their long form, as JSON would hold it.

    Raises:
        ConfigurationError: for an intrinsic function that is not ``Ref``, ``Sub`` or ``GetAtt``.
    """
    # Not yaml.safe_load: its loader does not know the short forms; this one adds nothing unsafe.
    template: dict[str, Any] = yaml.load(path.read_text(), Loader=_Loader)
    return template


class Resolver:
    """Resolves ``Ref``, ``GetAtt`` and ``Sub`` against a created stack.

    Args:
        references: what ``Ref`` gives: parameters, pseudo parameters and physical ids by name.
        attributes: what ``GetAtt`` gives, by (logical id, attribute).
    """

    def __init__(self, references: Mapping[str, str], attributes: Mapping[tuple[str, str], str]) -> None:
        self._references = references
        self._attributes = attributes

    def resolve(self, value: Any) -> Any:
        """The value with every intrinsic function replaced.

        Raises:
            ConfigurationError: for a name that the stack does not have.
        """
        if isinstance(value, list):
            return [self.resolve(v) for v in value]
        if not isinstance(value, dict):
            return value
        if set(value) == {"Ref"}:
            return self._reference(value["Ref"])
        if set(value) == {"Fn::GetAtt"}:
            return self._attribute(*value["Fn::GetAtt"])
        if set(value) == {"Fn::Sub"}:
            return _SUBSTITUTION.sub(lambda match: str(self._named(match.group(1))), value["Fn::Sub"])
        return {k: self.resolve(v) for k, v in value.items()}

    def _named(self, name: str) -> str:
        logical_id, dot, attribute = name.partition(".")
        return self._attribute(logical_id, attribute) if dot else self._reference(name)

    def _reference(self, name: str) -> str:
        if name not in self._references:
            raise ConfigurationError(f"the template refers to {name}, which is neither a parameter nor a resource")
        return self._references[name]

    def _attribute(self, logical_id: str, attribute: str) -> str:
        if (logical_id, attribute) not in self._attributes:
            raise ConfigurationError(f"the template asks for {logical_id}.{attribute}, which the stack does not give")
        return self._attributes[logical_id, attribute]
