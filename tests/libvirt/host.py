# SPDX-License-Identifier: GPL-2.0-or-later
"""A libvirt of the test's own, and guests that are its domains.

    @case
    def something():
        with Host() as host:
            with Domain(host, on_crash='restart') as guest:
                ...

    if __name__ == '__main__':
        host.main()

main() starts the file once more in mount and process namespaces of its own.
There, /etc/libvirt, /run, /var/lib, /var/log, /var/cache and /etc/dlog are
empty, QEMU's user libvirt-qemu exists, and libvirtd and virtlogd run: neither
a libvirtd of the machine nor another test is touched, and all that was started
ends with the test, however that ends.  Needs root.

Relies on util-linux' unshare, on libvirt's daemons and on lib/guest.py.
"""

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                '../scenarios'))

from lib import case as cases  # noqa: E402 (needs the path above)
from lib import image  # noqa: E402
from lib.case import skip, until  # noqa: E402
from lib.guest import (PR_SET_PDEATHSIG, TIMEOUT, Guest, GuestExited,  # noqa: E402
                       _Drain)
from lib.world import BIN, TREE, modules, tool  # noqa: E402

INSIDE = 'DLOG_TEST_LIBVIRT'
DRIVER = 'libvirt/connection-driver/libvirt_driver_qemu.so'
QEMU_USER = 64055               # as Debian's packages number it
HOOKS = '/etc/libvirt/hooks/qemu.d'
CALLS = '/run/calls'            # one line for each call of a hook

VIRT = os.path.join(BIN, 'dlog-virt')


def missing():
    """What keeps these tests from running here, or None."""
    if os.geteuid():
        return 'needs root, for libvirtd'
    for program in ('libvirtd', 'virtlogd', 'virsh', 'unshare'):
        if not shutil.which(program):
            return 'no %s on this machine' % program
    if not any(os.path.exists(os.path.join(base, DRIVER)) for base in (
            '/usr/lib/x86_64-linux-gnu', '/usr/lib64', '/usr/lib')):
        return "no libvirt driver for QEMU on this machine"
    done = subprocess.run(['unshare', '-m', '-p', '-f', '--mount-proc', 'true'],
                          stderr=subprocess.DEVNULL)
    return 'namespaces are not permitted here' if done.returncode else None


def main():
    """Runs the cases inside of the namespaces."""
    if os.environ.get(INSIDE) != '1' and '--list' not in sys.argv and \
            not missing():
        os.environ[INSIDE] = '1'
        # The shell is process 1 there and reaps what libvirt leaves to it.
        os.execvp('unshare', [
            'unshare', '-m', '-p', '-f', '--kill-child', '--mount-proc', 'sh',
            '-c', '"$@"; exit $?', 'sh', sys.executable, *sys.argv])
    cases.main()


def _with_line(path, line):
    """Mounts a copy of a file with one more line over it."""
    copy = '/run/' + os.path.basename(path)
    with open(path) as f:
        text = f.read()
    with open(copy, 'w') as f:
        f.write(text + line + '\n')
    subprocess.run(['mount', '--bind', copy, path], check=True)


def _private():
    """Empties the folders that libvirt and dlog use, once in a process."""
    if os.path.exists('/run/dlog-test-private'):
        return
    os.makedirs('/etc/libvirt', exist_ok=True)
    os.makedirs('/etc/dlog', exist_ok=True)
    for folder in ('/etc/libvirt', '/etc/dlog', '/var/lib', '/run', '/var/log',
                   '/var/cache'):
        subprocess.run(['mount', '-t', 'tmpfs', '-o', 'mode=755', 'dlog-test',
                        folder], check=True)
    # With a /dev/kvm that works for root and not for QEMU's user, libvirt
    # probes QEMU anew for each call: guests here are TCG's.
    if os.path.exists('/dev/kvm'):
        with open('/run/no-kvm', 'w'):
            os.chmod('/run/no-kvm', 0o600)
        subprocess.run(['mount', '--bind', '/run/no-kvm', '/dev/kvm'],
                       check=True)
    # What libvirt found out about QEMU; it checks itself whether that is old.
    kept = os.path.join(image.cache_dir(), 'libvirt')
    os.makedirs(kept, exist_ok=True)
    os.mkdir('/var/cache/libvirt')
    subprocess.run(['mount', '--bind', kept, '/var/cache/libvirt'], check=True)
    user = 'libvirt-qemu:x:%d:' % QEMU_USER
    _with_line('/etc/passwd', user + '%d::/var/lib/libvirt:/bin/false'
               % QEMU_USER)
    _with_line('/etc/group', user)
    with open('/run/dlog-test-private', 'w'):
        pass


