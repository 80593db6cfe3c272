# SPDX-License-Identifier: GPL-2.0-or-later
"""A small QMP client, for one QEMU that connects to us.

Follows docs/interop/qmp-spec.rst of QEMU.  Relies on the Python standard
library.  A thread reads all the time, so QEMU never waits for us.
"""

import json
import threading
import time


class QmpError(Exception):
    """QEMU refused a command, or its connection is gone."""


class Qmp:
    """QMP over a connected stream socket, which this takes over."""

    def __init__(self, sock, timeout=30):
        self.events = []        # every event so far, in order
        self._sock = sock
        self._changed = threading.Condition()
        self._greeted = False
        self._replies = {}
        self._taken = set()     # indices of events that wait_event() returned
        self._closed = False
        self._next_id = 0
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self._wait(lambda: self._greeted, timeout, 'its greeting')
        self.command('qmp_capabilities', timeout=timeout)

    def _read(self):
        try:
            with self._sock.makefile('rb') as lines:
                for line in lines:
                    message = json.loads(line)
                    with self._changed:
                        if 'event' in message:
                            self.events.append(message)
                        elif 'QMP' in message:
                            self._greeted = True
                        else:
                            self._replies[message.get('id')] = message
                        self._changed.notify_all()
        except (OSError, ValueError):
            pass        # QEMU died; whoever waits is told below
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _wait(self, done, timeout, what):
        """Waits under the condition until done() gives something true."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                result = done()
                if result:
                    return result
                if self._closed:
                    raise QmpError('QEMU closed QMP while waiting for ' + what)
                left = deadline - time.monotonic()
                if left <= 0:
                    raise QmpError('no answer on QMP in %g s: waited for %s'
                                   % (timeout, what))
                self._changed.wait(left)

    def command(self, name, arguments=None, timeout=30):
        """Runs a command and returns what it returns."""
        with self._changed:
            self._next_id += 1
            ident = self._next_id
        message = {'execute': name, 'id': ident}
        if arguments:
            message['arguments'] = arguments
        try:
            self._sock.sendall(json.dumps(message).encode() + b'\n')
        except OSError as err:
            raise QmpError('QEMU closed QMP before ' + name) from err
        reply = self._wait(lambda: self._replies.pop(ident, None), timeout,
                           'the answer to ' + name)
        if 'error' in reply:
            raise QmpError('%s: %s' % (name, reply['error']['desc']))
        return reply['return']

    def wait_event(self, name, timeout=90):
        """The first event of that name that was not returned before."""
        def find():
            for index, event in enumerate(self.events):
                if event['event'] == name and index not in self._taken:
                    self._taken.add(index)
                    return event
            return None
        return self._wait(find, timeout, 'event ' + name)

    def close(self):
        try:
            self._sock.shutdown(2)
        except OSError:
            pass        # the other end went first
        self._thread.join(10)
        self._sock.close()
