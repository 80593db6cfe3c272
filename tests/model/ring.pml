/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ring.pml - a model of dlog's ring for spin: the writer of
 * shared-abi/dlog_ring.h, a reader as libdlog is one, the search for the end
 * of the stream when a boot takes a ring over (dlog_ring_find_end).
 *
 * Relies on nothing but spin and reader.pml.  ring.py says which bounds are
 * searched; docs/model.md says what is left out and why that is sound.
 *
 * What a step is
 * --------------
 * Each load, compare-exchange and store of the writer is one step, so that
 * everything else can happen between any two of them.  Steps carry the labels
 * of dlog_ring.h:
 *
 *	R	compare-exchange of the head
 *	A	word 0: the open check, type and length (one 64-bit store)
 *	B	every word behind it (one 64-bit store each)
 *	D	the full check (a 32-bit store: the upper half of word 0 stays)
 *
 * A START is written by the same A, B, D before its owner's record.
 *
 * What a word is
 * --------------
 * A unit of the region has two halves: chk[], where word 0 has its check, and
 * dat[], the rest.  A check is symbolic: the tuple of all that was hashed.
 * So the model's check has no collisions, and it has no other virtue: data
 * words carry no position and no owner, and content repeats, so that words
 * of an older lap often equal those that are to come.  Bytes of older laps
 * stay until they are stored over.
 *
 * Who may do what, when
 * ---------------------
 * A CPU has LEVELS contexts: task, irq, NMI.  running[cpu] is the one that
 * has the CPU; a higher one may begin at any step, and the lower goes on
 * when it has ended.  That a context is stopped for ever while those above
 * it go on is a path on which it is not scheduled again, and every property
 * is checked in every state of that path.  off[cpu] is the death of a CPU
 * with all its contexts.
 *
 * A writer that others have lapped is taken to be stopped for ever, unless
 * LATE is defined: then it goes on and stores into what is not its own.
 *
 * The ghost (g, gs, entered, ever, reserved) is what really happened.  The
 * algorithm does not look at it; MUST1() to MUST6() compare.
 */

/* Bounds: all are set by ring.py. */
#ifndef NR
#define NR 3		/* sub-buffers */
#endif
#ifndef S
#define S 7		/* units of a sub-buffer; a START takes three */
#endif
#ifndef CPUS
#define CPUS 1		/* that share the ring */
#endif
#ifndef LEVELS
#define LEVELS 1	/* contexts that nest on a CPU */
#endif
#ifndef LEFT
#define LEFT 6		/* appends, of all contexts and boots together */
#endif
#ifndef LENS
#define LENS 2		/* a record has 1 to LENS words behind word 0 */
#endif
#ifndef BOOTS
#define BOOTS 1
#endif
#ifndef CMOD
#define CMOD 16		/* the head counts records modulo this (65536) */
#endif
#ifndef WINDOW
#define WINDOW (CPUS * LEVELS)	/* looked at behind the newest START (8) */
#endif

/* One sub-buffer is entered by each append at most. */
#define UNITS (NR * S)
#define MAXSUB (LEFT + WINDOW + 1)

#if MAXSUB * S > 127 || LEFT > 15
#error does not fit the bits of FULL_CHECK() and gs[]
#endif

/* What word 0 says: words behind it, or that this is a START. */
#define START 3
#define SIZE(type) ((type) == 1 -> 2 : 3)
#define START_UNITS 3

/* The checks.  @w1, @w2: the words behind word 0, 0 if there is none. */
#ifdef BUG_NO_SEED
#define SEEDED(p) 0	/* bug: where it lies takes no part in the check */
#else
#define SEEDED(p) (p)
#endif
#define OPEN_CHECK(p, type) (SEEDED(p) << 3 | (type) << 1)
#define FULL_CHECK(p, type, w1, w2) \
	(1 | (type) << 1 | SEEDED(p) << 3 | (w1) << 10 | (w2) << 17)
#define W2(type, w) ((type) == 1 -> 0 : (w))

/* The second word of a START; the first is its position. */
#define COUNTED(count, boot) ((count) * 4 + (boot))

/* Index in the region of position @p. */
#define AT(p) ((p) / S % NR * S + (p) % S)

/* ---- the region ---- */