def spawn(args, log, **more):
    """Starts a program that ends with us; its output goes to the file."""
    libc = ctypes.CDLL(None)
    with open(log, 'a') as out:
        return subprocess.Popen(
            args, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
            **more)


def end(process, timeout=10):
    """Ends a program; its exit status."""
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError('%s does not end' % process.args[0])


class Host:
    """libvirtd and virtlogd, and what dlog-virt installs for them."""

    def __init__(self, hook=False):
        if os.environ.get(INSIDE) != '1':
            skip(missing() or 'run it as a program')
        _private()
        self.hook = hook
        self.daemons = {}

    def __enter__(self):
        os.makedirs('/var/lib', exist_ok=True)
        with open('/etc/libvirt/qemu.conf', 'w') as f:
            f.write('namespaces = []\ncgroup_controllers = []\n')
        with open('/etc/libvirt/libvirtd.conf', 'w') as f:
            f.write('auth_unix_rw = "none"\nauth_unix_ro = "none"\n')
        if self.hook:
            self.install_hooks()
        try:
            self.start('virtlogd')
            self.start('libvirtd')
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind, value, trace):
        if 'libvirtd' in self.daemons:
            for name in self.virsh('list', '--all', '--name').stdout.split():
                self.virsh('destroy', name, ok=None)
                self.virsh('undefine', name)
        for folder in ('/var/lib', HOOKS):
            shutil.rmtree(folder, ignore_errors=True)
        for name in list(self.daemons):
            self.stop(name)
        if kind and not issubclass(kind, cases.Skip):
            for name in ('libvirtd', 'virtlogd'):
                if os.path.exists('/run/%s.log' % name):
                    with open('/run/%s.log' % name) as f:
                        sys.stderr.write(''.join(f.readlines()[-10:]))

    def start(self, name):
        """Starts one of the daemons and waits until it answers."""
        process = self.daemons[name] = spawn([name], '/run/%s.log' % name)
        path = {'virtlogd': '/run/libvirt/virtlogd-sock',
                'libvirtd': '/run/libvirt/libvirt-sock'}[name]

        def answers():
            assert process.poll() is None, name + ' has ended'
            return os.path.exists(path) and (
                name == 'virtlogd' or
                not self.virsh('-q', 'list', ok=None).returncode)
        until(name, answers, 30)

    def stop(self, name, how=signal.SIGKILL):
        """Ends one of the daemons; the domains go on."""
        process = self.daemons.pop(name)
        process.send_signal(how)
        process.wait(30)

    def install_hooks(self):
        """Ours, and one behind it that writes down how it was called."""
        tool('dlog-virt', 'install-hook')
        path = os.path.join(HOOKS, 'zz-record')
        with open(path, 'w') as f:
            f.write('#!/bin/sh\necho "$@" >> %s\ncat > /run/hook.xml\n' % CALLS)
        os.chmod(path, 0o755)

    def calls(self):
        """How the hooks were called, a list of words each, and forget."""
        if not os.path.exists(CALLS):
            return []
        with open(CALLS) as f:
            lines = f.read().splitlines()
        os.unlink(CALLS)
        return [line.split() for line in lines]

    def virsh(self, *args, ok=0, timeout=60):
        """Runs virsh; its result, with the exit status checked."""
        done = subprocess.run(['virsh', *args], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=timeout)
        assert ok is None or done.returncode == ok, \
            'virsh %s: status %d\n%s%s' % (' '.join(args), done.returncode,
                                           done.stdout, done.stderr)
        return done

    def define(self, xml):
        path = '/run/define.xml'
        with open(path, 'w') as f:
            f.write(xml)
        self.virsh('define', '--validate', path)

    def xml(self, name):
        """The persistent XML as libvirt shows it."""
        return self.virsh('dumpxml', '--inactive', '--security-info',
                          name).stdout

    def state(self, name):
        """'running', 'crashed (panicked)'."""
        return self.virsh('domstate', '--reason', name).stdout.strip()

    def events(self):
        """A virsh that writes down all events of all domains."""
        return Events()


class Events:
    """virsh event --all --loop, from now on."""

    def __init__(self):
        self.path = '/run/events.%d' % time.monotonic_ns()
        self.process = spawn(['virsh', 'event', '--all', '--loop',
                              '--timestamp'], self.path)
        time.sleep(0.5)         # it does not say when it has begun

    def lines(self):
        with open(self.path) as f:
            return [line.split(': ', 1)[1] if ': ' in line else line
                    for line in f.read().splitlines()]

    def stop(self):
        self.process.kill()
        self.process.wait()
        return self.lines()


