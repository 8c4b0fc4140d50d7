from pathlib import Path

import pytest

from scenelake.contracts.errors import ConfigurationError
from scenelake.stack.template import Resolver, load_template

RESOLVER = Resolver({"Name": "lake", "Queue": "http://q"}, {("Queue", "Arn"): "arn:q"})


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        ({"Ref": "Name"}, "lake"),
        ({"Fn::GetAtt": ["Queue", "Arn"]}, "arn:q"),
        ({"Fn::Sub": "s3://${Name}/gold"}, "s3://lake/gold"),
        ({"Fn::Sub": "${Queue.Arn}:${Queue}"}, "arn:q:http://q"),
        ({"a": [{"Ref": "Name"}, 1, None]}, {"a": ["lake", 1, None]}),
    ],
)
def test_references_resolve(value: object, resolved: object) -> None:
    assert RESOLVER.resolve(value) == resolved


@pytest.mark.parametrize("value", [{"Ref": "X"}, {"Fn::GetAtt": ["Queue", "Url"]}, {"Fn::Sub": "${X}"}])
def test_a_name_that_does_not_exist_is_refused(value: object) -> None:
    with pytest.raises(ConfigurationError):
        RESOLVER.resolve(value)


def test_short_forms_are_read_and_others_refused(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text("a: !Ref X\nb: !GetAtt X.Arn\nc: !Sub '${X}'\n")
    assert load_template(file) == {"a": {"Ref": "X"}, "b": {"Fn::GetAtt": ["X", "Arn"]}, "c": {"Fn::Sub": "${X}"}}
    file.write_text("a: !Join x\n")
    with pytest.raises(ConfigurationError, match="line 1: !Join"):
        load_template(file)
