// SPDX-License-Identifier: GPL-2.0-only
/*
 * A whole block device without KVM: a mock driver works the registers of both
 * transports and the ring, the image is a file. Also: MSI-X and INTx as the guest sees
 * them, a disk that grows, and that nothing is allocated once the device runs.
 */
#include "tests/lib/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <sys/eventfd.h>

#include "bus.h"
#include "mem.h"
#include "pci.h"
#include "virtio/blk.h"
#include "virtio/device.h"
#include "virtio/mmio.h"
#include "virtio/pci.h"
#include "x86/layout.h"

static const struct pci_places pci_places = LAYOUT_PCI_PLACES;

/* ---- counting allocations ---- */

static bool counting;
static unsigned long allocations;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
void __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
					       void (*on_free)(const volatile void *));

static void on_malloc(const volatile void *p, size_t n)
{
	(void)p;
	(void)n;
	allocations += counting;
}

static void on_free(const volatile void *p)
{
	(void)p;
}
#else
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t m);

void *malloc(size_t n)
{
	allocations += counting;
	return __libc_malloc(n);
}

void *calloc(size_t n, size_t m)
{
	allocations += counting;
	return __libc_calloc(n, m);
}
#endif

/* ---- the rig ---- */

#define RAM    MIB(4)
#define DESC   0x10000
#define AVAIL  0x12000
#define USED   0x14000
#define HEADER 0x20000
#define DATA   0x100000
#define STATUS 0x30000
#define DISK   MIB(8)

struct rig {
	struct mem *mem;
	struct bus pio, mmio;
	struct pci pci;
	struct disk *disk;
	struct blk *blk;
	struct virtio_pci *vp;
	struct virtio_mmio *vt;
	bool is_pci;
	uint64_t bar0, bar1, port;
	uint16_t published, seen;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
};

static uint32_t in32(struct rig *r, uint64_t addr, unsigned int size)
{
	uint32_t v = 0;

	bus_read(&r->mmio, addr, &v, size);
	return v;
}

static void out32(struct rig *r, uint64_t addr, uint32_t v, unsigned int size)
{
	bus_write(&r->mmio, addr, &v, size);
}

/* Configuration space of slot 1. */
static uint64_t config(uint32_t reg)
{
	return LAYOUT_ECAM + 0x8000 + reg;
}

static void create(struct rig *r, bool is_pci, unsigned int queues)
{
	const struct blk_config c = { .name = "vda", .serial = "S", .queues = queues };
	char path[128];

	set_up(AIO_AUTO);
	strcpy(path, path_in("img"));
	assert_int_equal(tool("truncate -s %llu img", (unsigned long long)DISK), 0);
	memset(r, 0, sizeof(*r));
	assert_int_equal(mem_create(&r->mem, RAM), 0);
	bus_init(&r->pio);
	bus_init(&r->mmio);
	assert_int_equal(pci_init(&r->pci, &pci_places, NULL, &r->pio, &r->mmio), 0);
	r->disk = open_disk(&(struct disk_config){ .path = path, .format = DISK_FORMAT_RAW });
	assert_int_equal(blk_create(&r->blk, loop, r->mem, r->disk, &c), 0);
	r->is_pci = is_pci;
	if (is_pci) {
		assert_int_equal(virtio_pci_create(&r->vp, blk_device(r->blk), &r->pci, NULL), 0);
		r->bar0 = in32(r, config(PCI_BASE_ADDRESS_0), 4) & ~15u;
		r->bar1 = in32(r, config(PCI_BASE_ADDRESS_1), 4) & ~15u;
		r->port = in32(r, config(PCI_BASE_ADDRESS_2), 4) & ~3u;
		out32(r, config(PCI_COMMAND), 7, 2);
	} else {
		assert_int_equal(virtio_mmio_create(&r->vt, blk_device(r->blk), &r->mmio, NULL,
						    LAYOUT_VIRTIO_MMIO, 5),
				 0);
		r->bar0 = LAYOUT_VIRTIO_MMIO;
	}
	r->desc = mem_ptr(r->mem, DESC, 0x1000);
	r->avail = mem_ptr(r->mem, AVAIL, 0x1000);
	r->used = mem_ptr(r->mem, USED, 0x1000);
}

