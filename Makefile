# SPDX-License-Identifier: GPL-2.0-only
#
#   make                 build ./lkvm
#   make demo            boot a stock Debian kernel (installs what that needs)
#   make check           the tests (installs what they need); make check-all: all of them, hours
#   make lint bench install clean
#   make fuzz TARGET=blk SECONDS=1200
#
#   HOOK=1               with attempts to break out of the sandbox (tests/lib/hook.c)
#   V=1                  show commands        CC=clang     another compiler
#   SAN=address,undefined  or SAN=thread      DEBUG=1      -O0, for gdb
#   WERROR=1             a warning is an error, as it is in "make check"
#   PREFIX= DESTDIR=     for install

ifeq ($(origin CC),default)
CC := gcc
endif
PREFIX ?= /usr/local
MUSL_CC ?= musl-gcc
DESTDIR ?=
SAN ?=
DEBUG ?=
HOOK ?=
WERROR ?=
FUZZ ?=

# Objects of different flags live apart, so that switching rebuilds nothing.
comma := ,
variant := $(notdir $(CC))$(if $(SAN),-$(subst $(comma),-,$(SAN)))$(if $(DEBUG),-debug)$(if $(FUZZ),-fuzz)$(if $(filter coverage,$(FUZZ)),-coverage)
build := build/$(variant)
# With HOOK=1 the program is another one, most of whose objects are those of the build without.
program := $(build)$(if $(HOOK),-hook)/lkvm

optimize := -O2
warnings := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings \
	-Wundef -Wvla -Wpointer-arith -Wimplicit-fallthrough $(if $(WERROR),-Werror)
# With sanitizers -O1 and less for gdb: that halves what gcc takes for them. At -O1 it sees strings cut that are not.
cflags = -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 $(if $(SAN),-g1,-g) -pthread -iquote include $(warnings) \
	-fno-strict-aliasing -fstack-protector-strong -fPIE -MMD -MP \
	$(if $(DEBUG),-O0,$(if $(SAN),-O1,$(optimize)) $(if $(SAN),,-D_FORTIFY_SOURCE=2 -fno-asynchronous-unwind-tables)) \
	$(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all $(if $(findstring gcc,$(CC)),-Wno-format-truncation))
ifneq ($(FUZZ),)
SAN := address,undefined
cflags += -fsanitize=fuzzer-no-link
endif
ifeq ($(FUZZ),coverage)
cflags += -fprofile-instr-generate -fcoverage-mapping
endif
ldflags := -pie -pthread -Wl,-z,relro,-z,now,-z,pack-relative-relocs $(if $(SAN),-fsanitize=$(SAN)) \
	$(if $(filter coverage,$(FUZZ)),-fprofile-instr-generate)
# What only tests are: more than a hundred programs, for which GNU's linker takes five times as long.
test_ldflags = $(filter-out -Wl%,$(ldflags)) $(if $(shell command -v mold),-fuse-ld=mold)
libs := -lfdt -lcap -luring -lz -l:libjson-c.a -l:libseccomp.a

core := state.c kvm.c kvm-cpu.c mem.c bus.c pci.c msix.c irq.c event.c listener.c log.c output.c sink.c tty.c term.c signal-source.c signals.c cache.c decompress.c uki.c
core += utf8.c
core += snapshot-file.c
machines := machine.c machine-command.c machine-end.c machine-pause.c machine-snapshot.c machine-terminal.c
walls := sandbox/sandbox.c sandbox/supervisor.c sandbox/broker.c sandbox/helper.c sandbox/fds.c
board := $(machines) x86/board.c x86/board-state.c x86/cpu-state.c x86/tables.c x86/acpi.c x86/mptable.c x86/fdt.c x86/cpu.c x86/cpuid.c x86/serial.c x86/i8042.c x86/rtc.c \
	x86/pm.c x86/pvpanic.c x86/end-watch.c x86/oops-watch.c
board += x86/page-walk.c x86/registers.c
board += x86/clocks.c
board += x86/stat.c
core += kvm-stats.c
loading := x86/boot/boot.c x86/boot/payload.c x86/boot/kernel-cache.c \
	x86/boot/vmlinux.c x86/boot/zeropage.c
