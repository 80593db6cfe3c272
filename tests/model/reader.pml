/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * reader.pml - the readers of the model in ring.pml, which includes it: one
 * that looks at a ring at rest (look(), asked in every state), the search for
 * the end of the stream that it shares with a new boot, and one that copies
 * while writers go on (Reader).  Relies on the region, the checks, the ghost
 * and the scratch variables of ring.pml.
 */

/*
 * dlog_record_probe(): what lies at index @x of words @C, @D, taken to be at
 * position @p with @room units left?  Into st, with type and size.
 */
#define NONE 0
#define OPEN 1
#define FULL 2

#define PROBE(C, D, x, p, room) \
	type = D[x]; \
	size = SIZE(type); \
	if \
	:: C[x] == 0 || size > (room) -> st = NONE \
	:: C[x] != 0 && size <= (room) -> \
		if \
		:: C[x] == OPEN_CHECK(p, type) -> st = OPEN \
		:: C[x] == FULL_CHECK(p, type, D[(x) + 1], \
				      W2(type, D[(x) + 2])) && \
		   C[(x) + 1] == 0 && (type == 1 || C[(x) + 2] == 0) -> \
			st = FULL \
		:: else -> st = NONE \
		fi \
	fi

/* A START that proves itself says what is true.  Of sub-buffer @n. */
#define START_TRUE(n, w) (gs[n] == (COMMITTED | (w) << 2))

/* A record that proves itself was committed there, and exactly so. */
#define RECORD_TRUE(p, w1, w2) \
	(type != START && g[p] == GHOST(COMMITTED, type, w1) && \
	 (type == 1 || (w2) == (w1)))

/* Number + 1 of the newest sub-buffer whose START proves itself, into last. */
inline newest_start()
{
	last = 0;
	for (i : 0 .. NR - 1) {
		u = i * S;
		q = dat[u + 1];
		if
		:: chk[u] && dat[u] == START && q % S == 0 &&
		   q / S % NR == i && q / S < MAXSUB ->
			PROBE(chk, dat, u, q, S);
			if
			:: st == FULL ->
				/* Its count is exact: loss is what is missing. */
				MUST3(START_TRUE(q / S, dat[u + 2]));
				last = (q / S >= last -> q / S + 1 : last)
			:: else
			fi
		:: else
		fi
	}
}

/*
 * Records of sub-buffer @nr, open ones included, into found: as
 * dlog_subbuf_count().
 */
inline count_records(nr)
{
	o = 0;
	found = 0;
	do
	:: o + 2 <= S ->
		PROBE(chk, dat, (nr) % NR * S + o, (nr) * S + o, S - o);
		found = found + (st != NONE && type != START -> 1 : 0);
		o = o + (st == NONE -> 1 : size)
	:: else -> break
	od
}

/*
 * The end of the stream, docs/abi.md section 7: the highest of the WINDOW
 * sub-buffers behind the newest START that holds any record.  From last,
 * into last; records found on the way are added to sum.
 */
inline look_behind(window)
{
	newest = last;
	stop = 0;
	for (i : 1 .. window) {
		count_records(newest + i - 1);
		sum = sum + found;
		if
		:: found && !stop ->
			COVER_NO_START(true);
			COVER_SKIPPED(newest + i > last + 1);
			last = newest + i
#ifdef BUG_GAP
		/* bug: one that holds nothing is taken for the end */
		:: !found -> stop = 1
#endif
		:: else
		fi
	}
}

/*
 * A reader walks sub-buffer @n at rest: wherever a record can lie, what it
 * finds is what happened.  Asserted both ways: nothing is shown that was not
 * committed, nothing live that was committed is missed.
 */
inline walk(nr)
{
	holds = (nr) + NR >= ever;	/* nobody entered its slot since */
	shown = 0;
	torn = 0;
	blank = 0;
	o = 0;
	do
	:: o + 2 <= S ->
		q = nr * S + o;
		u = AT(q);
		PROBE(chk, dat, u, q, S - o);
		if
		:: o == 0 ->
			if
			:: st == FULL -> MUST1(type == START);
				MUST3(START_TRUE(nr, dat[u + 2]))
			:: else -> MUST2(!holds || HIT(u, 3) ||
				(gs[nr] & 3) != COMMITTED)
			fi
		:: else ->
			if
			:: st == FULL ->
				COVER_SHOWN;
				COVER_HOLE(blank + torn > 0);
				shown++;
				MUST1(RECORD_TRUE(q, dat[u + 1], dat[u + 2]))
			:: st == OPEN ->
				COVER_OPEN;
				torn++;
				MUST1((g[q] & 15) == GHOST(OPENED, type, 0))
			:: else ->
				blank = blank +
					((g[q] & 3) == RESERVED -> 1 : 0);
				MUST2(!holds || (g[q] & 3) != COMMITTED ||
				      HIT(u, SIZE(g[q] >> 2 & 3)));
				MUST3(!holds || (g[q] & 3) != OPENED ||
				      HIT(u, SIZE(g[q] >> 2 & 3)))
			fi
		fi;
		o++;
		/* What a record covers holds no other. */
		do
		:: st != NONE && size > 1 ->
			MUST2(g[nr * S + o] == NOTHING);
			o++;
			size--
		:: else -> break
		od
	:: else -> break
	od
}

