# SPDX-License-Identifier: GPL-2.0-or-later
"""dlog in gdb: the records of the guest that is being debugged.

    (gdb) source dlog-gdb.py
    (gdb) target remote :1234
    (gdb) dlog log -n 20

Finds the region in a live guest at QEMU's gdb stub or in an ELF core of a
guest (dlog_regions.py, beside this file), or takes a file, and lets dlog-read
read it, which is libdlog.  With a vmlinux as gdb's symbol file, addresses in
the records get their symbols.  docs/gdb.md is the manual.

Relies on gdb 12 or later with Python, and on the dlog-read program.
"""

import ctypes
import json
import locale
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import gdb

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode, _write = True, sys.dont_write_bytecode
from dlog_regions import (  # noqa: E402 (needs the path above)
    Core, File, Live, is_kdump, scratch, size_text)
sys.dont_write_bytecode = _write

POLL = 0.5      # seconds a guest runs between two looks through the stub
SETTLE = 0.2    # seconds, after which dlog-read -f has shown everything
BEGIN = 2       # seconds that it may take to show the first line

RUNNING = 'the guest is running: stop it first (interrupt, Ctrl-C)'
ENCODING = locale.getpreferredencoding(False)


# ---- what we have found ----

class Session:
    """What stays between two commands: the user's choice, what was found."""

    def __init__(self):
        self.file = None        # File or Core, by dlog file
        self.hand = None        # (address, size), by dlog region
        self.forget()

    def forget(self):
        self.key = None         # of the thing that memory is about
        self.memory = None
        self.region = None
        self.others = []

    def choose(self, path):
        """Takes the file that the user names, or none."""
        file = None
        if path:
            path = os.path.abspath(os.path.expanduser(path))
            try:
                with open(path, 'rb') as f:
                    head = f.read(12)
            except OSError as err:
                raise gdb.GdbError('cannot read %s: %s' % (path, err.strerror))
            is_core = head[:4] == b'\x7fELF' or is_kdump(head)
            file = Core(path) if is_core else File(path)
        self.forget()
        self.file = file
        self.hand = None

    def look(self):
        """What there is to look into: makes self.memory."""
        connection = gdb.selected_inferior().connection
        kind = connection and connection.type
        path = core_path() if kind == 'core' and not self.file else None
        key = (self.file, connection, path)
        if self.memory and self.key == key:
            return
        if self.key != key and self.key:
            self.hand = None    # it was about another guest
        self.forget()
        self.key = key
        if self.file:
            self.memory = self.file
        elif kind in ('remote', 'extended-remote'):
            self.memory = Live(connection)
        elif path:
            self.memory = Core(path)
        else:
            raise gdb.GdbError(
                'no guest to read from: connect to QEMU\'s gdb stub (target '
                'remote), open a core (core-file), or name a region file '
                '(dlog file FILE)')

    def live(self):
        return isinstance(self.memory, Live)

    def find(self):
        """The region, found now or before."""
        self.look()
        if self.live() and self.memory.running():
            if self.region and self.region.path:
                return self.region
            raise gdb.GdbError(RUNNING)
        if self.region and self.live() and not self.hand and \
                not self.memory.still(self.region):
            self.region = None
        if self.region:
            return self.region
        if self.hand:
            found = [self.memory.region_by_hand(*self.hand)]
        else:
            found = self.memory.regions()
        if not found:
            raise gdb.GdbError(self.memory.nothing)
        self.region, *self.others = found
        return self.region

    def place(self, address, size):
        """The region is where the user says; without, found by itself."""
        self.look()
        if isinstance(self.memory, File):
            raise gdb.GdbError('%s is being read: dlog file without a name '
                               'ends that' % self.memory.kind)
        if address is None:
            self.region = self.hand = None
            return
        if self.live() and self.memory.running():
            raise gdb.GdbError(RUNNING)
        self.region = self.memory.region_by_hand(address, size)
        self.others = []
        self.hand = (address, size)

    def path(self):
        """A file with the region's bytes: its own, or a copy."""
        region = self.find()
        if region.path:
            return region.path
        path = os.path.join(scratch.folder(), 'guest')
        self.memory.save(region, path)
        return path


