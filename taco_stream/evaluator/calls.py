"""Calls that code in one sandboxed process makes of a function in another.

Who runs: a test of the judged program *serves* its function, and a test of another program process, which holds code
that the judged program must not see, *asks* (`evaluator.assertions` says why). Two pipes join them, made by the worker,
which keeps no end of either. A call is one line of JSON, the arguments as `tagged_values` writes them, and so is its
answer. The serving side ends when the asking one closes its pipe. The asking side ends, as a test without a result, if
the serving one has ended or writes something that is not an answer.

An answer is the judged program's to forge, so the asking side makes plain built-in values of it and nothing else:

* a value; an iterator comes as an iterator over all that it had;
* `Unplain` for any other object, which equals nothing but itself and can do nothing;
* an exception, as the nearest built-in type;
* the arguments as the call left them, which are put into the caller's lists, dictionaries and sets in place.

The standard library only: this is part of every zygote.
"""

import builtins
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from taco_stream.evaluator.tagged_values import tagged, untagged

UNPLAIN_TAG = '{"other": '
"""How an object that is not a plain value shows in the JSON of `json.dumps`, which escapes each quote in a text."""

UNPLAIN_ARGUMENT = b'"an argument is not a plain value"'
"""The result of an asking test that has to pass what only its own process can hold: a function, an instance."""


class Unplain:
    """Represents an object that cannot be passed on."""


def serve(function: Callable[..., Any], *, requests: int, answers: int) -> None:
    """Answers the calls read from the descriptor `requests`, one by one, until nobody asks."""
    with open(requests, "rb") as asked:
        for request in asked:
            answer = _answer(function, request.decode().rstrip())
            try:
                _write_line(answers, json.dumps(answer))
            except BrokenPipeError:
                return


def _answer(function: Callable[..., Any], request: str) -> dict[str, Any]:
    arguments, named = untagged(json.loads(request))
    try:
        value = function(*arguments, **named)
        is_iterator = hasattr(type(value), "__next__")
        answer = {"iterator" if is_iterator else "value": tagged(list(value) if is_iterator else value)}
    except Exception as error:
        in_program = error.__traceback__ and error.__traceback__.tb_next  # without this function's own frame
        sys.excepthook(type(error), error.with_traceback(in_program), in_program)
        # The asking side has none of the program's classes: the nearest that both have is a built-in one.
        kind = next(each for each in type(error).__mro__ if getattr(builtins, each.__name__, None) is each)
        answer = {"raised": kind.__name__, "details": tagged(error.args)}
    # Some functions under test sort or fill their arguments; most leave it alone, and then it is not sent again.
    after = tagged((arguments, named))
    return answer if json.dumps(after) == request else {**answer, "after": after}


def asker(*, result: int, answers: int, requests: int) -> Callable[..., Any]:
    """The function to call in place of the served one; `result` is the descriptor for this test's result."""
    answered = open(answers, "rb")  # noqa: SIM115 (for as long as this process lives)
    has_met_unplain = False

    def ask(*arguments: Any, **named: Any) -> Any:
        nonlocal has_met_unplain
        request = json.dumps(tagged((arguments, named)))
        if UNPLAIN_TAG in request:
            if has_met_unplain:  # it may be the program's own, and a program must not choose how it is judged
                raise TypeError("an argument is not a plain value")
            os.write(result, UNPLAIN_ARGUMENT)
            os._exit(0)
        try:
            _write_line(requests, request)
            answer = json.loads(answered.readline())
            value, error = _read_answer(answer, (arguments, named))
            is_plain = "value" in answer and not isinstance(value, Unplain)
            has_met_unplain = has_met_unplain or not is_plain
        except MemoryError:
            raise
        except Exception:  # the other side has ended, or wrote whatever it liked
            os._exit(0)
        if error is not None:
            raise error
        return value

    return ask


def _read_answer(answer: dict[str, Any], given: tuple[Any, Any]) -> tuple[Any, Exception | None]:
    """The value of a call or the exception that it raised; `given` are its arguments, changed as the call did."""
    if "after" in answer:
        _put_back(given, _rebuilt(answer["after"]))
    if "raised" in answer:
        kind = getattr(builtins, answer["raised"])
        if not issubclass(kind, Exception):
            raise ValueError(f"{kind} is not the type of an exception")
        if issubclass(kind, StopIteration):
            kind = RuntimeError  # else it would end a loop over calls, with all that should be asserted there
        details = _rebuilt(answer["details"])
        return None, kind.__new__(kind, *details)  # without __init__, which in some types wants certain arguments
    if "iterator" in answer:
        return iter(_rebuilt(answer["iterator"])), None
    return _rebuilt(answer["value"]), None


def _rebuilt(content: Any) -> Any:
    try:
        return untagged(content)
    except ValueError:
        return Unplain()


def _put_back(old: Any, new: Any) -> Any:
    """The replacement for `old` that equals `new`: `old` itself if it can be changed."""
    kind = type(old)
    if kind is not type(new) or kind not in (tuple, list, dict, set):
        return new
    # In place, because the published code may have other names for the same object.
    if kind is tuple:
        return tuple(map(_put_back, old, new)) if len(old) == len(new) else new
    if kind is dict:
        new = {key: _put_back(old[key], value) if key in old else value for key, value in new.items()}
    elif kind is list:
        new = [*map(_put_back, old, new), *new[len(old) :]]
    old.clear()
    old.extend(new) if kind is list else old.update(new)
    return old


def _write_line(descriptor: int, text: str) -> None:
    rest = memoryview(text.encode() + b"\n")
    while rest:
        rest = rest[os.write(descriptor, rest) :]
