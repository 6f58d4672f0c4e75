from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class EnvironmentSpec(_message.Message):
    __slots__ = ("variables",)
    VARIABLES_FIELD_NUMBER: _ClassVar[int]
    variables: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, variables: _Optional[_Iterable[str]] = ...) -> None: ...

class KernelCmdlineSpec(_message.Message):
    __slots__ = ("cmdline",)
    CMDLINE_FIELD_NUMBER: _ClassVar[int]
    cmdline: str
    def __init__(self, cmdline: _Optional[str] = ...) -> None: ...

class KernelParamSpecSpec(_message.Message):
    __slots__ = ("value", "ignore_errors")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    IGNORE_ERRORS_FIELD_NUMBER: _ClassVar[int]
    value: str
    ignore_errors: bool
    def __init__(self, value: _Optional[str] = ..., ignore_errors: _Optional[bool] = ...) -> None: ...

class KernelParamStatusSpec(_message.Message):
    __slots__ = ("current", "default", "unsupported")
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_FIELD_NUMBER: _ClassVar[int]
    UNSUPPORTED_FIELD_NUMBER: _ClassVar[int]
    current: str
    default: str
    unsupported: bool
    def __init__(self, current: _Optional[str] = ..., default: _Optional[str] = ..., unsupported: _Optional[bool] = ...) -> None: ...

class MachineResetSignalSpec(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LoadedKernelModuleSpec(_message.Message):
    __slots__ = ("size", "reference_count", "dependencies", "state", "address")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_COUNT_FIELD_NUMBER: _ClassVar[int]
    DEPENDENCIES_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    size: int
    reference_count: int
    dependencies: _containers.RepeatedScalarFieldContainer[str]
    state: str
    address: str
    def __init__(self, size: _Optional[int] = ..., reference_count: _Optional[int] = ..., dependencies: _Optional[_Iterable[str]] = ..., state: _Optional[str] = ..., address: _Optional[str] = ...) -> None: ...
