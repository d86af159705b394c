/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A reset against kicks and requests in flight (virtio/device.c): one CPU kicks whenever it
 * likes, the other resets the device, uses the memory for something else and starts
 * the device again with a request in a new ring. After the reset nothing touches the old
 * memory; the request of the second life is answered, whatever became of its kick.
 *
 * BROKEN=1 does not wait for what is in flight; BROKEN=2 does not look at the queues
 * when the device starts.
 */
#define KICKS 3

bool running = true, draining, kick_fd, reused;
byte available = 1, in_flight, answered;
byte call_wanted, call_result;		/* event_call(): 1 reset, 2 start */
#define BUSY 2
#define DONE 1

inline serve() {
	if
	:: running && !draining ->
		do
		:: available > 0 ->
			assert(!reused);	/* reads descriptors */
			available--;
			in_flight++
		:: else -> break
		od
	:: else
	fi
}

active proctype loop()
{
end:	do
	:: atomic { kick_fd -> kick_fd = false } -> serve()
	:: in_flight > 0 ->			/* a completion of the disk */
		assert(!reused);		/* writes data and the used ring */
		in_flight--;
		answered++
	:: call_wanted == 1 ->			/* reset_on_loop() */
		running = false;
		draining = true;
#if BROKEN == 1
		call_result = DONE;
#else
		call_result = (in_flight > 0 -> BUSY : DONE);
#endif
		call_wanted = 0
	:: call_wanted == 2 ->			/* enable_on_loop(), start_on_loop() */
		draining = false;
		running = true;
#if BROKEN != 2
		serve();
#endif
		call_result = DONE;
		call_wanted = 0
	od
}

active proctype kicks()
{
	byte n;

	do
	:: n < KICKS -> kick_fd = true; n++
	:: break
	od
}

inline event_call(what) {
	call_wanted = what;
	call_wanted == 0
}

active proctype driver()
{
	kick_fd = true;
	/* call_until_drained() */
	do
	:: event_call(1);
		if
		:: call_result == DONE -> break
		:: else
		fi
	od;
	reused = true;
	skip;
	/* The second life; its kick came too early and may be seen at any time. */
	atomic { reused = false; available = 1; answered = 0 };
	kick_fd = true;
	event_call(2);
	answered == 1
}
