"""Programs that would forge tests which are code: by finding the code, the expected value or the reference solution, or
by making the process that asserts say what they like.

Each is judged on both kinds of such tests: one statement (`ASSERTED`) and a comparison with a reference solution
(`COMPARED`). Seven of them passed the first kind, and eight the second, when that code shared a process with the program.
"""

from hostile.program import NOT_PASSED, HostileProgram, On, program

EVERYTHING_EQUAL = """
class Always:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
    def __float__(self): return 0.0
    def __len__(self): return 1
    def __getattr__(self, name): return self
    def __call__(self, *arguments): return self
"""

TRICKS = {
    "a result written as the module is executed": "import os\nfor number in range(3, 9):\n    try: os.write(number, b'true')\n    except OSError: pass\nos._exit(0)",
    "a result written as the function is called": """
import os
def answer(given):
    for number in range(3, 9):
        try: os.write(number, b'true')
        except OSError: pass
    os._exit(0)
""",
    "json replaced": "import json\njson.dumps = lambda *a, **k: 'true'\ndef answer(given): return 'no'",
    "an object that equals everything": EVERYTHING_EQUAL + "def answer(given): return Always()",
    "a text that equals everything": EVERYTHING_EQUAL.replace("class Always:", "class Always(str):") + "def answer(given): return Always('no')",
    "exec and compile replaced": "import builtins\nbuiltins.exec = builtins.eval = builtins.compile = lambda *a, **k: None\ndef answer(given): return 'no'",
    "bool and isinstance replaced": "import builtins\nbuiltins.bool = builtins.isinstance = lambda *a, **k: True\ndef answer(given): return 'no'",
    "AssertionError replaced": "import builtins\nclass Never(Exception): pass\nbuiltins.AssertionError = Never\ndef answer(given): return 'no'",
    "the statements read from the frames": """
import sys
def answer(given):
    frame = sys._getframe()
    while frame:
        for scope in (frame.f_locals, frame.f_globals):
            for value in list(scope.values()):
                at = repr(value).find("secret" + "-")
                if at >= 0: return repr(value)[at:at + 39]
        frame = frame.f_back
""",
    "the statements read from the collector's objects": """
import gc
def answer(given):
    for each in gc.get_objects():
        for value in gc.get_referents(each):
            if isinstance(value, str) and value.find("secret" + "-") >= 0:
                return value[value.find("secret" + "-"):][:39]
""",
    "the reference solution called": """
def answer(given):
    for value in list(globals().values()):
        if isinstance(value, dict) and callable(value.get("answer")): return value["answer"](given)
""",
    "the check replaced while it runs": """
import sys
def answer(given):
    frame = sys._getframe()
    while frame:
        for name in list(frame.f_globals):
            if "check" in name or "same" in name: frame.f_globals[name] = lambda *a, **k: True
        frame = frame.f_back
""",
    "an answer that is an exception": "def answer(given): raise StopIteration(True)",
    "an answer that ends the asking process": "def answer(given): raise SystemExit(0)",
    "answers in advance": """
import os
for number in range(3, 9):
    try: os.write(number, b'{"value": true}\\ntrue\\n' * 100)
    except OSError: pass
def answer(given): return True
""",
    "an answer that names what is not an exception": """
import os
def answer(given):
    for number in range(3, 9):
        try: os.write(number, b'{"raised": "exit", "details": {"tuple": [{"i": "0"}]}}\\n')
        except OSError: pass
    os._exit(0)
""",
    "an argument that comes back as another object": """
import os
def answer(given):
    for number in range(3, 9):
        try: os.write(number, b'{"value": true, "after": {"other": "x"}}\\n')
        except OSError: pass
    os._exit(0)
""",
    "values that are not plain, for the code to be run in here": EVERYTHING_EQUAL + "def answer(given): return [Always(), lambda: 0]",
    "a set of numbers that hash alike": "def answer(given): return {((1 << 61) - 1) * number for number in range(1, 3000)}",
}  # fmt: skip


def _programs() -> tuple[HostileProgram, ...]:
    kinds = ((On.ASSERTED, "asserted"), (On.COMPARED, "compared"))
    return tuple(
        program(f"{name} ({word})", NOT_PASSED, text, on) for on, word in kinds for name, text in TRICKS.items()
    )


PROGRAMS = _programs()