int chk[UNITS + 2];	/* two more, so that a probe needs no bounds */
byte dat[UNITS + 2];

/* ---- the producer's own memory: struct dlog_ring ---- */

byte head;		/* next free position ... */
byte low;		/* ... and records % CMOD: one word, one cas */
byte records;		/* full count at a recent switch */
byte boot = 1;

/* ---- the machine ---- */

byte running[CPUS];	/* 0: none, else the level + 1 that has the CPU */
bit off[CPUS];		/* died */
byte left = LEFT;	/* appends that may still begin */

#define RUN (!off[cpu] && running[cpu] == level + 1)

/* ---- the ghost ---- */

/*
 * g[p]: the record that was reserved at p: its state, its type << 2, its
 * content << 4.  gs[n]: the START of sub-buffer n: its state, and what
 * COUNTED() must say << 2.
 */
#define NOTHING 0
#define RESERVED 1
#define OPENED 2
#define COMMITTED 3
#define GHOST(state, type, v) ((state) | (type) << 2 | (v) << 4)

byte g[MAXSUB * S];
byte gs[MAXSUB];
byte entered;		/* number of the last sub-buffer entered, + 1 */
byte ever;		/* the same, with those given again by adopt() */
byte reserved;		/* by this boot */

/* All of sub-buffer @n's room belongs to a later lap. */
#define GONE(n) ((n) + NR < entered)

#ifdef LATE
bit hit[UNITS + 2];	/* stored over by a writer that had been lapped */
#define HIT(u, size) \
	(hit[u] || hit[(u) + 1] || ((size) == 3 && hit[(u) + 2]))
#else
#define HIT(u, size) false
#endif

/*
 * Which property of ring.py's list is broken is printed before the assertion
 * stops the search.  A goal that has to be reached is printed once.
 */
c_decl {
	static void ring_broken(int property)
	{
		printf("broken: property %d\n", property);
	}
	static void ring_cover(int goal)
	{
		static char seen[16];

		if (!seen[goal])
			printf("covered: goal %d\n", goal);
		seen[goal] = 1;
	}
};

#define MUST1(x) if :: (x) :: else -> c_code { ring_broken(1); }; assert(x) fi
#define MUST2(x) if :: (x) :: else -> c_code { ring_broken(2); }; assert(x) fi
#define MUST3(x) if :: (x) :: else -> c_code { ring_broken(3); }; assert(x) fi
#define MUST4(x) if :: (x) :: else -> c_code { ring_broken(4); }; assert(x) fi
#define MUST5(x) if :: (x) :: else -> c_code { ring_broken(5); }; assert(x) fi
#define MUST6(x) if :: (x) :: else -> c_code { ring_broken(6); }; assert(x) fi

#define COVER_LAP(x) if :: (x) -> c_code { ring_cover(1); } :: else fi
#define COVER_RETRY c_code { ring_cover(2); }
#define COVER_SHOWN c_code { ring_cover(3); }
#define COVER_OPEN c_code { ring_cover(4); }
#define COVER_MIXED(x) if :: (x) -> c_code { ring_cover(5); } :: else fi
#define COVER_HOLE(x) if :: (x) -> c_code { ring_cover(6); } :: else fi
#define COVER_NO_START(x) if :: (x) -> c_code { ring_cover(7); } :: else fi
#define COVER_SKIPPED(x) if :: (x) -> c_code { ring_cover(8); } :: else fi
#define COVER_ADOPT_OPEN(x) if :: (x) -> c_code { ring_cover(9); } :: else fi
#define COVER_LATE c_code { ring_cover(10); }
#define COVER_DIED(x) if :: (x) -> c_code { ring_cover(11); } :: else fi
#define COVER_ADOPT_FAR(x) if :: (x) -> c_code { ring_cover(12); } :: else fi
#define COVER_LOST(x) if :: (x) -> c_code { ring_cover(13); } :: else fi

/* Scratch of d_steps: no part of a state, means nothing between them. */
hidden byte st, size, type, n, o, q, u, i, last, found, newest, sum, count;
hidden byte shown, torn, blank, before;
hidden byte holds, stop;

/* ---- the writer ---- */

/*
 * dlog_record_write(), a store a step, for a START and for a record.  What a
 * lapped writer does: it is dead, or with LATE it stores all the same, and the
 * ghost notes which word it has hit.
 */