def core_path():
    """The core's file, by gdb's own words."""
    match = re.search(r"^Local core dump file:\n\s*`(.*)', file type",
                      gdb.execute('info files', to_string=True), re.M)
    if not match:
        raise gdb.GdbError('gdb does not tell the name of its core: use dlog '
                           'file CORE')
    return match[1]


session = Session()


# ---- dlog-read ----

class Program(gdb.Parameter):
    """The dlog-read program that reads the regions.
Empty: the one that belongs to this script, or the first in PATH."""

    set_doc = 'Set the dlog-read program that reads regions.'
    show_doc = 'Show the dlog-read program that reads regions.'

    def __init__(self):
        super().__init__('dlog-read', gdb.COMMAND_DATA,
                         gdb.PARAM_OPTIONAL_FILENAME)
        self.value = ''

    def get_set_string(self):
        return ''

    def get_show_string(self, value):
        return 'The program that reads regions is %s.' % (
            value or self.find() or 'not found')

    def find(self):
        # In the tree, and installed in PREFIX/share/dlog.
        beside = [os.path.join(HERE, place, 'dlog-read')
                  for place in ('../../build/bin', '../../bin')]
        return self.value or next(filter(os.path.exists, beside), None) or \
            shutil.which('dlog-read')

    def command(self, path, args):
        """What to run, where and how, for a region's file."""
        program = self.find()
        if not program:
            raise gdb.GdbError('no dlog-read in PATH: set dlog-read PATH says '
                               'where it is')
        # A copy of ours is named for what it is.
        folder, name = os.path.split(path)
        copy = folder == scratch.path
        return dict(args=[os.path.abspath(program), *args, '--',
                          name if copy else path],
                    cwd=folder if copy else None, stdin=subprocess.DEVNULL,
                    start_new_session=True)     # Ctrl-C is for gdb


program = Program()


def failed(status, errors):
    """What dlog-read says when it cannot do it; 1 is what --check found."""
    if status > 1 or status < 0:
        raise gdb.GdbError(errors.strip() or
                           'dlog-read ended with status %d' % status)


def ask(path, *args):
    """All that dlog-read prints."""
    done = subprocess.run(**program.command(path, args), capture_output=True)
    failed(done.returncode, done.stderr.decode(ENCODING, 'backslashreplace'))
    return done.stdout


def ask_json(path, *args):
    return map(json.loads, ask(path, *args, '-o', 'json').splitlines())


