#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlog-wrap without a guest: the table of rules, what it generates, what it
does to a module's calls, and what it says of wrong rules.
"""

import collections
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '../scenarios'))

from lib.case import case, main  # noqa: E402 (needs the path above)
from lib.image import Kernel  # noqa: E402
from lib.world import TREE  # noqa: E402

WRAP = os.path.join(TREE, 'guest-patch/wrap')
KERNELS = ('6.1', '6.12')


def run(*args, ok=True, **more):
    done = subprocess.run(args, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, **more)
    text = done.stdout.decode()
    assert (done.returncode == 0) == ok, '%s:\n%s' % (' '.join(args), text)
    return text


def wrap(*args, ok=True):
    return run(os.path.join(WRAP, 'dlog-wrap'), *args, ok=ok)


class Folder:
    """A folder that goes away."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix='dlog-test-')
        return self

    def __exit__(self, *why):
        shutil.rmtree(self.path)

    def __call__(self, name, text=None):
        path = os.path.join(self.path, name)
        if text is not None:
            with open(path, 'w', encoding='utf-8') as f:
                f.write(text)
        return path


def exported(kernel):
    with open(os.path.join(Kernel(kernel).kdir, 'Module.symvers')) as f:
        return {line.split()[1] for line in f}


def arguments(kernel):
    kdir = Kernel(kernel).kdir
    return ['--kernel', kernel, '--config',
            os.path.join(kdir, 'include/config/auto.conf')]


@case
def every_function_of_the_table_is_exported():
    functions = set(wrap('--list').split())
    known = {kernel: exported(kernel) for kernel in KERNELS}
    nowhere = functions - set.union(*known.values())
    assert not nowhere, nowhere
    for kernel in KERNELS:
        # What is said to be for this kernel is there.
        listed = set(wrap('--list', *arguments(kernel)).split())
        assert listed <= known[kernel], (kernel, listed - known[kernel])
        print('%s: %d functions' % (kernel, len(listed)))
        assert len(listed) >= 120
    with open(os.path.join(WRAP, 'rules')) as f:
        blocks = re.findall(r'^(?!include|class|#)\S.*\((?:.|\n)*?(?=^\S|\Z)',
                            f.read(), re.M)
    assert len(blocks) >= len(functions)
    for block in blocks:
        rules = [line.split()[0] for line in block.splitlines()[1:]
                 if line.startswith('\t')]
        assert set(rules) - {'since', 'until', 'config', 'plain', 'via'}, block


def compile_all(kernel):
    """All wrappers there are for a kernel; prototypes are compared with the
    headers' by assertions in the file."""
    kdir = Kernel(kernel).kdir
    with Folder() as folder:
        wrap('--symvers', os.path.join(kdir, 'Module.symvers'),
             '--source', folder('all.c'), '--link', folder('all.ld'),
             *arguments(kernel))
        folder('Kbuild', 'obj-m := all.o\nccflags-y += -I%s\n' % WRAP)
        out = run('make', '-C', kdir, 'M=' + folder.path, 'KCFLAGS=-Werror',
                  'all.o')
        assert 'warning' not in out, out
        with open(folder('all.ld')) as f:
            wrapped = {line.strip().split('=')[1] for line in f}
        names = run('nm', '-P', folder('all.o')).splitlines()
        undefined = {n.split()[0] for n in names if n.split()[1] == 'U'}
        defined = {n.split()[0] for n in names if n.split()[1] == 'T'}
        assert {'__wrap_' + w for w in wrapped} <= defined
        # Nothing in the file itself can end in a wrapper.
        assert not undefined & wrapped, undefined & wrapped
        real = {u[7:] for u in undefined if u.startswith('__real_')}
        assert real <= wrapped, real - wrapped


@case
def all_wrappers_compile_for_6_1():
    compile_all('6.1')


@case
def all_wrappers_compile_for_6_12():
    compile_all('6.12')


def calls(path, below=None):
    """{(section, offset): symbol} of an object's relocations in code that
    has been compiled from C, below some offsets."""
    found, section = {}, None
    for line in run('readelf', '-rW', path).splitlines():
        match = re.match(r"Relocation section '\.rela(\.\S+)'", line)
        if match:
            section = match[1]
        words = line.split()
        if section not in ('.text', '.init.text', '.exit.text') or \
                len(words) < 5 or not words[2].startswith('R_'):
            continue
        at = int(words[0], 16)
        if below is None or at < below.get(section, 0):
            found[section, at] = words[4]
    return found


def sizes(path):
    found = {}
    for line in run('readelf', '-SW', path).splitlines():
        match = re.match(r'\s*\[\s*\d+\] (\S+)\s+\S+\s+\S+\s+\S+\s+(\S+)', line)
        if match:
            found[match[1]] = int(match[2], 16)
    return found


