/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * event_call() against event_stop() (event.c): threads hand calls to the loop while another
 * one stops it. Each call returns, its function runs on the loop at most once and never
 * after the loop has ended, and a call that did not run says so.
 *
 * BROKEN=1 leaves out the last look at the list: then somebody waits for ever.
 */
#define CALLERS 3

bool locked, stopped, wake, loop_ended;
chan calls = [CALLERS] of { byte };
bool done[CALLERS], cancelled[CALLERS], ran[CALLERS];

inline lock() { atomic { !locked -> locked = true } }
inline unlock() { locked = false }

inline run_calls() {
	lock();
	do
	:: nempty(calls) ->
		calls ? call;
		cancel = stopped;
		unlock();
		if
		:: cancel -> cancelled[call] = true
		:: else -> assert(!ran[call] && !loop_ended); ran[call] = true
		fi;
		lock();
		done[call] = true
	:: empty(calls) -> break
	od;
	unlock()
}

proctype caller(byte me)
{
	lock();
	if
	:: stopped ->
		cancelled[me] = true;
		unlock()
	:: else ->
		calls ! me;
		wake = true;		/* eventfd_signal() */
		unlock();		/* pthread_cond_wait() */
		done[me];
		lock();
		unlock()
	fi;
	assert(ran[me] != cancelled[me])
}

proctype stopper()
{
	lock();
	stopped = true;
	unlock();
	wake = true
}

proctype loop()
{
	byte call;
	bool cancel;

	do
	:: stopped -> break
	:: else ->
		wake -> wake = false;	/* epoll_wait(), eventfd_clear() */
		run_calls()
	od;
#if BROKEN != 1
	run_calls();
#endif
	loop_ended = true
}

init {
	atomic {
		run loop();
		run caller(0);
		run caller(1);
		run caller(2);
		run stopper()
	}
}