devices := virtio/queue.c virtio/device.c virtio/pci.c virtio/mmio.c virtio/blk.c \
	virtio/net.c virtio/net-rx.c virtio/net-tx.c virtio/net-filter.c virtio/console.c virtio/port.c virtio/rng.c \
	net/net.c net/tap.c net/link.c net/stream.c net/passt.c net/pcap.c net/vhost.c \
	disk/disk.c disk/file.c disk/probe.c disk/partition.c disk/raw.c disk/aio.c disk/qcow2.c disk/qcow2-image.c \
	disk/qcow2-open.c disk/qcow2-table.c disk/qcow2-map.c disk/qcow2-grow.c disk/qcow2-alloc.c disk/qcow2-flush.c disk/qcow2-decompress.c disk/tar.c disk/tar-file.c disk/tree-tar.c
devices += disk/erofs.c disk/files.c disk/files-process.c disk/tree-dir.c disk/tree-join.c disk/dir.c disk/dir-space.c disk/dir-inodes.c disk/dir-data.c disk/dir-map.c
controls := control/json.c control/registry.c control/server.c control/client.c
controls += control/vmcore-format.c control/vmcore-info.c control/vmcore-image.c control/vmcore-file.c control/vmcore.c control/vmcore-saver.c control/dump.c
controls += control/inspect.c
controls += control/gdb.c control/gdb-commands.c control/gdb-monitor.c control/gdb-registers.c control/gdb-breaks.c control/gdb-packet.c
controls += control/frames.c control/viewers.c control/exec.c
commands := cmd/run.c cmd/run-command.c cmd/early-end.c cmd/options.c cmd/option-values.c cmd/report.c cmd/check.c cmd/kconfig.c cmd/help.c cmd/completion.c cmd/probes.S
commands += cmd/debug.c cmd/debug-dump.c cmd/debug-inspect.c cmd/debug-gdb.c
containers := oci/config.c oci/pod.c oci/member.c oci/words.c oci/seccomp.c oci/device.c oci/plan.c oci/store.c oci/holder.c oci/cgroup.c oci/scope.c oci/console.c oci/network.c oci/exec.c oci/update.c oci/runtime.c oci/create.c
commands += cmd/stat.c
controls += control/ram-scan.c control/snapshot-image.c control/snapshot.c
commands += cmd/restore.c cmd/warm.c cmd/snapshot.c cmd/receive.c
commands += cmd/control.c cmd/registration.c cmd/detach.c cmd/attach.c cmd/console.c cmd/exec.c
in_guest := guest/init-image.S guest/command.c guest/kernel-options.c guest/kernel-release.c \
	guest/module-text.c guest/module-choice.c guest/module-cache.c guest/modules.c guest/initramfs.c \
	guest/results.c guest/results-tar.c guest/results-move.c
in_guest += guest/gate.c
sources := main.c $(core) $(walls) $(board) $(loading) $(devices) $(in_guest) $(controls) $(commands) $(containers)

# What the unit tests link: everything but main().
lib_sources := $(core) $(walls) $(board) $(loading) $(devices) $(in_guest) $(controls) $(commands) $(containers)

objects = $(patsubst %,$(build)/%.o,$(1))

quiet = $(if $(V),,@printf '  %-4s %s\n' $(1) $(2);)

.PHONY: all check check-all check-builds kernels demo lint bench install clean option-list units units-of-threads units-of-filters guests tools replays fuzz fuzzers fuzz-targets fuzz-coverage prove models

all: $(program)
	$(call quiet,LN,lkvm)ln -sf $(program) lkvm

# What looks at these two words, and nothing else does.
hooked := tests/lib/hook.c sandbox/sandbox.c disk/aio.c x86/boot/kernel-cache.c
hook_objects := $(patsubst %,$(build)-hook/%.o,$(hooked)) $(call objects,$(filter-out $(hooked),$(sources)))

$(build)/lkvm: $(call objects,$(sources))
	$(call quiet,LD,$@)$(CC) $(ldflags) -o $@ $^ $(libs)

$(build)-hook/lkvm: $(hook_objects)
	$(call quiet,LD,$@)$(CC) $(ldflags) -o $@ $^ $(libs)

