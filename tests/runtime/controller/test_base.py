"""What is a controller."""

import pytest

from nodespan.runtime.controller import Controller, ControllerContext, QueueContext, QueueController
from nodespan.runtime.resource import Pointer


class _One(Controller):
    name = "test.One"

    async def run(self, ctx: ControllerContext) -> None: ...


class _Each(QueueController):
    name = "test.Each"

    async def reconcile(self, ctx: QueueContext, item: Pointer[object]) -> None: ...


class _More(_One):
    name = "test.More"


@pytest.mark.parametrize(
    ("value", "cls", "expected"),
    [
        (_One(), Controller, True),
        (_More(), Controller, True),
        (_More(), _One, True),
        (_One(), _More, False),
        (_One(), QueueController, False),
        (_Each(), QueueController, True),
        (_Each(), Controller, False),
        (_Each(), _One, False),
        ("test.One", Controller, False),
        (_Each(), Controller | QueueController, True),
    ],
)
def test_what_inherits_is_one(value: object, cls: type, expected: bool) -> None:
    assert isinstance(value, cls) is expected
    assert issubclass(type(value), cls) is expected


def test_whether_something_is_one_is_not_asked_of_every_subclass() -> None:
    asked: list[type] = []

    class Asked(_One):
        @classmethod
        def __subclasshook__(cls, subclass: type) -> bool:
            asked.append(subclass)
            return super().__subclasshook__(subclass)

    assert not isinstance(_Each(), Controller)
    assert not isinstance(object(), Controller)
    assert asked == []
    assert isinstance(Asked(), Asked)
