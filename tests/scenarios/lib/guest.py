# SPDX-License-Identifier: GPL-2.0-or-later
"""Test guests: a Debian kernel under QEMU, a root shell in it, QMP to it.

    with Guest(kernel='6.1', files={'/dlog.ko': 'build/dlog.ko'}) as guest:
        status, output = guest.sh('insmod /dlog.ko && dmesg -x | tail -n3')
        guest.system_reset()
        guest.wait_ready()

The guest runs tests/guest/init: no daemon, no disk, no network, and no module
loaded until the test asks for it.  Its console (ttyS0) goes to a file; the
second serial port carries commands and their output, so that neither disturbs
the other.  Both are drained whatever the test does: a serial port that nobody
reads would stop the guest.

Relies on image.py and qmp.py beside it and on what tests/guest/setup fetched.
Environment: DLOG_ACCEL (default: what the test asks for, "tcg,thread=multi" if
nothing), DLOG_QEMU (the binary, or
"trixie" for the one in the cache), DLOG_KEEP_GUEST=1 (leaves the folder of each
guest, with its console and QEMU's messages, and names it).
"""

import base64
import ctypes
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from . import image
from .qmp import Qmp, QmpError

PR_SET_PDEATHSIG = 1

# A boot takes 2 to 8 s on an idle machine, and several times that on a busy
# one.
TIMEOUT = 90

# What a kernel says that QEMU's TCG has led astray before there is a shell.
EARLY_DEATH = re.compile(r'Kernel panic - not syncing: (Fatal exception|'
                         r'IO-APIC \+ timer)')

# How each line of tests/guest/init's agent begins.
MARK = b'\n@@dlog '


class GuestError(Exception):
    """Something the guest did not do; tells the end of its console too."""


class GuestRebooted(GuestError):
    """The guest booted again while a command was running in it."""


class GuestExited(GuestError):
    """QEMU has ended while the guest was wanted."""


class GuestTimeout(GuestError):
    """It took too long."""


class GuestDiedInBoot(GuestError):
    """The kernel panicked at a start, before any module was loaded."""


class _Drain:
    """Reads a socket all the time; whoever wants can wait for more."""

    def __init__(self, sock):
        self.sock = sock
        self.data = bytearray()
        self.closed = False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        while True:
            try:
                data = self.sock.recv(65536)
            except OSError:
                data = b''
            with self.changed:
                self.data += data
                self.closed = not data
                self.changed.notify_all()
            if not data:
                return
            # QEMU sends byte by byte: let some gather.
            time.sleep(0.002)

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass        # the other end went first
        self.thread.join(10)
        self.sock.close()