class Reading:
    """A run of dlog-read, whose lines go to gdb as they come."""

    def __init__(self, path, args, symbols):
        self.symbols = symbols
        self.rest = b''
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            **program.command(path, args), stdout=subprocess.PIPE,
            stderr=self.errors)
        self.fd = self.process.stdout.fileno()

    def write(self, timeout=None):
        """Writes what is there, or comes within timeout; False at the end."""
        if not select.select([self.fd], [], [], timeout)[0]:
            return True
        data = os.read(self.fd, 65536)
        whole, end, self.rest = (self.rest + data).rpartition(b'\n')
        text = (whole + end).decode(ENCODING, 'backslashreplace')
        gdb.write(self.symbols.resolve(text))
        return bool(data)

    def write_until(self, deadline):
        """False when it has ended before."""
        while (left := deadline - time.monotonic()) > 0:
            if not self.write(left):
                return False
        return True

    def write_all(self):
        while self.write():
            pass
        status = self.process.wait()
        self.errors.seek(0)
        said = self.errors.read(65536).decode(ENCODING, 'backslashreplace')
        failed(status, said)
        gdb.write(said, gdb.STDERR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()


# ---- symbols ----

class Symbols:
    """Puts <symbol+offset> behind the addresses of an x86-64 kernel.

    Each boot's kernel may lie elsewhere (KASLR): the boot table says where its
    _stext was, vmlinux where that was linked.  Modules are where gdb was told
    that they are (add-symbol-file), which is true of the latest boot."""

    ADDRESS = re.compile(r'(?<![0-9a-zA-Z])(?:0x)?(ffffffff[89a-f][0-9a-f]{7})'
                         r'(?![0-9a-zA-Z])')
    MODULES = 0xffffffffc0000000    # the kernel is moved below this only
    # dlog-read's line before each boot; what guests say begins otherwise.
    BOOT = re.compile(r'^(?:\x1b\[1m)?-- boot (\d+)\b')

    def __init__(self, path):
        self.path = path
        self.names = {}
        self.boot = None        # of the lines that come
        self.texts = {}         # _stext of each boot, None where not known
        try:
            self.linked = int(gdb.parse_and_eval('(unsigned long)&_stext'))
            self.load()
        except gdb.error:
            pass                # no vmlinux

    def load(self):
        for boot in ask_json(self.path, '--list-boots'):
            text = boot.get('kernel_text')
            self.texts[boot['boot']] = text and int(text, 0)

    def of_boot(self, boot):
        self.boot = boot
        return self

    def of_records(self, args):
        """The lines to come are those of these records."""
        boots = self.texts.keys()
        if len(boots) > 1:
            boots = {record['boot'] for record in ask_json(self.path, *args)}
            if len(boots) > 1:
                return self     # dlog-read says where each begins
        return self.of_boot(max(boots, default=None))

    def of_latest(self):
        """The lines to come are those of a guest that runs on."""
        return self.of_boot(max(self.texts, default=None))

    def name(self, address):
        """What gdb calls it, "" if it does not know."""
        if address not in self.names:
            said = gdb.execute('info symbol 0x%x' % address, to_string=True)
            match = re.match(r'(\S+)(?: \+ (\d+))? in section', said)
            self.names[address] = ' <%s+0x%x>' % (
                match[1], int(match[2] or 0)) if match else ''
        return self.names[address]

    def with_name(self, match):
        address = int(match[1], 16)
        text = self.texts.get(self.boot)
        if text and text <= address < self.MODULES:
            return match[0] + self.name(address - text + self.linked)
        if address >= self.MODULES and self.boot == max(self.texts):
            return match[0] + self.name(address)
        return match[0]

    def line(self, line):
        if match := self.BOOT.match(line):
            self.boot = int(match[1])
            if self.boot not in self.texts:
                self.load()
        if line.startswith('{"'):
            return line         # JSON stays what it is
        return self.ADDRESS.sub(self.with_name, line)

    def resolve(self, text):
        if not self.texts:
            return text
        return '\n'.join(map(self.line, text.split('\n')))


# ---- commands ----

def colour():
    on = gdb.parameter('style enabled') and os.isatty(1)
    return '--color=' + ('always' if on else 'never')


def check_options(args):
    for arg in args:
        if re.match(r'--fo|-[kixTq]*f', arg):
            raise gdb.GdbError('to go on with what the guest writes: '
                               'dlog follow')
        if re.match(r'--(star|sto)', arg):
            raise gdb.GdbError('%s is for a guest that runs: dlog-read %s FILE'
                               % (arg, arg))


class Dlog(gdb.Command):
    """The records that the guest's kernel wrote into its dlog region.

With QEMU's gdb stub (target remote) or an ELF core of a guest (core-file) the
region is found by itself; dlog file FILE reads a region file.  With vmlinux as
symbol file, addresses in records get their symbols.

  dlog log -b -n 50     the last 50 lines of the latest boot
  dlog boots            which boots there are, and how each ended
  dlog regs             the registers each CPU had when something went wrong
  dlog follow           lets the guest run and prints what it says"""

    def __init__(self):
        super().__init__('dlog', gdb.COMMAND_DATA, prefix=True)


class Command(gdb.Command):
    """One of them."""

    name = None
    complete_with = gdb.COMPLETE_NONE

    def __init__(self):
        super().__init__('dlog ' + self.name, gdb.COMMAND_DATA,
                         self.complete_with)

    def invoke(self, argument, from_tty):
        try:
            self.run(gdb.string_to_argv(argument))
        except (OSError, gdb.error) as err:
            raise gdb.GdbError('dlog %s: %s' % (self.name, err))
        finally:
            scratch.remove()

    def show(self, mode, args):
        """Runs dlog-read; addresses are only resolved in records."""
        check_options(args)
        path = session.path()
        symbols = Symbols(path)
        if not mode:
            symbols.of_records(args)
        with Reading(path, [*mode, colour(), *args], symbols) as reading:
            reading.write_all()


class Log(Command):
    """Print the guest's records, oldest first, as dmesg does.
Usage: dlog log [OPTION]...

Options are those of dlog-read(1); these are the most useful:
  -b [N]        one boot: 0 the latest, -1 the one before it, 3 boot 3
  -n N          only the last N
  -k            only lines of printk
  -l LIST       only these levels: err+ is err and more severe
  -t LIST       only printk, text, event, boot, state, regs, stack, call,
                blocks
  -g PATTERN    only what matches
  -S TIME       not before: 12.5, 2026-11-21 11:00, -10s (before the last)
  -o FORMAT     text, wall, cat, json
  -x            facility and level"""

    name = 'log'

    def run(self, args):
        self.show([], args)


class Boots(Command):
    """List the boots in the region, and how each ended.
Usage: dlog boots [-o json]"""

    name = 'boots'

    def run(self, args):
        self.show(['--list-boots'], args)


class Stats(Command):
    """Show geometry, status, heartbeats, and what was lost.
Usage: dlog stats [-o json]"""

    name = 'stats'

    def run(self, args):
        self.show(['--stats'], args)


class Regs(Command):
    """Show the registers that CPUs had when something went wrong.
Usage: dlog regs [CPU] [-b N]

The guest keeps them in the region when it panics, and when it is sent an NMI
(monitor nmi).  For those of this moment see info registers."""

    name = 'regs'

    def run(self, args):
        cpu = int(args.pop(0)) if args and args[0].isdecimal() else None
        check_options(args)
        path = session.path()
        kept = list(ask_json(path, '--regs', *args))
        texts = ask(path, '--regs', '--color=never', *args).decode(
            ENCODING, 'backslashreplace').split('\n\n')
        if not kept:
            raise gdb.GdbError('no registers were kept: the guest leaves them '
                               'when it panics, or is sent an NMI (monitor '
                               'nmi, then continue)')
        if cpu is not None and cpu not in [one['cpu'] for one in kept]:
            raise gdb.GdbError('no registers of CPU %d were kept, only of %s'
                               % (cpu, ', '.join(str(one['cpu'])
                                                 for one in kept)))
        symbols = Symbols(path)
        for one, text in zip(kept, texts):
            if cpu in (None, one['cpu']):
                gdb.write(symbols.of_boot(one['boot']).resolve(
                    text + '\n\n'))


class RegionCommand(Command):
    """Show where the region was found, or say where it is.
Usage: dlog region [ADDRESS [SIZE] | auto]

ADDRESS is guest-physical.  SIZE is needed when the region's superblock is
damaged.  Both may be expressions.  auto goes back to finding it."""

    name = 'region'

    def run(self, args):
        if args == ['auto']:
            session.place(None, None)
        elif args:
            values = [int(gdb.parse_and_eval(arg)) for arg in args]
            if len(values) > 2:
                raise gdb.GdbError('usage: dlog region [ADDRESS [SIZE] | auto]')
            session.place(values[0], values[1] if len(values) > 1 else 0)
        session.find()
        for region in [session.region, *session.others]:
            gdb.write(self.text(region))

    @staticmethod
    def text(region):
        text = size_text(region.size) + ' in ' + session.memory.kind
        if region.address is not None:
            text += ' at guest-physical 0x%x' % region.address
            if region.path:
                text += ', which is %s' % region.path
        if region is not session.region:
            text += ' (another one: dlog region 0x%x reads it)' % region.address
        return text + '\n'


class FileCommand(Command):
    """Read a region file, or an ELF core, whatever gdb debugs.
Usage: dlog file [FILE]

Without FILE, the guest or core that gdb debugs is read again."""

    name = 'file'
    complete_with = gdb.COMPLETE_FILENAME

    def run(self, args):
        if len(args) > 1:
            raise gdb.GdbError('usage: dlog file [FILE]')
        session.choose(args[0] if args else None)


class Follow(Command):
    """Let the guest run, and print the records it writes.
Usage: dlog follow [SECONDS] [OPTION]...

As continue: until Ctrl-C, a breakpoint, or so many seconds; then the guest
stands still again.  Where QEMU's file is on this host, lines come at once;
otherwise the guest is stopped twice a second for a look.  With dlog file, only
the file is followed.  Options are those of dlog-read(1): -n N says how many of
the last records come first (10)."""

    name = 'follow'

    def run(self, args):
        self.dont_repeat()
        end = float('inf')
        if args and re.fullmatch(r'\d+(\.\d+)?', args[0]):
            end = time.monotonic() + float(args.pop(0))
        check_options(args)
        region = session.find()
        if isinstance(session.memory, Core):
            raise gdb.GdbError('a core writes nothing any more: dlog log')
        path = session.path()
        symbols = Symbols(path).of_latest()
        # Paging would stop the guest's lines, but not the guest.
        with gdb.with_parameter('pagination', False), \
                Reading(path, ['-f', colour(), *args], symbols) as reading:
            # What it shows first says that it has begun.
            reading.write(BEGIN)
            try:
                if not session.live():
                    self.follow_file(reading, end)
                elif region.path:
                    self.follow_running(reading, end)
                else:
                    self.follow_stepwise(reading, end, path)
            finally:
                if not reading.write_until(time.monotonic() + SETTLE):
                    reading.write_all()         # which says why it has ended

    @staticmethod
    def follow_file(reading, end):
        while time.monotonic() < end:
            # In short waits, so that Ctrl-C is seen.
            if not reading.write_until(min(end, time.monotonic() + POLL)):
                return

    @staticmethod
    def follow_running(reading, end):
        """gdb waits for the guest; what comes meanwhile is handed to its
        loop."""
        with Running(end) as running:
            running.watch(reading)
            gdb.execute('continue')

    @staticmethod
    def follow_stepwise(reading, end, path):
        """Our copy is brought up to date while the guest stands still."""
        while time.monotonic() < end:
            with Running(min(end, time.monotonic() + POLL)) as running:
                said = gdb.execute('continue', to_string=True)
            session.memory.save(session.region, path)
            reading.write_until(time.monotonic() + SETTLE)
            if not running.timed_out:
                gdb.write(said)         # a breakpoint, or Ctrl-C
                return


def set_python_sigint(handler):
    """What Python does at Ctrl-C; what gdb does stays.  The former."""
    libc = ctypes.CDLL(None)
    action = ctypes.create_string_buffer(1024)      # a struct sigaction
    libc.sigaction(signal.SIGINT, None, action)
    before = signal.signal(signal.SIGINT, handler)
    libc.sigaction(signal.SIGINT, action, None)
    return before


class Running:
    """While gdb lets the guest run: threads wait, and gdb's loop acts.

    Ctrl-C must stop the guest, also when it falls upon code of ours: it
    raises no KeyboardInterrupt there meanwhile.  (Blocking SIGINT would not
    do: a terminal that Ctrl-C has flushed may never wake who writes to it.)"""

    def __init__(self, end):
        self.end = end
        self.over = threading.Event()
        self.timed_out = False
        self.threads = []

    def __enter__(self):
        self.before = set_python_sigint(lambda *_: gdb.post_event(self.stop))
        self.start(self.wait)
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()
        set_python_sigint(self.before)

    def start(self, function, *args):
        thread = threading.Thread(target=function, args=args, daemon=True)
        self.threads.append(thread)
        # Signals are for gdb.
        before = signal.pthread_sigmask(signal.SIG_SETMASK,
                                        signal.valid_signals())
        thread.start()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def wait(self):
        """Stops the guest in the end."""
        left = min(self.end - time.monotonic(), threading.TIMEOUT_MAX)
        if not self.over.wait(max(0, left)):
            self.timed_out = True
            gdb.post_event(self.stop)

    def stop(self):
        if not self.over.is_set():
            gdb.execute('interrupt')

    def watch(self, reading):
        """Shows what is read as it comes."""
        shown = threading.Event()
        more = True

        def show():
            nonlocal more
            more = self.over.is_set() or reading.write(0)
            shown.set()

        def wait():
            while more and not self.over.is_set():
                if select.select([reading.fd], [], [], 0.1)[0]:
                    shown.clear()
                    gdb.post_event(show)
                    shown.wait(1)

        self.start(wait)


class Help(Command):
    """Show what the dlog commands are."""

    name = 'help'

    def run(self, args):
        gdb.execute('help dlog')


Dlog()
for command in (Log, Boots, Stats, Regs, Follow, RegionCommand, FileCommand,
                Help):
    command()
