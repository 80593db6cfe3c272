#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Wrapped modules in real guests: each mistake is named, with its function and
its rule, before it kills; a correct module is not spoken of.

tests/scenarios/faulty is built by dlog-make, tests/scenarios/correct by its own
Makefile with DLOG_WRAP=1.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from lib.case import case, main, until  # noqa: E402 (needs the path above)
from lib.guest import Guest  # noqa: E402
from lib.image import Kernel  # noqa: E402
from lib.world import TREE, World, entries  # noqa: E402

WRAP = os.path.join(TREE, 'guest-patch/wrap')
FAULT = '/sys/module/faulty/parameters/fault'


def build(make, kernel, folder):
    """Builds the module in a folder; a warning is an error."""
    done = subprocess.run(
        [*make, 'DLOG_WRAP_DIR=' + WRAP, '-C', Kernel(kernel).kdir,
         'M=' + folder, 'KCFLAGS=-Werror', 'modules'],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout.decode()
    assert b'warning' not in done.stdout, done.stdout.decode()


class Wrapped(World):
    """A guest with both modules, wrapped, in its root."""

    def __init__(self, kernel, **more):
        self.built = tempfile.mkdtemp(prefix='dlog-wrap-')
        for name, make in (
                ('faulty', [os.path.join(WRAP, 'dlog-make')]),
                ('correct', ['make', 'DLOG_WRAP=1'])):
            folder = os.path.join(self.built, name)
            shutil.copytree(os.path.join(HERE, name), folder)
            build(make, kernel, folder)
        files = {'/%s.ko' % name: os.path.join(self.built, name, name + '.ko')
                 for name in ('faulty', 'correct')}
        super().__init__(kernel=kernel, files=files, **more)

    def __exit__(self, *why):
        super().__exit__(*why)
        shutil.rmtree(self.built, ignore_errors=True)

    def calls(self):
        return [e for e in entries(self.region) if e['kind'] == 'call']

    def fault(self, name):
        """Makes the mistake; its records."""
        before = len(self.calls())
        self.guest.must('echo %s > %s' % (name, FAULT))
        return until('a record of ' + name,
                     lambda: self.calls()[before:], 30)


def expect(entry, function, rule, caller, level=2):
    """One record, as dlog-read tells it."""
    match = re.fullmatch(r'call: (\w+)\((.*?)\)(?: = 0x[0-9a-f]+)?: (.*), '
                         r'called from (\w+)\+0x[0-9a-f]+/0x[0-9a-f]+ '
                         r'\[(\w+)\]', entry['text'])
    assert match, entry
    print(entry['text'])
    assert re.fullmatch(function, match[1]), entry
    assert re.search(rule, match[3]), entry
    assert (match[4], match[5]) == (caller, 'faulty'), entry
    assert entry['level'] == level, entry
    return match


def deadly(kernel):
    """The guest panics or hangs; the ring says why."""
    for name, function, rule in (
            ('null_string', 'strlen', '^s must not be NULL$'),
            ('err_ptr', 'kernel_read', r'^file is an error, not a pointer: '
             r'ERR_PTR\(-2\), as filp_open\(\) returned at err_ptr\+0x'),
            ('double_spin', '_raw_spin_lock', '^deadlock: lock is held by '
             r'this CPU since double_spin\+0x')):
        with Wrapped(kernel, append='oops=panic panic=0') as w:
            w.load_driver()
            w.guest.must('insmod /faulty.ko')
            w.guest.sh_nowait('echo %s > %s' % (name, FAULT))
            if name == 'double_spin':
                until('the record', w.calls, 30)
                time.sleep(1)
            else:
                w.guest.wait_for('end Kernel panic')
                assert w.stats()['status'] == 'panic', w.stats()
            found = w.calls()
            assert len(found) == 1, found
            expect(found[0], function, rule, name)
            # Before the guest's own words.
            if name != 'double_spin':
                everything = list(entries(w.region))
                texts = [e.get('text', '') for e in everything]
                at = [e['kind'] for e in everything].index('call')
                oops = next(n for n, text in enumerate(texts)
                            if text.startswith(('BUG: ', 'Oops: ')))
                assert at < oops, texts[at - 3:]


@case(timeout=400)
def deadly_mistakes_on_6_1():
    deadly('6.1')


@case(long=True, timeout=400)
def deadly_mistakes_on_6_12():
    deadly('6.12')


def survived(kernel):
    """Mistakes that the guest may live through, for a while."""
    with Wrapped(kernel) as w:
        w.load_driver()
        w.guest.must('insmod /faulty.ko')
        for name, function, rule in (
                ('sleep_in_atomic', 'msleep', r'^may sleep, in atomic context '
                 r'\(preemption off\), spinlock taken at sleep_in_atomic\+0x'),
                ('alloc_in_atomic', r'kmalloc_trace|__kmalloc_cache_noprof',
                 r'^may sleep, .*taken at alloc_in_atomic\+0x'),
                ('use_after_free', 'strnlen', r'^use after free: s was freed '
                 r'by kfree\(\) at use_after_free\+0x'),
                ('double_free', 'kfree', r'^double free: objp was freed by '
                 r'kfree\(\) at double_free\+0x'),
                ('not_held', 'mutex_unlock',
                 '^the mutex is not held by this task$'),
                ('wrong_free', 'vfree', r'belongs to kfree\(\)$'),
                ('double_mutex', 'mutex_lock',
                 '^deadlock: this task holds the mutex already$'),
                ('null_member', 'mutex_lock',
                 '^lock is 0x20, a member of what is NULL$')):
            found = w.fault(name)
            assert len(found) == 1 or name == 'not_held', found
            expect(found[0], function, rule, name)
        dmesg = w.guest.must('dmesg')
        assert 'faulty: dlog-wrap: msleep(): may sleep' in dmesg


@case
def other_mistakes_on_6_1():
    survived('6.1')


@case
def other_mistakes_on_6_12():
    survived('6.12')


def leaks(kernel):
    """Told at unload; a module loaded again begins anew."""
    with Wrapped(kernel) as w:
        w.load_driver()
        for round_ in (1, 2):
            w.guest.must('insmod /faulty.ko; echo leak > %s; '
                         'echo leak > %s' % (FAULT, FAULT))
            assert len(w.calls()) == 2 * (round_ - 1)
            w.guest.must('rmmod faulty')
            found = w.calls()
            assert len(found) == 2 * round_, found
            for e in found[-2:]:
                expect(e, r'kmalloc_trace|__kmalloc_cache_noprof',
                       r'^leak: never passed to kfree\(\)$', 'leak', level=4)


@case
def leaks_on_6_1():
    leaks('6.1')


@case(long=True)
def leaks_on_6_12():
    leaks('6.12')


def correct(kernel):
    """Nothing to say, with the driver and without, again and again."""
    with Wrapped(kernel) as w:
        w.guest.must('insmod /correct.ko')
        assert 'dlog.ko is not loaded' in w.guest.must('dmesg')
        w.load_driver()
        w.guest.must('rmmod correct')
        for _ in range(5):
            w.guest.must('insmod /correct.ko; rmmod correct')
        dmesg = w.guest.must('dmesg')
        assert dmesg.count('correct: worked 1') == 6, dmesg
        said = [line for line in dmesg.splitlines() if 'dlog-wrap' in line]
        assert len(said) == 1, said
        assert 'BUG' not in dmesg and 'WARNING' not in dmesg, dmesg
        assert w.calls() == []
        # The wrapped module does not pin the driver.
        w.guest.must('insmod /correct.ko; rmmod dlog; rmmod correct')


@case
def correct_module_on_6_1():
    correct('6.1')


@case(long=True)
def correct_module_on_6_12():
    correct('6.12')


@case(long=True, timeout=600)
def cost():
    """Instructions that a wrapper adds: the same module, plain and wrapped,
    in a guest that counts them."""
    found = []
    for make in (['make'], ['make', 'DLOG_WRAP=1']):
        with tempfile.TemporaryDirectory() as folder:
            module = os.path.join(folder, 'correct')
            shutil.copytree(os.path.join(HERE, 'correct'), module)
            build(make, '6.1', module)
            with Guest(smp=1, accel='tcg,thread=single', cpu='max',
                       qemu_args=['-icount', 'shift=0,sleep=off'],
                       files={'/correct.ko': module + '/correct.ko'}) as guest:
                guest.must('insmod /correct.ko', timeout=200)
                found.append({name: int(took) for name, took in re.findall(
                    r'correct: cost of (\w+): (\d+)', guest.must('dmesg'))})
    plain, wrapped = found
    added = {name: wrapped[name] - plain[name] for name in plain}
    print('plain %s\nwrapped %s\nadded %s' % (plain, wrapped, added))
    assert len(added) == 4
    # One call, and two in the others; guards against a rule or the runtime
    # becoming slow, with a margin over what docs/wrap.md says.
    assert 0 < added['string'] < 60, added
    assert 0 < added['mutex'] < 150 and 0 < added['spinlock'] < 250, added
    assert 0 < added['memory'] < 1300, added


@case
def a_mistake_without_the_driver_is_in_the_log():
    with Wrapped('6.1') as w:
        w.guest.must('insmod /faulty.ko; (echo double_free > %s)' % FAULT)
        dmesg = w.guest.must('dmesg')
        assert re.search(r'faulty: dlog-wrap: kfree\(\): double free: .*, '
                         r'called from double_free\+0x', dmesg), dmesg


if __name__ == '__main__':
    main()
