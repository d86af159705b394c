// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two CPUs read the time stamp counter and KVM's clock, in turn, and say if either went back, for one
 * of them or from one to the other; every 50 ms the first one prints both. KVM's clock is read as
 * Documentation/virt/kvm/x86/msr.rst says of MSR_KVM_SYSTEM_TIME_NEW.
 */
#include "tests/lib/virtio-guest.h"
#include "tests/lib/second-cpu.h"

__asm__(".code64\n"
	".global _start\n"
	"_start: movl $0x9e000, %esp\n"
	"	movq %rsi, %rdi\n"
	"	call guest_main\n");

#define SYSTEM_TIME 0x4b564d01u
#define PRINT_NS    50000000ull

struct time_info {
	uint32_t version, pad;
	uint64_t tsc, ns;
	uint32_t factor;
	int8_t shift;
	uint8_t flags, pad2[2];
};

static volatile struct time_info infos[2] __attribute__((aligned(64)));
static volatile uint32_t lock;
static uint64_t last_tsc, last_ns;

static uint64_t read_tsc(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc"
			 : "=a"(low), "=d"(high)
			 :
			 : "memory");
	return (uint64_t)high << 32 | low;
}

static void announce(volatile struct time_info *info)
{
	uint64_t at = (uint64_t)info | 1;

	__asm__ volatile("wrmsr"
			 :
			 : "c"(SYSTEM_TIME), "a"((uint32_t)at), "d"((uint32_t)(at >> 32)));
}

static uint64_t read_ns(const volatile struct time_info *info)
{
	uint64_t ns, passed;
	uint32_t version;

	do {
		version = info->version;
		barrier();
		passed = read_tsc() - info->tsc;
		passed = info->shift < 0 ? passed >> -info->shift : passed << info->shift;
		ns = info->ns + (uint64_t)((unsigned __int128)passed * info->factor >> 32);
		barrier();
	} while (version & 1 || version != info->version);
	return ns;
}

/* Under the lock. */
static void compare(const volatile struct time_info *info)
{
	uint64_t tsc = read_tsc(), ns = read_ns(info);

	if (tsc < last_tsc || ns < last_ns) {
		print(tsc < last_tsc ? "tsc-back " : "ns-back ");
		print_hex(tsc < last_tsc ? last_tsc - tsc : last_ns - ns);
		print("\n");
	}
	last_tsc = tsc;
	last_ns = ns;
}

static void look(const volatile struct time_info *info)
{
	while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
		__asm__ volatile("pause");
	compare(info);
	__atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
}

static void be_second(void)
{
	announce(&infos[1]);
	while (!second_stop)
		look(&infos[1]);
}

void guest_main(const uint8_t *zero_page);

void guest_main(const uint8_t *zero_page)
{
	uint64_t due = 0;

	(void)zero_page;
	announce(&infos[0]);
	start_second_cpu(be_second);
	for (;;) {
		look(&infos[0]);
		if (last_ns < due)
			continue;
		due = last_ns + PRINT_NS;
		print("at ");
		print_hex(last_tsc);
		print(" ");
		print_hex(last_ns);
		print("\n");
	}
}
