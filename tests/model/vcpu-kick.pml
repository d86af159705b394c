/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vcpu_kick() against KVM_RUN (kvm-cpu.c): requests reach a vCPU wherever it is: starting,
 * in a handler, about to enter the guest, in a guest that never exits by itself. One
 * thread asks for a report, another one for the end; both are served.
 *
 * BROKEN=1 clears immediate_exit after the requests were looked at; BROKEN=2 sends the signal
 * alone.
 */
#define REPORT 1
#define STOP 2

byte requests, immediate_exit;
bool has_tid, signal_pending, in_kvm, reported, ended;

proctype kicker(byte request)
{
	atomic { requests = requests | request };
#if BROKEN != 2
	immediate_exit = 1;
#endif
	if
	:: has_tid -> signal_pending = true	/* tgkill() */
	:: else
	fi
}

inline serve_requests() {
	atomic { seen = requests; requests = 0 };
	if
	:: seen & REPORT -> reported = true
	:: else
	fi;
	if
	:: seen & STOP -> go_on = false
	:: else
	fi
}

/* In user space the handler runs, and does nothing. */
active proctype handler()
{
end:	do
	:: atomic { signal_pending && !in_kvm -> signal_pending = false }
	:: ended -> break
	od
}

proctype vcpu()
{
	byte seen;
	bool go_on = true, interrupted;

	has_tid = true;
	if
	:: requests -> serve_requests()
	:: else
	fi;
	do
	:: go_on ->
		interrupted = false;
		in_kvm = true;
		if
		:: immediate_exit -> interrupted = true
		:: !immediate_exit ->
			/* In the guest: it exits to a handler, or stays until a signal. */
			if
			:: true -> skip
			:: true -> atomic { signal_pending -> signal_pending = false; interrupted = true }
			fi
		fi;
		in_kvm = false;
#if BROKEN == 1
		if
		:: requests -> serve_requests()
		:: else
		fi;
		if
		:: interrupted -> immediate_exit = 0
		:: else
		fi
#else
		if
		:: interrupted -> immediate_exit = 0
		:: else
		fi;
		if
		:: go_on && requests -> serve_requests()
		:: else
		fi
#endif
	:: else -> break
	od;
	ended = true
}

init {
	atomic {
		run vcpu();
		run kicker(REPORT);
		run kicker(STOP)
	};
	/* A report that was asked for together with the end may be lost: nobody waits for it. */
	ended
}