def redirected(kernel):
    """Each call of what is in the table goes to its wrapper, and no other
    relocation changes: the module's part before and after linking."""
    kdir = Kernel(kernel).kdir
    with Folder() as folder:
        module = folder('faulty')
        shutil.copytree(os.path.join(HERE, '../scenarios/faulty'), module)
        run(os.path.join(WRAP, 'dlog-make'), '-C', kdir, 'M=' + module,
            'modules')
        part = os.path.join(module, 'faulty_dlog0.o')
        whole = os.path.join(module, 'faulty.o')
        with open(os.path.join(module, 'faulty_dlog.ld')) as f:
            wrapped = {line.strip().split('=')[1] for line in f}
        before = calls(part)
        after = calls(whole, sizes(part))
        assert before.keys() == after.keys()
        count = collections.Counter()
        for at, name in before.items():
            expected = '__wrap_' + name if name in wrapped else name
            if name.startswith('.'):
                continue        # a section, whose parts have moved
            assert after[at] == expected, (at, name, after[at])
            count[name in wrapped] += 1
        print('%d redirected, %d left' % (count[True], count[False]))
        assert count[True] >= 20 and count[False] >= 5
        assert {'strlen', 'kfree', 'mutex_lock', 'msleep', 'kernel_read',
                'filp_open', '_raw_spin_lock'} <= wrapped
        names = set(wrap('--list').split())
        used = {n.split()[0] for n in run('nm', '-P', part).splitlines()
                if n.split()[1] == 'U'}
        assert wrapped == used & names
        # Without DLOG_WRAP the same folder gives a module as ever.
        run('make', '-C', kdir, 'M=' + module, 'modules')
        assert '__wrap' not in run('nm', whole)
        # Cleaned, nothing of ours is left.
        run(os.path.join(WRAP, 'dlog-make'), '-C', kdir, 'M=' + module,
            'clean')
        assert sorted(os.listdir(module)) == ['Kbuild', 'faulty.c']


@case
def calls_are_redirected_on_6_1():
    redirected('6.1')


@case
def calls_are_redirected_on_6_12():
    redirected('6.12')


@case
def modules_of_every_shape():
    """In a folder below, of parts in a folder, several in one Makefile, and
    flags for one file alone."""
    source = ('#include <linux/module.h>\n#include <linux/slab.h>\n%s'
              'void *p_%s(int n);\nvoid *p_%s(int n)\n'
              '{ return kmalloc(n, GFP_KERNEL); }\n')
    licence = 'MODULE_LICENSE("GPL");MODULE_DESCRIPTION("");\n'
    with Folder() as folder:
        for name in ('below', 'parts'):
            os.mkdir(folder(name))
        folder('Makefile', 'obj-m := one.o two.o below/\n'
               'two-y := a.o parts/b.o\nCFLAGS_one.o := -DONLY_ONE=1\n'
               'CFLAGS_a.o := -DONLY_A=1\n')
        folder('below/Kbuild', 'obj-m := three.o\n')
        for name, only in (('one', 'ONE'), ('a', 'A')):
            folder(name + '.c', source % (
                'static_assert(ONLY_%s);\n' % only, name, name)
                + (licence if name != 'b' else ''))
        folder('parts/b.c', source % ('', 'b', 'b'))
        folder('below/three.c', source % ('', 'c', 'c') + licence)
        run(os.path.join(WRAP, 'dlog-make'), '-C', Kernel('6.1').kdir,
            'M=' + folder.path, 'modules')
        for path in ('one', 'two', 'below/three'):
            names = run('nm', folder(path + '.ko'))
            assert ' T __wrap___kmalloc' in names, (path, names)
            assert ' U __kmalloc' in names, (path, names)
        # Twice is once.
        again = run(os.path.join(WRAP, 'dlog-make'), '-C', Kernel('6.1').kdir,
                    'M=' + folder.path, 'modules')
        assert 'CC' not in again and 'WRAP' not in again, again


