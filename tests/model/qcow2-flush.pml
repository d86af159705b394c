/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who waits in a qcow2 disk, and how long (disk/qcow2-image.c, disk/qcow2-flush.c). Two
 * writers again and again take a cluster, write data, and change an entry, which makes
 * another cluster unused: the list of those has room for one. Of two others one asks for
 * flush after flush, one at any moment. One thread does it all; what comes in any order is what was in flight.
 *
 * No wait lasts longer than MAX_WAIT flushes, be it for room or for a moment without one, and no
 * write sees more than MAX_SEEN go by. A flush is answered after a sync that began when it had
 * been asked for. A cluster is not taken again while the file may refer to it. There is always
 * something in flight.
 *
 * BROKEN=1 begins a flush although somebody is runnable; BROKEN=2 frees clusters when no flush
 * is going on instead of at the end of one; BROKEN=3 has a flush answer also those who asked
 * while it was writing; BROKEN=4 frees clusters that the file still refers to; BROKEN=5 wakes
 * the last one first; BROKEN=6 begins a flush although a write that has seen one is in flight.
 */
#define WRITERS 2
#define JOBS 4
#define LAZY 3			/* asks for a flush at any time, the one before it always */
#define CLUSTERS 4		/* of each writer: old, new, unused, freeable at most */
#define NONE 15
#define MAX_WAIT 2
#define MAX_SEEN 3
#define NO_FLUSH 0		/* waits for a moment without a flush */
#define THIS 1			/* ... for the flush that has begun last */
#define NEXT 2			/* ... for the one after it */

mtype = { IDLE, REFCOUNTS, TABLES, FREE };
mtype stage = IDLE;
bool flush_wanted;

chan runnable = [JOBS] of { byte };
chan stalled = [JOBS] of { byte };
byte wants[JOBS], waited[JOBS], seen[WRITERS];
bool late[WRITERS];		/* a flush has begun since its write did */
bool asked[JOBS], must_sync[JOBS], syncing[JOBS];	/* since it was asked for */

bool in_flight[WRITERS], has_data[WRITERS];
byte new[WRITERS], entry[WRITERS], in_file[WRITERS];
bool used[WRITERS * CLUSTERS];
byte unused = NONE, freeable = NONE;
byte j, c, n;

#define writing (stage == REFCOUNTS || stage == TABLES)

inline stall(what) {
	wants[j] = what;
	flush_wanted = flush_wanted || what == NEXT;
	stalled ! j
}

/* ---- who is runnable ---- */

inline go_on_writing() {
	if
	:: writing -> stall(NO_FLUSH)
	:: !writing && !has_data[j] ->
		c = j * CLUSTERS;
		do
		:: used[c] -> c++
		:: else -> break
		od;
		assert(c != in_file[j]);
		used[c] = true;
		new[j] = c;
		in_flight[j] = true;
		waited[j] = 0
	:: !writing && has_data[j] && entry[j] != NONE && unused != NONE -> stall(NEXT)
	:: else ->
#if BROKEN == 4
		if
		:: entry[j] != NONE -> used[entry[j]] = false
		:: else
		fi;
#else
		unused = (entry[j] != NONE -> entry[j] : unused);
#endif
		entry[j] = new[j];
		new[j] = NONE;
		has_data[j] = false;
		waited[j] = 0;
		seen[j] = 0;
		late[j] = false;
		runnable ! j		/* the next write */
	fi
}

inline go_on_flushing() {
	assert(!must_sync[j]);
	waited[j] = 0;
	if
	:: asked[j] && j == LAZY -> asked[j] = false
	:: else ->
		asked[j] = true;
		must_sync[j] = true;
#if BROKEN == 3
		stall((writing -> THIS : NEXT))
#else
		stall(NEXT)
#endif
	fi
}

inline begin_flush() {
	flush_wanted = false;
	for (n : 0 .. JOBS - 1) {
		wants[n] = (wants[n] == NEXT -> THIS : wants[n])
	}
	for (n : 0 .. WRITERS - 1) {
		late[n] = true
	}
	stage = REFCOUNTS
}

/* Who is late will go on without it. */
#if BROKEN == 6
#define is_late false
#else
#define is_late ((in_flight[0] && late[0]) || (in_flight[1] && late[1]))
#endif

inline pump() {
	do
	:: len(runnable) ->
#if BROKEN == 1
		if
		:: stage == IDLE && flush_wanted -> begin_flush()
		:: else
		fi;
#endif
		runnable ? j;
		if
		:: j < WRITERS -> go_on_writing()
		:: else -> go_on_flushing()
		fi
	:: !len(runnable) && stage == IDLE && flush_wanted && !is_late -> begin_flush()
	:: else -> break
	od;
	j = 0; c = 0; n = 0		/* fewer states */
}

/* ---- what was in flight ---- */

inline tables_written() {
	for (n : 0 .. WRITERS - 1) {
		in_file[n] = entry[n]
	}
	for (n : 0 .. WRITERS - 1) {
		seen[n]++;
		assert(seen[n] <= MAX_SEEN)
	}
	for (n : 0 .. JOBS - 1) {
		must_sync[n] = must_sync[n] && !syncing[n]
	}
	/* Those who wait for it, or for no flush at all, in their order. */
	n = len(stalled);
	do
	:: n > 0 ->
#if BROKEN == 5
		c = n;
		do
		:: c > 1 -> stalled ? j; stalled ! j; c--
		:: else -> break
		od;
#endif
		n--;
		stalled ? j;
		waited[j]++;
		assert(waited[j] <= MAX_WAIT);
		if
		:: wants[j] == NEXT -> stalled ! j
		:: else -> runnable ! j
		fi
	:: else -> break
	od;
	if
	:: freeable == NONE -> freeable = unused; unused = NONE
	:: else
	fi;
#if BROKEN == 2
	stage = IDLE
#else
	stage = (freeable == NONE -> IDLE : FREE)
#endif
}

#if BROKEN == 2
#define may_free (stage == IDLE && freeable != NONE)
#else
#define may_free (stage == FREE)
#endif

active proctype loop()
{
	atomic {
		for (n : 0 .. WRITERS - 1) {
			new[n] = NONE;
			entry[n] = NONE;
			in_file[n] = NONE
		};
		for (n : 0 .. JOBS - 1) {
			runnable ! n
		};
		pump()
	};
	do
	:: atomic { in_flight[0] ->
		in_flight[0] = false;
		has_data[0] = true;
		runnable ! 0;
		pump() }
	:: atomic { in_flight[1] ->
		in_flight[1] = false;
		has_data[1] = true;
		runnable ! 1;
		pump() }
	:: atomic { !asked[LAZY] -> runnable ! LAZY; pump() }
	:: atomic { stage == REFCOUNTS -> stage = TABLES;
		for (n : 0 .. JOBS - 1) {
			syncing[n] = must_sync[n]
		} }
	:: atomic { stage == TABLES -> tables_written(); pump() }
	:: atomic { may_free ->
		used[freeable] = false;
		freeable = NONE;
		stage = IDLE;
		pump() }
	od
}