$(build)-hook/%.c.o: %.c
	@mkdir -p $(@D)
	$(call quiet,CC,$<)$(CC) $(cflags) -DSANDBOX_HOOK -DLIMIT_BYTES=1600000u -c -o $@ $<

$(build)/%.c.o: %.c
	@mkdir -p $(@D)
	$(call quiet,CC,$<)$(CC) $(cflags) -c -o $@ $<

$(build)/%.S.o: %.S
	@mkdir -p $(@D)
	$(call quiet,AS,$<)$(CC) -iquote include $(asflags) -MMD -MP -c -o $@ $<

# The guest's first process: with a C library of its own, and the same whatever the variant.
init_max_bytes := 65536
init_sources := guest/init.c guest/init-exec.c guest/init-member.c guest/init-setup.c guest/init-user.c guest/init-tar.c guest/init-print.c guest/init-container.c
init_cflags = -std=gnu11 -D_GNU_SOURCE -Os -static -s $(warnings) -iquote include -idirafter /usr/include \
	-idirafter /usr/include/x86_64-linux-gnu -fno-strict-aliasing -fno-asynchronous-unwind-tables \
	-ffunction-sections -fdata-sections -Wl,--gc-sections -Wl,--build-id=none -Wl,-z,noseparate-code -Wl,-z,norelro -flto

build/guest/init: $(init_sources) include/guest/init.h include/guest/protocol.h
	@mkdir -p $(@D)
	$(call quiet,CC,$<)$(MUSL_CC) $(init_cflags) -o $@.$$$$ $(init_sources) && \
		bytes=$$(stat -c %s $@.$$$$) && { [ $$bytes -le $(init_max_bytes) ] || \
		{ echo "$<: $$bytes bytes, more than $(init_max_bytes)" >&2; rm -f $@.$$$$; exit 1; }; } && \
		mv $@.$$$$ $@

$(build)/guest/init-image.S.o: build/guest/init
$(build)/guest/init-image.S.o: asflags := -Wa,-Ibuild/guest

# What each thread may do, as BPF: made by a program that is run here.
$(build)/sandbox-filters: sandbox/filters.c include/sandbox/sandbox.h include/util.h
	@mkdir -p $(@D)
	$(call quiet,CC,$<)$(CC) -std=gnu11 -D_GNU_SOURCE -O1 $(warnings) -iquote include -o $@ $< -lseccomp

$(build)/sandbox-filters.h: $(build)/sandbox-filters
	$(call quiet,GEN,$@)$< >$@.new && mv $@.new $@

with_filters := $(build)/sandbox/sandbox.c.o $(build)-hook/sandbox/sandbox.c.o
$(with_filters): $(build)/sandbox-filters.h
$(with_filters): cflags += -iquote $(build)