@case
def what_the_module_wraps_stays_its_own():
    """A module that is linked with --wrap of its own, and includes wrap.mk
    although dlog-make does."""
    with Folder() as folder:
        folder('Makefile', 'obj-m := own.o\nLDFLAGS_own.o := '
               '--wrap=__kmalloc\ninclude %s/wrap.mk\n' % WRAP)
        folder('own.c', """#include <linux/module.h>
#include <linux/slab.h>
void *__real___kmalloc(size_t n, gfp_t flags);
void *__wrap___kmalloc(size_t n, gfp_t flags);
void *__wrap___kmalloc(size_t n, gfp_t flags)
{ return __real___kmalloc(n + 1, flags); }
void *p(int n); void *p(int n) { return kmalloc(n, GFP_KERNEL); }
void q(void *v); void q(void *v) { kfree(v); }
MODULE_LICENSE("GPL"); MODULE_DESCRIPTION("");
""")
        out = run(os.path.join(WRAP, 'dlog-make'), '-C', Kernel('6.1').kdir,
                  'M=' + folder.path, 'modules')
        assert 'overriding' not in out and 'Circular' not in out, out
        with open(folder('own_dlog.ld')) as f:
            assert f.read() == '--wrap=kfree\n'
        names = run('nm', folder('own.ko'))
        assert names.count('__wrap___kmalloc') == 1, names
        assert ' T __wrap_kfree' in names, names


@case
def paths_that_make_cannot_read():
    with Folder() as folder:
        for name in ('with blank', 'a:b'):
            there = folder(name)
            shutil.copytree(WRAP, there)
            out = run(os.path.join(there, 'dlog-make'), 'modules', ok=False)
            assert out.startswith('dlog-make: ') and name in out, out
            assert out.count('\n') == 1, out
        # Found by a link from anywhere.
        os.symlink(os.path.join(WRAP, 'dlog-make'), folder('make it'))
        folder('Makefile', 'obj-m := x.o\n')
        folder('x.c', '#include <linux/module.h>\nMODULE_LICENSE("GPL");\n'
               'MODULE_DESCRIPTION("");\n')
        run(folder('make it'), '-C', Kernel('6.1').kdir, 'M=' + folder.path,
            'modules')
        out = run(folder('make it'), 'DLOG_WRAP_RULES=my.rules', '-C',
                  Kernel('6.1').kdir, 'M=' + folder.path, 'modules', ok=False)
        assert "'my.rules'" in out and 'whole path' in out, out


@case
def other_files_are_refused():
    with Folder() as folder:
        with open(folder('binary'), 'wb') as f:
            f.write(bytes(range(255, 0, -1)))
        out = wrap('--rules', folder('binary'), '--list', ok=False)
        assert out.startswith('dlog-wrap: ') and 'Traceback' not in out, out
        out = wrap('--symvers', folder('one', 'word\n'), ok=False)
        assert 'no Module.symvers' in out and 'Traceback' not in out, out


@case
def wrong_rules_are_refused():
    good = 'class mem memory kfree()\nint foo(int a, char *b)\n'
    for text, why in (
            (good + '\tkernel c\n', "no parameter 'c'"),
            (good + '\tkernel\n', 'of which parameter'),
            (good + '\trequire a\n', 'EXPRESSION; TEXT'),
            (good + '\tgets nothing\n', "class 'nothing' is not declared"),
            (good + '\tputs mem\n', 'which one'),
            (good + '\tblink a\n', 'is no rule'),
            (good + '\tsince yesterday\n', 'no kernel version'),
            (good, 'has no rule'),
            ('\tkernel a\n', 'of which function'),
            ('nonsense\n', 'is no prototype'),
            ('class c strange x\n', 'class NAME'),
            ('int foo(int)\n\tsleeps\n', 'has no name'),
            ('int foo(char *f, ...)\n\tkernel f\n', "'via' is needed"),
            ('int foo(int ret)\n\tsleeps\n', "wrapper's own"),
            ('void foo(int a)\n\treturns null\n', 'returns')):
        with Folder() as folder:
            path = folder('mine', text)
            out = wrap('--rules', path, '--list', ok=False)
            assert re.match(r'dlog-wrap: %s:\d+: ' % re.escape(path), out), out
            assert why in out, (text, out)
            if why == 'has no rule':
                assert ':2: ' in wrap('--rules', folder(
                    'next', text + '# more\nint bar(int b)\n\tsleeps\n'),
                    '--list', ok=False)
            assert 'Traceback' not in out


@case
def a_rule_of_ones_own_replaces_ours():
    with Folder() as folder:
        path = folder('mine', 'include linux/string.h\n'
                      'size_t strlen(const char *s)\n'
                      '\tadvise *s; an empty string   # ours\n'
                      'void of_mine(struct device *dev)\n\tkernel dev\n')
        assert 'of_mine' in wrap('--rules', path, '--list').split()
        wrap('--rules', path, '--source', folder('x.c'))
        with open(folder('x.c')) as f:
            text = f.read()
        strlen = re.search(r'__wrap_strlen\(const char \*s\)\n\{.*?\n\}', text,
                           re.S)[0]
        assert 'an empty string"' in strlen and 'dlog_suspect' not in strlen


if __name__ == '__main__':
    main()
