"""Parses protobuf messages by the descriptor set that the recording carries as their schema."""

from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from scenelake.contracts.errors import BadInputError


def protobuf_parser(name: str, descriptor_set: bytes) -> Callable[[memoryview], Any]:
    """A function from message bytes to a message object; the schema stays in a pool of its own.

    Raises:
        BadInputError: reason ``schema_invalid`` here, ``protobuf_invalid`` from the returned function.
    """
    try:
        files = {file.name: file for file in FileDescriptorSet.FromString(descriptor_set).file}
        pool = DescriptorPool()
        added: set[str] = set()

        def add(file_name: str) -> None:
            if file_name in added or file_name not in files:
                return
            added.add(file_name)
            for dependency in files[file_name].dependency:
                add(dependency)
            pool.Add(files[file_name])

        for file_name in files:
            add(file_name)
        message_class = GetMessageClass(pool.FindMessageTypeByName(name))
    except (DecodeError, TypeError, KeyError, ValueError, RecursionError) as error:
        raise BadInputError(f"{name}: {str(error)[:200]}", reason="schema_invalid") from error

    def parse(data: memoryview) -> Any:
        message = message_class()
        try:
            message.ParseFromString(bytes(data))
        except DecodeError as error:
            raise BadInputError(f"{name}: {error}", reason="protobuf_invalid") from error
        return message

    return parse