# What runs once, or a thousand times a second at most, is made small.
seldom := $(wildcard cmd/*.c guest/*.c oci/*.c x86/*.c x86/boot/*.c) $(walls) $(machines) pci.c msix.c irq.c listener.c kvm.c log.c output.c sink.c tty.c term.c signal-source.c signals.c \
	disk/disk.c disk/file.c disk/probe.c disk/partition.c disk/qcow2-open.c disk/qcow2-grow.c disk/qcow2-alloc.c disk/qcow2-flush.c net/net.c \
	net/passt.c net/vhost.c net/pcap.c net/link.c net/stream.c decompress.c uki.c disk/tar.c virtio/port.c virtio/console.c virtio/pci.c virtio/mmio.c virtio/device.c
$(call objects,$(seldom)): optimize := -Os
$(call objects,$(controls)): optimize := -Os
# These move megabytes.
$(build)/x86/boot/vmlinux.c.o $(build)/x86/boot/kernel-cache.c.o: optimize := -O2

-include $(patsubst %.o,%.d,$(call objects,$(sources)) $(hook_objects))

# ---- tests ----

unit_tests := acpi blk board boot bus cache clocks command console control cpuid dir disk \
	disk-hang disk-soak end-watch erofs event exec gdb init init-exec init-tar initramfs link \
	listener mem modules net oci oci-config options page-walk port processes qcow2 qcow2-crash \
	qcow2-waiting registry results sandbox saving serial signals sink snapshot snapshot-command stat \
	state tables tar term viewers virtio-net virtq vmcore vmlinux warm
unit_programs := $(patsubst %,$(build)/tests/unit/%,$(unit_tests))

units: $(unit_programs)

# Those that the thread sanitizer can find something in.
units-of-threads: $(patsubst tests/unit/%.c,$(build)/tests/unit/%,$(shell grep -lE '^ \* Starts threads(\.$(if $(FULL),| as))' tests/unit/*.c))

# Those that need the sandbox's filters, which builds with sanitizers have not.
units-of-filters: $(patsubst tests/unit/%.c,$(build)/tests/unit/%,$(shell grep -l '^ \* Has processes behind filters' tests/unit/*.c))

$(build)/tests/unit/%: $(build)/tests/unit/%.c.o $(call objects,$(lib_sources))
	$(call quiet,LD,$@)$(CC) $(test_ldflags) -o $@ $^ $(libs) -lcmocka -lutil

$(build)/tests/%.c.o: cflags += -iquote .

.SECONDARY:
-include $(patsubst %,$(build)/tests/unit/%.c.d,$(unit_tests))

# Tiny guests: elf*.S become ELF kernels at 16 MiB, all others flat images at 0.
guest_sources := $(wildcard tests/guest/*/*.S)
guest_c_sources := $(wildcard tests/guest/*/*.c)
guest_images := $(patsubst %.S,$(build)/%,$(guest_sources)) $(patsubst %.c,$(build)/%,$(guest_c_sources))
guest_as = $(CC) -iquote include -iquote . -I$(dir $<) -MMD -MP -nostdlib -static -no-pie \
	-Wl,--build-id=none -Wl,-z,noexecstack

guests: $(guest_images) $(build)/tests/guest/unpack/images

# bzImages for the host to unpack, one of which holds a piece of lkvm.
$(build)/tests/guest/unpack/images: $(addprefix tests/guest/unpack/,images pack vmlinux.asm vmlinux.lds bzimage.asm) \
		tests/lib/guest.h include/x86/layout.h | $(build)/lkvm
	$(call quiet,GEN,$(@D))tests/guest/unpack/images $(CC) $(build)/lkvm $(@D)

$(build)/tests/guest/%: tests/guest/%.S
	@mkdir -p $(@D)
	$(call quiet,AS,$<)$(guest_as) $(if $(findstring /elf,$<),$(if $(findstring /elf32,$<),-m32) \
		-Wl$(comma)-Ttext=0x1000000 -o $@ $<,-Wl$(comma)--oformat=binary -Wl$(comma)-Ttext=0 \
		-Wl$(comma)-e0 -o $@ $<)

# In C: 64-bit, without anything that an emulator of instructions might not know.
$(build)/tests/guest/%: tests/guest/%.c
	@mkdir -p $(@D)
	$(call quiet,CC,$<)$(guest_as) -std=gnu11 -O1 $(warnings) -ffreestanding -fno-pic \
		-mgeneral-regs-only -mno-red-zone -fno-stack-protector -fcf-protection=none \
		-fno-asynchronous-unwind-tables -Wno-int-to-pointer-cast -Wl,-Ttext=0x1000000 -o $@ $<

-include $(patsubst %,%.d,$(guest_images))

# Programs that tests run on this machine or take along into guests.
test_tools := $(addprefix $(build)/tests/lib/,records blkload netload peer measure jobs engine wire spoil)

tools: $(test_tools) $(build)/tests/lib/fault.so $(build)/tests/lib/pause.so $(build)/tests/bench/walls

$(build)/tests/lib/%.so: tests/lib/%.c
	@mkdir -p $(@D)
	$(call quiet,CC,$<)$(CC) -std=gnu11 -D_GNU_SOURCE -O2 $(warnings) -shared -fPIC -o $@ $<

$(test_tools): $(build)/tests/lib/%: tests/lib/%.c
	@mkdir -p $(@D)
	$(call quiet,CC,$<)$(CC) -std=gnu11 -D_GNU_SOURCE -O2 $(warnings) -static -o $@ $<

$(build)/tests/lib/spoil: include/snapshot-file.h

$(build)/tests/bench/walls: $(build)/tests/bench/walls.c.o $(call objects,$(lib_sources))
	$(call quiet,LD,$@)$(CC) $(test_ldflags) -o $@ $^ $(libs)

# Fuzz targets: clang's libFuzzer. "make fuzz TARGET=blk SECONDS=1200".
fuzz_targets := ring blk net console rng pci mmio legacy qcow2 kernel unpack options json stream tar modules release erofs files
fuzz_targets += control gdb vmcore state dir-map
fuzz_targets += command init
TARGET ?= blk
SECONDS ?= 60
fuzz_targets += results oci-config
fuzz_programs := $(patsubst %,build/fuzz/%,$(fuzz_targets))

fuzzers:
	@$(MAKE) --no-print-directory CC=clang FUZZ=1 $(fuzz_programs)

fuzz-targets:
	@echo $(fuzz_targets)

fuzz: fuzzers
	@mkdir -p build/corpus/$(TARGET)
	build/fuzz/$(TARGET) -max_total_time=$(SECONDS) -max_len=$(if $(filter kernel unpack qcow2 tar results oci-config dir-map,$(TARGET)),65536,4096) \
		-rss_limit_mb=4096 -timeout=20 -artifact_prefix=build/fuzz/$(TARGET)- \
		build/corpus/$(TARGET) tests/fuzz/corpus/$(TARGET) 2>build/fuzz/$(TARGET).log; \
		s=$$?; tail -n 30 build/fuzz/$(TARGET).log; exit $$s

# Which lines of which files the inputs found so far reach (llvm-cov, Debian's llvm).
fuzz-coverage:
	@$(MAKE) --no-print-directory CC=clang FUZZ=coverage build/fuzz-coverage/$(TARGET)
	@mkdir -p build/corpus/$(TARGET)
	LLVM_PROFILE_FILE=build/fuzz-coverage/$(TARGET).raw build/fuzz-coverage/$(TARGET) -runs=0 -timeout=60 \
		build/corpus/$(TARGET) tests/fuzz/corpus/$(TARGET) >build/fuzz-coverage/$(TARGET).log 2>&1
	llvm-profdata merge -sparse -o build/fuzz-coverage/$(TARGET).prof build/fuzz-coverage/$(TARGET).raw
	llvm-cov report build/fuzz-coverage/$(TARGET) -instr-profile=build/fuzz-coverage/$(TARGET).prof \
		-show-region-summary=false -show-branch-summary=false $(filter %.c,$(lib_sources))

fuzz_objects := $(build)/tests/fuzz/device.c.o $(call objects,$(lib_sources))

# The same targets without libFuzzer: each runs the files that it is given, once.
replays: $(patsubst %,$(build)/tests/fuzz/%,$(fuzz_targets))

$(build)/tests/fuzz/%: $(build)/tests/fuzz/%.c.o $(build)/tests/fuzz/replay.c.o $(fuzz_objects)
	$(call quiet,LD,$@)$(CC) $(test_ldflags) -o $@ $^ $(libs)

define link_fuzzer
	@mkdir -p $(@D)
	$(call quiet,LD,$@)$(CC) $(test_ldflags) -fsanitize=fuzzer -o $@ $^ $(libs)
endef

-include $(wildcard $(build)/tests/fuzz/*.d)

build/fuzz/%: $(build)/tests/fuzz/%.c.o $(fuzz_objects)
	$(link_fuzzer)

build/fuzz-coverage/%: $(build)/tests/fuzz/%.c.o $(fuzz_objects)
	$(link_fuzzer)

# As many jobs as CPUs, unless the user has said how many.
jobs = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell echo $$(($$(nproc) + 1))))

# Each sets itself up first; "make all" comes after the packages are there.
check-builds:
	@tests/setup check
	@$(MAKE) $(jobs) --no-print-directory WERROR=1 kernels all units-of-filters guests tools
	@$(MAKE) $(jobs) --no-print-directory WERROR=1 HOOK=1 build/$(notdir $(CC))-hook/lkvm
	@$(MAKE) $(jobs) --no-print-directory WERROR=1 SAN=address,undefined units replays
	@$(MAKE) $(jobs) --no-print-directory WERROR=1 SAN=thread units-of-threads
	@tests/host/prepare build/$(notdir $(CC))

# Beside the builds, since it waits for downloads.
kernels:
	@tests/host/prepare

# What everybody runs before a commit: at most 20 minutes on two cores (tests/budgets). What fuzzing has found, and
# unit tests but for a few, only in the builds with sanitizers.
check: check-builds
	@CC=$(CC) BUDGETS=1 tests/run host lint model fuzz:address-undefined unit:address-undefined unit:filters unit:thread cli guest

# Everything, before a release: whole products, every build, kernels built from source. Hours. The guests' products are
# the plain build's: what sanitizers can find in them does not need all.
check-all: check-builds
	@$(MAKE) $(jobs) --no-print-directory WERROR=1 units
	@$(MAKE) $(jobs) --no-print-directory WERROR=1 fuzzers
	@$(MAKE) $(jobs) --no-print-directory WERROR=1 SAN=address,undefined all guests
	@$(MAKE) $(jobs) --no-print-directory WERROR=1 SAN=thread FULL=1 all guests units-of-threads
	@CC=$(CC) FULL=1 tests/run host lint model fuzz fuzz:address-undefined unit unit:address-undefined unit:thread cli guest
	@CC=$(CC) tests/run guest:address-undefined guest:thread
	@CC=$(CC) HOST_KERNEL=cloud612 tests/run host/boot host/ending host/status host/console host/disk-matrix host/net-hostile
	@tests/confined container unit cli
	@tests/confined user unit cli
	@tests/in-kvm tests/confined container guest
	@tests/in-kvm tests/confined user guest
	@tests/host/matrix build/$(notdir $(CC))
	@tests/host/debian build/$(notdir $(CC))
	@tests/host/debian build/$(notdir $(CC)) stock
	@tests/host/engines build/$(notdir $(CC))
	@WARM=yes tests/host/engines build/$(notdir $(CC))
	@tests/host/engines build/$(notdir $(CC)) tests/host/engines-user.sh
	@tests/host/engines build/$(notdir $(CC)) tests/host/engines-systemd.sh
	@tests/host/vmcore-readers build/$(notdir $(CC))
	@tests/host/gdb-kernel build/$(notdir $(CC)) amd
	@tests/host/gdb-kernel build/$(notdir $(CC)) intel

demo:
	@tests/setup demo
	@$(MAKE) $(jobs) --no-print-directory all
	@tests/demo $(build)

lint:
	@tests/setup check
	@tests/run lint

# Proofs for all inputs; not part of "make check": Frama-C is large.
prove:
	@tests/setup prove
	@tests/proof/run

# Models of hand-overs between threads, in all orders (part of "make check").
models:
	@tests/setup check
	@tests/run model

# KERNELS="cloud generic612" for fewer rows; PEER=/path/to/lkvm for another VMM.
bench:
	@tests/setup check
	@$(MAKE) $(jobs) --no-print-directory all tools guests
	@tests/bench/run $(build) $(KERNELS)

install: all
	install -D -s -m 755 $(build)/lkvm $(DESTDIR)$(PREFIX)/bin/lkvm
	ln -sf lkvm $(DESTDIR)$(PREFIX)/bin/lkvm-oci
	install -D -m 644 lkvm.1 $(DESTDIR)$(PREFIX)/share/man/man1/lkvm.1
	ln -sf lkvm.1 $(DESTDIR)$(PREFIX)/share/man/man1/lkvm-oci.1
	install -d $(DESTDIR)$(PREFIX)/share/doc/lkvm
	install -m 644 oci/share/* $(DESTDIR)$(PREFIX)/share/doc/lkvm/
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	$(build)/lkvm completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/lkvm
	install -d $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	$(build)/lkvm completion zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_lkvm
	$(build)/lkvm completion fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/lkvm.fish

# README's list of all options, which tests/cli/options.sh compares with the table.
option-list: all
	tests/option-list $(build)/lkvm -w

clean:
	rm -rf build lkvm