class Guest:
    """One virtual machine, which may be started again after it ended.

    kernel        '6.1' (Debian 12) or '6.12' (Debian 13)
    machine       'pc', 'q35' or 'microvm', with options if need be:
                  'pc,nvdimm=on'; microvm often hangs at boot under TCG
    firmware      'pvh' (vmlinux, the fastest), 'seabios' or 'ovmf' (bzImage)
    smp, mem      as QEMU takes them: mem='512M,slots=2,maxmem=2G'
    cpu           QEMU's -cpu, or None
    qemu_args     more arguments, for example those that attach a region
    qemu_prefix   what comes before QEMU on the command line, for example
                  ['build/bin/dlog-qemu', FILE, '--']; it must exec QEMU or
                  stay until QEMU ends, and keep it in its process group
    qemu          the binary, or 'trixie' for the one in the cache
    append        more kernel parameters
    files         {path in the guest: bytes, or a path here}; a program brings
                  its libraries; /rc is run before the guest is ready
    modules       more modules of this kernel that modprobe shall find
    kexec         True puts /boot/bzImage and /boot/initrd into the guest
    """

    def __init__(self, kernel='6.1', machine='pc', firmware='pvh', smp=2,
                 mem='512M', cpu=None, qemu_args=(), qemu_prefix=(), qemu=None,
                 append='', files=None, modules=(), kexec=False,
                 accel='tcg,thread=multi'):
        if firmware not in ('pvh', 'seabios', 'ovmf'):
            raise ValueError('firmware %r' % firmware)
        self.kernel = image.Kernel(kernel)
        self.machine = machine
        self.accel = os.environ.get('DLOG_ACCEL') or accel
        self.firmware = firmware
        self.smp = smp
        self.mem = mem
        self.cpu = cpu
        self.qemu_args = list(qemu_args)
        self.qemu_prefix = list(qemu_prefix)
        self.qemu = qemu or os.environ.get('DLOG_QEMU') or 'qemu-system-x86_64'
        self.append = append
        self.files = files or {}
        self.modules = modules
        self.kexec = kexec
        self.dir = None         # exists from the first start() to remove()
        self.process = None
        self._qmp = None
        self._shell = None
        self._console_pos = 0   # where wait_for() goes on

    # Life

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None and not isinstance(value, GuestError):
            # GuestError says it in its own text.
            sys.stderr.write(self.tail() + '\n')
        self.remove()

    @property
    def console_path(self):
        """The file with all that the guest's console said."""
        return os.path.join(self.dir, 'console.log')

    def start(self, wait=True, timeout=TIMEOUT):
        """Starts QEMU, and unless told otherwise waits for the shell.

        A kernel that dies under TCG before the first module is loaded is
        started once more."""
        self._spawn_all(timeout)
        if not wait:
            return
        try:
            self._wait_first(timeout)
        except GuestDiedInBoot as err:
            print('the kernel died in early boot, once more:\n%s' % err)
            self._reap()
            self._spawn_all(timeout)
            self.wait_ready(timeout)

    def _spawn_all(self, timeout):
        if self.process:
            raise ValueError('this guest runs already')
        self._make_dir()
        self._console_begin = len(self.console())
        listeners = {name: self._listen(name) for name in ('qmp', 'shell')}
        try:
            self._spawn()
            self._shell = _Drain(self._accept(listeners['shell'], timeout))
            self._qmp = self._open_qmp(listeners['qmp'], timeout)
        except BaseException:
            self._reap()
            raise
        finally:
            for listener in listeners.values():
                listener.close()

    def _make_dir(self):
        """Makes the guest's folder and what stays the same in all starts."""
        if self.dir:
            return
        self.dir = tempfile.mkdtemp(prefix='dlog-guest-')
        image.write_initramfs(os.path.join(self.dir, 'initramfs'), self.kernel,
                              self.modules, self.files, self.kexec)
        if self.firmware == 'ovmf':
            self._flash = image.private_ovmf(self.dir)

    def _listen(self, name):
        path = os.path.join(self.dir, name)
        if os.path.exists(path):
            os.unlink(path)
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(path)
        except OSError as err:
            listener.close()
            raise GuestError('cannot listen at %s (%s): set TMPDIR to a folder '
                             'with a shorter name' % (path, err)) from err
        listener.listen(1)
        listener.settimeout(0.2)
        return listener

    def _accept(self, listener, timeout):
        deadline = time.monotonic() + timeout
        while True:
            try:
                sock, _ = listener.accept()
                sock.settimeout(None)
                return sock
            except TimeoutError:
                pass
            status = self.process.poll()
            if status is not None:
                raise self._error('QEMU ended at once, with status %d' % status,
                                  GuestExited)
            if time.monotonic() > deadline:
                raise self._error('QEMU does not connect to us')

    def _open_qmp(self, listener, timeout):
        sock = self._accept(listener, timeout)
        try:
            return Qmp(sock, timeout)
        except QmpError as err:
            sock.close()
            raise self._error(str(err)) from err

    def command_line(self):
        """QEMU's command line, as a list."""
        qemu = self.qemu
        if qemu == 'trixie':
            qemu = os.path.join(image.cache_dir(),
                                'qemu-trixie/bin/qemu-system-x86_64')
            if not os.path.exists(qemu):
                raise image.ImageError('no %s: run tests/guest/setup '
                                       'trixie-qemu' % qemu)
        args = self.qemu_prefix + [
            qemu, '-nodefaults', '-display', 'none', '-machine', self.machine,
            '-accel', self.accel,
            '-smp', str(self.smp), '-m', self.mem,
            '-pidfile', os.path.join(self.dir, 'pid'),
            '-chardev', 'file,id=console,append=on,path=' + self.console_path,
            '-chardev', 'socket,id=shell,path=' + os.path.join(self.dir, 'shell'),
            '-chardev', 'socket,id=qmp,path=' + os.path.join(self.dir, 'qmp'),
            '-mon', 'qmp,mode=control', '-serial', 'chardev:console']
        if self.machine.startswith('microvm'):
            # It makes one port by itself.
            args += ['-device', 'isa-serial,index=1,chardev=shell']
        else:
            args += ['-serial', 'chardev:shell']
        if self.cpu:
            args += ['-cpu', self.cpu]
        kernel = self.kernel.bzimage
        if self.firmware == 'pvh':
            kernel = self.kernel.vmlinux
        elif self.firmware == 'ovmf':
            code, variables = self._flash
            args += ['-drive', 'if=pflash,format=raw,readonly=on,file=' + code,
                     '-drive', 'if=pflash,format=raw,file=' + variables]
        args += ['-kernel', kernel,
                 '-initrd', os.path.join(self.dir, 'initramfs'),
                 '-append', ('console=ttyS0 ' + self.append).strip()]
        return args + self.qemu_args

    def _spawn(self):
        """Starts QEMU so that it dies with us, however we die."""
        libc = ctypes.CDLL(None)

        def die_with_parent():
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

        args = self.command_line()
        pidfile = os.path.join(self.dir, 'pid')
        if os.path.exists(pidfile):
            os.unlink(pidfile)
        with open(os.path.join(self.dir, 'qemu.log'), 'a') as log:
            log.write(shlex.join(args) + '\n')
            log.flush()
            self.process = subprocess.Popen(
                args, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=die_with_parent)

    def pid(self):
        """QEMU's own process id, whatever qemu_prefix is."""
        with open(os.path.join(self.dir, 'pid')) as f:
            return int(f.read())

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill9(self):
        """SIGKILL to QEMU itself, as the kernel's out-of-memory killer would
        send; waits until it is gone."""
        os.kill(self.pid(), signal.SIGKILL)
        return self.wait_exit(30)

    def quit(self):
        """Tells QEMU to end, and waits."""
        try:
            self._qmp.command('quit')
        except QmpError:
            pass        # it may be gone before it answers
        return self.wait_exit(30)

    def poweroff(self, timeout=TIMEOUT):
        """Powers off from inside the guest, and waits for QEMU's end."""
        self.sh_nowait('poweroff -f')
        return self.wait_exit(timeout)

    def wait_exit(self, timeout=TIMEOUT):
        """Waits for QEMU (and qemu_prefix) to end; gives the exit status,
        negative for a signal."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired as err:
            raise self._error('QEMU has not ended in %g s' % timeout) from err
        self._reap()
        return status

    def _reap(self):
        """Leaves no process and no thread of this start behind."""
        if self.process:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()
            self.process = None
        for channel in (self._qmp, self._shell):
            if channel:
                channel.close()
        # The channels stay readable: events may be looked at after the end.

    def remove(self):
        """Ends the guest, however it is, and removes its folder."""
        self._reap()
        if not self.dir:
            return
        if os.environ.get('DLOG_KEEP_GUEST') == '1':
            sys.stderr.write('guest kept in %s\n' % self.dir)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)
        self.dir = None

    # Errors

    def tail(self, lines=30):
        """The end of what QEMU and the guest's console said."""
        text = []
        for name, count in (('qemu.log', 6), ('console.log', lines)):
            try:
                with open(os.path.join(self.dir, name), errors='replace') as f:
                    last = f.read().splitlines()[-count:]
            except (OSError, TypeError):
                last = ['(none)']
            text.append('--- end of %s' % name)
            text += [re.sub(r'[^\x20-\x7e\t]', '', line) for line in last]
        return '\n'.join(text)

    def _error(self, message, kind=GuestError):
        return kind('%s\n%s' % (message, self.tail()))

    def _check_alive(self, waiting_for):
        status = self.process.poll() if self.process else None
        if self.process is None or status is not None:
            raise self._error('QEMU ended (status %s) while waiting for %s'
                              % (status, waiting_for), GuestExited)

    # Console

    def console(self):
        """All the console's text so far."""
        try:
            with open(self.console_path, 'rb') as f:
                return f.read().decode('utf-8', 'replace')
        except FileNotFoundError:
            return ''

    def wait_for(self, pattern, timeout=TIMEOUT):
        """Waits for a regular expression on the console and gives its match.

        Each call goes on behind the match of the one before."""
        deadline = time.monotonic() + timeout
        while True:
            alive = self.running()
            match = re.compile(pattern, re.MULTILINE).search(
                self.console(), self._console_pos)
            if match:
                self._console_pos = match.end()
                return match
            if not alive:
                raise self._error('QEMU ended without %r on the console'
                                  % pattern, GuestExited)
            if time.monotonic() > deadline:
                raise self._error('no %r on the console in %g s'
                                  % (pattern, timeout))
            time.sleep(0.05)

    # Shell

    def wait_ready(self, timeout=TIMEOUT):
        """Waits until the guest has booted (again) and takes commands."""
        _, mark = self._next_mark(timeout, 'the guest to boot', ['ready'])
        return mark[1]

    def _wait_first(self, timeout):
        """The same at a start, looking for a kernel that is dead already."""
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            try:
                return self.wait_ready(max(min(left, 3), 0))
            except GuestTimeout:
                if self._died_in_boot():
                    raise self._error('the kernel died', GuestDiedInBoot)
                if left <= 3:
                    raise

    def _died_in_boot(self):
        """Did it panic with no module in it yet?  QEMU 7.2's TCG lets a CPU
        run code while another one patches it, so some boots do."""
        text = self.console()[self._console_begin:]
        return self.accel.startswith('tcg') and EARLY_DEATH.search(text) and \
            not re.search(r'Modules linked in: \w', text)

    def sh(self, command, timeout=TIMEOUT):
        """Runs a shell command as root: (exit status, output as text).

        Its output is a terminal: programs that colour theirs will.

        After timeout it is killed, status 137; a guest that does not even do
        that within another 20 s raises GuestError, one that boots instead
        raises GuestRebooted."""
        ident = self._send(command, timeout)
        what = 'the end of: ' + command
        self._next_mark(timeout + 20, what, ['begin', ident])
        output, mark = self._next_mark(timeout + 20, what, ['end', ident])
        return int(mark[2]), output.decode('utf-8', 'replace')

    def must(self, command, timeout=TIMEOUT):
        """Runs a command that has to succeed, and gives its output."""
        status, output = self.sh(command, timeout)
        if status:
            raise self._error('status %d from: %s\n%s'
                              % (status, command, output))
        return output

    def sh_nowait(self, command, timeout=TIMEOUT):
        """Starts a command and does not look after it, for those that end
        the guest."""
        self._send(command, timeout)

    def _send(self, command, timeout):
        self._check_alive('a command')
        code = base64.b64encode(command.encode())
        if len(code) > 32768:
            raise ValueError('a command this long fits no serial port: '
                             'use files=')
        ident = secrets.token_hex(4)
        self._shell.sock.sendall(b'%s %d %s\n' % (ident.encode(),
                                                  max(1, timeout), code))
        return ident

    def _next_mark(self, timeout, what, wanted):
        """Waits for the agent's next mark that begins with the words wanted:
        (bytes before it, all its words)."""
        shell = self._shell
        deadline = time.monotonic() + timeout
        scanned = 0
        with shell.changed:
            while True:
                at = shell.data.find(MARK, scanned)
                end = shell.data.find(b'\n', at + len(MARK)) if at >= 0 else -1
                if end >= 0:
                    words = shell.data[at + len(MARK):end].decode(
                        'utf-8', 'replace').split()
                    if words[:len(wanted)] == wanted:
                        before = bytes(shell.data[:at])
                        del shell.data[:end + 1]
                        return before, words
                    if words[:1] == ['ready']:
                        # Left in place, for wait_ready().
                        raise self._error('the guest booted again before '
                                          + what, GuestRebooted)
                    scanned = end
                    continue
                scanned = at if at >= 0 else max(
                    0, len(shell.data) - len(MARK))
                if shell.closed:
                    raise self._error('QEMU ended before ' + what, GuestExited)
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self._error('waited %g s in vain for %s'
                                      % (timeout, what), GuestTimeout)
                shell.changed.wait(left)

    # QMP

    def qmp(self, command, **arguments):
        """Runs a QMP command; QmpError if QEMU refuses."""
        return self._qmp.command(command, arguments)

    @property
    def events(self):
        """Every QMP event so far."""
        return list(self._qmp.events)

    def wait_event(self, name, timeout=TIMEOUT):
        """The first QMP event of that name not returned before."""
        try:
            return self._qmp.wait_event(name, timeout)
        except QmpError as err:
            raise self._error(str(err)) from err

    def stop(self):
        self.qmp('stop')

    def cont(self):
        self.qmp('cont')

    def system_reset(self):
        self.qmp('system_reset')
