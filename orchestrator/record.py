"""Records with named fields: dataclasses for the files that every short command reads.

`dataclasses` imports the compiler's tools and writes and compiles the source of each class anew: 20 ms and more for a
command of 100. These do the same for the little that is used of it; type checkers see dataclasses (PEP 681).
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing itself costs 3 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn, TypeVar, dataclass_transform

    Made = TypeVar("Made")
else:

    def dataclass_transform(**_):
        return lambda decorator: decorator


class _Fresh:
    __slots__ = ("make",)

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make


def fresh(*, default_factory: Callable[[], Any]) -> Any:
    """A field whose default is made anew for each record."""
    return _Fresh(default_factory)


@dataclass_transform(field_specifiers=(fresh,))
def record(cls: type[Made]) -> type[Made]:
    """The class with slots, and a constructor for its annotated fields."""
    return _made(cls, {"__hash__": None})


@dataclass_transform(frozen_default=True, field_specifiers=(fresh,))
def frozen(cls: type[Made]) -> type[Made]:
    """A record that cannot be changed; equal ones are one key of a dict."""
    return _made(cls, {"__setattr__": _refuse, "__delattr__": _refuse, "__hash__": lambda self: hash(_fields(self))})


def changed(one: Made, **fields: Any) -> Made:
    """The same record with other values in some fields."""
    names: tuple[str, ...] = one.__slots__  # type: ignore[attr-defined]
    return type(one)(**{name: getattr(one, name) for name in names} | fields)


def _made(cls: type[Made], further: dict[str, Any]) -> type[Made]:
    names = tuple(cls.__annotations__)
    usual = {name: cls.__dict__[name] for name in names if name in cls.__dict__}
    kept = {name: part for name, part in cls.__dict__.items() if name not in (*usual, "__dict__", "__weakref__")}
    body = kept | {"__slots__": names, "__eq__": _equal, "__repr__": _shown, "__reduce__": _pickled} | further
    made: Any = type(cls.__name__, cls.__bases__, body)
    setters = [made.__dict__[name].__set__ for name in names]

    def __init__(self: Any, *given: Any, **named: Any) -> None:
        if len(given) > len(names):
            raise TypeError(f"{cls.__name__} takes {len(names)} values, but {len(given)} were given")
        for place, (name, put) in enumerate(zip(names, setters, strict=True)):
            if place < len(given):
                put(self, given[place])
            elif name in named:
                put(self, named.pop(name))
            elif name in usual:
                default = usual[name]
                put(self, default.make() if type(default) is _Fresh else default)
            else:
                raise TypeError(f"{cls.__name__} needs {name!r}")
        if named:
            raise TypeError(f"{cls.__name__} has no field, or twice: {', '.join(named)}")

    made.__init__ = __init__
    done: type[Made] = made
    return done


def _fields(self: Any) -> tuple[Any, ...]:
    return tuple(getattr(self, name) for name in self.__slots__)


def _equal(self: Any, other: object) -> bool:
    return type(self) is type(other) and _fields(self) == _fields(other)


def _shown(self: Any) -> str:
    return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"


def _pickled(self: Any) -> tuple[Any, ...]:
    return type(self), _fields(self)


def _refuse(self: Any, name: str, *_: Any) -> NoReturn:
    raise AttributeError(f"cannot change {name!r} of a {type(self).__name__}: it is a value")
