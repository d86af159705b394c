/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The virtual machine as KVM sees it: /dev/kvm, required capabilities,
 * memslots, interrupt lines, and the reason why it stopped.
 *
 * Source: Documentation/virt/kvm/api.rst (Linux 6.1). Set-up functions belong
 * to the main thread; vm_request_stop() to any.
 */
#ifndef LKVM_KVM_H
#define LKVM_KVM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct mem;

/* Why a VM ended; the first reason counts. */
enum stop_reason {
	STOP_NONE = 0,
	STOP_POWEROFF, /* the guest switched itself off */
	STOP_RESET,    /* the guest asked for a reset */
	STOP_PANIC,    /* the guest's kernel reported a panic through pvpanic */
	STOP_TRIPLE_FAULT,
	STOP_HALTED,	/* every CPU halted with interrupts off */
	STOP_KVM_ERROR, /* a vCPU cannot go on */
	STOP_TIMEOUT,	/* --timeout */
	STOP_SIGNAL,	/* lkvm was sent a signal: stop_signal */
	STOP_QUIT,	/* Ctrl-A x */
	STOP_COMMAND,	/* the command that it was started for has ended */
	STOP_ERROR,	/* lkvm or the host failed while it ran */
	STOP_SNAPSHOT,	/* lkvm snapshot --stop */
};

struct vm {
	int sys_fd; /* /dev/kvm */
	int fd;
	int teardown_ring; /* has the VM a moment longer than we; -1 */
	pid_t pid;	   /* of this process */
	bool is_pvm;	   /* see kvm_is_pvm(); later nobody can look */
	int stop_fd;	   /* eventfd, readable once a stop was requested */
	unsigned int max_vcpus;
	uint32_t vcpu_mmap_bytes;
	atomic_int stop_reason; /* enum stop_reason */
	atomic_int stop_signal;
	pthread_mutex_t routes_lock;
	struct vm_routes *routes;
	bool ending; /* what is registered goes with the VM */
};

/*
 * Opens /dev/kvm. Returns the descriptor, or -errno after one message that says
 * what to do about it.
 */
int kvm_open(void);

/* True if this host's KVM is kvm_pvm, which emulates guest kernel code. */
bool kvm_is_pvm(void);

/*
 * Checks required capabilities. Returns 0, or -ENOTSUP after a message that
 * names the first one that is missing (no message if @quiet).
 */
int kvm_check_capabilities(int sys_fd, bool quiet);

/* KVM_CHECK_EXTENSION; 0 if unknown. */
int kvm_capability(int sys_fd, int cap);

struct vm_config {
	/* Guest-physical addresses where nothing else is, for KVM's own use (api.rst: KVM_SET_TSS_ADDR). */
	uint64_t identity_map; /* a page */
	uint64_t tss;	       /* three pages */
	bool pit;	       /* an 8254. It makes the end longer: two grace periods of the host's kernel */
};

/*
 * Creates the VM by @sys_fd (kvm_open()), with @mem as its RAM (both are lent and must outlive it),
 * in-kernel irqchip and what @config asks for. 0 or -errno, after a message.
 */
int vm_create(struct vm **out, int sys_fd, const struct mem *mem, const struct vm_config *config);

/*
 * No vCPU will run any more: from now on ioeventfds and irqfds are not removed one by one, which
 * costs an RCU grace period of the host each, but all at once by vm_destroy().
 */
void vm_begin_teardown(struct vm *vm);

/*
 * Accepts NULL. vCPUs must be gone. KVM may still be tearing the VM down when this returns; it
 * does not use what was lent any more.
 */
void vm_destroy(struct vm *vm);

/*
 * Signals eventfd @fd when the guest writes @addr, without a return to user
 * space (api.rst 4.59). @pio: a port. @value: only writes of it, of
 * @bytes bytes, count; with @bytes = 0 any write does. Any thread; 0 or -errno.
 */
struct vm_ioeventfd {
	int fd;
	bool pio;
	uint64_t addr;
	uint32_t bytes;
	uint64_t value;
};

int vm_ioeventfd_add(struct vm *vm, const struct vm_ioeventfd *e);
void vm_ioeventfd_remove(struct vm *vm, const struct vm_ioeventfd *e);

/*
 * A GSI for a message-signalled interrupt; -1 if there are none left. It is
 * its owner's for the life of the VM. Main thread, before vCPUs run.
 */
int vm_msi_alloc(struct vm *vm);

/* The message that @gsi stands for from now on. Any thread; 0 or -errno. */
int vm_msi_set(struct vm *vm, int gsi, uint64_t address, uint32_t data);

/* The level of an input of the I/O APIC. Any thread. */
void vm_set_irq_level(struct vm *vm, uint32_t gsi, bool level);

/* Has the guest unmasked an input of the I/O APIC, or of a 8259 that it uses? The loop's thread. */
bool vm_irq_is_wanted(struct vm *vm, uint32_t gsi);

/* Injects an edge on line @gsi whenever eventfd @fd is written. */
int vm_irqfd_add(struct vm *vm, int fd, uint32_t gsi);
void vm_irqfd_remove(struct vm *vm, int fd, uint32_t gsi);

/*
 * Asks for the end of the VM. The first caller's reason is kept. Never waits;
 * any thread. @signal is used with STOP_SIGNAL.
 */
void vm_request_stop(struct vm *vm, enum stop_reason reason);
void vm_request_stop_signal(struct vm *vm, int signal);

enum stop_reason vm_stop_reason(struct vm *vm);

#endif