#ifdef LATE
#define STORE(p, x) \
	if \
	:: GONE((p) / S) -> hit[AT(p)] = 1; COVER_LATE \
	:: else -> hit[AT(p)] = (x) \
	fi
#define LAPPED(p) false
#define WHOLE 0			/* a 64-bit store also mends */
#define HALF hit[AT(p)]		/* D stores 32 bits: does not mend */
#else
#define STORE(p, x) skip
#define LAPPED(p) GONE((p) / S)
#endif

inline store_open(p, what)		/* A */
{
	if
	:: LAPPED(p) -> off[cpu] = 1
	:: else ->
#ifndef BUG_NO_OPEN
		chk[AT(p)] = OPEN_CHECK(p, what);
		dat[AT(p)] = what;
#else
		/* bug: word 0 is left to D, which then stores all of it */
#endif
		STORE(p, WHOLE);
		if
		:: what == START && (gs[(p) / S] & 3) == RESERVED ->
			gs[(p) / S] = gs[(p) / S] - RESERVED + OPENED
		:: what != START -> g[p] = g[p] - RESERVED + OPENED
		:: else
		fi
	fi
}

inline store_word(p, w)			/* B */
{
	if
	:: LAPPED(p) -> off[cpu] = 1
	:: else ->
		chk[AT(p)] = 0;
		dat[AT(p)] = w;
		STORE(p, WHOLE)
	fi
}

inline store_full(p, what, w1, w2)	/* D */
{
	if
	:: LAPPED(p) -> off[cpu] = 1
	:: else ->
		chk[AT(p)] = FULL_CHECK(p, what, w1, w2);
#ifdef BUG_NO_OPEN
		dat[AT(p)] = what;
#endif
		STORE(p, HALF);
		if
		:: what == START && (gs[(p) / S] & 3) == OPENED ->
			gs[(p) / S] = gs[(p) / S] - OPENED + COMMITTED
		:: what != START -> g[p] = g[p] - OPENED + COMMITTED
		:: else
		fi
	fi
}

#if defined(WEAK)
/*
 * Stores to different words get to memory in any order, as in write-combining
 * memory or on a CPU that gives no order: A and D, the same word, keep theirs.
 */
inline STORE_RECORD(p, what, w1, w2)
{
	todo = (what == 1 -> 1 + 2 + 8 : 1 + 2 + 4 + 8);
	do
	:: d_step { RUN && todo & 1 -> store_open(p, what); todo = todo - 1 }
	:: d_step { RUN && todo & 2 -> store_word(p + 1, w1); todo = todo - 2 }
	:: d_step { RUN && todo & 4 -> store_word(p + 2, w2); todo = todo - 4 }
	:: d_step { RUN && (todo & 9) == 8 ->
		store_full(p, what, w1, w2); todo = todo - 8 }
	:: todo == 0 -> break
	od;
	skip
}
#define COMMIT(p, what, w1, w2) skip
#define LAST_STORE(p, what, w1, w2) skip
#else
inline STORE_RECORD(p, what, w1, w2)
{
	d_step { RUN -> store_open(p, what) };				/* A */
#ifdef BUG_EARLY
	d_step { RUN -> store_full(p, what, w1, w2) };
#endif
	d_step { RUN -> store_word(p + 1, w1) };			/* B */
	if
	:: what != 1 -> d_step { RUN -> store_word(p + 2, w2) }
	:: else
	fi
}
#ifdef BUG_EARLY
#define COMMIT(p, what, w1, w2) skip
#define LAST_STORE(p, what, w1, w2) skip
#else
#define COMMIT(p, what, w1, w2) \
	d_step { RUN -> store_full(p, what, w1, w2); near = 0 }	/* D */
#define LAST_STORE(p, what, w1, w2) store_full(p, what, w1, w2)
#endif
#endif

/* dlog_ring_extend(): the full count near @near whose low part is @part. */
#define AHEAD(near, part) (((part) + 4 * CMOD - (near)) % CMOD)
#define EXTEND(near, part) ((near) + AHEAD(near, part) - \
	(AHEAD(near, part) >= CMOD / 2 -> CMOD : 0))

