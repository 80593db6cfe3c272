# SPDX-License-Identifier: GPL-2.0-or-later
"""dlogd and simguests as a test sees them.

    with Place() as place:
        sims = place.sims('--guests', '3', '--qmp')
        dlogd = place.dlogd()
        sims.do('hang sim0')
        dlogd.wait_event('sim0', 'hung')

A place is a folder with a directory for regions and sockets, dlogd's state,
and whatever runs there; leaving it ends them all.  Relies on build/bin/dlogd
and build/tests/simguests.
"""

import os
import re
import shutil
import subprocess
import tempfile
import threading
import time

TREE = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BUILD = os.path.join(TREE, os.environ.get('DLOG_BUILD') or 'build')
DLOGD = os.environ.get('DLOG_DLOGD') or os.path.join(BUILD, 'bin', 'dlogd')
CREATE = os.path.join(BUILD, 'bin', 'dlog-create')
SIMS = os.path.join(BUILD, 'tests', 'simguests')

# An event; what became of its incident is told in other lines.
LINE = re.compile(r'dlogd: guest (\S+): ([a-z-]+)(?:: (?!evidence )(.*))?$')


class Lines:
    """Reads the lines of a pipe, with the time each came."""

    def __init__(self, pipe):
        self.lines = []
        self.changed = threading.Condition()
        self.ended = False
        threading.Thread(target=self._read, args=(pipe,), daemon=True).start()

    def _read(self, pipe):
        for line in pipe:
            with self.changed:
                self.lines.append((time.monotonic(), line.rstrip('\n')))
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def wait(self, find, timeout, what, start=0):
        """Waits until find(line) is true for one from number start on; gives
        its number, its time and what find gave."""
        deadline = time.monotonic() + timeout
        at = start
        with self.changed:
            while True:
                while at < len(self.lines):
                    found = find(self.lines[at][1])
                    if found:
                        return at, self.lines[at][0], found
                    at += 1
                left = deadline - time.monotonic()
                if left <= 0 or self.ended:
                    raise AssertionError('%s: not in %g s; the lines:\n%s' % (
                        what, timeout, '\n'.join(
                            line for _, line in self.lines[-60:])))
                self.changed.wait(left)


class Daemon:
    """dlogd, run by hand."""

    def __init__(self, place, args, program, wrapper):
        self.process = subprocess.Popen(
            [*wrapper, program, *args], stdin=subprocess.DEVNULL,
            stdout=open(os.path.join(place.dir, 'stdout'), 'w'),
            stderr=subprocess.PIPE, text=True, errors='replace')
        self.log = Lines(self.process.stderr)
        self.at = 0     # lines before this one were waited for

    @property
    def pid(self):
        return self.process.pid

    def wait_line(self, pattern, timeout=10):
        """Waits for a line that matches, behind the one waited for last."""
        compiled = re.compile(pattern)
        at, when, match = self.log.wait(compiled.search, timeout, pattern,
                                        self.at)
        self.at = at + 1
        return when, match

    def wait_event(self, guest, event, timeout=10):
        """The same for an event: when it came, and its detail."""
        def find(line):
            match = LINE.match(line)
            return match if match and match.groups()[:2] == (guest, event) \
                else None
        at, when, match = self.log.wait(
            find, timeout, '%s of %s' % (event, guest), self.at)
        self.at = at + 1
        return when, match.group(3)

    def events(self, guest=None):
        """[(guest, event)] so far."""
        found = []
        for _, line in list(self.log.lines):
            match = LINE.match(line)
            if match and guest in (None, match.group(1)):
                found.append((match.group(1), match.group(2)))
        return found

    def count(self, guest, event):
        return self.events(guest).count((guest, event))

    def text(self):
        return '\n'.join(line for _, line in list(self.log.lines))

    def cpu(self):
        """Seconds of CPU time so far."""
        with open('/proc/%d/stat' % self.pid) as f:
            fields = f.read().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def rss(self):
        """KiB of its own: pages of files come and go as the host likes."""
        with open('/proc/%d/status' % self.pid) as f:
            return int(re.search(r'RssAnon:\s+(\d+)', f.read()).group(1))

    def fds(self):
        return len(os.listdir('/proc/%d/fd' % self.pid))

    def stop(self, timeout=15):
        """SIGTERM; the exit status."""
        self.process.terminate()
        return self.process.wait(timeout)


class Sims:
    """simguests."""

    def __init__(self, regions, *args):
        self.process = subprocess.Popen(
            [SIMS, regions, *args], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, bufsize=1)
        self.answer('ready')

    @property
    def pid(self):
        return self.process.pid

    def answer(self, wanted):
        line = self.process.stdout.readline().strip()
        assert line == wanted, 'simguests says %r' % line

    def do(self, command):
        self.process.stdin.write(command + '\n')
        self.process.stdin.flush()
        self.answer('ok')
        return time.monotonic()

    def stop(self):
        self.process.stdin.close()
        self.process.wait(20)


class Place:
    """See above."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix='dlog-monitor-')
        self.regions = os.path.join(self.dir, 'regions')
        self.state = os.path.join(self.dir, 'state')
        os.mkdir(self.regions)
        self.processes = []

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        for process in self.processes:
            if process.process.poll() is None:
                process.process.kill()
                process.process.wait()
            if kind and isinstance(process, Daemon):
                print(process.text())
        shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, *name):
        return os.path.join(self.dir, *name)

    def region(self, name):
        return os.path.join(self.regions, name + '.img')

    def create(self, name, size='1M'):
        subprocess.run([CREATE, '-q', '-s', size, self.region(name)],
                       check=True)

    def write(self, name, text):
        with open(self.path(name), 'w') as f:
            f.write(text)
        return self.path(name)

    def dlogd(self, *args, ready=True, program=DLOGD, wrapper=()):
        daemon = Daemon(self, ['-v', '--regions', self.regions, '--state-dir',
                               self.state, '--control',
                               self.path('control'), '--listen', 'none',
                               *args], program, wrapper)
        self.processes.append(daemon)
        if ready:
            daemon.wait_line(r'^dlogd: \d+ guests?$')
            daemon.at = 0
        return daemon

    def sims(self, *args):
        sims = Sims(self.regions, *args)
        self.processes.append(sims)
        return sims
