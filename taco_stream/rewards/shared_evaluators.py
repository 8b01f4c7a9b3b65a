"""The evaluators of this process: one for each set of settings, opened when it is first needed.

Who runs: the event loop of an evaluator has a daemon thread of its own (`evaluator.blocking`). One more thread waits
for the main thread to end and then closes them all. It is not left to `atexit`, whose functions run only after every
thread that is not a daemon has ended, idle worker threads of the event loops among them; and in a process of
`multiprocessing` they do not run at all.

Promised: any number of threads may ask. A process that was forked opens its own evaluators and leaves its parent's
alone. A process that is killed leaves none behind, as without this module: workers end with their standard input.

Not covered: a forked process holds copies of its parent's pipes. If the parent is killed, its workers end only when the
forked process does.
"""

import os
import threading
from contextlib import AbstractContextManager

from taco_stream.evaluator.blocking import BlockingEvaluator, open_evaluator
from taco_stream.evaluator.settings import EvaluatorSettings

_opened: dict[EvaluatorSettings, tuple[AbstractContextManager[BlockingEvaluator], BlockingEvaluator]] = {}
_lock = threading.Lock()
_inherited: list[object] = []
"""What a forked process must never collect: the destructors of the parent's evaluators would end their workers."""


def find_evaluator(settings: EvaluatorSettings) -> BlockingEvaluator:
    """The process's evaluator with these settings, opened if there is none. Raises `EvaluatorError` if that fails."""
    with _lock:
        if settings not in _opened:
            context = open_evaluator(settings)
            evaluator = context.__enter__()
            if not _opened:
                threading.Thread(target=_close_at_exit, name="taco-stream rewards").start()
            _opened[settings] = context, evaluator
        return _opened[settings][1]


def close_evaluators() -> None:
    """Closes the evaluators that reward functions opened in this process; the next call of one opens a new one.

    Needed only to have their processes gone before the program ends, which closes them as well.
    """
    with _lock:
        contexts = [context for context, _ in _opened.values()]
        _opened.clear()
    for context in contexts:
        context.__exit__(None, None, None)


def _close_at_exit() -> None:
    threading.main_thread().join()
    close_evaluators()


def _forget_parents() -> None:
    global _opened, _lock
    _inherited.append(_opened)
    _opened, _lock = {}, threading.Lock()


os.register_at_fork(after_in_child=_forget_parents)