/* Does a record of this type have to enter the next sub-buffer? */
#define ROOM(p) ((S - (p) % S) % S)
#define ENTERS(p, what) (SIZE(what) > ROOM(p))

#define START_OF(p) ((p) / S * S)

inline own_start(first)
{
	/* Everything else of the slot is an older lap's from now on. */
	gs[(first) / S] = RESERVED | COUNTED(reserved, boot) << 2;
	entered = (first) / S + 1;
	ever = (entered > ever -> entered : ever);
	COVER_LAP(entered > NR)
}

/*
 * Of the dead the youngest leaves first, so that there is one order only.
 * A search for cycles has a process of its own, which confuses these numbers.
 */
#ifdef ENDS
#define MY_TURN true
#else
#define MY_TURN (_nr_pr == _pid + 1)
#endif

/*
 * dlog_ring_put(): one append after the other.  An interrupt that appends
 * twice is one that comes again at once.
 */
proctype Writer(byte cpu; byte level)
{
	byte below;	/* whom we interrupted */
	byte what;	/* type of the record */
	byte old, part;	/* head as we know it */
	byte near;	/* r->records before R; then the full count */
	byte at, v;	/* where the record goes, its content */
	bit switched;	/* we own the START of a sub-buffer */
#ifdef WEAK
	byte todo;	/* stores not yet in memory */
#endif

	{
	skip;
append:
	if
	:: atomic {
		!off[cpu] && left && running[cpu] <= level ->
		left--;
		below = running[cpu];
		running[cpu] = level + 1;
		if
		:: what = 1
#if LENS > 1
		:: what = 2
#endif
		fi;
		old = head;
		part = low
	   }
	:: atomic { !off[cpu] && !left && running[cpu] <= level -> goto done }
	fi;
again:
#ifdef BUG_START
	/* bug: a START that was ours before the cas failed stays ours */
	switched = switched || ENTERS(old, what);
#else
	switched = ENTERS(old, what);
#endif
	if
	:: ENTERS(old, what) -> at = old + ROOM(old) + START_UNITS;
#ifndef BUG_NEAR
		d_step { RUN -> near = records }
#endif
	:: else -> at = old
	fi;
	atomic {					/* R */
		RUN ->
		if
#ifdef BUG_PLAIN_HEAD
		:: true ->	/* bug: load and store instead of the cas */
#elif defined(BUG_COUNT)
		:: head == old ->
#else
		:: head == old && low == part ->
#endif
			d_step {
			/* Positions grow, nobody's bytes are given twice. */
			MUST4(at >= head);
			MUST4(g[at] == NOTHING);
			head = at + SIZE(what);
#ifndef BUG_COUNT
			low = (part + 1) % CMOD;
#endif
			if
			:: ENTERS(old, what) -> own_start(START_OF(at))
			:: else
			fi;
			v = 1 + reserved % 2;
			g[at] = GHOST(RESERVED, what, v);
			reserved++;
#if !defined(BUG_NEAR) && !defined(BUG_COUNT)
			near = EXTEND(near, part);
#endif
			old = 0
			}
		:: else ->
			/* Somebody else's append is why: no other reason. */
			d_step {
			COVER_RETRY;
			MUST5(head > old);
			old = head;
			part = low
			}
			goto again
		fi
	}
#ifdef BUG_COUNT
	/* bug: the count has an atomic step of its own */
	d_step { RUN -> part = low; low = (low + 1) % CMOD;
		near = EXTEND(near, part) }
#endif
#ifdef BUG_NEAR
	/* bug: the count to compare with is read after R */
	d_step { RUN -> near = EXTEND(records, part) }
#endif

	/* dlog_ring_switch(): the sub-buffer is ours to begin. */
	if
	:: switched ->
		/* The cas loop there ends as a maximum does. */
		d_step { RUN -> records = (records < near -> near : records);
			part = 0 };
		STORE_RECORD(START_OF(at), START, START_OF(at),
			     COUNTED(near, boot));
		COMMIT(START_OF(at), START, START_OF(at), COUNTED(near, boot))
	:: else
	fi;
#ifdef BUG_WAIT
	/* bug: waits for the START, which another context may own */
	do
	:: atomic { RUN && (gs[at / S] & 3) == COMMITTED -> break }
	:: atomic { RUN && (gs[at / S] & 3) != COMMITTED -> skip }
	od;
	skip;
#endif
	STORE_RECORD(at, what, v, W2(what, v));
	d_step {
		RUN ->
		LAST_STORE(at, what, v, W2(what, v));		/* D */
		running[cpu] = (off[cpu] -> running[cpu] : below);
		below = 0;
		what = 0;
		at = 0;
		v = 0;
		near = 0;
		switched = 0
	}
	goto append
	} unless {
		atomic { off[cpu] && MY_TURN }
	}
done:
	skip
}