#ifdef LATE
/*
 * STARTs of any number can be stored over in turn, by one writer: behind the
 * newest that is left, the search goes only so far.
 */
#define TOO_FAR(nr) ((nr) >= newest + WINDOW)
#else
#define TOO_FAR(nr) false
#endif

/* Everything a reader finds if nothing is stored any more from here on. */
inline look()
{
	sum = 0;
	newest_start();
	look_behind(WINDOW);
	MUST1(last <= entered);
	before = 0;
	n = (last > NR -> last - NR : 0);
	do
	:: n < last ->
		walk(n);
		/*
		 * From one START to the next, what was shown, torn and blank
		 * stored is what was reserved, and one record is lost for
		 * each context at most.
		 */
		if
		:: n + 1 < last && !GONE(n) && START_TRUE(n, gs[n] >> 2) &&
		   START_TRUE(n + 1, gs[n + 1] >> 2) &&
		   (gs[n] >> 2) % 4 == (gs[n + 1] >> 2) % 4
		   ->
			COVER_LOST(torn + blank > 0);
#ifndef LATE
			MUST3((gs[n + 1] >> 4) - (gs[n] >> 4) ==
			      shown + torn + blank);
#endif
		:: else
		fi;
		before = before + torn + blank;
		n++
	:: else -> break
	od;
	MUST3(before <= CPUS * LEVELS * BOOTS);
	/* Behind the last one there is nothing that anyone committed. */
	n = last * S;
	do
	:: n < entered * S ->
		MUST2(n / S + NR < ever || (g[n] & 3) != COMMITTED ||
		      HIT(AT(n), SIZE(g[n] >> 2 & 3)) || TOO_FAR(n / S));
		n++
	:: else -> break
	od
}

#ifdef LOOK
/*
 * Looks in every state: what if all writers stopped here?  Changes nothing,
 * so it adds no state.
 */
active proctype Look()
{
end:
	do
	:: d_step { true -> look(); n = 0 }
	od
}
#endif

#ifdef READER
/*
 * Copies, word by word and upwards, while writers go on; then believes what
 * proves itself in the copy, at any lap's position.
 *
 * libdlog copies a whole sub-buffer.  Whether a record verifies depends on
 * its own words alone, three at most, so a reader that copies these three, at
 * any offset, sees all that one with a larger copy can see of any record.
 */
int copy_chk[3];
byte copy_dat[3];

inline believe()
{
	n = slot;
	do
	:: n < MAXSUB ->
		q = n * S + at;
		PROBE(copy_chk, copy_dat, 0, q, S - at);
		if
		:: st == FULL && at == 0 ->
			MUST1(type == START);
			MUST1(START_TRUE(n, copy_dat[2]))
		:: st == FULL && at > 0 ->
			COVER_SHOWN;
			MUST1(RECORD_TRUE(q, copy_dat[1], copy_dat[2]))
		:: st == OPEN && at > 0 ->
			COVER_OPEN;
			/* It was open once, and so long. */
			MUST1((g[q] & 3) >= OPENED && (g[q] >> 2 & 3) == type)
		:: else ->
			/* Torn: the check of q and other words. */
			COVER_MIXED(at > 0 && copy_chk[0] & 1 &&
				    (copy_chk[0] >> 3 & 127) == q)
		fi;
		n = n + NR
	:: else -> break
	od
}

/* k: words copied; with WEAK, in any order, a bit for each. */
#ifdef WEAK
#define MORE (k < 7)
#else
/* An empty word 0 proves nothing, whatever follows. */
#define MORE (k < 3 && at + k < S && (k == 0 || copy_chk[0]))
#endif

inline copy_word(j)
{
	if
	:: at + j < S ->
		copy_chk[j] = chk[slot * S + at + j];
		copy_dat[j] = dat[slot * S + at + j]
	:: else
	fi
}

active proctype Reader()
{
	byte slot, at, k;
#ifdef BUG_TRUST
	byte sure;
#endif

end:
	do
	:: atomic {
		if
		:: slot = 0
		:: slot = 1
#if NR > 2
		:: slot = 2
#endif
		fi;
		at = 0;
		do
		:: at < S - 2 -> at++
		:: break
		od
	   }
#ifdef BUG_TRUST
		/* bug: validated in place, copied then, not looked at again */
		d_step {
			true ->
			n = slot;
			do
			:: n + NR < entered -> n = n + NR
			:: else -> break
			od;
			PROBE(chk, dat, slot * S + at, n * S + at, S - at);
			sure = (st == FULL && at -> n * S + at : 0)
		}
#endif
		do
#ifdef WEAK
		:: d_step { (k & 1) == 0 -> copy_word(0); k = k + 1 }
		:: d_step { (k & 2) == 0 -> copy_word(1); k = k + 2 }
		:: d_step { (k & 4) == 0 -> copy_word(2); k = k + 4 }
#else
		:: d_step { MORE -> copy_word(k); k++ }
#endif
		:: d_step {
				!MORE ->
#ifdef BUG_TRUST
			type = copy_dat[0];
			MUST1(!sure || RECORD_TRUE(sure, copy_dat[1],
						   copy_dat[2]));
			sure = 0;
#else
			believe();
#endif
			for (k : 0 .. 2) {
				copy_chk[k] = 0;
				copy_dat[k] = 0
			}
			k = 0;
			slot = 0;
			at = 0
		   };
		   break
		od
	od
}
#endif
