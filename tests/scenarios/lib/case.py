# SPDX-License-Identifier: GPL-2.0-or-later
"""A Python file with several test cases, each a function.

    from lib.case import case, main, skip

    @case
    def the_last_line_is_kept():
        assert ...

    @case(long=True, timeout=600)
    def a_thousand_kills():
        ...

    if __name__ == '__main__':
        main()

tests/run counts each case by itself and runs each in a process of its own.
By hand: FILE --list, or FILE CASE...; all of them without a name.  A case
passes by returning, is skipped by skip(), and fails by any exception.
"""

import argparse
import json
import os
import signal
import sys
import time
import traceback

PASS, FAIL, SKIP = 0, 1, 77

_cases = {}


class Skip(Exception):
    """Why a case cannot run here."""


def skip(why):
    raise Skip(why)


def case(function=None, *, long=False, timeout=300):
    """Registers a case.

    A long one runs only with tests/run --long.  tests/run ends it after
    timeout seconds."""
    def register(function):
        name = function.__name__
        if name in _cases:
            raise ValueError('two cases are called ' + name)
        _cases[name] = (function, {'name': name, 'long': long,
                                   'timeout': timeout})
        return function
    return register(function) if function else register


def until(what, condition, timeout=15):
    """Waits until condition() gives something true, and gives that."""
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, \
            'not within %g s: %s' % (timeout, what)
        time.sleep(0.02)


def _run(name):
    try:
        _cases[name][0]()
    except Skip as why:
        print('skip: %s' % why)
        return SKIP
    except Exception:
        # On one stream with what was printed before: the cause comes last.
        traceback.print_exc(file=sys.stdout)
        return FAIL
    return PASS


def main():
    """Runs what the command line says, and ends the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--list', action='store_true',
                        help='the cases, one JSON object a line')
    parser.add_argument('case', nargs='*', help='default: all')
    args = parser.parse_args()
    if args.list:
        for _, about in _cases.values():
            print(json.dumps(about))
        sys.exit(PASS)
    unknown = [name for name in args.case if name not in _cases]
    if unknown:
        sys.exit('no such case: %s' % ' '.join(unknown))
    # In the background of a script, and under nohup, these are ignored, and
    # programs inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # So that "with Guest()" cleans up when tests/run runs out of patience.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('ended by SIGTERM'))
    names = args.case or list(_cases)
    results = []
    for name in names:
        if len(names) > 1:
            print('# ' + name, flush=True)
        results.append(_run(name))
    sys.stdout.flush()
    if FAIL in results:
        sys.exit(FAIL)
    sys.exit(SKIP if set(results) == {SKIP} else PASS)


# "python3 -B" for cases: no __pycache__ in the tree.
sys.dont_write_bytecode = True
os.environ['PYTHONDONTWRITEBYTECODE'] = '1'