#include "reader.pml"

/* ---- boots ---- */

/* Everything dies here, at whatever step it was. */
inline die()
{
	for (i : 0 .. CPUS - 1) {
		off[i] = 1
	}
}

/*
 * A new boot: dlog_ring_find_end() and dlog_ring_init().  Asserted: it goes
 * on behind everything committed or open, and it counts what the boot before
 * reserved, less what stored nothing at the very end.
 */
inline adopt()
{
	sum = 0;
	newest_start();
	before = last;
	count = 255;
	if
	:: last ->
		count_records(last - 1);
		sum = found;
		if
		:: (gs[last - 1] >> 2) % 4 == boot -> count = gs[last - 1] >> 4
		:: else
		fi
	:: else
	fi;
#ifndef BUG_ADOPT_STARTS
	look_behind(WINDOW);
#endif			/* bug: believes that each sub-buffer has a START */
	COVER_ADOPT_FAR(last > before);
#ifdef BUG_ADOPT_LAST
	/* bug: goes on in the last sub-buffer, from its beginning */
	last = (last -> last - 1 : 0);
#endif

	/* Ghost: what of it does the region not know? */
	blank = 0;
	n = 0;
	torn = 0;
	do
	:: n < entered * S ->
		MUST6(n < last * S || (g[n] & 3) < OPENED ||
		      HIT(AT(n), SIZE(g[n] >> 2 & 3)));
		torn = torn + ((g[n] & 3) == OPENED -> 1 : 0);
		blank = blank + ((g[n] & 3) == RESERVED &&
				 n + S >= before * S -> 1 : 0);
		n++
	:: else -> break
	od;
	COVER_ADOPT_OPEN(torn > 0);
	COVER_DIED(blank > 0);
#ifndef LATE
	MUST6(count == 255 || count + sum + blank == reserved);
#endif
	/* Those positions are given again: nothing there was ever visible. */
	n = last * S;
	do
	:: n < entered * S -> g[n] = 0; gs[n / S] = 0; n++
	:: else -> break
	od;
	entered = last;
	head = last * S;
	low = 0;
	records = 0;
	reserved = 0;
	boot++;
	for (i : 0 .. CPUS - 1) {
		off[i] = 0;
		running[i] = 0
	}
}

#ifdef STOP
/* A CPU, or none, dies at any step of its contexts. */
active proctype Death()
{
	if
	:: off[0] = 1
	:: off[CPUS - 1] = 1
	:: skip
	fi
}
#endif

init {
	byte k;
	byte older;	/* processes older than the writers */

	atomic {
		older = _nr_pr;
again:
		k = 0;
		do
		:: k < CPUS * LEVELS ->
			run Writer(k / LEVELS, k % LEVELS);
			k++
		:: else -> break
		od;
		k = 0
	}
#if BOOTS > 1
	if
	:: atomic { boot < BOOTS -> d_step { die(); n = 0 } }
		atomic { _nr_pr == older -> d_step { adopt(); n = 0 }; goto again }
	:: boot == BOOTS
	fi
#endif
#ifdef STOP
	/*
	 * A stopped CPU blocks nobody: the others get here, have appended all
	 * that was to be appended, and lack nothing but what it was at.
	 */
	_nr_pr == older;
	d_step {
		sum = 0;
		for (i : 0 .. CPUS - 1) {
			sum = sum + off[i]
		}
		MUST5(left == 0 || sum == CPUS);
		count = 0;
		for (n : 0 .. MAXSUB * S - 1) {
			count = count + ((g[n] & 3) % 3 != 0 -> 1 : 0)
		}
		COVER_DIED(count > 0);
		COVER_LOST(left == 0 && sum);
		MUST5(count <= sum * LEVELS);
		look();
		n = 0
	}
#endif
}