def virt(*args, ok=0):
    """Runs dlog-virt; (standard output, standard error)."""
    done = subprocess.run([VIRT, *args], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True)
    assert done.returncode == ok, 'dlog-virt %s: status %d, not %d\n%s%s' % (
        ' '.join(args), done.returncode, ok, done.stdout, done.stderr)
    return done.stdout, done.stderr


class _Vmm:
    """What Guest wants to know of QEMU's process."""

    def __init__(self, name):
        self.pidfile = '/run/libvirt/qemu/%s.pid' % name

    def pid(self):
        try:
            with open(self.pidfile) as f:
                return int(f.read())
        except (FileNotFoundError, ValueError):
            return None

    def poll(self):
        """None while it runs, as Popen's."""
        pid = self.pid()
        return None if pid and os.path.exists('/proc/%d' % pid) else 0


class Domain(Guest):
    """A guest that libvirt runs.  attach: dlog-virt's options, or None for a
    domain without a region; further arguments are Guest's."""

    def __init__(self, host, name='web1', on_crash='destroy', attach=(),
                 mem='256M', **more):
        super().__init__(files=modules('6.1'), mem=mem, **more)
        self.host = host
        self.name = name
        self.on_crash = on_crash
        self.attach = attach
        self.region = None
        self._listener = None

    def define(self):
        self._make_dir()
        os.chmod(self.dir, 0o755)
        vmlinux = os.path.join(self.dir, 'vmlinux')
        # libvirt gives it to QEMU's user: not the cache's own.
        shutil.copyfile(self.kernel.vmlinux, vmlinux)
        os.symlink('/var/log/libvirt/qemu/%s.log' % self.name,
                   os.path.join(self.dir, 'qemu.log'))
        self.host.define(self.xml())
        if self.attach is not None:
            virt('attach', self.name, *self.attach)
            self.region = virt('path', self.name)[0].strip()

    def xml(self):
        return '''
<domain type='qemu'>
  <name>%s</name>
  <memory unit='MiB'>%s</memory>
  <vcpu>%d</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>%s/vmlinux</kernel>
    <initrd>%s/initramfs</initrd>
    <cmdline>console=ttyS0 %s</cmdline>
  </os>
  <features><acpi/></features>
  <on_crash>%s</on_crash>
  <devices>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    <serial type='file'><source path='%s'/></serial>
    <serial type='unix'>
      <source mode='connect' path='%s/shell'/><target port='1'/>
    </serial>
  </devices>
</domain>''' % (self.name, self.mem.rstrip('M'), self.smp, self.dir, self.dir,
                self.append, self.on_crash, self.console_path, self.dir)

    def start(self, wait=True, timeout=TIMEOUT):
        if not self.dir:
            self.define()
        listener = self._listen('shell')
        os.chmod(os.path.join(self.dir, 'shell'), 0o777)
        self.process = _Vmm(self.name)
        try:
            self.host.virsh('start', self.name)
            self._shell = _Drain(self._accept(listener, timeout))
        except BaseException:
            self.process = None
            raise
        finally:
            listener.close()
        if wait:
            self.wait_ready(timeout)

    def record(self, modules=('pvpanic-mmio',)):
        """Loads dlog.ko and what tells libvirt of a panic; the boot."""
        for name in modules:
            self.must('modprobe ' + name)
        self.must('insmod /dlog.ko')
        return int(self.must('cat /sys/class/misc/dlog/boot'))

    def panic(self):
        self.sh_nowait('echo c > /proc/sysrq-trigger')

    def pid(self):
        return self.process.pid()

    def wait_state(self, wanted, timeout=TIMEOUT):
        until('state ' + wanted,
              lambda: self.host.state(self.name).startswith(wanted), timeout)

    def boots(self):
        return [json.loads(line) for line in tool(
            'dlog-read', '--list-boots', '-o', 'json',
            self.region).splitlines()]

    def texts(self, boot):
        """The lines that one boot left in the region."""
        return tool('dlog-read', '-o', 'cat', '-b', str(boot),
                    self.region).decode()

    def _reap(self):
        if self.process:
            self.host.virsh('destroy', self.name, ok=None)
            until('the end of QEMU',
                  lambda: self.process.poll() is not None, 30)
            self.process = None
        if self._shell:
            self._shell.close()
            self._shell = None

    def remove(self):
        self._reap()
        if self.dir:
            self.host.virsh('undefine', self.name, ok=None)
        super().remove()