static void destroy(struct rig *r)
{
	aio_drain(aio);
	virtio_pci_destroy(r->vp);
	virtio_mmio_destroy(r->vt);
	blk_destroy(r->blk);
	close_disk(r->disk);
	pci_fini(&r->pci);
	bus_fini(&r->mmio);
	bus_fini(&r->pio);
	mem_destroy(r->mem);
	tear_down();
}

/* The same register on both transports. */
static void set_reg(struct rig *r, uint32_t pci_reg, unsigned int pci_size, uint32_t mmio_reg,
		    uint32_t v)
{
	out32(r, r->bar0 + (r->is_pci ? pci_reg : mmio_reg), v, r->is_pci ? pci_size : 4);
}

static uint32_t get_status(struct rig *r)
{
	return in32(r, r->bar0 + (r->is_pci ? VIRTIO_PCI_COMMON_STATUS : VIRTIO_MMIO_STATUS),
		    r->is_pci ? 1 : 4);
}

static void set_status(struct rig *r, uint32_t v)
{
	set_reg(r, VIRTIO_PCI_COMMON_STATUS, 1, VIRTIO_MMIO_STATUS, v);
}

static void set_features(struct rig *r, uint64_t features)
{
	for (uint32_t i = 0; i < 2; i++) {
		set_reg(r, VIRTIO_PCI_COMMON_GFSELECT, 4, VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		set_reg(r, VIRTIO_PCI_COMMON_GF, 4, VIRTIO_MMIO_DRIVER_FEATURES,
			(uint32_t)(features >> 32 * i));
	}
}

static void bring_up(struct rig *r, uint64_t features)
{
	set_status(r, 0);
	assert_int_equal(get_status(r), 0);
	set_status(r, 3);
	set_features(r, features | 1ull << 32);
	set_status(r, 11);
	assert_int_equal(get_status(r), 11);
	memset(r->desc, 0, 0x6000);
	r->published = r->seen = 0;
	set_reg(r, VIRTIO_PCI_COMMON_Q_SELECT, 2, VIRTIO_MMIO_QUEUE_SEL, 0);
	set_reg(r, VIRTIO_PCI_COMMON_Q_SIZE, 2, VIRTIO_MMIO_QUEUE_NUM, 64);
	set_reg(r, VIRTIO_PCI_COMMON_Q_DESCLO, 4, VIRTIO_MMIO_QUEUE_DESC_LOW, DESC);
	set_reg(r, VIRTIO_PCI_COMMON_Q_DESCHI, 4, VIRTIO_MMIO_QUEUE_DESC_HIGH, 0);
	set_reg(r, VIRTIO_PCI_COMMON_Q_AVAILLO, 4, VIRTIO_MMIO_QUEUE_AVAIL_LOW, AVAIL);
	set_reg(r, VIRTIO_PCI_COMMON_Q_AVAILHI, 4, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, 0);
	set_reg(r, VIRTIO_PCI_COMMON_Q_USEDLO, 4, VIRTIO_MMIO_QUEUE_USED_LOW, USED);
	set_reg(r, VIRTIO_PCI_COMMON_Q_USEDHI, 4, VIRTIO_MMIO_QUEUE_USED_HIGH, 0);
	set_reg(r, VIRTIO_PCI_COMMON_Q_ENABLE, 2, VIRTIO_MMIO_QUEUE_READY, 1);
	set_status(r, 15);
	assert_int_equal(get_status(r), 15);
}

static void put_request(struct rig *r, unsigned int slot, uint32_t type, uint64_t sector, uint32_t data,
			uint32_t bytes)
{
	struct virtio_blk_outhdr h = { .type = type, .sector = sector };
	unsigned int d = slot * 3;
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;

	assert_int_equal(mem_write(r->mem, HEADER + slot * 16, &h, sizeof(h)), 0);
	*(uint8_t *)mem_ptr(r->mem, STATUS + slot, 1) = 0xee;
	r->desc[d] = (struct vring_desc){ HEADER + slot * 16, 16, VRING_DESC_F_NEXT, (uint16_t)(d + (bytes ? 1 : 2)) };
	r->desc[d + 1] = (struct vring_desc){ data, bytes, VRING_DESC_F_NEXT | (in ? VRING_DESC_F_WRITE : 0),
					      (uint16_t)(d + 2) };
	r->desc[d + 2] = (struct vring_desc){ STATUS + slot, 1, VRING_DESC_F_WRITE, 0 };
	r->avail->ring[r->published++ % 64] = (uint16_t)d;
	__atomic_store_n(&r->avail->idx, r->published, __ATOMIC_RELEASE);
}

/* Kicks, and runs the loop until all is quiet. */
static void kick(struct rig *r)
{
	if (r->is_pci)
		bus_write(&r->pio, r->port, &(uint16_t){ 0 }, 2);
	else
		out32(r, r->bar0 + VIRTIO_MMIO_QUEUE_NOTIFY, 0, 4);
	/* No loop is running: what the eventfd would start is started here. */
	blk_device(r->blk)->ops->kick(blk_device(r->blk), 0);
	aio_drain(aio);
	event_run_deferred(loop);
}

static uint8_t status_of(struct rig *r, unsigned int slot)
{
	return *(uint8_t *)mem_ptr(r->mem, STATUS + slot, 1);
}

static uint8_t request(struct rig *r, uint32_t type, uint64_t sector, uint32_t bytes)
{
	put_request(r, 0, type, sector, DATA, bytes);
	kick(r);
	assert_int_equal(r->used->idx, r->published);
	return status_of(r, 0);
}

static void reads_what_it_wrote(void **state)
{
	struct rig r;
	uint8_t *data;

	(void)state;
	for (int is_pci = 0; is_pci < 2; is_pci++) {
		create(&r, is_pci, 1);
		bring_up(&r, 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_RING_F_EVENT_IDX);
		data = mem_ptr(r.mem, DATA, 65536);
		for (unsigned int i = 0; i < 65536; i++)
			data[i] = (uint8_t)(i * 7 + i / 256);
		assert_int_equal(request(&r, VIRTIO_BLK_T_OUT, 3, 65536), VIRTIO_BLK_S_OK);
		assert_int_equal(request(&r, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
		memset(data, 0, 65536);
		assert_int_equal(request(&r, VIRTIO_BLK_T_IN, 3, 65536), VIRTIO_BLK_S_OK);
		for (unsigned int i = 0; i < 65536; i++)
			assert_int_equal(data[i], (uint8_t)(i * 7 + i / 256));
		assert_int_equal(r.used->ring[(r.used->idx - 1) % 64].len, 65537);
		assert_int_equal(request(&r, VIRTIO_BLK_T_IN, DISK / 512 - 1, 1024), VIRTIO_BLK_S_IOERR);
		destroy(&r);
	}
}

static void nothing_is_allocated_while_it_runs(void **state)
{
	void *volatile probe;
	struct rig r;

	(void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
#endif
	create(&r, true, 1);
	bring_up(&r, 1ull << VIRTIO_BLK_F_FLUSH);
	counting = true;
	probe = malloc(1);
	free(probe);
	assert_int_equal(allocations, 1); /* the counter counts */
	for (unsigned int i = 0; i < 5000; i++) {
		uint32_t type = i % 50 == 49 ? VIRTIO_BLK_T_FLUSH : i % 2;

		for (unsigned int slot = 0; slot < 16; slot++)
			put_request(&r, slot, type, (i * 31 + slot * 8) % 16000, DATA + slot * 4096,
				    type == VIRTIO_BLK_T_FLUSH ? 0 : 4096);
		kick(&r);
		assert_int_equal(r.used->idx, r.published);
	}
	counting = false;
	assert_int_equal(allocations, 1);
	destroy(&r);
}

/* Without FLUSH a completed write is durable: strace would show one fdatasync per write. */
static void write_through_without_flush(void **state)
{
	struct rig r;

	(void)state;
	create(&r, true, 1);
	bring_up(&r, 0);
	assert_int_equal(request(&r, VIRTIO_BLK_T_OUT, 0, 4096), VIRTIO_BLK_S_OK);
	assert_int_equal(request(&r, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	destroy(&r);
}

static void a_disk_grows(void **state)
{
	struct rig r;
	uint32_t generation;

	(void)state;
	create(&r, false, 1);
	bring_up(&r, 0);
	generation = in32(&r, r.bar0 + VIRTIO_MMIO_CONFIG_GENERATION, 4);
	assert_int_equal(in32(&r, r.bar0 + VIRTIO_MMIO_CONFIG, 4), DISK / 512);
	blk_poll_size(r.blk);
	assert_int_equal(in32(&r, r.bar0 + VIRTIO_MMIO_CONFIG_GENERATION, 4), generation);
	assert_int_equal(tool("truncate -s 9M img"), 0);
	blk_poll_size(r.blk);
	assert_int_equal(in32(&r, r.bar0 + VIRTIO_MMIO_CONFIG, 4), MIB(9) / 512);
	assert_int_not_equal(in32(&r, r.bar0 + VIRTIO_MMIO_CONFIG_GENERATION, 4), generation);
	assert_int_equal(in32(&r, r.bar0 + VIRTIO_MMIO_INTERRUPT_STATUS, 4) & 2, 2);
	assert_int_equal(request(&r, VIRTIO_BLK_T_OUT, MIB(9) / 512 - 8, 4096), VIRTIO_BLK_S_OK);
	destroy(&r);
}

/* ---- PCI ---- */

static void capabilities_are_in_order(void **state)
{
	static const uint8_t kinds[] = { VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_CAP_ISR_CFG,
					 VIRTIO_PCI_CAP_DEVICE_CFG, VIRTIO_PCI_CAP_NOTIFY_CFG,
					 VIRTIO_PCI_CAP_PCI_CFG };
	struct rig r;
	uint32_t at;

	(void)state;
	create(&r, true, 3);
	assert_int_equal(in32(&r, config(0), 4), 0x10421af4);
	assert_int_equal(in32(&r, config(PCI_CLASS_REVISION), 4), 0x01000001);
	at = in32(&r, config(PCI_CAPABILITY_LIST), 1);
	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
		assert_int_equal(in32(&r, config(at), 1), PCI_CAP_ID_VNDR);
		assert_int_equal(in32(&r, config(at + 3), 1), kinds[i]);
		at = in32(&r, config(at + 1), 1);
	}
	assert_int_equal(in32(&r, config(at), 1), PCI_CAP_ID_MSIX);
	assert_int_equal(in32(&r, config(at + PCI_MSIX_FLAGS), 2), 3); /* three queues and one */
	assert_int_equal(in32(&r, config(at + 1), 1), 0);
	/* The sizes of BARs, as software finds them out. */
	out32(&r, config(PCI_COMMAND), 0, 2);
	out32(&r, config(PCI_BASE_ADDRESS_0), ~0u, 4);
	assert_int_equal(in32(&r, config(PCI_BASE_ADDRESS_0), 4), ~(0x4000u - 1));
	out32(&r, config(PCI_BASE_ADDRESS_2), ~0u, 4);
	assert_int_equal(in32(&r, config(PCI_BASE_ADDRESS_2), 4), (~(128u - 1)) | 1);
	out32(&r, config(PCI_BASE_ADDRESS_5), ~0u, 4);
	assert_int_equal(in32(&r, config(PCI_BASE_ADDRESS_5), 4), 0);
	destroy(&r);
}

static void intx_until_the_isr_is_read(void **state)
{
	struct rig r;
	unsigned int line = 1 % PCI_INTX_LINES;

	(void)state;
	create(&r, true, 1);
	bring_up(&r, 1ull << VIRTIO_BLK_F_FLUSH);
	assert_int_equal(r.pci.intx_levels[line], 0);
	assert_int_equal(request(&r, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(r.pci.intx_levels[line], 1);
	assert_int_equal(in32(&r, r.bar0 + 0x1000, 1), 1);
	assert_int_equal(r.pci.intx_levels[line], 0);
	assert_int_equal(in32(&r, r.bar0 + 0x1000, 1), 0);
	/* The guest can switch it off, also while it is up. */
	assert_int_equal(request(&r, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
	out32(&r, config(PCI_COMMAND), 7 | PCI_COMMAND_INTX_DISABLE, 2);
	assert_int_equal(r.pci.intx_levels[line], 0);
	out32(&r, config(PCI_COMMAND), 7, 2);
	assert_int_equal(r.pci.intx_levels[line], 1);
	set_status(&r, 0);
	assert_int_equal(r.pci.intx_levels[line], 0);
	destroy(&r);
}

static void masked_vectors_stay_pending(void **state)
{
	struct rig r;
	struct pci_function *fn;
	uint32_t cap = 0x40;

	(void)state;
	create(&r, true, 1);
	bring_up(&r, 1ull << VIRTIO_BLK_F_FLUSH);
	fn = r.pci.slots[1];
	fn->msix.vectors[1].irq_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	while (in32(&r, config(cap), 1) != PCI_CAP_ID_MSIX)
		cap = in32(&r, config(cap + 1), 1);
	out32(&r, r.bar0 + VIRTIO_PCI_COMMON_Q_MSIX, 1, 2);
	out32(&r, config(cap + PCI_MSIX_FLAGS), PCI_MSIX_FLAGS_ENABLE, 2);
	assert_int_equal(request(&r, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(in32(&r, r.bar1 + 2048, 4), 2); /* masked from the start */
	out32(&r, r.bar1 + 28, 0, 4);
	assert_int_equal(in32(&r, r.bar1 + 2048, 4), 0);
	{
		uint64_t n = 0;

		assert_int_equal(read(fn->msix.vectors[1].irq_fd, &n, 8), 8);
		assert_int_equal(n, 1);
		assert_int_equal(request(&r, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
		assert_int_equal(read(fn->msix.vectors[1].irq_fd, &n, 8), 8);
		out32(&r, config(cap + PCI_MSIX_FLAGS), PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL, 2);
		assert_int_equal(request(&r, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
		assert_int_equal(read(fn->msix.vectors[1].irq_fd, &n, 8), -1);
		out32(&r, config(cap + PCI_MSIX_FLAGS), PCI_MSIX_FLAGS_ENABLE, 2);
		assert_int_equal(read(fn->msix.vectors[1].irq_fd, &n, 8), 8);
	}
	/* A million new messages are fine. */
	for (uint32_t i = 0; i < 1000000; i++)
		out32(&r, r.bar1 + 24, i, 4);
	assert_int_equal(in32(&r, r.bar1 + 24, 4), 999999);
	destroy(&r);
}

static void bars_can_be_anywhere(void **state)
{
	struct rig r;

	(void)state;
	create(&r, true, 1);
	for (uint32_t i = 0; i < 5000; i++) {
		out32(&r, config(PCI_BASE_ADDRESS_0 + i % 3 * 4), i * 2654435761u, 4);
		out32(&r, config(PCI_COMMAND), i % 4, 2);
		out32(&r, config(i % 256), i * 40503u, 1 + i % 2 * 3);
	}
	assert_true(r.mmio.nr_regions <= 3 && r.pio.nr_regions <= 2);
	destroy(&r);
}

static void any_register_access_is_harmless(void **state)
{
	uint64_t seed = 7;
	struct rig r;

	(void)state;
	for (int is_pci = 0; is_pci < 2; is_pci++) {
		create(&r, is_pci, 2);
		for (unsigned int i = 0; i < 300000; i++) {
			static const unsigned int sizes[] = { 1, 2, 4, 8 };
			unsigned int size = sizes[random_u64(&seed) % 4];
			uint64_t value = random_u64(&seed) >> random_u64(&seed) % 64, addr;

			addr = r.bar0 + random_u64(&seed) % (is_pci ? 0x4000 : 0x200);
			if (is_pci && i % 2)
				addr = r.bar0 + random_u64(&seed) % 64;
			if (random_u64(&seed) % 3)
				bus_write(&r.mmio, addr, &value, size);
			else
				bus_read(&r.mmio, addr, &value, size);
			event_run_deferred(loop);
		}
		bring_up(&r, 0);
		assert_int_equal(request(&r, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
		destroy(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_what_it_wrote),
		cmocka_unit_test(nothing_is_allocated_while_it_runs),
		cmocka_unit_test(write_through_without_flush),
		cmocka_unit_test(a_disk_grows),
		cmocka_unit_test(capabilities_are_in_order),
		cmocka_unit_test(intx_until_the_isr_is_read),
		cmocka_unit_test(masked_vectors_stay_pending),
		cmocka_unit_test(bars_can_be_anywhere),
		cmocka_unit_test(any_register_access_is_harmless),
	};

	return cmocka_run_group_tests_name("blk", tests, NULL, NULL);
}
